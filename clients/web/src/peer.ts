import { sleep } from './backoff.js';
import type { CandidateEvent, DescriptionEvent } from './events.js';
import type { Member } from './model.js';
import { Negotiation } from './negotiation.js';
import type { Outcome } from './outbox.js';
import { type Path, selectedCandidatePair } from './selectedCandidatePair.js';

/** How long the side that does not start waits before it does, in milliseconds. */
const POLITE_DELAY_MS = 3_000;
/** How long a newcomer waits for the offer of a member that was there before, until it makes one itself. */
const OFFER_TIMEOUT_MS = 10_000;
/** Candidates that may wait for their description; the oldest give way. */
const MAX_EARLY_CANDIDATES = 256;
/** How often a signal that the server could not deliver is said again. */
const MAX_SEND_ATTEMPTS = 10;
/** How much may wait in a data channel, in bytes. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

/** `connecting`: not yet. `disconnected`: was connected, and may come back by itself. `failed`: being restarted. */
export type PeerState = 'connecting' | 'connected' | 'disconnected' | 'failed' | 'closed';

/** What a peer needs of the mesh. */
export interface PeerHost {
  /** Makes an RTCPeerConnection with the newest configuration, and adds the local tracks. */
  createConnection(): RTCPeerConnection;
  /** Whether this member joined after that one, and so gives way. */
  isPolite(member: Member): boolean;
  sendOffer(to: string, sdp: string, negotiation: bigint): Promise<Outcome>;
  sendAnswer(to: string, sdp: string, negotiation: bigint): Promise<Outcome>;
  sendCandidate(to: string, candidate: RTCIceCandidateInit, negotiation: bigint): Promise<Outcome>;
  /** State, path, stream or member changed. */
  onChange(peer: Peer): void;
  /** Connected or failed, with what is known about it. */
  onConnectionResult(peer: Peer, elapsedMs: number): void;
  onMessage(peer: Peer, data: string | ArrayBuffer): void;
  onWarning(peer: Peer, error: unknown): void;
}

/**
 * The connection to one other member: W3C perfect negotiation, with candidates sorted by negotiation, ICE restarts,
 * and one data channel. Created by the mesh, which feeds it what the session tells.
 */
export class Peer {
  readonly #host: PeerHost;
  readonly #closed = new AbortController();
  readonly #negotiation = new Negotiation();
  #member: Member;
  #connection!: RTCPeerConnection;
  #channel!: RTCDataChannel;
  #stream!: MediaStream;
  #state: PeerState = 'connecting';
  #path: Path | undefined;
  #startedAt = Date.now();
  #makingOffer = false;
  // The newcomer's side makes no offer before it has had one, or has waited long enough.
  #mayOffer: boolean;
  #earlyCandidates: CandidateEvent[] = [];
  // What comes in is handled one after the other; see handleOffer.
  #queue: Promise<void> = Promise.resolve();
  #endOfCandidatesSentFor = 0n;
  // In DTLS, once it is settled; see #pinDtlsRole.
  #dtlsRole: 'active' | 'passive' | undefined;
  #recovering = false;

  /** @internal Peers are made by the mesh. */
  constructor(member: Member, host: PeerHost) {
    this.#member = member;
    this.#host = host;
    this.#mayOffer = !host.isPolite(member);
    this.#openConnection();
    if (!this.#mayOffer) void this.#offerAfterTimeout();
  }

  /** Who is at the other end; its member_id changes when its session had to be opened anew. */
  get member(): Member {
    return this.#member;
  }

  /** For getStats, addTrack and the like. May be replaced, when the other side begins anew. */
  get connection(): RTCPeerConnection {
    return this.#connection;
  }

  /** What the other side sends. */
  get stream(): MediaStream {
    return this.#stream;
  }

  /** Where the connection stands. */
  get state(): PeerState {
    return this.#state;
  }

  /** The way media and data take, while connected. */
  get path(): Path | undefined {
    return this.#path;
  }

  /** Sends over the data channel. False when it is not open, or more than 1 MiB waits in it. */
  send(data: string | ArrayBuffer): boolean {
    if (this.#channel.readyState !== 'open' || this.#channel.bufferedAmount > MAX_BUFFERED_BYTES) return false;
    this.#channel.send(data as string);
    return true;
  }

  /** @internal The other side offers. */
  handleOffer(offer: DescriptionEvent): void {
    // Handling one thing after the other means that an answer of before is applied when an offer's turn comes, which
    // the pattern of the specification needs isSettingRemoteAnswerPending for.
    this.#enqueue(async () => {
      const collision = this.#makingOffer || this.#connection.signalingState !== 'stable';
      if (collision && !this.#host.isPolite(this.#member)) {
        this.#negotiation.ignoreOffer(offer.negotiation);
        return;
      }
      if (this.#isFromAnotherConnection(offer.sdp)) this.#openConnection();
      const connection = this.#connection;
      this.#mayOffer = true;
      await connection.setRemoteDescription({ type: 'offer', sdp: offer.sdp });
      this.#negotiation.acceptOffer(offer.negotiation);
      await connection.setLocalDescription();
      if (connection !== this.#connection) return;
      const sdp = this.#pinDtlsRole(connection.localDescription?.sdp ?? '');
      this.#dtlsRole ??= dtlsSetup(sdp) === 'passive' ? 'passive' : 'active';
      this.#sendWithRetry(offer.negotiation, () =>
        this.#host.sendAnswer(this.#member.memberId, sdp, offer.negotiation),
      );
      await this.#applyEarlyCandidates();
    });
  }

  /** @internal The other side answers. */
  handleAnswer(answer: DescriptionEvent): void {
    this.#enqueue(async () => {
      if (!this.#negotiation.isExpectedAnswer(answer.negotiation)) return;
      if (this.#connection.signalingState !== 'have-local-offer') return;
      if (this.#isFromAnotherConnection(answer.sdp)) {
        // The other side has begun anew, while this offer was made for what was before.
        this.#openConnection();
        return;
      }
      await this.#connection.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
      this.#dtlsRole ??= dtlsSetup(answer.sdp) === 'passive' ? 'active' : 'passive';
      this.#negotiation.acceptAnswer();
      await this.#applyEarlyCandidates();
    });
  }

  /** @internal A candidate of the other side. */
  handleCandidate(event: CandidateEvent): void {
    this.#enqueue(async () => {
      const action = this.#negotiation.classifyCandidate(event.negotiation);
      if (action === 'drop') return;
      if (action === 'apply' && this.#connection.remoteDescription) return this.#addCandidate(event.candidate);
      this.#earlyCandidates.push(event);
      if (this.#earlyCandidates.length > MAX_EARLY_CANDIDATES) this.#earlyCandidates.shift();
    });
  }

  /** @internal The member changed, or continues under a new member_id. */
  update(member: Member): void {
    this.#member = member;
    this.#host.onChange(this);
  }

  /** @internal The member's connection goes on under new member_ids: repairs what was under way, if anything was. */
  rebind(member: Member): void {
    this.update(member);
    this.#mayOffer = true;
    if (this.#state !== 'connected' || this.#connection.signalingState !== 'stable') void this.recover();
  }

  /** @internal Restarts ICE if it is needed: at once on the impolite side, on the other if that did not help. */
  async recover(): Promise<void> {
    if (this.#recovering) return;
    this.#recovering = true;
    const connection = this.#connection;
    if (this.#host.isPolite(this.#member)) await sleep(POLITE_DELAY_MS, this.#closed.signal);
    this.#recovering = false;
    if (connection !== this.#connection || this.#state === 'closed') return;
    const hasPendingOffer = connection.signalingState === 'have-local-offer';
    if (connection.connectionState === 'connected' && !hasPendingOffer) return;
    this.#startedAt = Date.now();
    this.#mayOffer = true;
    connection.restartIce();
    // An offer whose answer never came would block the new one.
    if (hasPendingOffer) await connection.setLocalDescription({ type: 'rollback' }).catch(() => {});
  }

  /** @internal Fresh ICE servers. */
  setIceServers(iceServers: RTCIceServer[]): void {
    this.#connection.setConfiguration({ ...this.#connection.getConfiguration(), iceServers });
  }

  /** @internal The member has gone. */
  close(): void {
    this.#closed.abort();
    this.#connection.close();
    this.#setState('closed');
  }

  #openConnection(): void {
    const before = this.#connection as RTCPeerConnection | undefined;
    this.#makingOffer = false;
    this.#dtlsRole = undefined;
    this.#path = undefined;
    this.#startedAt = Date.now();
    const connection = this.#host.createConnection();
    this.#connection = connection;
    this.#stream = new MediaStream();
    // Negotiated by both sides with the same id, so that it needs no event and no roles.
    const channel = connection.createDataChannel('signalbox', { negotiated: true, id: 0 });
    channel.binaryType = 'arraybuffer';
    this.#channel = channel;
    const current = () => connection === this.#connection && this.#state !== 'closed';
    channel.onopen = () => current() && this.#host.onChange(this);
    channel.onmessage = ({ data }) => current() && this.#host.onMessage(this, data);
    connection.onnegotiationneeded = () => current() && this.#mayOffer && void this.#offer();
    connection.onicecandidate = ({ candidate }) => current() && this.#sendCandidate(candidate);
    connection.onconnectionstatechange = () => current() && void this.#handleConnectionState();
    connection.ontrack = ({ track }) => {
      if (!current()) return;
      this.#stream.addTrack(track);
      this.#host.onChange(this);
    };
    before?.close();
    this.#setState('connecting');
  }

  async #offer(): Promise<void> {
    const connection = this.#connection;
    const number = this.#negotiation.begin(this.#host.isPolite(this.#member));
    try {
      this.#makingOffer = true;
      await connection.setLocalDescription();
      if (connection !== this.#connection || connection.localDescription?.type !== 'offer') return;
      const sdp = this.#pinDtlsRole(connection.localDescription.sdp);
      this.#sendWithRetry(number, () => this.#host.sendOffer(this.#member.memberId, sdp, number));
    } catch (error) {
      if (this.#state !== 'closed') this.#host.onWarning(this, error);
    } finally {
      if (connection === this.#connection) this.#makingOffer = false;
    }
  }

  async #offerAfterTimeout(): Promise<void> {
    await sleep(OFFER_TIMEOUT_MS, this.#closed.signal);
    this.#enqueue(async () => {
      if (this.#mayOffer) return;
      this.#mayOffer = true;
      await this.#offer();
    });
  }

  /**
   * Says in a description which side begins DTLS, once that is settled. Browsers leave it open in later offers, too, and
   * Firefox then answers with `active` whatever it was before, which Chromium refuses to apply.
   */
  #pinDtlsRole(sdp: string): string {
    return this.#dtlsRole ? sdp.replace(/^a=setup:\w+/gm, `a=setup:${this.#dtlsRole}`) : sdp;
  }

  #sendCandidate(candidate: RTCIceCandidate | null): void {
    const number = this.#negotiation.local;
    // The end of candidates: an empty one in Firefox, for each m-line, and null in every browser.
    if (!candidate && this.#endOfCandidatesSentFor === number) return;
    if (!candidate?.candidate) this.#endOfCandidatesSentFor = number;
    const init = candidate?.toJSON() ?? { candidate: '' };
    this.#sendWithRetry(number, () => this.#host.sendCandidate(this.#member.memberId, init, number));
  }

  /** Says something, again if the server could not take it just then, until it has been overtaken. */
  async #sendWithRetry(number: bigint, send: () => Promise<Outcome>): Promise<void> {
    for (let attempt = 0; attempt < MAX_SEND_ATTEMPTS; attempt += 1) {
      const outcome = await send();
      if (outcome.status !== 'undelivered') return;
      const { reason, retryAfterMs } = outcome.failures[0];
      if (reason === 'TOO_LARGE')
        this.#host.onWarning(this, new Error('a session description or candidate is too large'));
      if (reason !== 'RATE_LIMITED' && reason !== 'MAILBOX_FULL' && reason !== 'OUTBOX_FULL') return;
      await sleep(retryAfterMs ?? 1_000 * (attempt + 1), this.#closed.signal);
      if (this.#state === 'closed' || this.#negotiation.local !== number) return;
    }
  }

  async #handleConnectionState(): Promise<void> {
    const connection = this.#connection;
    const { connectionState } = connection;
    if (connectionState === 'closed') return;
    this.#setState(connectionState === 'new' ? 'connecting' : connectionState);
    if (connectionState === 'disconnected') this.#startedAt = Date.now();
    if (connectionState !== 'connected' && connectionState !== 'failed') return;
    if (connectionState === 'failed') void this.recover();
    const elapsedMs = Date.now() - this.#startedAt;
    this.#path = connectionState === 'connected' ? await selectedCandidatePair(connection) : undefined;
    if (connection !== this.#connection || connection.connectionState !== connectionState) return;
    this.#host.onConnectionResult(this, elapsedMs);
    this.#host.onChange(this);
  }

  #setState(state: PeerState): void {
    if (this.#state === 'closed') return;
    this.#state = state;
    this.#host.onChange(this);
  }

  #enqueue(work: () => Promise<void>): void {
    this.#queue = this.#queue
      .then(() => (this.#state === 'closed' ? undefined : work()))
      .catch((error) => {
        if (this.#state !== 'closed') this.#host.onWarning(this, error);
      });
  }

  async #applyEarlyCandidates(): Promise<void> {
    const early = this.#earlyCandidates;
    this.#earlyCandidates = [];
    for (const event of early) {
      const action = this.#negotiation.classifyCandidate(event.negotiation);
      if (action === 'apply') await this.#addCandidate(event.candidate);
      if (action === 'queue') this.#earlyCandidates.push(event);
    }
  }

  async #addCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    await this.#connection.addIceCandidate(candidate).catch((error) => this.#host.onWarning(this, error));
  }

  /** Whether a description comes from another RTCPeerConnection than the one that this is connected to. */
  #isFromAnotherConnection(sdp: string): boolean {
    const known = this.#connection.remoteDescription?.sdp;
    return known !== undefined && fingerprint(known) !== fingerprint(sdp);
  }
}

/** Which side of DTLS a description is, or leaves open. */
function dtlsSetup(sdp: string): string | undefined {
  return /^a=setup:(\w+)/m.exec(sdp)?.[1];
}

/** The certificate's fingerprint, made anew for each RTCPeerConnection, names it. */
function fingerprint(sdp: string): string {
  return /^a=fingerprint:(.*)$/m.exec(sdp)?.[1]?.trim() ?? '';
}
