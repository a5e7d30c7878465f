import { Emitter } from '../emitter.js';
import type { Connection } from './connection.js';
import { trySend } from './messages.js';
import type { Peer } from './peer.js';

/** Subprotocol of the data channels of a `MeshChannel`. Their label is the name of the `MeshChannel`. */
export const CHANNEL_PROTOCOL = 'signalbox.channel.v1';

/** Reliability of a `MeshChannel`, as in RTCDataChannelInit. */
export interface MeshChannelOptions {
  /** Whether messages arrive in order. Default: true. */
  ordered?: boolean;
  /** Maximum number of retransmissions of a message. Default: unlimited. */
  maxRetransmits?: number;
  /** Maximum time for retransmissions, in milliseconds. Cannot be combined with `maxRetransmits`. */
  maxPacketLifeTime?: number;
}

/** Events of a `MeshChannel`. */
export interface MeshChannelEvents {
  message: { readonly peer: Peer; readonly data: string | ArrayBuffer };
}

/**
 * A named data channel to every peer, present and future, for example an unreliable one for positions. A peer receives
 * messages only after it has called `Mesh.channel` with the same name.
 */
export class MeshChannel extends Emitter<MeshChannelEvents> {
  readonly name: string;
  readonly #options: MeshChannelOptions;
  readonly #peers: () => Iterable<Peer>;
  readonly #channels = new WeakMap<Connection, RTCDataChannel>();

  /** @internal Created by `Mesh.channel`. */
  constructor(name: string, options: MeshChannelOptions, peers: () => Iterable<Peer>) {
    super();
    this.name = name;
    this.#options = options;
    this.#peers = peers;
  }

  /** Sends a message to every peer. Returns the peers to which it could not be sent. */
  send(data: string | ArrayBuffer): Peer[] {
    return [...this.#peers()].filter((peer) => !this.sendTo(peer, data));
  }

  /**
   * Sends a message to one peer. Returns false if the channel is not open or buffers more than 1 MiB, or if the message
   * is larger than the peer accepts.
   */
  sendTo(peer: Peer, data: string | ArrayBuffer): boolean {
    const connection = peer.current;
    const channel = connection && this.#channels.get(connection);
    return !!channel && trySend(channel, connection.rtc, data);
  }

  /** @internal Opens the channel on a new connection. Each side sends over a data channel that it opened itself. */
  open(connection: Connection): void {
    if (this.#channels.has(connection)) return;
    const options = { ...this.#options, protocol: CHANNEL_PROTOCOL };
    this.#channels.set(connection, connection.rtc.createDataChannel(this.name, options));
  }

  /** @internal Emits a received message. */
  receive(peer: Peer, data: string | ArrayBuffer): void {
    this.emit('message', { peer, data });
  }
}
