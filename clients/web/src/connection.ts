import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import { backoff, sleep } from './backoff.js';
import { Credentials, type TokenSource } from './credentials.js';
import { SignalError } from './errors.js';
import type * as pb from './gen/signalbox/v1/signal_pb.js';
import { LEAVE_TIMEOUT_MS, sendLeave } from './leave.js';
import type { Logger } from './logger.js';
import { type Limits, toLimits } from './model.js';
import type { ReconnectOptions, SessionState } from './options.js';
import type { Outcome, OutgoingMessage } from './outbox.js';
import { probe } from './probe.js';
import { nextStep, type Phase } from './reconnectPolicy.js';
import { Sender } from './sender.js';
import { Stream } from './stream.js';

/** Timeout for opening a stream, in milliseconds. */
const OPEN_TIMEOUT_MS = 10_000;
/** Timeout of the first resume attempts, in milliseconds. Short, because the browser may use a dead connection. */
const RESUME_TIMEOUT_MS = 3_000;
/** How long to attempt resumes after the resume window, since the server may detect the loss later. */
const WINDOW_GRACE_MS = 5_000;
/** Only a stream that lasts this long resets the backoff, so that streams that fail at once cause no retry storm. */
const STABLE_MS = 5_000;
/** Reasons after which a new token may help. */
const TOKEN_REJECTED = new Set(['TOKEN_INVALID', 'TOKEN_EXPIRED']);
/** Maximum delay of setTimeout, which fires at once for longer ones. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

type SignalClient = Client<typeof pb.Signal>;

/** What a connection needs from its session, and reports to it. */
export interface ConnectionOptions {
  readonly url: string;
  readonly createClient: (url: string) => SignalClient;
  readonly token: TokenSource | undefined;
  readonly logger: Logger;
  readonly reconnect: ReconnectOptions;
  /** Called before the first stream. Throws a SignalError if no stream can work here. */
  readonly checkSupport: () => Promise<void>;
  /** The content of the next join. */
  readonly joinRequest: () => MessageInitShape<typeof pb.JoinSchema>;
  /** The highest ServerMessage.seq that was processed. */
  readonly lastSeq: () => bigint;
  readonly onWelcome: (seq: bigint, welcome: pb.Welcome) => void;
  readonly onResumed: (resumed: pb.Resumed) => void;
  /** Called for every message except `welcome`, `resumed` and `go_away`. */
  readonly onMessage: (message: pb.ServerMessage) => void;
  readonly onSuspended: (error: SignalError | undefined) => void;
  /** Called once, as the last callback. */
  readonly onEnded: (reason: string, error: SignalError | undefined) => void;
}

/** Keeps one session attached to the server: joins, resumes, rejoins and sends, until the session ends. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #credentials: Credentials;
  #url: string;
  #client: SignalClient;
  // The URL of the latest `moveTo`, which cancels earlier ones.
  #targetUrl: string;
  #state: SessionState = 'joining';
  #token = '';
  #limits: Limits = toLimits(undefined);
  #sender: Sender | undefined;
  #stream: Stream | undefined;
  // Aborts the wait before the next stream.
  #backoffAbort = new AbortController();
  #goAway: pb.GoAway | undefined;
  // The error of a Send that ended the stream.
  #sendError: SignalError | undefined;
  // The error of the latest attempt of the first join.
  #joinError: SignalError | undefined;
  #attempt = 0;
  #openedAt = 0;
  #receivedAt = 0;
  #leaving = false;
  // Settles `open`.
  #opening: { resolve: () => void; reject: (error: SignalError) => void } | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#url = this.#targetUrl = stripTrailingSlashes(options.url);
    this.#client = options.createClient(this.#url);
    this.#credentials = new Credentials(options.token, () => this.#sender?.sendToken());
  }

  /** State of the connection to the server. */
  get state(): SessionState {
    return this.#state;
  }

  /** The current URL of the server. */
  get url(): string {
    return this.#url;
  }

  /** Session token; empty without a session. */
  get token(): string {
    return this.#token;
  }

  /** Headers that authenticate a call. */
  get headers(): Record<string, string> {
    return this.#credentials.headers();
  }

  /** Whether a session exists that messages can be sent in, now or after a resume. */
  get hasSession(): boolean {
    return this.#sender !== undefined;
  }

  /** Whether the session has ended or is about to. */
  get isClosing(): boolean {
    return this.#state === 'ended' || this.#leaving;
  }

  /** Joins. Rejects with the error of the last attempt if there is no session after `timeoutMs`. */
  async open(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const abort = () => void this.#end('ABORTED', SignalError.aborted());
    const deadline = Date.now() + timeoutMs;
    const expire = () => {
      const error = this.#joinError ?? SignalError.timeout(`no session within ${timeoutMs} ms`);
      void this.#end(error.reason, error);
    };
    const timer = setTimeout(expire, Math.min(timeoutMs, MAX_TIMEOUT_MS));
    signal?.addEventListener('abort', abort);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#opening = { resolve, reject };
        if (signal?.aborted) abort();
        else void this.#run(deadline);
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Sends a message in the session. Never rejects. */
  send(message: OutgoingMessage): Promise<Outcome> {
    if (this.#sender && !this.isClosing) return this.#sender.send(message);
    const reason = this.isClosing ? 'ENDED' : 'SESSION_GONE';
    const failure = { to: message.to ?? '', reason, retryAfterMs: undefined };
    return Promise.resolve({ status: 'undelivered', failures: [failure] });
  }

  /** Probes another URL of the server and continues there. */
  async moveTo(url: string): Promise<void> {
    if (this.isClosing) throw SignalError.ended();
    const target = stripTrailingSlashes(url);
    this.#targetUrl = target;
    if (target === this.#url) return;
    const client = this.#options.createClient(target);
    await probe(client, this.#token, this.headers);
    if (this.isClosing) throw SignalError.ended();
    if (this.#targetUrl !== target) throw SignalError.aborted();
    // A concurrent call with the same URL may have finished first.
    if (target === this.#url) return;
    this.#url = target;
    this.#client = client;
    this.reconnect();
  }

  /** Leaves. Resolves when the server has confirmed it, or after a timeout. */
  async leave(reason: string): Promise<void> {
    if (this.isClosing) return;
    this.#leaving = true;
    if (this.#state === 'connected' && this.#sender) {
      let isSent = false;
      const sent = this.#sender.send({ body: { case: 'leave', value: { reason } } }).then(() => {
        isSent = true;
      });
      // If the stream is lost first, no later stream resends the message.
      const lost = this.#stream?.ended.then(() =>
        isSent ? undefined : sendLeave(this.#client, this.#token, this.headers, reason),
      );
      await Promise.race([sent, lost, sleep(LEAVE_TIMEOUT_MS)]);
    } else if (this.#token !== '') {
      await sendLeave(this.#client, this.#token, this.headers, reason);
    }
    await Promise.race([this.#end('LEFT', undefined), sleep(LEAVE_TIMEOUT_MS)]);
  }

  /** Replaces the stream, which may be dead without an error, and skips the backoff. */
  reconnect(): void {
    if (this.#state === 'joining' || this.#state === 'ended') return;
    this.#attempt = 0;
    this.#stream?.close();
    this.#backoffAbort.abort();
  }

  /** Replaces the stream if a heartbeat is overdue. */
  reconnectIfSilent(): void {
    if (Date.now() - this.#receivedAt > this.#limits.heartbeatMs + 3_000) this.reconnect();
  }

  /** Opens streams until the session ends. `deadline` is that of the first join. */
  async #run(deadline: number): Promise<void> {
    let lostAt = Date.now();
    while (this.#state !== 'ended') {
      const error = await this.#runStream();
      if (this.#isEnded() || this.#leaving) return;
      const now = Date.now();
      if (this.#state === 'connected') {
        lostAt = now;
        if (now - this.#openedAt > STABLE_MS) this.#attempt = 0;
        this.#state = 'suspended';
        this.#options.onSuspended(error);
        if (this.#isEnded()) return;
      }
      const hasNewToken =
        TOKEN_REJECTED.has(this.#goAway?.reason ?? error?.reason ?? '') && this.#credentials.rejected();
      const step = nextStep({ phase: this.#phase(), error, goAway: this.#goAway, hasNewToken });
      if (step.to === 'stop') {
        void this.#end(step.reason, error);
        return;
      }
      const { minDelayMs = 0, maxDelayMs = Number.POSITIVE_INFINITY, giveUpAfterMs } = this.#options.reconnect;
      const waitMs = step.waitMs ?? backoff(this.#attempt, { minMs: minDelayMs, maxMs: maxDelayMs });
      this.#attempt += 1;
      this.#options.logger.warn(`stream lost, ${step.to} in ${waitMs} ms`, error);
      if (this.#state === 'joining') {
        const failure = error ?? SignalError.network('the stream ended before `welcome`');
        this.#joinError = failure;
        if (now + waitMs > deadline) void this.#end(failure.reason, failure);
      } else if (giveUpAfterMs !== undefined && now + waitMs - lostAt > giveUpAfterMs) {
        void this.#end(error?.reason || 'NETWORK', error);
      } else if (step.to === 'rejoin' || now - lostAt > this.#limits.resumeWindowMs + WINDOW_GRACE_MS) {
        this.#discardSession();
      }
      if (!this.#isEnded()) await sleep(waitMs, this.#backoffAbort.signal);
    }
  }

  /** The phase in which the latest stream failed. */
  #phase(): Phase {
    if (this.#sendError) return 'send';
    if (this.#stream?.isOpened) return 'stream';
    return this.#token === '' ? 'join' : 'resume';
  }

  // Control flow analysis does not see that awaiting and emitting may end the session.
  #isEnded(): boolean {
    return this.#state === 'ended';
  }

  async #runStream(): Promise<SignalError | undefined> {
    this.#backoffAbort = new AbortController();
    this.#stream = undefined;
    this.#goAway = undefined;
    this.#sendError = undefined;
    try {
      if (this.#state === 'joining') await this.#options.checkSupport();
      await this.#credentials.ensureToken();
    } catch (error) {
      return SignalError.from(error);
    }
    if (this.#isEnded()) return undefined;
    const isJoin = this.#token === '';
    this.#options.logger.debug(`opening a stream to ${isJoin ? 'join' : 'resume'}`, { attempt: this.#attempt });
    this.#stream = new Stream({
      client: this.#client,
      open: isJoin
        ? { case: 'join', value: this.#options.joinRequest() }
        : { case: 'resume', value: { sessionToken: this.#token, afterSeq: this.#options.lastSeq() } },
      headers: this.headers,
      openMs: isJoin ? OPEN_TIMEOUT_MS : Math.min(RESUME_TIMEOUT_MS * Math.max(this.#attempt, 1), OPEN_TIMEOUT_MS),
      silenceMs: () => 2 * this.#limits.heartbeatMs + 5_000,
      onMessage: (message) => this.#receive(message),
    });
    const error = await this.#stream.ended;
    if (this.#state === 'joining' && error?.reason === 'TIMEOUT') return await this.#explainTimeout(error);
    return this.#sendError ?? error;
  }

  /** Returns `STREAM_BLOCKED` if unary calls work, since every further join would leave a suspended member. */
  async #explainTimeout(error: SignalError): Promise<SignalError> {
    return await probe(this.#client, '', this.headers, 1).then(
      () => SignalError.streamBlocked(error),
      () => error,
    );
  }

  #receive(message: pb.ServerMessage): void {
    this.#receivedAt = Date.now();
    this.#sender?.messageReceived();
    const { body } = message;
    if (body.case === 'welcome') {
      this.#handleWelcome(message.seq, body.value);
    } else if (body.case === 'resumed') {
      this.#connected();
      this.#options.logger.info('resumed', { replayed: Number(body.value.replayed) });
      this.#options.onResumed(body.value);
    } else if (body.case === 'goAway') {
      this.#goAway = body.value;
      this.#stream?.close();
    } else {
      this.#options.onMessage(message);
    }
  }

  #handleWelcome(seq: bigint, welcome: pb.Welcome): void {
    this.#token = welcome.sessionToken;
    this.#limits = toLimits(welcome.limits);
    this.#sender = new Sender(
      () => this.#client,
      this.#token,
      this.#credentials,
      this.#limits,
      () => this.#options.lastSeq(),
      seq,
    );
    this.#connected();
    this.#options.logger.info('joined', { memberId: welcome.you?.memberId });
    this.#options.onWelcome(seq, welcome);
    this.#opening?.resolve();
  }

  #connected(): void {
    this.#state = 'connected';
    this.#credentials.accepted();
    this.#openedAt = Date.now();
    const stream = this.#stream;
    if (!stream) return;
    this.#sender?.run(stream.signal).catch((error) => {
      if (stream.signal.aborted) return;
      this.#sendError = SignalError.from(error);
      stream.close();
    });
  }

  #discardSession(): void {
    this.#token = '';
    this.#sender?.abandon();
    this.#sender = undefined;
  }

  /** Ends the session. Resolves when a pending join has left. */
  async #end(reason: string, error: SignalError | undefined): Promise<void> {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#credentials.stop();
    const left = this.#stream?.closeAndLeave();
    this.#backoffAbort.abort();
    this.#discardSession();
    this.#opening?.reject(error ?? SignalError.network(`the server ended the stream before \`welcome\`: ${reason}`));
    this.#options.logger.info(`session ended: ${reason}`, error);
    this.#options.onEnded(reason, error);
    await left;
  }
}

function stripTrailingSlashes(url: string): string {
  return url.replace(/\/+$/, '');
}
