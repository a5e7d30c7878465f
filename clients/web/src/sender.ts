import { create } from '@bufbuild/protobuf';
import { type Client, Code } from '@connectrpc/connect';
import { backoff, sleep } from './backoff.js';
import type { Credentials } from './credentials.js';
import { SignalError } from './errors.js';
import { ClientMessageSchema, type Signal } from './gen/signalbox/v1/signal_pb.js';
import type { Limits } from './model.js';
import { Outbox, type Outcome, type OutgoingMessage } from './outbox.js';

/** Timeout of one Send, in milliseconds. */
const SEND_TIMEOUT_MS = 10_000;
/** Number of received messages after which an acknowledgement is sent even if nothing else is pending. */
const ACK_EVERY = 128;

/**
 * Sends the messages of one session: one Send at a time, with later messages batched into the next. Each Send carries
 * the acknowledgement of received messages, and a heartbeat is sent when the heartbeat interval passes without one.
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

  /**
   * `client` returns the client for the current URL, `lastSeq` the highest ServerMessage.seq that was processed.
   * `lastAck` is the sequence number that counts as acknowledged at the start.
   */
  constructor(
    client: () => Client<typeof Signal>,
    token: string,
    credentials: Credentials,
    limits: Limits,
    lastSeq: () => bigint,
    lastAck: bigint,
  ) {
    this.#client = client;
    this.#token = token;
    this.#credentials = credentials;
    this.#limits = limits;
    this.#lastSeq = lastSeq;
    this.#lastAck = lastAck;
    this.#outbox = new Outbox(limits);
  }

  /** Queues a message. It is sent at once, or when `run` is called again. */
  send(message: OutgoingMessage): Promise<Outcome> {
    const outcome = this.#outbox.push(message);
    // `run` continues asynchronously, so messages sent in the same task share one batch.
    this.#wake();
    return outcome;
  }

  /**
   * Must be called for every received message. It also triggers heartbeats in background tabs, where browsers throttle
   * timers to one per minute but not network events.
   */
  messageReceived(): void {
    this.#unacked += 1;
    if (this.#heartbeatDue()) this.#wake();
  }

  /** Sends the renewed token to the server, with a heartbeat if nothing else is pending. */
  sendToken(): void {
    this.#tokenPending = true;
    this.#wake();
  }

  /** Settles all pending messages as `unknown`. */
  abandon(): void {
    this.#outbox.abandon();
  }

  /**
   * Sends until `signal` is aborted, starting with the pending messages. Throws a SignalError if the stream must be
   * replaced or the session has ended, and retries after all other errors.
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

/** Whether the server rejected one message of the batch. */
function isMessageError(error: SignalError): boolean {
  return error.reason !== 'PROXY' && (error.code === Code.InvalidArgument || error.code === Code.OutOfRange);
}

/** Whether the stream must be replaced or the session has ended. `nextStep` decides which. */
function isSessionError(error: SignalError): boolean {
  if (!error.isFromServer) return error.isFinal;
  const codes = [Code.NotFound, Code.Aborted, Code.FailedPrecondition, Code.Unauthenticated, Code.PermissionDenied];
  return codes.includes(error.code);
}
