import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Transport } from '@connectrpc/connect';
import type { TokenSource } from './credentials.js';
import type { ConnectionReportSchema } from './gen/signalbox/v1/signal_pb.js';

/** How to join. */
export interface JoinOptions {
  /** Origin of the server, such as `https://example.org`. Default: the page's own. */
  url?: string;
  /**
   * A JSON Web Token, where the server asks for one: it says who this is and which room it opens. A function that gets
   * one from the application's back end is called before the first join and again in time before the token expires, so
   * that the session goes on; a session with a fixed token ends with it. Sent in a header, never in an address.
   */
  token?: TokenSource;
  /** Who this is, to the application; at most 256 bytes. Default: anonymous, or as the token says. */
  identity?: string;
  /** Shown to people; at most 256 bytes. */
  displayName?: string;
  /** Anything that others shall know; at most 4 KiB, keys and values together. */
  attributes?: Record<string, string>;
  /** Where the room has one. */
  passcode?: string;
  /** Gives up joining. No effect once joined. */
  signal?: AbortSignal;
  /** How long to try again while the server cannot be reached or asks to wait. Default 15,000 ms. */
  joinTimeoutMs?: number;
  /** Another way to the server, for tests; a function is given its address. */
  transport?: Transport | ((url: string) => Transport);
}

/** `suspended`: the connection is lost and being restored. `ended`: for good. */
export type SessionState = 'joining' | 'connected' | 'suspended' | 'ended';

/** What happened to a peer connection, for the operators of the server; see ConnectionReport in signal.proto. */
export type Report = Omit<MessageInitShape<typeof ConnectionReportSchema>, '$typeName' | '$unknown'>;
