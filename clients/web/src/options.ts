import type { Transport } from '@connectrpc/connect';
import type { TokenSource } from './credentials.js';
import type { Logger } from './logger.js';

/** How a session reconnects. The delays grow from 0 to 7 s, unless the server requests others. */
export interface ReconnectOptions {
  /** Minimum delay between attempts. Default: 0 ms, for the first attempt after a loss. */
  readonly minDelayMs?: number;
  /** Maximum delay between attempts. Default and upper limit: 7,000 ms. */
  readonly maxDelayMs?: number;
  /**
   * Ends a session after this time without a connection, with the reason of the last error. Default: no limit. The
   * client checks it after each attempt, which takes up to 10 s.
   */
  readonly giveUpAfterMs?: number;
}

/** Options of `join`. */
export interface JoinOptions {
  /** Origin of the server, such as `https://example.org`. Default: the origin of the page. */
  url?: string;
  /**
   * A JSON Web Token with identity and room, for servers that require one. It is sent in a header, never in a URL.
   *
   * A function is called before the first join and again before the token expires, which keeps the session alive. A
   * session with a fixed token ends when the token expires.
   */
  token?: TokenSource;
  /** Identifies the user to the application; at most 256 bytes. Default: that of the token, else anonymous. */
  identity?: string;
  /** Name to display; at most 256 bytes. */
  displayName?: string;
  /** Application data visible to the other members; at most 4 KiB for keys and values together. */
  attributes?: Record<string, string>;
  /** Passcode of the room, if it has one. */
  passcode?: string;
  /** Cancels joining. No effect once joined. */
  signal?: AbortSignal;
  /** How long to retry while the server is unreachable or asks to wait. Default: 15,000 ms. */
  joinTimeoutMs?: number;
  /** How the session reconnects. */
  reconnect?: ReconnectOptions;
  /** Replaces the global `fetch`. Its responses must have a `body` that can be read while it arrives. */
  fetch?: typeof globalThis.fetch;
  /** Receives the log of the session and the errors of event handlers. Default: no log. */
  logger?: Logger;
  /** Replaces the transport, for tests. A function is called with the URL of the server. */
  transport?: Transport | ((url: string) => Transport);
}

/** `suspended`: disconnected and reconnecting. `ended`: final. */
export type SessionState = 'joining' | 'connected' | 'suspended' | 'ended';

/** State of a peer connection, for the operators of the server. Texts have at most 64 bytes. */
export interface Report {
  /** member_id of the other member. */
  readonly peer: string;
  readonly iceState?: RTCIceConnectionState;
  readonly connectionState?: RTCPeerConnectionState;
  /** RTCIceCandidateType of the selected pair, or empty. */
  readonly localCandidateType?: string;
  readonly remoteCandidateType?: string;
  /** Transport of the selected pair: `udp`, `tcp` or `tls`, or empty. */
  readonly protocol?: string;
  /** Milliseconds from the first signal to this state. */
  readonly elapsedMs?: number;
  /** Description of the failure, at most 256 bytes. */
  readonly error?: string;
}
