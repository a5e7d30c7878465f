import { Emitter } from '../emitter.js';
import type { Unsubscribe } from '../handlers.js';
import type { LeaveReason, Member } from '../model.js';
import type { JoinOptions } from '../options.js';
import type { Outcome } from '../outbox.js';
import { watchPage } from '../page.js';
import type { ProfileChange, ProfileValues } from '../profile.js';
import { join, type Session } from '../session.js';
import { MeshChannel, type MeshChannelOptions } from './channel.js';
import type { Connection } from './connection.js';
import { Peer, type PeerHost } from './peer.js';
import type { Publication, PublishOptions } from './publication.js';
import { PUBLICATIONS_ATTRIBUTE } from './publicationList.js';
import { Publications } from './publications.js';
import type { Quality } from './quality.js';
import type { RemoteTrack } from './remoteTracks.js';
import type { ReceivedData } from './transfer.js';
import { checkWebRtc, createConnection, findWebRtc, type WebRtc } from './webrtc.js';

/** How long a connection is kept after its member was lost, in case the member rejoins, in milliseconds. */
const DETACHED_MS = 30_000;
/** Attribute that identifies the page, to recognise a member after a rejoin. */
const INSTANCE_ATTRIBUTE = 'instance';
/** Attribute of members without media. The mesh does not connect to members with the value `none`, such as bots. */
const MEDIA_ATTRIBUTE = 'media';

/** Intervals of the quality measurement and of the speech detection, in milliseconds. */
const QUALITY_MS = 2_000;
const SPEAKING_MS = 250;
/** Maximum length of `error` in a report; see ConnectionReport in signal.proto. */
const MAX_ERROR_LENGTH = 256;

const OWN_ATTRIBUTES: ReadonlySet<string> = new Set([INSTANCE_ATTRIBUTE, PUBLICATIONS_ATTRIBUTE]);

/** Options of `Mesh.join`. */
export interface MeshOptions extends JoinOptions {
  /** Media to publish from the start. Without it, the mesh only receives media until `publish` is called. */
  stream?: MediaStream | undefined;
  /**
   * Configuration of every RTCPeerConnection. `iceServers` default to those of the server, and `iceTransportPolicy`
   * defaults to `relay` in rooms that were `relayOnly` when the connection was created.
   */
  rtcConfiguration?: RTCConfiguration;
  /** WebRTC classes of another implementation, for programs in Node. Default: those of the browser. */
  webrtc?: WebRtc;
}

/** Events of a mesh. Its `session` reports the connection to the server. */
export interface MeshEvents {
  peerAdded: Peer;
  /** The state, path, stream or member of a peer changed. */
  peerChanged: Peer;
  /** The mesh has removed the peer and closed its connection. */
  peerRemoved: { readonly peer: Peer; readonly reason: LeaveReason };
  /** The peer sends a track. */
  trackAdded: { readonly peer: Peer } & RemoteTrack;
  /** The peer no longer sends the track, or its connection was replaced. */
  trackRemoved: { readonly peer: Peer } & RemoteTrack;
  /** The peer muted or unmuted the track. */
  trackMuted: { readonly peer: Peer } & RemoteTrack;
  /** A message from a peer's data channel. */
  message: { readonly peer: Peer; readonly data: ReceivedData };
  /** The quality of a peer was measured, every two seconds while it is connected. */
  quality: { readonly peer: Peer; readonly quality: Quality };
  /** A non-fatal error, such as a candidate or description that the browser rejected. */
  warning: { readonly peer: Peer | undefined; readonly error: unknown };
}

/**
 * A full mesh: one RTCPeerConnection to every other member, with media in both directions and a data channel. It suits
 * small rooms, since the number of connections grows quadratically.
 *
 * The mesh does not connect to members whose attribute `media` is `none`; they only signal.
 *
 * Peer connections outlive their session. When either member rejoins, working media and data channels continue under
 * the new member_ids.
 */
export class Mesh extends Emitter<MeshEvents> {
  /** The signaling session. */
  readonly session: Session;
  readonly #options: MeshOptions;
  readonly #webrtc: WebRtc;
  readonly #peers = new Map<string, Peer>();
  // Cache of `peers`, dropped on each change.
  #snapshot: ReadonlyMap<string, Peer> | undefined;
  readonly #publications: Publications;
  readonly #channels = new Map<string, MeshChannel>();
  readonly #timers: ReturnType<typeof setInterval>[];
  // Peers whose member was lost and may rejoin.
  readonly #detached = new Map<Peer, { reason: LeaveReason; timer: ReturnType<typeof setTimeout> }>();
  readonly #unsubscribe: Unsubscribe[];
  readonly #host: PeerHost;

  /**
   * Joins a room and connects to every member, present and future. Throws like `join`. Throws `UNSUPPORTED` before
   * it joins if WebRTC is unavailable or rejects `rtcConfiguration`.
   */
  static async join(room: string, options: MeshOptions = {}): Promise<Mesh> {
    const webrtc = options.webrtc ?? findWebRtc();
    checkWebRtc(webrtc, options.rtcConfiguration);
    const attributes = {
      ...options.attributes,
      [INSTANCE_ATTRIBUTE]: options.attributes?.[INSTANCE_ATTRIBUTE] ?? randomId(),
    };
    const session = await join(room, { ...options, attributes });
    try {
      return new Mesh(session, options, webrtc);
    } catch (error) {
      void session.leave();
      throw error;
    }
  }

  private constructor(session: Session, options: MeshOptions, webrtc: WebRtc) {
    super();
    this.session = session;
    this.#options = options;
    this.#webrtc = webrtc;
    this.#host = {
      createConnection: () => this.#createConnection(),
      createStream: () => new webrtc.MediaStream(),
      prepare: (connection) => this.#prepare(connection),
      isPolite: (member) => session.me.joinOrder > member.joinOrder,
      get isReachable() {
        return session.state === 'connected';
      },
      sendOffer: (...args) => session.sendOffer(...args),
      sendAnswer: (...args) => session.sendAnswer(...args),
      sendCandidate: (...args) => session.sendCandidate(...args),
      onChange: (peer) => this.#handleChange(peer),
      onConnectionResult: (peer, elapsedMs) => this.#report(peer, elapsedMs),
      onMessage: (peer, data) => this.emit('message', { peer, data }),
      onChannelMessage: (peer, name, data) => this.#channels.get(name)?.receive(peer, data),
      onTrackAdded: (peer, track) => this.emit('trackAdded', { peer, ...track }),
      onTrackRemoved: (peer, track) => this.emit('trackRemoved', { peer, ...track }),
      onTrackMuted: (peer, track) => this.emit('trackMuted', { peer, ...track }),
      onWarning: (peer, error) => this.#warn(peer, error),
    };
    this.#publications = new Publications(session, webrtc, {
      peers: () => [...this.#peers.values(), ...this.#detached.keys()],
      onWarning: (peer, error) => this.#warn(peer, error),
    });
    if (options.stream && options.stream.getTracks().length > 0) this.publish(options.stream);
    for (const member of session.members.values()) this.#connectTo(member);
    this.#unsubscribe = [
      session.on('memberJoined', (member) => this.#connectTo(member)),
      session.on('memberUpdated', (member) => this.#peers.get(member.memberId)?.update(member)),
      session.on('memberLeft', ({ member, reason }) => this.#handleMemberLeft(member, reason)),
      session.on('offer', (event) => this.#peers.get(event.from)?.handleOffer(event)),
      session.on('answer', (event) => this.#peers.get(event.from)?.handleAnswer(event)),
      session.on('candidate', (event) => this.#peers.get(event.from)?.handleCandidate(event)),
      session.on('iceServers', ({ iceServers }) => this.#setIceServers(iceServers)),
      session.on('resumed', () => this.#forEachPeer((peer) => peer.reachable())),
      session.on('rejoined', () => this.#handleRejoined()),
      session.on('ended', () => this.close()),
      watchPage({
        networkChanged: () => this.#forEachPeer((peer) => peer.networkChanged()),
        becameVisible() {},
        unloading() {},
      }),
    ];
    this.#timers = [
      setInterval(() => this.#forEachPeer((peer) => void this.#measure(peer)), QUALITY_MS),
      setInterval(() => this.#forEachPeer((peer) => peer.listen()), SPEAKING_MS),
    ];
  }

  /** An immutable snapshot of the peers, by member_id. Each change of a peer creates a new one. */
  get peers(): ReadonlyMap<string, Peer> {
    this.#snapshot ??= new Map(this.#peers);
    return this.#snapshot;
  }

  /**
   * Calls `listener` after each change of `peers`, as `useSyncExternalStore` of React requires:
   *
   * ```ts
   * const peers = useSyncExternalStore(mesh.subscribe, () => mesh.peers);
   * ```
   */
  readonly subscribe = (listener: () => void): Unsubscribe => {
    const unsubscribe = [
      this.on('peerAdded', listener),
      this.on('peerChanged', listener),
      this.on('peerRemoved', listener),
    ];
    return () => {
      for (const each of unsubscribe) each();
    };
  };

  /** The publications of this client. */
  get publications(): readonly Publication[] {
    return this.#publications.all;
  }

  /**
   * Sends a track, or a stream with at most one track of each kind, to every peer, present and future.
   *
   * The mesh shares 4 Mbit/s among all peers and videos. `maxBitrate` can only lower the share.
   *
   * @throws TypeError if there is no track, or several of a kind.
   */
  publish(source: MediaStreamTrack | MediaStream, options: PublishOptions = {}): Publication {
    return this.#publications.publish(source, options);
  }

  /**
   * Changes the name or attributes of this member. Like `session.update`, but keeps the attributes that the mesh itself
   * uses.
   */
  update(change: ProfileChange | ((current: ProfileValues) => ProfileChange)): Promise<Outcome> {
    return this.session.update((current) => {
      const { displayName, attributes } = typeof change === 'function' ? change(current) : change;
      const own = Object.entries(current.attributes).filter(([name]) => OWN_ATTRIBUTES.has(name));
      return {
        ...(displayName === undefined ? {} : { displayName }),
        ...(attributes === undefined ? {} : { attributes: { ...attributes, ...Object.fromEntries(own) } }),
      };
    });
  }

  /**
   * Sends a message to every peer over its data channel, without waiting. Returns the peers to which it could not be
   * sent; see `Peer.trySend`.
   */
  broadcast(data: string | ArrayBuffer): Peer[] {
    return [...this.#peers.values()].filter((peer) => !peer.trySend(data));
  }

  /** Returns the data channel with this name to every peer. Only the first call for a name applies `options`. */
  channel(name: string, options: MeshChannelOptions = {}): MeshChannel {
    const existing = this.#channels.get(name);
    if (existing) return existing;
    const channel = new MeshChannel(name, options, () => this.#peers.values());
    this.#channels.set(name, channel);
    for (const { current } of this.#peers.values()) if (current) channel.open(current);
    return channel;
  }

  /** Leaves the room and closes every peer connection. */
  async leave(reason = ''): Promise<void> {
    await this.session.leave(reason);
    this.close();
  }

  /** Closes every peer connection, but keeps the session open. */
  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const peer of [...this.#peers.values(), ...this.#detached.keys()]) this.#remove(peer, 'LEFT');
    this.endEvents();
  }

  #createConnection(): RTCPeerConnection {
    const { iceServers, room } = this.session;
    // The server drops all other candidates anyway, so the browser need not gather them.
    const policy = room.relayOnly ? ({ iceTransportPolicy: 'relay' } as const) : {};
    const configuration = { iceServers, ...policy, ...this.#options.rtcConfiguration };
    return createConnection(this.#webrtc, configuration, (error) => this.#warn(undefined, error));
  }

  #prepare(connection: Connection): void {
    for (const channel of this.#channels.values()) channel.open(connection);
    this.#publications.addTo(connection);
  }

  #warn(peer: Peer | undefined, error: unknown): void {
    if (peer?.state !== 'closed') this.emit('warning', { peer, error });
  }

  #connectTo(member: Member): void {
    if (member.attributes[MEDIA_ATTRIBUTE] === 'none') return;
    const existing = this.#findDetached(member);
    if (existing) {
      clearTimeout(this.#detached.get(existing)?.timer);
      this.#detached.delete(existing);
      this.#peers.set(member.memberId, existing);
      this.#snapshot = undefined;
      existing.rebind(member);
      return;
    }
    const peer = new Peer(member, this.#host);
    this.#peers.set(member.memberId, peer);
    this.#snapshot = undefined;
    this.#publications.update();
    this.emit('peerAdded', peer);
  }

  /**
   * Finds the detached peer of the same page. Unless the room allows duplicate identities, removes the peers of other
   * pages with the same identity, because the new member replaced them.
   */
  #findDetached(member: Member): Peer | undefined {
    const isUnique = member.identity !== '' && !this.session.room.allowsDuplicates;
    let match: Peer | undefined;
    for (const peer of [...this.#detached.keys()]) {
      if (isSamePage(peer.member, member)) match = peer;
      else if (isUnique && peer.member.identity === member.identity) this.#remove(peer, 'REPLACED');
    }
    return match;
  }

  #handleMemberLeft(member: Member, reason: LeaveReason): void {
    const peer = this.#peers.get(member.memberId);
    if (!peer) return;
    const isFinal = reason === 'LEFT' || reason === 'REMOVED' || reason === 'ROOM_CLOSED';
    if (isFinal) this.#remove(peer, reason);
    else this.#detach(peer, reason);
  }

  /** Keeps the connection of a lost member while it works, because the member may rejoin. */
  #detach(peer: Peer, reason: LeaveReason): void {
    if (peer.state !== 'connected' || !peer.member.attributes[INSTANCE_ATTRIBUTE]) {
      this.#remove(peer, reason);
      return;
    }
    this.#peers.delete(peer.member.memberId);
    this.#snapshot = undefined;
    this.#detached.set(peer, { reason, timer: setTimeout(() => this.#remove(peer, reason), DETACHED_MS) });
    peer.update({ ...peer.member, state: 'suspended' });
  }

  /** Matches the existing peers with the members of the new session. */
  #handleRejoined(): void {
    for (const peer of [...this.#peers.values()]) this.#detach(peer, 'TIMED_OUT');
    this.#setIceServers(this.session.iceServers);
    for (const member of this.session.members.values()) this.#connectTo(member);
  }

  #remove(peer: Peer, reason: LeaveReason): void {
    clearTimeout(this.#detached.get(peer)?.timer);
    this.#detached.delete(peer);
    if (this.#peers.get(peer.member.memberId) === peer) this.#peers.delete(peer.member.memberId);
    this.#snapshot = undefined;
    if (peer.state === 'closed') return;
    peer.close();
    this.#publications.update();
    this.emit('peerRemoved', { peer, reason });
  }

  #handleChange(peer: Peer): void {
    this.#snapshot = undefined;
    const detached = this.#detached.get(peer);
    if (detached && peer.state !== 'connected') this.#remove(peer, detached.reason);
    else if (detached || this.#peers.get(peer.member.memberId) === peer) this.emit('peerChanged', peer);
  }

  #forEachPeer(action: (peer: Peer) => void): void {
    for (const peer of this.#peers.values()) action(peer);
  }

  async #measure(peer: Peer): Promise<void> {
    if (await peer.measure()) this.emit('quality', { peer, quality: peer.quality });
  }

  #setIceServers(iceServers: RTCIceServer[]): void {
    if (this.#options.rtcConfiguration?.iceServers) return;
    for (const peer of [...this.#peers.values(), ...this.#detached.keys()]) peer.setIceServers(iceServers);
  }

  #report(peer: Peer, elapsedMs: number): void {
    void this.session.report({
      peer: peer.member.memberId,
      iceState: peer.connection?.iceConnectionState ?? 'new',
      connectionState: peer.connection?.connectionState ?? 'new',
      localCandidateType: peer.path?.local ?? '',
      remoteCandidateType: peer.path?.remote ?? '',
      protocol: peer.path?.protocol ?? '',
      elapsedMs,
      error: peer.error
        ? `${peer.error.reason}: ${peer.error.message}`.replace(/[^ -~]/g, '?').slice(0, MAX_ERROR_LENGTH)
        : '',
    });
  }
}

function isSamePage(a: Member, b: Member): boolean {
  return (
    a.identity === b.identity &&
    !!a.attributes[INSTANCE_ATTRIBUTE] &&
    a.attributes[INSTANCE_ATTRIBUTE] === b.attributes[INSTANCE_ATTRIBUTE]
  );
}

/** Replaces crypto.randomUUID, which is unavailable in insecure contexts. */
function randomId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
