import { sleep } from '../backoff.js';
import type { CandidateEvent, DescriptionEvent } from '../events.js';
import type { Member } from '../model.js';
import type { Outcome } from '../outbox.js';
import { Changes } from './changes.js';
import { CHANNEL_PROTOCOL } from './channel.js';
import { Connection, type ConnectionHost } from './connection.js';
import { fits, hasCapacity, trySend } from './messages.js';
import { Negotiator, type NegotiatorHost } from './negotiator.js';
import { diagnose, PeerError } from './peerError.js';
import { isSpeaking, LOST, type Quality, QualityMeter } from './quality.js';
import { receivedBytes } from './receivedBytes.js';
import { Recovery, type RecoveryHost } from './recovery.js';
import type { RemoteTrack } from './remoteTracks.js';
import { type Path, selectedCandidatePair } from './selectedCandidatePair.js';
import {
  type MessageData,
  type ReceivedData,
  receiveTransfer,
  type SendOptions,
  sendTransfer,
  TRANSFER_PROTOCOL,
} from './transfer.js';

/** How long the member that joined later waits for an offer before it makes one itself, in milliseconds. */
const OFFER_TIMEOUT_MS = 10_000;

/**
 * `disconnected`: the connection is lost, but may recover by itself. `failed`: the connection failed or timed out, for
 * the reason in `error`. The mesh retries until the member leaves.
 */
export type PeerState = 'connecting' | 'connected' | 'disconnected' | 'failed' | 'closed';

/** What a peer requires from its mesh. */
export interface PeerHost {
  /** Creates an RTCPeerConnection with the current configuration. */
  createConnection(): RTCPeerConnection;
  createStream(): MediaStream;
  /** Adds the local media and the channels of the mesh to a new connection. */
  prepare(connection: Connection): void;
  /** Whether this client is the polite peer, because it joined after `member`. */
  isPolite(member: Member): boolean;
  /** Whether this client's session is connected. */
  readonly isReachable: boolean;
  sendOffer(to: string, sdp: string, negotiation: number): Promise<Outcome>;
  sendAnswer(to: string, sdp: string, negotiation: number): Promise<Outcome>;
  sendCandidate(to: string, candidate: RTCIceCandidateInit, negotiation: number): Promise<Outcome>;
  /** The state, path, stream, error or member changed. */
  onChange(peer: Peer): void;
  /** The connection succeeded or failed, `elapsedMs` after the attempt started. */
  onConnectionResult(peer: Peer, elapsedMs: number): void;
  onMessage(peer: Peer, data: ReceivedData): void;
  /** A message for the `MeshChannel` with this name. */
  onChannelMessage(peer: Peer, name: string, data: string | ArrayBuffer): void;
  onTrackAdded(peer: Peer, track: RemoteTrack): void;
  onTrackRemoved(peer: Peer, track: RemoteTrack): void;
  onTrackMuted(peer: Peer, track: RemoteTrack): void;
  onWarning(peer: Peer, error: unknown): void;
}

/** The connection to one other member. The mesh creates it and passes it the events of the session. */
export class Peer {
  readonly #host: PeerHost;
  readonly #closed = new AbortController();
  readonly #negotiator: Negotiator;
  readonly #recovery: Recovery;
  #member: Member;
  #connection: Connection | undefined;
  #state: PeerState = 'connecting';
  #path: Path | undefined;
  #error: PeerError | undefined;
  readonly #emptyStream: MediaStream;
  readonly #changes = new Changes();
  #meter = new QualityMeter();
  #quality: Quality = LOST;
  #speaking = false;

  /** @internal Created by `Mesh`. */
  constructor(member: Member, host: PeerHost) {
    this.#member = member;
    this.#host = host;
    this.#emptyStream = host.createStream();
    this.#recovery = new Recovery(this.#recoveryHost());
    this.#negotiator = new Negotiator(this.#negotiatorHost());
    this.#openConnection();
    if (!this.#negotiator.mayOffer) void this.#offerAfterTimeout();
  }

  /** The remote member. Its member_id changes when it rejoins. */
  get member(): Member {
    return this.#member;
  }

  /**
   * The RTCPeerConnection, for example for `getStats`. Undefined if the browser cannot create one.
   *
   * The mesh replaces it when the remote peer opens a new connection, or when it cannot be repaired. Transceivers that
   * the application added are recreated on the new connection.
   *
   * Use `Mesh.publish` for media to every peer.
   */
  get connection(): RTCPeerConnection | undefined {
    return this.#connection?.rtc;
  }

  /** Every remote track. */
  get stream(): MediaStream {
    return this.#connection?.tracks.stream ?? this.#emptyStream;
  }

  /** The remote tracks with their labels. */
  get tracks(): readonly RemoteTrack[] {
    return this.#connection?.tracks.all ?? [];
  }

  /** State of the connection. */
  get state(): PeerState {
    return this.#state;
  }

  /** Why the peer is not connected. Undefined while it is connected, and during the first attempt. */
  get error(): PeerError | undefined {
    return this.#error;
  }

  /** The network path of media and data. After the connection is lost, the last known path. */
  get path(): Path | undefined {
    return this.#path;
  }

  /** How well media and data flow. Measured every two seconds. */
  get quality(): Quality {
    return this.#state === 'connected' ? this.#quality : LOST;
  }

  /** Whether the peer is speaking. */
  get speaking(): boolean {
    return this.#speaking;
  }

  /**
   * Sends a message over the data channel without waiting. Returns false if the channel is not open or buffers more
   * than 1 MiB, or if the message is larger than the peer accepts.
   */
  trySend(data: string | ArrayBuffer): boolean {
    const connection = this.#connection;
    return !!connection && trySend(connection.channel, connection.rtc, data);
  }

  /**
   * Sends a message of any size up to 512 MiB. Waits until the data channel is open and accepts it.
   *
   * A Blob, or a message above the peer's maximum message size, is sent in pieces over a separate data channel. The
   * promise then resolves when the peer has received all of it, and smaller messages may arrive earlier.
   *
   * @throws PeerError with `CLOSED` if the member leaves, or `INTERRUPTED` if the connection ends during a large message
   * or the peer rejects the message. Throws the reason of `signal` when it is aborted.
   */
  async send(data: MessageData, options: SendOptions = {}): Promise<void> {
    await this.#changes.until(() => {
      if (this.#state === 'closed') throw new PeerError('CLOSED', 'the member left');
      return !!this.#connection && hasCapacity(this.#connection.channel);
    }, options.signal);
    const connection = this.#connection;
    if (!connection) return this.send(data, options);
    if (!(data instanceof Blob) && fits(connection.rtc, data)) {
      connection.channel.send(data as string);
      return;
    }
    const channel = connection.rtc.createDataChannel('transfer', { protocol: TRANSFER_PROTOCOL });
    await sendTransfer(channel, data, this.#changes, options);
  }

  /** @internal The current connection. */
  get current(): Connection | undefined {
    return this.#connection;
  }

  /** @internal Handles a remote offer. */
  handleOffer(offer: DescriptionEvent): void {
    this.#negotiator.handleOffer(offer);
  }

  /** @internal Handles a remote answer. */
  handleAnswer(answer: DescriptionEvent): void {
    this.#negotiator.handleAnswer(answer);
  }

  /** @internal Handles a remote candidate. */
  handleCandidate(event: CandidateEvent): void {
    this.#negotiator.handleCandidate(event);
  }

  /** @internal Applies a change of the member. */
  update(member: Member): void {
    const wasSuspended = this.#member.state === 'suspended';
    this.#member = member;
    this.#connection?.tracks.describe(member);
    this.#host.onChange(this);
    if (wasSuspended && member.state === 'connected') this.#recovery.reachable();
  }

  /** @internal Continues after a rejoin of either member, and repeats an interrupted negotiation. */
  rebind(member: Member): void {
    this.update(member);
    this.#negotiator.sessionReplaced();
    if (this.#state !== 'connected') this.#recovery.reachable();
  }

  /** @internal Retries a failed connection after this client's session resumed. */
  reachable(): void {
    this.#recovery.reachable();
  }

  /** @internal Restarts ICE after a network change of this device. */
  networkChanged(): void {
    if (this.#state !== 'closed') this.#recovery.networkChanged();
  }

  /** @internal Measures the quality. Returns whether there is a new result. */
  async measure(): Promise<boolean> {
    const rtc = this.connection;
    if (!rtc || this.#state !== 'connected') return false;
    const report = await rtc.getStats();
    if (rtc !== this.connection) return false;
    this.#quality = this.#meter.read(report as unknown as Map<string, unknown>);
    return true;
  }

  /** @internal Checks whether the peer is speaking. */
  listen(): void {
    const speaking = this.#state === 'connected' && !!this.connection && isSpeaking(this.connection);
    if (speaking === this.#speaking) return;
    this.#speaking = speaking;
    this.#host.onChange(this);
  }

  /** @internal Sets new ICE servers. */
  setIceServers(iceServers: RTCIceServer[]): void {
    const rtc = this.connection;
    if (!rtc) return;
    try {
      rtc.setConfiguration({ ...rtc.getConfiguration(), iceServers });
    } catch (error) {
      this.#host.onWarning(this, error);
    }
  }

  /** @internal Closes the connection. */
  close(): void {
    this.#closed.abort();
    this.#recovery.close();
    this.#negotiator.close();
    this.#connection?.close();
    this.#setState('closed');
  }

  #openConnection(): void {
    if (this.#state === 'closed') return;
    const previous = this.#connection;
    this.#negotiator.reset();
    let connection: Connection | undefined;
    try {
      connection = new Connection(this.#host.createConnection(), this.#host.createStream(), this.#connectionHost());
      this.#host.prepare(connection);
      if (previous) connection.adoptTransceivers(previous);
      this.#connection = connection;
    } catch (error) {
      connection?.close();
      this.#connection = undefined;
      this.#error = new PeerError(
        'NO_CONNECTION',
        `the browser could not create an RTCPeerConnection: ${String(error)}`,
      );
      this.#host.onWarning(this, error);
    }
    previous?.close();
    this.#meter = new QualityMeter();
    if (this.#connection) this.#setState(this.#recovery.hasFailed ? 'failed' : 'connecting');
    else this.#recovery.failed();
    if (previous) this.#recovery.replaced();
  }

  #connectionHost(): ConnectionHost {
    const peer = this;
    return {
      get member() {
        return peer.#member;
      },
      onNegotiationNeeded: () => this.#negotiator.negotiationNeeded(),
      onLocalCandidate: (candidate) => this.#negotiator.sendCandidate(candidate),
      onConnectionState: () => void this.#handleConnectionState(),
      onChannelChange: () => this.#handleChannelChange(),
      onCapacity: () => this.#changes.notify(),
      onMessage: (data) => this.#host.onMessage(this, data),
      onDataChannel: (channel) => this.#handleDataChannel(channel),
      onTrackAdded: (track) => this.#trackChanged(() => this.#host.onTrackAdded(this, track)),
      onTrackRemoved: (track) => this.#trackChanged(() => this.#host.onTrackRemoved(this, track)),
      onTrackMuted: (track) => this.#trackChanged(() => this.#host.onTrackMuted(this, track)),
    };
  }

  #negotiatorHost(): NegotiatorHost {
    const peer = this;
    const host = this.#host;
    return {
      get connection() {
        return peer.#connection;
      },
      get isPolite() {
        return host.isPolite(peer.#member);
      },
      get isReachable() {
        return peer.#isReachable;
      },
      replaceConnection: () => this.#openConnection(),
      sendOffer: (sdp, negotiation) => host.sendOffer(this.#member.memberId, sdp, negotiation),
      sendAnswer: (sdp, negotiation) => host.sendAnswer(this.#member.memberId, sdp, negotiation),
      sendCandidate: (candidate, negotiation) => host.sendCandidate(this.#member.memberId, candidate, negotiation),
      onRemoteOffer: () => this.#recovery.remoteActed(),
      onWarning: (error) => host.onWarning(this, error),
    };
  }

  #recoveryHost(): RecoveryHost {
    const peer = this;
    return {
      get isPolite() {
        return peer.#host.isPolite(peer.#member);
      },
      get isReachable() {
        return peer.#isReachable;
      },
      get isBeyondRestart() {
        const connection = peer.#connection;
        if (!connection || connection.hasEnded || connection.rtc.connectionState === 'closed') return true;
        const { remoteDescription, iceConnectionState, connectionState } = connection.rtc;
        if (!remoteDescription) return true;
        const hasPath = iceConnectionState === 'connected' || iceConnectionState === 'completed';
        return hasPath && connectionState !== 'connected';
      },
      receivedBytes: async () => (this.connection ? receivedBytes(this.connection) : 0),
      restartIce: () => this.#negotiator.restartIce(),
      replaceConnection: () => this.#openConnection(),
      onFailure: () => void this.#handleFailure(),
    };
  }

  get #isReachable(): boolean {
    return this.#host.isReachable && this.#member.state === 'connected';
  }

  async #offerAfterTimeout(): Promise<void> {
    await sleep(OFFER_TIMEOUT_MS, this.#closed.signal);
    this.#negotiator.allowOffers();
  }

  #handleChannelChange(): void {
    if (this.#connection?.hasEnded) {
      this.#recovery.remoteEnded();
      this.#setState('disconnected');
    } else {
      this.#host.onChange(this);
    }
    this.#changes.notify();
  }

  #handleDataChannel(channel: RTCDataChannel): void {
    const host = this.#host;
    if (channel.protocol === TRANSFER_PROTOCOL) {
      receiveTransfer(channel, (data) => this.#state !== 'closed' && host.onMessage(this, data));
    } else if (channel.protocol === CHANNEL_PROTOCOL) {
      channel.binaryType = 'arraybuffer';
      channel.onmessage = ({ data }) => this.#state !== 'closed' && host.onChannelMessage(this, channel.label, data);
    }
  }

  async #handleConnectionState(): Promise<void> {
    const rtc = this.connection;
    if (!rtc) return;
    const { connectionState } = rtc;
    if (connectionState === 'connected') {
      const elapsedMs = this.#recovery.connected();
      this.#error = undefined;
      this.#setState('connected');
      const path = await selectedCandidatePair(rtc);
      if (rtc !== this.connection || rtc.connectionState !== 'connected') return;
      this.#path = path;
      this.#host.onConnectionResult(this, elapsedMs);
      this.#host.onChange(this);
    } else if (connectionState === 'disconnected') {
      this.#recovery.disconnected();
      this.#setState('disconnected');
    } else if (connectionState === 'failed') {
      this.#recovery.failed();
      this.#setState('failed');
    } else if (connectionState !== 'closed' && !this.#recovery.hasFailed) {
      this.#setState('connecting');
    }
  }

  async #handleFailure(): Promise<void> {
    const connection = this.#connection;
    const { elapsedMs } = this.#recovery;
    const error = connection ? await diagnose(connection) : this.#error;
    if (!this.#recovery.hasFailed || this.#state === 'closed') return;
    const isNew = error?.reason !== this.#error?.reason || this.#state !== 'failed';
    this.#error = error;
    this.#setState('failed');
    if (isNew) this.#host.onConnectionResult(this, elapsedMs);
  }

  #trackChanged(report: () => void): void {
    if (this.#state === 'closed') return;
    report();
    this.#host.onChange(this);
  }

  #setState(state: PeerState): void {
    if (this.#state === 'closed') return;
    this.#state = state;
    this.#host.onChange(this);
    this.#changes.notify();
  }
}
