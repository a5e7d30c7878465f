import { type Description, parseDescription } from './description.js';

/** Minimum digits of a random session id. Timestamps in seconds and 32-bit numbers are shorter. */
const MIN_OWN_ID_LENGTH = 12;

/**
 * Detects whether a remote description comes from the same RTCPeerConnection as the previous ones, or from a new one.
 * Certificates do not suffice: applications may reuse them, and gateways use one for all connections.
 */
export class RemoteConnection {
  #current: Description | undefined;
  // Whether the remote peer writes a new session id into each description, as some stacks do.
  #changesSessionId = false;

  /** The remote description that was applied last. */
  get description(): Description | undefined {
    return this.#current;
  }

  /**
   * Whether `sdp` continues the current connection. `hasEnded`: the remote end has closed its DTLS association.
   *
   * Returns true in case of doubt: `Recovery` replaces a connection whose DTLS handshake does not finish.
   */
  continuesWith(sdp: string, hasEnded: boolean): boolean {
    const current = this.#current;
    if (!current) return true;
    const next = parseDescription(sdp);
    if (next.iceCredentials !== '' && next.iceCredentials === current.iceCredentials) return true;
    if (haveDifferentCertificates(current, next) || hasEnded) return false;
    // JSEP never removes an m-line (RFC 8829, section 5.2.2).
    if (next.media.length < current.media.length) return false;
    if (hasOwnSessionId(current) && next.sessionId === current.sessionId) return true;
    if (current.cnames.size > 0 && next.cnames.size > 0) return haveCommon(current.cnames, next.cnames);
    return this.#changesSessionId || !hasOwnSessionId(current);
  }

  /** Records an applied remote description. */
  accept(sdp: string): void {
    const current = this.#current;
    const next = parseDescription(sdp);
    const isSame = current?.iceCredentials === next.iceCredentials;
    if (isSame && current.sessionId !== next.sessionId) this.#changesSessionId = true;
    this.#current = next;
  }
}

/** Whether the descriptions share a hash algorithm, but no fingerprint. */
function haveDifferentCertificates(a: Description, b: Description): boolean {
  const algorithms = (from: Description) => new Set([...from.fingerprints].map((each) => each.split(' ', 1)[0]));
  return !haveCommon(a.fingerprints, b.fingerprints) && haveCommon(algorithms(a), algorithms(b));
}

function haveCommon<Item>(a: ReadonlySet<Item>, b: ReadonlySet<Item>): boolean {
  return [...a].some((item) => b.has(item));
}

/**
 * Whether the session id identifies the connection, as in JSEP, where it is a random number of 64 bits (RFC 8829, section
 * 5.2.1). Other stacks write a timestamp or a short random number into each description.
 */
function hasOwnSessionId({ sessionId, sessionVersion }: Description): boolean {
  return sessionId.length >= MIN_OWN_ID_LENGTH && sessionId !== sessionVersion;
}
