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
import { Profile, type ProfileChange, type ProfileValues } from './profile.js';
import { nextStep } from './reconnectPolicy.js';
import { Sender } from './sender.js';
import { readStream } from './stream.js';

/** Timeout for opening a stream, in milliseconds. */
const OPEN_TIMEOUT_MS = 10_000;
/** Shorter for the first resume attempts, which the browser may send on a connection that is already dead. */
const RESUME_TIMEOUT_MS = 3_000;
/** Resumes are attempted this long after the resume window, because the server detects the loss later. */
const WINDOW_GRACE_MS = 5_000;
/**
 * Only a stream that lived this long resets the backoff, so that one that fails at once does not cause a retry storm.
 */
const STABLE_MS = 5_000;
/** How long `leave` waits for the server, in milliseconds. */
const LEAVE_TIMEOUT_MS = 2_000;
/** Reasons after which a new token may help. */
const TOKEN_REJECTED = new Set(['TOKEN_INVALID', 'TOKEN_EXPIRED']);

/**
 * Joins a room. Resolves with a session that reconnects without help from the application.
 *
 * Events are held until the first call of `on`. Register all handlers in one task to receive every event.
 *
 * @throws SignalError with `ROOM_FULL`, `INVALID_ROOM_NAME`, `PASSCODE_WRONG`, ..., or after `joinTimeoutMs` with a
 * transient reason such as `NETWORK`.
 */
export function join(room: string, options: JoinOptions = {}): Promise<Session> {
  return new Promise((resolve, reject) => new Session(room, options, resolve, reject));
}

/** This client's membership in a room, across reconnects. Created by `join`. */
export class Session extends Emitter<SessionEvents> {
  readonly #createClient: (url: string) => Client<typeof pb.Signal>;
  #url: string;
  #client: Client<typeof pb.Signal>;
  // The URL of the latest `moveTo`, which cancels earlier ones.
  #targetUrl: string;
  readonly #credentials: Credentials;
  readonly #join: { readonly room: string; readonly identity: string; readonly passcode: string };
  readonly #profile: Profile;
  readonly #inbox = new Inbox((name, event) => this.emit(name, event));
  readonly #stopWatchingPage: () => void;
  #state: SessionState = 'joining';
  #token = '';
  #me: model.Member | undefined;
  #room = model.toRoom(undefined);
  #limits = model.toLimits(undefined);
  #ice: model.IceServerList = { iceServers: [], expiresAt: undefined };
  #sender: Sender | undefined;
  // Abort the current stream with its sends, and the wait before the next one.
  #streamAbort = new AbortController();
  #backoffAbort = new AbortController();
  #goAway: pb.GoAway | undefined;
  // The error of a Send that ended the stream.
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
    this.#join = { room, identity, passcode };
    this.#profile = new Profile(
      { displayName, attributes: options.attributes ?? {} },
      (message) => this.#send(message),
      (change) => {
        if (this.#me) this.#me = { ...this.#me, ...change };
      },
    );
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

  /** State of the connection to the server. */
  get state(): SessionState {
    return this.#state;
  }

  /** The current URL of the server. */
  get url(): string {
    return this.#url;
  }

  /** This member, as the other members see it. */
  get me(): model.Member {
    if (!this.#me) throw SignalError.ended();
    return this.#me;
  }

  /** The other members, by member_id, in join order. Live: it changes together with the events. */
  get members(): ReadonlyMap<string, model.Member> {
    return this.#inbox.members;
  }

  /** The room as of the join. */
  get room(): model.RoomInfo {
    return this.#room;
  }

  /** The latest ICE servers, for RTCConfiguration. */
  get iceServers(): RTCIceServer[] {
    return this.#ice.iceServers;
  }

  /** Sends an offer. `negotiation` groups it with its answer and candidates. */
  sendOffer(to: string, sdp: string, negotiation = 0n): Promise<Outcome> {
    return this.#send({ to, negotiation, body: { case: 'offer', value: { sdp } } });
  }

  /** Sends an answer with the negotiation of its offer. */
  sendAnswer(to: string, sdp: string, negotiation = 0n): Promise<Outcome> {
    return this.#send({ to, negotiation, body: { case: 'answer', value: { sdp } } });
  }

  /** Sends a candidate with the negotiation of its description. */
  sendCandidate(to: string, candidate: RTCIceCandidateInit, negotiation = 0n): Promise<Outcome> {
    return this.#send({ to, negotiation, body: { case: 'candidate', value: model.fromCandidate(candidate) } });
  }

  /** Sends application data through the server to one member or, without `to`, to all others. */
  sendData(data: { to?: string; topic?: string; text?: string; payload?: Uint8Array<ArrayBuffer> }): Promise<Outcome> {
    const { to = '', topic = '', text = '', payload = new Uint8Array() } = data;
    return this.#send({ to, body: { case: 'data', value: { topic, text, payload } } });
  }

  /**
   * Changes the name or attributes of this member. Omitted fields stay unchanged, and `attributes` replace all
   * attributes. `me` changes when the server has accepted the update. A function receives the values that result if the
   * server accepts all earlier updates.
   *
   * If the client has to rejoin before the outcome is known, the update is sent again in the new session.
   */
  update(change: ProfileChange | ((expected: ProfileValues) => ProfileChange)): Promise<Outcome> {
    if (this.#state === 'ended' || this.#leaving) return this.#send({});
    const { expected } = this.#profile;
    return this.#profile.update(typeof change === 'function' ? change(expected) : change, this.#sender !== undefined);
  }

  /** Reports the state of a peer connection to the operators of the server. */
  report(report: Report): Promise<Outcome> {
    return this.#send({ body: { case: 'report', value: report } });
  }

  /**
   * Moves the session to another URL of the same server, such as another port of a tunnel. The URL is probed first; if
   * the probe fails, this throws and the session stays unchanged.
   *
   * The session then resumes at the new URL with the guarantee of any reconnect: each accepted signal arrives once and
   * in order, or both ends are notified. The client receives `rejoined` if the resume window is over or the server was
   * restarted. Peer connections are not affected.
   *
   * If the URL has another origin than the page, the server's `--cors-origin` must list the page's origin, and the
   * page's Content-Security-Policy must allow the connection.
   *
   * @throws SignalError with `NETWORK`, `TIMEOUT` or `PROXY` if no Signalbox server answers, another reason if the
   * server rejects the probe, `ABORTED` if a later call named another URL, or `ENDED`.
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
    // A concurrent call with the same URL may have finished first.
    if (target === this.#url) return;
    this.#url = target;
    this.#client = client;
    this.#reconnect();
  }

  /** Leaves the room. Resolves when the server has confirmed it, or after 2 s. */
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
    // Deferred, so that handlers registered later in the same task do not miss events.
    queueMicrotask(() => this.#inbox.release());
    return super.on(name, handler);
  }

  #send(message: OutgoingMessage): Promise<Outcome> {
    if (this.#sender && this.#state !== 'ended' && !this.#leaving) return this.#sender.send(message);
    const reason = this.#state === 'ended' || this.#leaving ? 'ENDED' : 'SESSION_GONE';
    const failure = { to: message.to ?? '', reason, retryAfterMs: undefined };
    return Promise.resolve({ status: 'undelivered', failures: [failure] });
  }

  /** Opens streams until the session ends. Resolves with the error that made the join fail. */
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
      // The rejection of the old token says nothing about the new one.
      const step = nextStep(tokenReplaced ? undefined : error, this.#goAway, this.#token !== '');
      const waitMs = 'waitMs' in step ? (step.waitMs ?? backoff(this.#attempt)) : 0;
      this.#attempt += 1;
      if (this.#state === 'joining') {
        error ??= SignalError.network('the stream ended before `welcome`');
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

  // Control flow analysis does not see that awaiting and emitting may end the session.
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
      : { case: 'join' as const, value: { ...this.#join, ...this.#profile.accepted } };
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
    this.#profile.resend();
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

  /** Replaces the stream, which may be dead without an error, and skips the backoff. */
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
    this.#profile.end();
    this.#inbox.notify('ended', { reason, error });
  }
}

function stripTrailingSlashes(url: string): string {
  return url.replace(/\/+$/, '');
}
