import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type ClientMessage, ClientMessageSchema, type SendResponse } from './gen/signalbox/v1/signal_pb.js';
import { durationMs, type Limits } from './model.js';
import type { FailureReason } from './reasons.js';

/** A member that a message was not delivered to. */
export interface Failure {
  /** member_id; empty if the message was delivered to no member. */
  readonly to: string;
  readonly reason: FailureReason;
  /** Delay before sending again as requested by the server, in milliseconds. */
  readonly retryAfterMs: number | undefined;
}

/**
 * Outcome of a message.
 *
 * - `accepted`: it is in the room's log. It reaches the addressee once, or the addressee's session ends.
 * - `undelivered`: it was not delivered to the members in `failures`. A broadcast may have reached the others.
 * - `unknown`: the session ended before the server reported an outcome. It may or may not have been delivered.
 */
export type Outcome =
  | { readonly status: 'accepted' }
  | { readonly status: 'undelivered'; readonly failures: readonly [Failure, ...Failure[]] }
  | { readonly status: 'unknown' };

/** A ClientMessage without its sequence number. */
export type OutgoingMessage = Omit<
  MessageInitShape<typeof ClientMessageSchema>,
  'seq' | 'ack' | '$typeName' | '$unknown'
>;

interface Pending {
  readonly message: ClientMessage;
  readonly bytes: number;
  readonly settle: (outcome: Outcome) => void;
}

/** Maximum number of pending messages: about 15 minutes of candidates. */
const MAX_PENDING = 4_096;
/** Maximum size of all pending messages. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;
/** Maximum number of messages in a batch. The contract allows 1,024, and one is left for the acknowledgement. */
const MAX_BATCH = 1_023;
/** Upper bound of the tag and length that precede each message in a SendRequest. */
const MESSAGE_OVERHEAD = 8;

/**
 * Assigns sequence numbers, keeps messages until their outcome is known and forms batches. Performs no I/O: a batch
 * that is not settled is part of the next one.
 */
export class Outbox {
  readonly #limits: Pick<Limits, 'maxMessageBytes' | 'maxUnacked'>;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  #lastSeq = 0n;
  // Messages up to this number are sent one at a time, to find the one that the server rejects.
  #isolateUntil = 0n;

  constructor(limits: Pick<Limits, 'maxMessageBytes' | 'maxUnacked'>) {
    this.#limits = limits;
  }

  /** Number of pending messages. */
  get size(): number {
    return this.#pending.length;
  }

  /** Adds a message. The promise never rejects; `settle`, `reject` or `abandon` resolves it. */
  push(outgoing: OutgoingMessage): Promise<Outcome> {
    const message = create(ClientMessageSchema, { ...outgoing, seq: this.#lastSeq + 1n });
    const bytes = encodedLength(message);
    if (bytes === undefined) return Promise.resolve(undelivered(message.to, 'INVALID_MESSAGE'));
    if (bytes > this.#limits.maxMessageBytes) return Promise.resolve(undelivered(message.to, 'TOO_LARGE'));
    if (this.#pending.length >= MAX_PENDING || this.#pendingBytes + bytes > MAX_PENDING_BYTES) {
      return Promise.resolve(undelivered(message.to, 'OUTBOX_FULL'));
    }
    this.#lastSeq = message.seq;
    this.#pendingBytes += bytes;
    return new Promise((settle) => this.#pending.push({ message, bytes, settle }));
  }

  /** The longest prefix of the pending messages that fits into one request. */
  batch(): ClientMessage[] {
    const isolate = (this.#pending[0]?.message.seq ?? 0n) <= this.#isolateUntil;
    const maxMessages = isolate ? 1 : Math.min(MAX_BATCH, this.#limits.maxUnacked);
    // A request may be four times as large as a message. One quarter is left for the acknowledgement and overhead.
    let bytesLeft = 3 * this.#limits.maxMessageBytes;
    const messages: ClientMessage[] = [];
    for (const { message, bytes } of this.#pending) {
      bytesLeft -= bytes + MESSAGE_OVERHEAD;
      if (messages.length >= maxMessages || (bytesLeft < 0 && messages.length > 0)) break;
      messages.push(message);
    }
    return messages;
  }

  /** Resolves the outcomes that a response reports. */
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
   * Handles a batch that the server rejected because of one message. Several messages are sent again one at a time. A
   * single message is undelivered, and a heartbeat takes its sequence number, since numbers must not be skipped.
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

  /** Settles pending messages as `unknown`, because the session has ended. */
  abandon(): void {
    while (this.#pending.length > 0) this.#shift({ status: 'unknown' });
  }

  #shift(outcome: Outcome): void {
    const pending = this.#pending.shift();
    this.#pendingBytes -= pending?.bytes ?? 0;
    pending?.settle(outcome);
  }
}

/** Returns the encoded size; undefined if a value is out of its range, such as a negative index. */
function encodedLength(message: ClientMessage): number | undefined {
  try {
    return toBinary(ClientMessageSchema, message).length;
  } catch {
    return undefined;
  }
}

function undelivered(to: string, reason: string): Outcome {
  return { status: 'undelivered', failures: [{ to, reason, retryAfterMs: undefined }] };
}
