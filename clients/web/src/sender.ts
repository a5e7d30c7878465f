import { create } from '@bufbuild/protobuf';
import { type Client, Code } from '@connectrpc/connect';
import { backoff, sleep } from './backoff.js';
import type { Credentials } from './credentials.js';
import { SignalError } from './errors.js';
import { ClientMessageSchema, type Signal } from './gen/signalbox/v1/signal_pb.js';
import type { Limits } from './model.js';
import { Outbox, type Outcome, type OutgoingMessage } from './outbox.js';

/** How long the server may take to answer a Send, in milliseconds. */
const SEND_TIMEOUT_MS = 10_000;
/** So many messages may be taken in before the server is told, should there be nothing else to say. */
const ACK_EVERY = 128;

/**
 * Says things in one session: one Send at a time, everything said meanwhile in the next. Sends a heartbeat when there
 * was nothing else to say for the heartbeat interval. Acknowledgements of what was received go along.
 */
export class Sender {
  readonly #client: () => Client<typeof Signal>;
  readonly #token: string;
  readonly #credentials: Credentials;
  readonly #limits: Limits;
  readonly #lastSeq: () => bigint;
  readonly #outbox: Outbox;
  #wake: () => void = () => {};
  #lastSendAt = Date.now();
  #lastAck: bigint;
  #unacked = 0;
  #tokenPending = false;

  /** `client`: where the server is now. `lastSeq`: the highest ServerMessage.seq that was processed. */
  constructor(
    client: () => Client<typeof Signal>,
    token: string,
    credentials: Credentials,
    limits: Limits,
    lastSeq: () => bigint,
  ) {
    this.#client = client;
    this.#token = token;
    this.#credentials = credentials;
    this.#limits = limits;
    this.#lastSeq = lastSeq;
    this.#lastAck = lastSeq();
    this.#outbox = new Outbox(limits);
  }

  /** Takes something to say; it goes out now, or when `run` runs again. */
  send(message: OutgoingMessage): Promise<Outcome> {
    const outcome = this.#outbox.push(message);
    // `run` goes on in a later turn, so that what the caller says in the same breath goes along.
    this.#wake();
    return outcome;
  }

  /**
   * To be called for every message received. Beside counting, this keeps heartbeats going in background tabs, whose
   * timers browsers throttle to one a minute while network events still come in time.
   */
  messageReceived(): void {
    this.#unacked += 1;
    if (this.#heartbeatDue()) this.#wake();
  }

  /** There is a newer token: the server sees it with the next Send, which is now. */
  sendToken(): void {
    this.#tokenPending = true;
    this.#wake();
  }

  /** Settles everything as unknown. */
  abandon(): void {
    this.#outbox.abandon();
  }

  /**
   * Sends until `signal` is aborted, starting with whatever is not settled. Throws a SignalError that concerns the
   * session as a whole (SESSION_GONE, REMOVED, ...); anything else is tried again.
   */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const batch = this.#outbox.batch();
      if (batch.length === 0 && !this.#heartbeatDue()) {
        await this.#idle(signal);
        continue;
      }
      const ack = this.#lastSeq();
      const body = batch.length === 0 ? { case: 'heartbeat' as const, value: {} } : { case: undefined };
      const first = batch.length === 0 || ack > this.#lastAck ? [create(ClientMessageSchema, { ack, body })] : [];
      this.#lastSendAt = Date.now();
      this.#unacked = 0;
      this.#tokenPending = false;
      try {
        const response = await this.#client().send(
          { sessionToken: this.#token, messages: [...first, ...batch] },
          { headers: this.#credentials.headers(), signal, timeoutMs: SEND_TIMEOUT_MS },
        );
        this.#credentials.accepted();
        this.#lastAck = ack;
        failures = 0;
        this.#outbox.settle(response);
      } catch (cause) {
        if (signal.aborted) return;
        const error = SignalError.from(cause);
        if (isMessageError(error) && batch.length > 0) {
          this.#outbox.reject(batch, error.reason || 'INVALID_MESSAGE');
        } else if (isSessionError(error)) {
          throw error;
        } else {
          failures += 1;
          this.#tokenPending = true;
          await sleep(error.retryAfterMs ?? backoff(failures), signal);
        }
      }
    }
  }

  /** Says goodbye on its own, without a number, whatever else is pending. Best effort. */
  async sendLeave(reason: string, timeoutMs: number): Promise<void> {
    const messages = [{ body: { case: 'leave' as const, value: { reason } } }];
    const options = { headers: this.#credentials.headers(), timeoutMs };
    await this.#client()
      .send({ sessionToken: this.#token, messages }, options)
      .catch(() => {});
  }

  #idleMs(): number {
    return Date.now() - this.#lastSendAt;
  }

  #heartbeatDue(): boolean {
    return this.#tokenPending || this.#unacked >= ACK_EVERY || this.#idleMs() >= 0.9 * this.#limits.heartbeatMs;
  }

  async #idle(signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const wake = () => woken.abort();
    this.#wake = wake;
    signal.addEventListener('abort', wake);
    await sleep(Math.max(0, this.#limits.heartbeatMs - this.#idleMs()), woken.signal);
    signal.removeEventListener('abort', wake);
    this.#wake = () => {};
  }
}

function isMessageError(error: SignalError): boolean {
  return error.reason !== 'PROXY' && (error.code === Code.InvalidArgument || error.code === Code.OutOfRange);
}

function isSessionError(error: SignalError): boolean {
  const codes = [Code.NotFound, Code.Aborted, Code.FailedPrecondition, Code.Unauthenticated, Code.PermissionDenied];
  return error.reason !== 'PROXY' && error.reason !== '' && codes.includes(error.code);
}
