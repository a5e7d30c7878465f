import { type Description, parseDescription } from './description.js';

/**
 * Tells whether a remote description comes from the RTCPeerConnection that the previous ones came from, or from a new
 * one. Certificates alone do not tell: applications may reuse them, and gateways have one for all connections.
 */
export class RemoteConnection {
  #current: Description | undefined;
  // Some stacks write a new session id into each description.
  #changesSessionId = false;

  /** The description in use. */
  get description(): Description | undefined {
    return this.#current;
  }

  /**
   * Whether `sdp` continues the current connection. `hasEnded`: the remote end has closed its DTLS association.
   *
   * Where nothing decides, the answer is yes: `Recovery` replaces a connection whose DTLS handshake does not finish.
   */
  continuesWith(sdp: string, hasEnded: boolean): boolean {
    const current = this.#current;
    if (!current) return true;
    const next = parseDescription(sdp);
    if (next.iceCredentials !== '' && next.iceCredentials === current.iceCredentials) return true;
    if (haveDifferentCertificates(current, next) || hasEnded) return false;
    // JSEP never removes an m-line (RFC 8829, section 5.2.2).
    if (next.media.length < current.media.length) return false;
    return next.sessionId === current.sessionId || this.#changesSessionId || !hasOwnSessionId(current);
  }

  /** The connection applied `sdp`. */
  accept(sdp: string): void {
    const current = this.#current;
    const next = parseDescription(sdp);
    const isSame = current?.iceCredentials === next.iceCredentials;
    if (isSame && current.sessionId !== next.sessionId) this.#changesSessionId = true;
    this.#current = next;
  }
}

/** No common fingerprint, although a hash algorithm is common. */
function haveDifferentCertificates(a: Description, b: Description): boolean {
  if ([...a.fingerprints].some((fingerprint) => b.fingerprints.has(fingerprint))) return false;
  const algorithms = new Set([...a.fingerprints].map(algorithmOf));
  return [...b.fingerprints].some((fingerprint) => algorithms.has(algorithmOf(fingerprint)));
}

function algorithmOf(fingerprint: string): string {
  return fingerprint.split(' ', 1)[0] ?? '';
}

/**
 * Whether the session id identifies the connection, as in JSEP (RFC 8829, section 5.2.1). Stacks that follow the
 * older advice of RFC 8866 write a timestamp as id and version.
 */
function hasOwnSessionId({ sessionId, sessionVersion }: Description): boolean {
  return sessionId.length > 1 && sessionId !== sessionVersion;
}
