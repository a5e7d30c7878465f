import { sleep } from '../backoff.js';
import type { CandidateEvent, DescriptionEvent } from '../events.js';
import type { Outcome } from '../outbox.js';
import { normalizeCandidate } from './candidate.js';
import { type Connection, ConnectionClosed } from './connection.js';
import { Negotiation } from './negotiation.js';

/** How long to wait for the answer to a delivered offer, in milliseconds. */
const ANSWER_TIMEOUT_MS = 8_000;
/** Delays before an offer is repeated, in milliseconds. */
const RETRY_DELAYS_MS = [1_000, 2_000, 5_000, 10_000, 30_000];
/** Number of failed offers after which the connection is replaced: fewer while it carries no media. */
const MAX_FAILURES_UNCONNECTED = 1;
const MAX_FAILURES_CONNECTED = 3;
/** Number of consecutive remote offers that cannot be applied, after which this side replaces its connection. */
const MAX_REJECTED_OFFERS = 2;
/** Maximum number of candidates that wait for their description. The oldest are dropped. */
const MAX_EARLY_CANDIDATES = 256;
/** Maximum number of attempts to send a signal after transient failures. */
const MAX_SEND_ATTEMPTS = 10;
/** Reasons after which the same signal may be delivered later. */
const TRANSIENT = new Set(['RATE_LIMITED', 'MAILBOX_FULL', 'OUTBOX_FULL']);

/** What a negotiator requires from its peer. */
export interface NegotiatorHost {
  /** The current connection. Undefined if none could be created. */
  readonly connection: Connection | undefined;
  readonly isPolite: boolean;
  /** Whether signals reach the member now, because neither session is suspended. */
  readonly isReachable: boolean;
  /** Closes the connection and opens a new one, which makes an offer. */
  replaceConnection(): void;
  sendOffer(sdp: string, negotiation: number): Promise<Outcome>;
  sendAnswer(sdp: string, negotiation: number): Promise<Outcome>;
  sendCandidate(candidate: RTCIceCandidateInit, negotiation: number): Promise<Outcome>;
  /** A remote offer was applied. */
  onRemoteOffer(): void;
  onWarning(error: unknown): void;
}

/**
 * W3C perfect negotiation with negotiation numbers. An offer without a usable answer is rolled back and repeated. After
 * repeated failures, the connection is replaced.
 */
export class Negotiator {
  readonly #host: NegotiatorHost;
  readonly #closed = new AbortController();
  readonly #negotiation = new Negotiation();
  // The member that joined later makes no offer until it receives one, or until `allowOffers`.
  #mayOffer: boolean;
  #makingOffer = false;
  #failures = 0;
  #rejectedOffers = 0;
  #answerTimer: ReturnType<typeof setTimeout> | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #earlyCandidates: CandidateEvent[] = [];
  // Remote signals are handled one at a time; see handleOffer.
  #queue: Promise<void> = Promise.resolve();
  #endOfCandidatesSentFor: number | undefined;

  constructor(host: NegotiatorHost) {
    this.#host = host;
    this.#mayOffer = !host.isPolite;
  }

  /** Whether this side has received or made an offer, or may make one. */
  get mayOffer(): boolean {
    return this.#mayOffer;
  }

  /** Resets the state for a new connection. */
  reset(): void {
    this.#makingOffer = false;
    this.#rejectedOffers = 0;
    clearTimeout(this.#answerTimer);
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
  }

  /** Handles the `negotiationneeded` event. */
  negotiationNeeded(): void {
    if (this.#mayOffer && this.#retryTimer === undefined) void this.#offer();
  }

  /** Makes the first offer, unless the remote peer has made one. */
  allowOffers(): void {
    this.#enqueue(async () => {
      if (this.#mayOffer) return;
      this.#mayOffer = true;
      await this.#offer();
    });
  }

  /** Restarts ICE with a new offer. Rolls back a pending offer, because its answer may be lost. */
  restartIce(): void {
    this.#mayOffer = true;
    this.#host.connection?.rtc.restartIce();
    this.#enqueue(async () => void (await this.#rollback()));
  }

  /** Repeats a pending offer after a rejoin, because the signals of the previous session are lost. */
  sessionReplaced(): void {
    this.#mayOffer = true;
    this.#enqueue(async () => {
      const wasPending = await this.#rollback();
      // The impolite peer always offers: the answer shows whether the remote page was reloaded or has rejoined.
      if (wasPending || !this.#host.isPolite) await this.#offer();
    });
  }

  /** Handles a remote offer. */
  handleOffer({ sdp, negotiation }: DescriptionEvent): void {
    // The queue replaces isSettingRemoteAnswerPending of the W3C pattern: earlier answers are already applied.
    this.#enqueue(async () => {
      const current = this.#host.connection;
      const hasOffered = this.#makingOffer || current?.rtc.signalingState === 'have-local-offer';
      if (hasOffered && !this.#host.isPolite) {
        this.#negotiation.ignoreOffer(negotiation);
        return;
      }
      if (!current?.remote.continuesWith(sdp, current.hasEnded)) this.#host.replaceConnection();
      const connection = this.#host.connection;
      if (!connection) return;
      this.#mayOffer = true;
      try {
        await connection.acceptOffer(sdp);
        // Set the number now, because `answer` starts to gather local candidates.
        this.#negotiation.acceptOffer(negotiation);
        this.#settled();
        const answer = await connection.answer(sdp);
        if (connection !== this.#host.connection) return;
        void this.#send(negotiation, () => this.#host.sendAnswer(answer, negotiation));
        this.#host.onRemoteOffer();
        await this.#applyEarlyCandidates();
      } catch (error) {
        if (error instanceof ConnectionClosed || connection !== this.#host.connection) return;
        this.#host.onWarning(error);
        if (connection.rtc.signalingState === 'have-remote-offer') {
          await connection.whileOpen(connection.rtc.setRemoteDescription({ type: 'rollback' }));
        }
        this.#rejectedOffers += 1;
        if (this.#rejectedOffers >= MAX_REJECTED_OFFERS) this.#host.replaceConnection();
        // `acceptOffer` has rolled back the local offer.
        else if (hasOffered) this.#retryLater();
      }
    });
  }

  /** Handles a remote answer. */
  handleAnswer({ sdp, negotiation }: DescriptionEvent): void {
    this.#enqueue(async () => {
      const connection = this.#host.connection;
      if (!connection || !this.#negotiation.isExpectedAnswer(negotiation)) return;
      if (connection.rtc.signalingState !== 'have-local-offer') return;
      if (!connection.remote.continuesWith(sdp, false)) {
        // The answer comes from a new connection of the peer, but this offer belongs to the previous one.
        await this.#failed(new Error('the answer came from another connection'), true);
        return;
      }
      try {
        // Retry once, in case the failure is transient.
        await connection.acceptAnswer(sdp).catch(() => connection.acceptAnswer(sdp));
      } catch (error) {
        if (error instanceof ConnectionClosed || connection !== this.#host.connection) return;
        // The peer has already applied the answer, so after a rollback both ends would use different mids.
        await this.#failed(error, true);
        return;
      }
      this.#negotiation.acceptAnswer();
      this.#settled();
      await this.#applyEarlyCandidates();
    });
  }

  /** Handles a remote candidate. */
  handleCandidate(event: CandidateEvent): void {
    this.#enqueue(async () => {
      const action = this.#negotiation.classifyCandidate(event.negotiation);
      if (action === 'drop') return;
      if (action === 'apply' && this.#host.connection?.remote.description) return this.#addCandidate(event.candidate);
      this.#earlyCandidates.push(event);
      if (this.#earlyCandidates.length > MAX_EARLY_CANDIDATES) this.#earlyCandidates.shift();
    });
  }

  /** Sends a local candidate, or null for the end of candidates. */
  sendCandidate(candidate: RTCIceCandidate | null): void {
    const number = this.#negotiation.local;
    // Every browser ends with null. Firefox also sends an empty candidate per m-line before it.
    if (!candidate && this.#endOfCandidatesSentFor === number) return;
    if (!candidate?.candidate) this.#endOfCandidatesSentFor = number;
    const init = candidate?.toJSON() ?? { candidate: '' };
    void this.#send(number, () => this.#host.sendCandidate(init, number));
  }

  /** Stops all timers and pending work. */
  close(): void {
    this.#closed.abort();
    this.reset();
  }

  async #offer(): Promise<void> {
    const connection = this.#host.connection;
    if (!connection || this.#closed.signal.aborted) return;
    const { rtc } = connection;
    const isCurrent = () => connection === this.#host.connection && !this.#closed.signal.aborted;
    const number = this.#negotiation.start(this.#host.isPolite);
    try {
      this.#makingOffer = true;
      await connection.whileOpen(rtc.setLocalDescription());
      if (!isCurrent() || rtc.localDescription?.type !== 'offer') return;
      const { sdp } = rtc.localDescription;
      void this.#send(number, () => this.#host.sendOffer(sdp, number)).then((outcome) => {
        if (!isCurrent() || !this.#negotiation.isPending(number)) return;
        if (outcome?.status === 'accepted') this.#awaitAnswer(number);
        if (outcome?.status !== 'undelivered') return;
        const reason = outcome.failures[0]?.reason ?? '';
        this.#enqueue(() => this.#failed(new Error(`the server did not deliver the offer: ${reason}`)));
      });
    } catch (error) {
      if (isCurrent()) {
        this.#host.onWarning(error);
        this.#retryLater();
      }
    } finally {
      if (connection === this.#host.connection) this.#makingOffer = false;
    }
  }

  #awaitAnswer(number: number): void {
    clearTimeout(this.#answerTimer);
    this.#answerTimer = setTimeout(() => {
      this.#enqueue(async () => {
        if (!this.#negotiation.isPending(number)) return;
        // The answer cannot arrive while a session is suspended.
        if (!this.#host.isReachable) this.#awaitAnswer(number);
        else await this.#failed(new Error('the peer did not answer the offer'));
      });
    }, ANSWER_TIMEOUT_MS);
  }

  /** Handles an offer without a usable answer. */
  async #failed(error: unknown, needsConnection = false): Promise<void> {
    this.#host.onWarning(error);
    // Schedule the retry first, because the rollback fires `negotiationneeded`, which must not offer at once.
    this.#retryLater(needsConnection);
    await this.#rollback();
  }

  /** Repeats the offer after a delay, or on a new connection. */
  #retryLater(needsConnection = false): void {
    clearTimeout(this.#answerTimer);
    clearTimeout(this.#retryTimer);
    const isConnected = this.#host.connection?.rtc.connectionState === 'connected';
    const limit = isConnected ? MAX_FAILURES_CONNECTED : MAX_FAILURES_UNCONNECTED;
    const replace = needsConnection || this.#failures >= limit;
    // The first replacement is immediate, and later ones back off.
    const attempt = needsConnection ? this.#failures - 1 : this.#failures;
    const delay = attempt < 0 ? 0 : (RETRY_DELAYS_MS[attempt] ?? RETRY_DELAYS_MS.at(-1));
    this.#failures += 1;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      if (replace) this.#host.replaceConnection();
      else this.#enqueue(() => (this.#host.connection?.rtc.signalingState === 'stable' ? this.#offer() : undefined));
    }, delay);
  }

  /** Resets the failure counters and timers after a successful negotiation. */
  #settled(): void {
    this.#failures = 0;
    this.#rejectedOffers = 0;
    clearTimeout(this.#answerTimer);
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
  }

  /** Rolls back the pending offer. Returns whether there was one. */
  async #rollback(): Promise<boolean> {
    const connection = this.#host.connection;
    if (connection?.rtc.signalingState !== 'have-local-offer') return false;
    await connection.whileOpen(connection.rtc.setLocalDescription({ type: 'rollback' }));
    return true;
  }

  /** Sends a signal, and repeats it after transient failures until a newer negotiation makes it obsolete. */
  async #send(number: number, send: () => Promise<Outcome>): Promise<Outcome | undefined> {
    for (let attempt = 0; ; attempt += 1) {
      const outcome = await send();
      if (outcome.status !== 'undelivered' || this.#closed.signal.aborted) return outcome;
      const { reason, retryAfterMs } = outcome.failures[0];
      if (reason === 'TOO_LARGE') {
        const text = 'session description or candidate too large: the server did not deliver it';
        this.#host.onWarning(new Error(text));
      }
      if (!TRANSIENT.has(reason) || attempt + 1 >= MAX_SEND_ATTEMPTS) return outcome;
      await sleep(retryAfterMs ?? 1_000 * (attempt + 1), this.#closed.signal);
      if (this.#closed.signal.aborted || this.#negotiation.local !== number) return undefined;
    }
  }

  #enqueue(work: () => Promise<void> | undefined): void {
    this.#queue = this.#queue
      .then(() => (this.#closed.signal.aborted ? undefined : work()))
      .catch((error) => {
        if (!this.#closed.signal.aborted && !(error instanceof ConnectionClosed)) this.#host.onWarning(error);
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
    const connection = this.#host.connection;
    const description = connection?.remote.description;
    if (!description) return;
    try {
      await connection.whileOpen(connection.rtc.addIceCandidate(normalizeCandidate(candidate, description)));
    } catch (cause) {
      if (cause instanceof ConnectionClosed) return;
      this.#host.onWarning(new Error(`unusable candidate "${candidate.candidate}": ${String(cause)}`, { cause }));
    }
  }
}
