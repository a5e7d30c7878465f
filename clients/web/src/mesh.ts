import { Emitter } from './emitter.js';
import type { Unsubscribe } from './handlers.js';
import type { LeaveReason, Member } from './model.js';
import type { JoinOptions } from './options.js';
import { Peer, type PeerHost } from './peer.js';
import { join, type Session } from './session.js';

/** How long a connection is kept after its member was lost, in case the member rejoins, in milliseconds. */
const DETACHED_MS = 30_000;
/** Attribute that identifies the page, to recognise a member after a rejoin. */
const INSTANCE_ATTRIBUTE = 'instance';
/** Members with the value `none`, such as programs, only signal: a mesh does not connect to them. */
const MEDIA_ATTRIBUTE = 'media';

/** Options of `Mesh.join`. */
export interface MeshOptions extends JoinOptions {
  /** Sent to every peer. Without it the mesh only receives media; data channels work either way. */
  stream?: MediaStream | undefined;
  /**
   * Configuration of every RTCPeerConnection. `iceServers` default to those of the server, and `iceTransportPolicy`
   * defaults to `relay` in rooms that were `relayOnly` when the connection was created.
   */
  rtcConfiguration?: RTCConfiguration;
}

/** Events of a mesh. Its `session` reports the connection to the server. */
export interface MeshEvents {
  peerAdded: Peer;
  /** The state, path, stream or member of a peer changed. */
  peerChanged: Peer;
  /** The peer connection is closed. */
  peerRemoved: { readonly peer: Peer; readonly reason: LeaveReason };
  /** A message from a peer's data channel. */
  message: { readonly peer: Peer; readonly data: string | ArrayBuffer };
  /** A non-fatal error, such as a candidate or description that the browser rejected. */
  warning: { readonly peer: Peer; readonly error: unknown };
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
  readonly #peers = new Map<string, Peer>();
  // Peers whose member was lost and may rejoin.
  readonly #detached = new Map<Peer, { reason: LeaveReason; timer: ReturnType<typeof setTimeout> }>();
  readonly #unsubscribe: Unsubscribe[];
  readonly #host: PeerHost;

  /** Joins a room and connects to every member, present and future. Throws like `join`. */
  static async join(room: string, options: MeshOptions = {}): Promise<Mesh> {
    const attributes = {
      ...options.attributes,
      [INSTANCE_ATTRIBUTE]: options.attributes?.[INSTANCE_ATTRIBUTE] ?? randomId(),
    };
    return new Mesh(await join(room, { ...options, attributes }), options);
  }

  private constructor(session: Session, options: MeshOptions) {
    super();
    this.session = session;
    this.#options = options;
    this.#host = {
      createConnection: () => this.#createConnection(),
      isPolite: (member) => session.me.joinOrder > member.joinOrder,
      sendOffer: (...args) => session.sendOffer(...args),
      sendAnswer: (...args) => session.sendAnswer(...args),
      sendCandidate: (...args) => session.sendCandidate(...args),
      onChange: (peer) => this.#handleChange(peer),
      onConnectionResult: (peer, elapsedMs) => this.#report(peer, elapsedMs),
      onMessage: (peer, data) => this.emit('message', { peer, data }),
      onWarning: (peer, error) => this.emit('warning', { peer, error }),
    };
    for (const member of session.members.values()) this.#connectTo(member);
    this.#unsubscribe = [
      session.on('memberJoined', (member) => this.#connectTo(member)),
      session.on('memberUpdated', (member) => this.#peers.get(member.memberId)?.update(member)),
      session.on('memberLeft', ({ member, reason }) => this.#handleMemberLeft(member, reason)),
      session.on('offer', (event) => this.#peers.get(event.from)?.handleOffer(event)),
      session.on('answer', (event) => this.#peers.get(event.from)?.handleAnswer(event)),
      session.on('candidate', (event) => this.#peers.get(event.from)?.handleCandidate(event)),
      session.on('iceServers', ({ iceServers }) => this.#setIceServers(iceServers)),
      session.on('resumed', () => this.#recoverPeers()),
      session.on('rejoined', () => this.#handleRejoined()),
      session.on('ended', () => this.close()),
    ];
  }

  /** The peers, by member_id. */
  get peers(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  /** Sends to every peer over its data channel. Returns the peers that it could not be sent to. */
  broadcast(data: string | ArrayBuffer): Peer[] {
    return [...this.#peers.values()].filter((peer) => !peer.send(data));
  }

  /** Leaves the room and closes every peer connection. */
  async leave(reason = ''): Promise<void> {
    await this.session.leave(reason);
    this.close();
  }

  /** Closes every peer connection and leaves the session open. */
  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const peer of [...this.#peers.values(), ...this.#detached.keys()]) this.#remove(peer, 'LEFT');
    this.endEvents();
  }

  #createConnection(): RTCPeerConnection {
    const { rtcConfiguration, stream } = this.#options;
    const { iceServers, room } = this.session;
    // The server drops other candidates in any case. This keeps the browser from gathering them.
    const policy = room.relayOnly ? ({ iceTransportPolicy: 'relay' } as const) : {};
    const connection = new RTCPeerConnection({ iceServers, ...policy, ...rtcConfiguration });
    for (const track of stream?.getTracks() ?? []) connection.addTrack(track, stream as MediaStream);
    return connection;
  }

  #connectTo(member: Member): void {
    if (member.attributes[MEDIA_ATTRIBUTE] === 'none') return;
    const existing = this.#findDetached(member);
    if (existing) {
      clearTimeout(this.#detached.get(existing)?.timer);
      this.#detached.delete(existing);
      this.#peers.set(member.memberId, existing);
      existing.rebind(member);
      return;
    }
    const peer = new Peer(member, this.#host);
    this.#peers.set(member.memberId, peer);
    this.emit('peerAdded', peer);
  }

  /**
   * Finds the detached peer of the same page. Peers of other pages with that identity were replaced, unless the room
   * allows duplicate identities.
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
    if (peer.state === 'closed') return;
    peer.close();
    this.emit('peerRemoved', { peer, reason });
  }

  #handleChange(peer: Peer): void {
    const detached = this.#detached.get(peer);
    if (detached && peer.state !== 'connected') this.#remove(peer, detached.reason);
    else if (detached || this.#peers.get(peer.member.memberId) === peer) this.emit('peerChanged', peer);
  }

  #recoverPeers(): void {
    for (const peer of this.#peers.values()) {
      if (peer.state === 'disconnected' || peer.state === 'failed') void peer.recover();
    }
  }

  #setIceServers(iceServers: RTCIceServer[]): void {
    if (this.#options.rtcConfiguration?.iceServers) return;
    for (const peer of [...this.#peers.values(), ...this.#detached.keys()]) peer.setIceServers(iceServers);
  }

  #report(peer: Peer, elapsedMs: number): void {
    void this.session.report({
      peer: peer.member.memberId,
      iceState: peer.connection.iceConnectionState,
      connectionState: peer.connection.connectionState,
      localCandidateType: peer.path?.local ?? '',
      remoteCandidateType: peer.path?.remote ?? '',
      protocol: peer.path?.protocol ?? '',
      elapsedMs,
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

/** crypto.randomUUID is unavailable on insecure origins. */
function randomId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
