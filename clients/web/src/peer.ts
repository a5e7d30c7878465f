import { sleep } from './backoff.js';
import type { CandidateEvent, DescriptionEvent } from './events.js';
import type { Member } from './model.js';
import { Negotiation } from './negotiation.js';
import type { Outcome } from './outbox.js';
import { type Path, selectedCandidatePair } from './selectedCandidatePair.js';

/** How long the polite peer lets the impolite one restart ICE first, in milliseconds. */
const POLITE_DELAY_MS = 3_000;
/** How long the later joiner waits for an offer before it makes one itself, in milliseconds. */
const OFFER_TIMEOUT_MS = 10_000;
/** Maximum number of candidates that wait for their description; the oldest are dropped. */
const MAX_EARLY_CANDIDATES = 256;
/** Maximum number of attempts to send a signal that the server cannot deliver. */
const MAX_SEND_ATTEMPTS = 10;
/** Limit of the data channel's send buffer. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

/** `disconnected`: lost, and may recover without action. `failed`: ICE is being restarted. */
export type PeerState = 'connecting' | 'connected' | 'disconnected' | 'failed' | 'closed';

/** What a peer requires from its mesh. */
export interface PeerHost {
  /** Creates an RTCPeerConnection with the current configuration and the local tracks. */
  createConnection(): RTCPeerConnection;
  /** Whether this client is the polite peer, because it joined after `member`. */
  isPolite(member: Member): boolean;
  sendOffer(to: string, sdp: string, negotiation: number): Promise<Outcome>;
  sendAnswer(to: string, sdp: string, negotiation: number): Promise<Outcome>;
  sendCandidate(to: string, candidate: RTCIceCandidateInit, negotiation: number): Promise<Outcome>;
  /** The state, path, stream or member changed. */
  onChange(peer: Peer): void;
  /** The connection is connected or failed, `elapsedMs` after the attempt started. */
  onConnectionResult(peer: Peer, elapsedMs: number): void;
  onMessage(peer: Peer, data: string | ArrayBuffer): void;
  onWarning(peer: Peer, error: unknown): void;
}

/**
 * The connection to one other member: W3C perfect negotiation with negotiation numbers, ICE restarts and one data
 * channel. The mesh creates it and passes it the events of the session.
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
  // The member that joined later makes no offer before it received one or OFFER_TIMEOUT_MS have passed.
  #mayOffer: boolean;
  #earlyCandidates: CandidateEvent[] = [];
  // Remote signals are handled one at a time; see handleOffer.
  #queue: Promise<void> = Promise.resolve();
  #endOfCandidatesSentFor = 0;
  // Undefined until negotiated; see #pinDtlsRole.
  #dtlsRole: 'active' | 'passive' | undefined;
  #recovering = false;

  /** @internal Created by `Mesh`. */
  constructor(member: Member, host: PeerHost) {
    this.#member = member;
    this.#host = host;
    this.#mayOffer = !host.isPolite(member);
    this.#openConnection();
    if (!this.#mayOffer) void this.#offerAfterTimeout();
  }

  /** The remote member. Its member_id changes when it rejoins. */
  get member(): Member {
    return this.#member;
  }

  /** For getStats, addTrack and the like. Replaced when the remote peer starts a new connection. */
  get connection(): RTCPeerConnection {
    return this.#connection;
  }

  /** The remote tracks. */
  get stream(): MediaStream {
    return this.#stream;
  }

  /** State of the connection. */
  get state(): PeerState {
    return this.#state;
  }

  /** The network path of media and data while connected. */
  get path(): Path | undefined {
    return this.#path;
  }

  /** Sends over the data channel. Returns false if it is not open or buffers more than 1 MiB. */
  send(data: string | ArrayBuffer): boolean {
    if (this.#channel.readyState !== 'open' || this.#channel.bufferedAmount > MAX_BUFFERED_BYTES) return false;
    this.#channel.send(data as string);
    return true;
  }

  /** @internal Handles a remote offer. */
  handleOffer(offer: DescriptionEvent): void {
    // The queue replaces isSettingRemoteAnswerPending of the W3C pattern: earlier answers are applied by now.
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

  /** @internal Handles a remote answer. */
  handleAnswer(answer: DescriptionEvent): void {
    this.#enqueue(async () => {
      if (!this.#negotiation.isExpectedAnswer(answer.negotiation)) return;
      if (this.#connection.signalingState !== 'have-local-offer') return;
      if (this.#isFromAnotherConnection(answer.sdp)) {
        // The remote peer started a new connection, while this offer belongs to the previous one.
        this.#openConnection();
        return;
      }
      await this.#connection.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
      this.#dtlsRole ??= dtlsSetup(answer.sdp) === 'passive' ? 'active' : 'passive';
      this.#negotiation.acceptAnswer();
      await this.#applyEarlyCandidates();
    });
  }

  /** @internal Handles a remote candidate. */
  handleCandidate(event: CandidateEvent): void {
    this.#enqueue(async () => {
      const action = this.#negotiation.classifyCandidate(event.negotiation);
      if (action === 'drop') return;
      if (action === 'apply' && this.#connection.remoteDescription) return this.#addCandidate(event.candidate);
      this.#earlyCandidates.push(event);
      if (this.#earlyCandidates.length > MAX_EARLY_CANDIDATES) this.#earlyCandidates.shift();
    });
  }

  /** @internal The member changed. */
  update(member: Member): void {
    this.#member = member;
    this.#host.onChange(this);
  }

  /** @internal Continues with the member_ids of new sessions, and restarts an interrupted negotiation. */
  rebind(member: Member): void {
    this.update(member);
    this.#mayOffer = true;
    if (this.#state !== 'connected' || this.#connection.signalingState !== 'stable') void this.recover();
  }

  /** @internal Restarts ICE if needed: at once as the impolite peer, after POLITE_DELAY_MS as the polite one. */
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
    // A pending offer, whose answer was lost, would block the new one.
    if (hasPendingOffer) await connection.setLocalDescription({ type: 'rollback' }).catch(() => {});
  }

  /** @internal Sets new ICE servers. */
  setIceServers(iceServers: RTCIceServer[]): void {
    this.#connection.setConfiguration({ ...this.#connection.getConfiguration(), iceServers });
  }

  /** @internal Closes the connection. */
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
    // Both peers create the channel with the same id, so neither has to wait for `datachannel`.
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
    const number = this.#negotiation.start(this.#host.isPolite(this.#member));
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
   * Keeps the negotiated DTLS role in later descriptions. Browsers offer `actpass` again, which Firefox answers with
   * `active` even if it was passive before, and Chromium rejects such an answer.
   */
  #pinDtlsRole(sdp: string): string {
    return this.#dtlsRole ? sdp.replace(/^a=setup:\w+/gm, `a=setup:${this.#dtlsRole}`) : sdp;
  }

  #sendCandidate(candidate: RTCIceCandidate | null): void {
    const number = this.#negotiation.local;
    // End of candidates: null in every browser, preceded by an empty candidate per m-line in Firefox.
    if (!candidate && this.#endOfCandidatesSentFor === number) return;
    if (!candidate?.candidate) this.#endOfCandidatesSentFor = number;
    const init = candidate?.toJSON() ?? { candidate: '' };
    this.#sendWithRetry(number, () => this.#host.sendCandidate(this.#member.memberId, init, number));
  }

  /** Sends a signal, and retries transient failures until a newer negotiation makes it obsolete. */
  async #sendWithRetry(number: number, send: () => Promise<Outcome>): Promise<void> {
    for (let attempt = 0; attempt < MAX_SEND_ATTEMPTS; attempt += 1) {
      const outcome = await send();
      if (outcome.status !== 'undelivered') return;
      const { reason, retryAfterMs } = outcome.failures[0];
      if (reason === 'TOO_LARGE')
        this.#host.onWarning(
          this,
          new Error('session description or candidate too large: the server did not deliver it'),
        );
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

  /** Whether a description comes from another RTCPeerConnection than the current remote description. */
  #isFromAnotherConnection(sdp: string): boolean {
    const known = this.#connection.remoteDescription?.sdp;
    return known !== undefined && fingerprint(known) !== fingerprint(sdp);
  }
}

/** The DTLS role in a description: `active`, `passive` or `actpass`. */
function dtlsSetup(sdp: string): string | undefined {
  return /^a=setup:(\w+)/m.exec(sdp)?.[1];
}

/** Each RTCPeerConnection has its own certificate, so the fingerprint identifies it. */
function fingerprint(sdp: string): string {
  return /^a=fingerprint:(.*)$/m.exec(sdp)?.[1]?.trim() ?? '';
}
