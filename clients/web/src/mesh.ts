import { Emitter, type Unsubscribe } from './emitter.js';
import type { LeaveReason, Member } from './model.js';
import type { JoinOptions } from './options.js';
import { Peer, type PeerHost } from './peer.js';
import { join, type Session } from './session.js';

/** How long a connection whose member has gone without saying so is kept for the member's return, in milliseconds. */
const DETACHED_MS = 30_000;
/** Attribute that names the page, so that a member can be recognised when its session had to be opened anew. */
const INSTANCE_ATTRIBUTE = 'instance';
/** Attribute of members who only signal, such as programs: `none` keeps a mesh from connecting to them. */
const MEDIA_ATTRIBUTE = 'media';

/** How to join a mesh. */
export interface MeshOptions extends JoinOptions {
  /** Sent to everybody. Without it members still have the data channel, and what the others send. */
  stream?: MediaStream | undefined;
  /**
   * Further settings of every RTCPeerConnection. Unless they stand here, `iceServers` come from the server, and
   * `iceTransportPolicy` is `relay` in rooms that were `relayOnly` when the connection was made.
   */
  rtcConfiguration?: RTCConfiguration;
}

/** What a mesh tells. For the connection to the server see the events of its `session`. */
export interface MeshEvents {
  peerAdded: Peer;
  /** Its state, path, stream or member changed. */
  peerChanged: Peer;
  /** It is closed. */
  peerRemoved: { readonly peer: Peer; readonly reason: LeaveReason };
  /** Something came through a peer's data channel. */
  message: { readonly peer: Peer; readonly data: string | ArrayBuffer };
  /** Something went wrong that is not fatal: a candidate or description that the browser refused. */
  warning: { readonly peer: Peer; readonly error: unknown };
}

/**
 * Connects every member of a room to every other, directly: one RTCPeerConnection per member, with media both ways and
 * a data channel. Fine for a handful of members; the load grows with their number squared.
 *
 * Members whose attribute `media` is `none` only signal, as programs may: they are left alone.
 *
 * Connections outlive the session that made them: when this member has `rejoined`, or the other one, media
 * and data channels that still flow go on under the new member_ids.
 */
export class Mesh extends Emitter<MeshEvents> {
  /** The session underneath. */
  readonly session: Session;
  readonly #options: MeshOptions;
  readonly #peers = new Map<string, Peer>();
  // Connections that have lost their member, which may come back.
  readonly #detached = new Map<Peer, { reason: LeaveReason; timer: ReturnType<typeof setTimeout> }>();
  readonly #unsubscribe: Unsubscribe[];
  readonly #host: PeerHost;

  /** Joins a room and connects to everybody in it, and to everybody who comes. Throws what `join` throws. */
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

  /** The connections, by member_id. */
  get peers(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  /** Sends to everybody over the data channels. Returns those whom it could not be sent to. */
  broadcast(data: string | ArrayBuffer): Peer[] {
    return [...this.#peers.values()].filter((peer) => !peer.send(data));
  }

  /** Leaves the room and closes every connection. */
  async leave(reason = ''): Promise<void> {
    await this.session.leave(reason);
    this.close();
  }

  /** Closes every connection. The session goes on. */
  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const peer of [...this.#peers.values(), ...this.#detached.keys()]) this.#remove(peer, 'LEFT');
  }

  #createConnection(): RTCPeerConnection {
    const { rtcConfiguration, stream } = this.#options;
    const { iceServers, room } = this.session;
    // The server lets nothing else through; this also keeps the browser from trying its own addresses.
    const policy = room.relayOnly ? ({ iceTransportPolicy: 'relay' } as const) : {};
    const connection = new RTCPeerConnection({ iceServers, ...policy, ...rtcConfiguration });
    for (const track of stream?.getTracks() ?? []) connection.addTrack(track, stream as MediaStream);
    return connection;
  }

  #connectTo(member: Member): void {
    if (member.attributes[MEDIA_ATTRIBUTE] === 'none') return;
    const detached = this.#findDetached(member);
    if (detached) {
      clearTimeout(this.#detached.get(detached)?.timer);
      this.#detached.delete(detached);
      this.#peers.set(member.memberId, detached);
      detached.rebind(member);
      return;
    }
    const peer = new Peer(member, this.#host);
    this.#peers.set(member.memberId, peer);
    this.emit('peerAdded', peer);
  }

  /**
   * The connection to the same page, if there is one. One to another page of the same identity has been replaced, unless
   * an identity may be there more than once.
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

  /** Keeps a connection that still works, although its member has gone: the member may be about to join again. */
  #detach(peer: Peer, reason: LeaveReason): void {
    if (peer.state !== 'connected' || !peer.member.attributes[INSTANCE_ATTRIBUTE]) {
      this.#remove(peer, reason);
      return;
    }
    this.#peers.delete(peer.member.memberId);
    this.#detached.set(peer, { reason, timer: setTimeout(() => this.#remove(peer, reason), DETACHED_MS) });
    peer.update({ ...peer.member, state: 'suspended' });
  }

  /** This member's session was opened anew: everybody has to be found again. */
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

/** crypto.randomUUID is missing on insecure origins. */
function randomId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
