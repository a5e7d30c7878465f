import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Transport } from '@connectrpc/connect';
import type { ConnectionReportSchema } from './gen/signalbox/v1/signal_pb.js';

/** How to join. */
export interface JoinOptions {
  /** Origin of the server, such as `https://example.org`. Default: the page's own. */
  url?: string;
  /** Who this is, to the application; at most 256 bytes. Default: anonymous. */
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
  /** Another way to the server, for tests. */
  transport?: Transport;
}

/** `suspended`: the connection is lost and being restored. `ended`: for good. */
export type SessionState = 'joining' | 'connected' | 'suspended' | 'ended';

/** What happened to a peer connection, for the operators of the server; see ConnectionReport in signal.proto. */
export type Report = Omit<MessageInitShape<typeof ConnectionReportSchema>, '$typeName' | '$unknown'>;
