import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import { backoff, sleep } from './backoff.js';
import { Credentials } from './credentials.js';
import { Emitter, type Unsubscribe } from './emitter.js';
import { SignalError } from './errors.js';
import type { SessionEvents } from './events.js';
import * as pb from './gen/signalbox/v1/signal_pb.js';
import { Inbox } from './inbox.js';
import * as model from './model.js';
import type { JoinOptions, Report, SessionState } from './options.js';
import type { Outcome, OutgoingMessage } from './outbox.js';
import { sendLeaveKeepalive, watchPage } from './page.js';
import { probe } from './probe.js';
import { nextStep } from './reconnectPolicy.js';
import { Sender } from './sender.js';
import { readStream } from './stream.js';

/** How long a stream may take to open, in milliseconds. */
const OPEN_TIMEOUT_MS = 10_000;
/** The same for the first attempts to resume: a browser may try them on a connection that is dead without knowing. */
const RESUME_TIMEOUT_MS = 3_000;
/** How long after the resume window a resume is still tried: the server's clock started later. */
const WINDOW_GRACE_MS = 5_000;
/** A stream that lived shorter does not start the back-off anew, so that one that breaks at once is not hammered. */
const STABLE_MS = 5_000;
/** How long `leave` waits for the server. */
const LEAVE_TIMEOUT_MS = 2_000;
/** Reasons for which another token may help. */
const TOKEN_REJECTED = new Set(['TOKEN_INVALID', 'TOKEN_EXPIRED']);

/**
 * Enters a room. Resolves when the server has welcomed this member; from then on the session keeps itself alive.
 *
 * Events are held back until the first `on`: register all handlers in one go and none is missed.
 *
 * @throws SignalError: `ROOM_FULL`, `INVALID_ROOM_NAME`, `PASSCODE_WRONG`, ... or `NETWORK` and the like after
 * `joinTimeoutMs`.
 */
export function join(room: string, options: JoinOptions = {}): Promise<Session> {
  return new Promise((resolve, reject) => new Session(room, options, resolve, reject));
}

/** One member's stay in a room, kept through reconnects. Made by `join`. */
export class Session extends Emitter<SessionEvents> {
  readonly #createClient: (url: string) => Client<typeof pb.Signal>;
  #url: string;
  #client: Client<typeof pb.Signal>;
  // The newest address that was to be moved to.
  #targetUrl: string;
  readonly #credentials: Credentials;
  readonly #join: {
    room: string;
    identity: string;
    displayName: string;
    attributes: Record<string, string>;
    passcode: string;
  };
  readonly #inbox = new Inbox((name, event) => this.emit(name, event));
  readonly #stopWatchingPage: () => void;
  #state: SessionState = 'joining';
  #token = '';
  #me: model.Member | undefined;
  #room = model.toRoom(undefined);
  #limits = model.toLimits(undefined);
  #ice: model.IceServerList = { iceServers: [], expiresAt: undefined };
  #sender: Sender | undefined;
  // One stream and the sends that go with it, and the waiting after it.
  #streamAbort = new AbortController();
  #backoffAbort = new AbortController();
  #goAway: pb.GoAway | undefined;
  // Why a Send ended the stream.
  #sendError: SignalError | undefined;
  #attempt = 0;
  #openedAt = 0;
  #receivedAt = 0;
  #leaving = false;
  readonly #resolveJoin: (session: Session) => void;

  /** @internal Use `join`. */
  constructor(
    room: string,
    options: JoinOptions,
    resolve: (session: Session) => void,
    reject: (error: SignalError) => void,
  ) {
    super();
    const { url = globalThis.location?.origin ?? '', identity = '', displayName = '', passcode = '' } = options;
    const { transport = (baseUrl: string) => createGrpcWebTransport({ baseUrl }) } = options;
    this.#createClient = (url) => createClient(pb.Signal, typeof transport === 'function' ? transport(url) : transport);
    this.#url = this.#targetUrl = stripTrailingSlashes(url);
    this.#client = this.#createClient(this.#url);
    this.#credentials = new Credentials(options.token, () => this.#sender?.sendToken());
    this.#join = { room, identity, displayName, passcode, attributes: { ...options.attributes } };
    this.#resolveJoin = resolve;
    this.#stopWatchingPage = watchPage({
      networkChanged: () => this.#reconnect(),
      becameVisible: () => {
        if (Date.now() - this.#receivedAt > this.#limits.heartbeatMs + 3_000) this.#reconnect();
      },
      unloading: () => {
        if (this.#token !== '' && this.#state !== 'ended') {
          sendLeaveKeepalive(this.#url, this.#token, this.#credentials.headers());
        }
      },
    });
    const abort = () => {
      if (this.#state === 'joining') this.#end('ABORTED', undefined);
    };
    options.signal?.addEventListener('abort', abort);
    if (options.signal?.aborted) abort();
    this.#run(options.joinTimeoutMs ?? 15_000)
      .then(reject)
      .finally(() => options.signal?.removeEventListener('abort', abort));
  }

  /** Whether the server can be talked to right now. */
  get state(): SessionState {
    return this.#state;
  }

  /** The address of the server that the session is at. */
  get url(): string {
    return this.#url;
  }

  /** This member as the others see it. */
  get me(): model.Member {
    if (!this.#me) throw SignalError.ended();
    return this.#me;
  }

  /** The others, by member_id, in join order. Live: it changes along with the events. */
  get members(): ReadonlyMap<string, model.Member> {
    return this.#inbox.members;
  }

  /** The room. */
  get room(): model.RoomInfo {
    return this.#room;
  }

  /** For RTCConfiguration.iceServers; the newest that were told. */
  get iceServers(): RTCIceServer[] {
    return this.#ice.iceServers;
  }

  /** Says an offer. `negotiation` ties its answer and candidates to it. */
  sendOffer(to: string, sdp: string, negotiation = 0n): Promise<Outcome> {
    return this.#send({ to, negotiation, body: { case: 'offer', value: { sdp } } });
  }

  /** Says an answer, with the negotiation of its offer. */
  sendAnswer(to: string, sdp: string, negotiation = 0n): Promise<Outcome> {
    return this.#send({ to, negotiation, body: { case: 'answer', value: { sdp } } });
  }

  /** Says a candidate, with the negotiation of the description it belongs to. */
  sendCandidate(to: string, candidate: RTCIceCandidateInit, negotiation = 0n): Promise<Outcome> {
    return this.#send({ to, negotiation, body: { case: 'candidate', value: model.fromCandidate(candidate) } });
  }

  /** Sends application data through the server, to one member or (without `to`) to all others. */
  sendData(data: { to?: string; topic?: string; text?: string; payload?: Uint8Array<ArrayBuffer> }): Promise<Outcome> {
    const { to = '', topic = '', text = '', payload = new Uint8Array() } = data;
    return this.#send({ to, body: { case: 'data', value: { topic, text, payload } } });
  }

  /** Changes what others see of this member; what is not given stays as it is. */
  update(change: { displayName?: string; attributes?: Record<string, string> }): Promise<Outcome> {
    const { displayName, attributes } = change;
    if (displayName !== undefined) this.#join.displayName = displayName;
    if (attributes !== undefined) this.#join.attributes = { ...attributes };
    if (this.#me) this.#me = { ...this.#me, displayName: this.#join.displayName, attributes: this.#join.attributes };
    const value = {
      ...(displayName === undefined ? {} : { displayName }),
      attributes: attributes ?? {},
      clearAttributes: attributes !== undefined && Object.keys(attributes).length === 0,
    };
    return this.#send({ body: { case: 'update', value } });
  }

  /** Tells the server's operators what became of a peer connection. */
  report(report: Report): Promise<Outcome> {
    return this.#send({ body: { case: 'report', value: report } });
  }

  /**
   * Goes on at another address of the same server, such as another port of a tunnel. That is tried first: where it cannot
   * be reached the session stays as it is, and this throws. Then the stream is dropped and the session resumes there,
   * with what is under way: as after any lost connection each signal arrives once and in order, or both ends are told
   * (`rejoined`, where the resume window is over or the server was started anew). Peer connections do not notice.
   *
   * A page of another origin may do that only where the server's `--cors-origin` lists it, and the page's own
   * Content-Security-Policy lets it connect there.
   *
   * @throws SignalError: `NETWORK`, `TIMEOUT` or `PROXY` where no Signalbox answers, another reason where it refuses,
   * `ABORTED` when a later call has named another address, `ENDED`.
   */
  async moveTo(url: string): Promise<void> {
    if (this.#isEnded() || this.#leaving) throw SignalError.ended();
    const target = stripTrailingSlashes(url);
    this.#targetUrl = target;
    if (target === this.#url) return;
    const client = this.#createClient(target);
    await probe(client, this.#token, this.#credentials.headers());
    if (this.#isEnded() || this.#leaving) throw SignalError.ended();
    if (this.#targetUrl !== target) throw SignalError.aborted();
    // Another call for the same may have been faster.
    if (target === this.#url) return;
    this.#url = target;
    this.#client = client;
    this.#reconnect();
  }

  /** Leaves at once. Resolves when the server knows, or after 2 s. */
  async leave(reason = ''): Promise<void> {
    if (this.#state === 'ended' || this.#leaving) return;
    this.#leaving = true;
    if (this.#state === 'connected' && this.#sender) {
      const sent = this.#sender.send({ body: { case: 'leave', value: { reason } } });
      await Promise.race([sent, sleep(LEAVE_TIMEOUT_MS)]);
    } else {
      await this.#sender?.sendLeave(reason, LEAVE_TIMEOUT_MS);
    }
    this.#end('LEFT', undefined);
  }

  override on<Name extends keyof SessionEvents>(
    name: Name,
    handler: (event: SessionEvents[Name]) => void,
  ): Unsubscribe {
    // Not at once: the handlers that are registered next must not miss what this one would get.
    queueMicrotask(() => this.#inbox.release());
    return super.on(name, handler);
  }

  #send(message: OutgoingMessage): Promise<Outcome> {
    if (this.#sender && this.#state !== 'ended' && !this.#leaving) return this.#sender.send(message);
    const reason = this.#state === 'ended' || this.#leaving ? 'ENDED' : 'SESSION_GONE';
    const failure = { to: message.to ?? '', reason, retryAfterMs: undefined };
    return Promise.resolve({ status: 'undelivered', failures: [failure] });
  }

  /** Opens streams until the session ends. Resolves with the error that kept it from ever being opened. */
  async #run(joinTimeoutMs: number): Promise<SignalError> {
    let lostAt = Date.now();
    let error: SignalError | undefined;
    while (this.#state !== 'ended') {
      error = await this.#runStream();
      if (this.#isEnded() || this.#leaving) break;
      const now = Date.now();
      if (this.#state === 'connected') {
        lostAt = now;
        if (now - this.#openedAt > STABLE_MS) this.#attempt = 0;
        this.#state = 'suspended';
        this.#inbox.notify('suspended', { error });
        if (this.#isEnded()) break;
      }
      const tokenReplaced =
        TOKEN_REJECTED.has(this.#goAway?.reason ?? error?.reason ?? '') && this.#credentials.rejected();
      // With another token, whatever else it was that the old one was refused for may go on.
      const step = nextStep(tokenReplaced ? undefined : error, this.#goAway, this.#token !== '');
      const waitMs = 'waitMs' in step ? (step.waitMs ?? backoff(this.#attempt)) : 0;
      this.#attempt += 1;
      if (this.#state === 'joining') {
        error ??= SignalError.network('the stream ended before the server said welcome');
        if (!tokenReplaced && (!error.retryable || now + waitMs - lostAt > joinTimeoutMs)) break;
      } else if (step.to === 'end') {
        this.#end(step.reason, error);
      } else if (step.to === 'rejoin' || now - lostAt > this.#limits.resumeWindowMs + WINDOW_GRACE_MS) {
        this.#discardSession();
      }
      await sleep(waitMs, this.#backoffAbort.signal);
    }
    if (this.#state === 'joining') this.#end(error?.reason ?? 'ABORTED', error);
    return error ?? SignalError.aborted();
  }

  // Control flow analysis does not know that awaiting and emitting may end the session.
  #isEnded(): boolean {
    return this.#state === 'ended';
  }

  async #runStream(): Promise<SignalError | undefined> {
    this.#streamAbort = new AbortController();
    this.#backoffAbort = new AbortController();
    this.#goAway = undefined;
    this.#sendError = undefined;
    const { signal } = this.#streamAbort;
    const open = this.#token
      ? { case: 'resume' as const, value: { sessionToken: this.#token, afterSeq: this.#inbox.lastSeq } }
      : { case: 'join' as const, value: this.#join };
    const openMs = this.#token
      ? Math.min(RESUME_TIMEOUT_MS * Math.max(this.#attempt, 1), OPEN_TIMEOUT_MS)
      : OPEN_TIMEOUT_MS;
    const silenceMs = () => (this.#state === 'connected' ? 2 * this.#limits.heartbeatMs + 5_000 : openMs);
    try {
      await this.#credentials.ensureToken();
      const headers = this.#credentials.headers();
      await readStream(this.#client, { open }, headers, silenceMs, signal, (message) => this.#receive(message));
      return this.#sendError;
    } catch (error) {
      return this.#sendError ?? (signal.aborted ? undefined : SignalError.from(error));
    } finally {
      this.#streamAbort.abort();
    }
  }

  #receive(message: pb.ServerMessage): void {
    this.#receivedAt = Date.now();
    this.#sender?.messageReceived();
    const { body } = message;
    if (body.case === 'welcome') {
      this.#handleWelcome(message.seq, body.value);
    } else if (body.case === 'resumed') {
      this.#handleResumed(body.value);
    } else if (body.case === 'goAway') {
      this.#goAway = body.value;
      this.#streamAbort.abort();
    } else {
      if (body.case === 'iceServers') this.#ice = model.toIceServers(body.value.iceServers, body.value.expiresAt);
      this.#inbox.receive(message);
    }
  }

  #handleWelcome(seq: bigint, welcome: pb.Welcome): void {
    const previous = this.#me;
    this.#token = welcome.sessionToken;
    this.#me = welcome.you && model.toMember(welcome.you);
    this.#room = model.toRoom(welcome.room);
    this.#limits = model.toLimits(welcome.limits);
    this.#ice = model.toIceServers(welcome.iceServers, welcome.iceExpiresAt);
    const previousMembers = this.#inbox.welcome(seq, welcome.members);
    this.#sender = new Sender(
      () => this.#client,
      this.#token,
      this.#credentials,
      this.#limits,
      () => this.#inbox.lastSeq,
    );
    this.#connected();
    if (previous) this.#inbox.notify('rejoined', { previousMemberId: previous.memberId, previousMembers });
    else this.#resolveJoin(this);
  }

  #handleResumed(resumed: pb.Resumed): void {
    this.#ice = model.toIceServers(resumed.iceServers, resumed.iceExpiresAt);
    this.#connected();
    this.#inbox.notify('resumed', { replayed: Number(resumed.replayed) });
    this.#inbox.notify('iceServers', this.#ice);
    this.#inbox.resumed(resumed);
  }

  #connected(): void {
    this.#state = 'connected';
    this.#credentials.accepted();
    this.#openedAt = Date.now();
    const streamAbort = this.#streamAbort;
    this.#sender?.run(streamAbort.signal).catch((error) => {
      if (streamAbort.signal.aborted) return;
      this.#sendError = SignalError.from(error);
      streamAbort.abort();
    });
  }

  /** Drops the stream, which may be dead without knowing, and opens another without waiting. */
  #reconnect(): void {
    if (this.#state === 'joining' || this.#state === 'ended') return;
    this.#attempt = 0;
    this.#streamAbort.abort();
    this.#backoffAbort.abort();
  }

  #discardSession(): void {
    this.#token = '';
    this.#sender?.abandon();
    this.#sender = undefined;
  }

  #end(reason: string, error: SignalError | undefined): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#stopWatchingPage();
    this.#credentials.stop();
    this.#streamAbort.abort();
    this.#backoffAbort.abort();
    this.#discardSession();
    this.#inbox.notify('ended', { reason, error });
  }
}

function stripTrailingSlashes(url: string): string {
  return url.replace(/\/+$/, '');
}
