import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type ClientMessage, ClientMessageSchema, type SendResponse } from './gen/signalbox/v1/signal_pb.js';
import { durationMs, type Limits } from './model.js';

/** One member that a message did not reach. */
export interface Failure {
  /** Whom; empty when it reached nobody. */
  readonly to: string;
  /** `NO_SUCH_MEMBER`, `TARGET_REQUIRED`, `MAILBOX_FULL`, `RATE_LIMITED`, `TOO_LARGE`, `FORBIDDEN`, or a reason of
   * SignalError when the server refused the message; `OUTBOX_FULL` when too much was waiting to be sent. */
  readonly reason: string;
  /** How long to wait before saying it again, in milliseconds, where the server said so. */
  readonly retryAfterMs: number | undefined;
}

/**
 * What became of a message.
 *
 * - `accepted`: it is in the room's log; it reaches its addressee once, or the addressee's session ends.
 * - `undelivered`: it did not reach those in `failures` (data for all may have reached the others).
 * - `unknown`: the session ended before the server's answer. It may or may not have been delivered.
 */
export type Outcome =
  | { readonly status: 'accepted' }
  | { readonly status: 'undelivered'; readonly failures: readonly [Failure, ...Failure[]] }
  | { readonly status: 'unknown' };

/** What to say: a ClientMessage without its number. */
export type OutgoingMessage = Omit<
  MessageInitShape<typeof ClientMessageSchema>,
  'seq' | 'ack' | '$typeName' | '$unknown'
>;

interface Pending {
  readonly message: ClientMessage;
  readonly bytes: number;
  readonly settle: (outcome: Outcome) => void;
}

/** How many messages may wait; about a quarter of an hour of candidates. What comes on top is refused. */
const MAX_PENDING = 4_096;
/** How many bytes may wait. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;
/** The contract's limit, less one for the acknowledgement that goes along. */
const MAX_BATCH = 1_023;
/** What a message costs in a SendRequest beside its own bytes. */
const MESSAGE_OVERHEAD = 8;

/**
 * Numbers what is said, keeps it until its outcome is known and forms batches of it. Knows nothing of networks: a
 * batch that is not settled is simply the start of the next one.
 */
export class Outbox {
  readonly #limits: Pick<Limits, 'maxMessageBytes' | 'maxUnacked'>;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  #lastSeq = 0n;
  // Up to this number messages go alone, to find the one that the server objects to.
  #isolateUntil = 0n;

  constructor(limits: Pick<Limits, 'maxMessageBytes' | 'maxUnacked'>) {
    this.#limits = limits;
  }

  /** How many are not settled. */
  get size(): number {
    return this.#pending.length;
  }

  /** Takes a message. The promise never rejects, and is settled by `settle`, `reject` or `abandon`. */
  push(outgoing: OutgoingMessage): Promise<Outcome> {
    const message = create(ClientMessageSchema, { ...outgoing, seq: this.#lastSeq + 1n });
    const bytes = toBinary(ClientMessageSchema, message).length;
    if (bytes > this.#limits.maxMessageBytes) return Promise.resolve(undelivered(message.to, 'TOO_LARGE'));
    if (this.#pending.length >= MAX_PENDING || this.#pendingBytes + bytes > MAX_PENDING_BYTES) {
      return Promise.resolve(undelivered(message.to, 'OUTBOX_FULL'));
    }
    this.#lastSeq = message.seq;
    this.#pendingBytes += bytes;
    return new Promise((settle) => this.#pending.push({ message, bytes, settle }));
  }

  /** The longest start of what is pending that one request may hold. */
  batch(): ClientMessage[] {
    const isolate = (this.#pending[0]?.message.seq ?? 0n) <= this.#isolateUntil;
    const maxMessages = isolate ? 1 : Math.min(MAX_BATCH, this.#limits.maxUnacked);
    // One message's worth stays free: for the acknowledgement, and because "at most" and "less than" are easily mixed.
    let bytesLeft = 3 * this.#limits.maxMessageBytes;
    const messages: ClientMessage[] = [];
    for (const { message, bytes } of this.#pending) {
      bytesLeft -= bytes + MESSAGE_OVERHEAD;
      if (messages.length >= maxMessages || (bytesLeft < 0 && messages.length > 0)) break;
      messages.push(message);
    }
    return messages;
  }

  /** Settles what a response speaks of. */
  settle(response: SendResponse): void {
    const failures = new Map<bigint, Failure[]>();
    for (const { clientSeq, to, reason, retryAfter } of response.undelivered) {
      const failure = { to, reason, retryAfterMs: retryAfter && durationMs(retryAfter) };
      failures.set(clientSeq, [...(failures.get(clientSeq) ?? []), failure]);
    }
    while (this.#pending[0] && this.#pending[0].message.seq <= response.ack) {
      const [first, ...rest] = failures.get(this.#pending[0].message.seq) ?? [];
      this.#shift(first ? { status: 'undelivered', failures: [first, ...rest] } : { status: 'accepted' });
    }
  }

  /**
   * The server refused a whole batch for a fault in one of its messages. Several: they go one by one now. One: it is
   * undelivered, and a heartbeat takes its number, because numbers must not have gaps.
   */
  reject(batch: readonly ClientMessage[], reason: string): void {
    const head = this.#pending[0];
    const last = batch.at(-1);
    if (!head || !last) return;
    if (batch.length > 1) {
      this.#isolateUntil = last.seq;
      return;
    }
    if (head.message.seq !== last.seq) return;
    head.settle(undelivered(head.message.to, reason));
    this.#pendingBytes -= head.bytes;
    const message = create(ClientMessageSchema, { seq: last.seq, body: { case: 'heartbeat', value: {} } });
    this.#pending[0] = { message, bytes: 0, settle: () => {} };
  }

  /** The session is over: what is pending is unknown. */
  abandon(): void {
    while (this.#pending.length > 0) this.#shift({ status: 'unknown' });
  }

  #shift(outcome: Outcome): void {
    const pending = this.#pending.shift();
    this.#pendingBytes -= pending?.bytes ?? 0;
    pending?.settle(outcome);
  }
}

function undelivered(to: string, reason: string): Outcome {
  return { status: 'undelivered', failures: [{ to, reason, retryAfterMs: undefined }] };
}
