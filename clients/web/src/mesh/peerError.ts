import type { Connection } from './connection.js';
import { iceUfrag } from './description.js';

/**
 * Why a peer is not connected, or a message could not be sent:
 *
 * - `NO_ANSWER`: the peer did not answer the offer.
 * - `NO_RELAY`: only relay candidates are allowed, and no TURN server provided one.
 * - `NO_CANDIDATES`, `NO_REMOTE_CANDIDATES`: this client or the peer has no usable candidate.
 * - `NO_PATH`: no pair of candidates works, for example because of a firewall.
 * - `NO_HANDSHAKE`: the network path works, but DTLS does not finish.
 * - `NO_CONNECTION`: the browser could not create an RTCPeerConnection.
 * - `CLOSED`: the member left.
 * - `INTERRUPTED`: the connection ended, or the peer rejected the message.
 */
export type PeerErrorReason =
  | 'NO_ANSWER'
  | 'NO_RELAY'
  | 'NO_CANDIDATES'
  | 'NO_REMOTE_CANDIDATES'
  | 'NO_PATH'
  | 'NO_HANDSHAKE'
  | 'NO_CONNECTION'
  | 'CLOSED'
  | 'INTERRUPTED';

/** The error of a peer or of a message to it. */
export class PeerError extends Error {
  override readonly name = 'PeerError';
  /** Stable machine-readable reason. */
  readonly reason: PeerErrorReason;

  constructor(reason: PeerErrorReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

interface CandidateStats extends RTCStats {
  usernameFragment?: string;
}

/** Finds out why a connection is not connected. */
export async function diagnose(connection: Connection): Promise<PeerError> {
  const { rtc, iceError } = connection;
  if (!rtc.remoteDescription) return new PeerError('NO_ANSWER', 'the peer did not answer the offer');
  if (rtc.iceConnectionState === 'connected' || rtc.iceConnectionState === 'completed') {
    return new PeerError('NO_HANDSHAKE', 'a network path was found, but the DTLS handshake does not finish');
  }
  const candidates = [...((await rtc.getStats()) as unknown as Map<string, CandidateStats>).values()];
  // Candidates from before an ICE restart remain in the statistics.
  const ufrag = iceUfrag(rtc.localDescription?.sdp ?? '');
  const hasLocal = candidates.some(
    ({ type, usernameFragment = ufrag }) => type === 'local-candidate' && usernameFragment === ufrag,
  );
  const cause = iceError ? `: ${iceError}` : '';
  if (!hasLocal) {
    return rtc.getConfiguration().iceTransportPolicy === 'relay'
      ? new PeerError('NO_RELAY', `no TURN server can be reached${cause}`)
      : new PeerError('NO_CANDIDATES', `this device has no usable network address${cause}`);
  }
  if (!candidates.some(({ type }) => type === 'remote-candidate')) {
    return new PeerError('NO_REMOTE_CANDIDATES', 'the peer sent no usable network address');
  }
  return new PeerError('NO_PATH', `no network path to the peer works${cause}`);
}
