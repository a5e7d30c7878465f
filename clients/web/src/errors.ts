import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { DurationSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { durationMs } from './model.js';

/** What is wrong with one field of a request. */
export interface FieldViolation {
  /** Path of the field, such as `join.room`. */
  readonly field: string;
  /** For people. */
  readonly description: string;
}

interface SignalErrorInit {
  code: Code;
  reason: string;
  message: string;
  retryAfterMs?: number | undefined;
  fieldViolations?: readonly FieldViolation[];
  metadata?: Readonly<Record<string, string>>;
  cause?: unknown;
}

/**
 * Why something failed. Branch on `code` and `reason`, never on `message`.
 *
 * Reasons that come from the server stand in the table of signal.proto (`ROOM_FULL`, `SESSION_GONE`, ...). Those that
 * arise here are `NETWORK` (no connection, or it broke), `TIMEOUT` (no answer in time), `PROXY` (something that is no
 * Signalbox answered), `NO_TOKEN` (the `token` function failed), `ABORTED` (by the caller's AbortSignal) and `ENDED` (the
 * session is over).
 */
export class SignalError extends Error {
  override readonly name = 'SignalError';
  /** gRPC status code. */
  readonly code: Code;
  /** Stable machine-readable reason; empty when a server gave none. */
  readonly reason: string;
  /** Whether the same thing may work later, unchanged. */
  readonly retryable: boolean;
  /** How long to wait before trying again, in milliseconds, where the server said so. */
  readonly retryAfterMs: number | undefined;
  /** Fields that the server objects to. */
  readonly fieldViolations: readonly FieldViolation[];
  /** Further facts, such as `expected_seq` of `SEQ_GAP`. */
  readonly metadata: Readonly<Record<string, string>>;

  private constructor(init: SignalErrorInit) {
    super(init.message, { cause: init.cause });
    this.code = init.code;
    this.reason = init.reason;
    this.retryable =
      init.code === Code.Unavailable ||
      init.code === Code.DeadlineExceeded ||
      init.reason === 'RATE_LIMITED' ||
      init.reason === 'SERVER_FULL';
    this.retryAfterMs = init.retryAfterMs;
    this.fieldViolations = init.fieldViolations ?? [];
    this.metadata = init.metadata ?? {};
  }

  /** Whatever an rpc threw, as a SignalError. */
  static from(error: unknown): SignalError {
    if (error instanceof SignalError) return error;
    const from = ConnectError.from(error);
    const message = from.rawMessage;
    if (from.code === Code.Canceled) return SignalError.aborted();
    if (from.isWireError || from.details.length > 0) {
      return new SignalError({ code: from.code, message, cause: error, ...readDetails(from) });
    }
    if (from.code === Code.DeadlineExceeded) return SignalError.timeout(message);
    // fetch fails with a TypeError, and a stream that was cut with "missing trailer"; neither has a status.
    if (from.code === Code.Unknown && !/^HTTP /.test(message)) return SignalError.network(message, error);
    return new SignalError({ code: from.code, reason: 'PROXY', message, cause: error });
  }

  /** No connection, or it broke. */
  static network(message: string, cause?: unknown): SignalError {
    return new SignalError({ code: Code.Unavailable, reason: 'NETWORK', message, cause });
  }

  /** No answer in time. */
  static timeout(message: string): SignalError {
    return new SignalError({ code: Code.DeadlineExceeded, reason: 'TIMEOUT', message });
  }

  /** The application's `token` function failed. It may work later: the application's server has its troubles, too. */
  static noToken(cause: unknown): SignalError {
    const message = `no token: ${cause instanceof Error ? cause.message : String(cause)}`;
    return new SignalError({ code: Code.Unavailable, reason: 'NO_TOKEN', message, cause });
  }

  /** The caller's AbortSignal fired. */
  static aborted(): SignalError {
    return new SignalError({ code: Code.Canceled, reason: 'ABORTED', message: 'aborted by the caller' });
  }

  /** The session is over and takes nothing any more. */
  static ended(): SignalError {
    return new SignalError({ code: Code.FailedPrecondition, reason: 'ENDED', message: 'the session has ended' });
  }
}

/**
 * Reads google.rpc.ErrorInfo, RetryInfo and BadRequest. By hand, because their few fields have not changed in years,
 * while a generated copy of them would collide with that of any other library in the page.
 */
function readDetails(error: ConnectError): Pick<SignalErrorInit, 'reason'> & Partial<SignalErrorInit> {
  let reason = '';
  let retryAfterMs: number | undefined;
  const fieldViolations: FieldViolation[] = [];
  const metadata: Record<string, string> = {};
  for (const detail of error.details) {
    if (!('type' in detail)) continue;
    try {
      const fields = lengthDelimited(detail.value);
      if (detail.type === 'google.rpc.ErrorInfo' && text(fields, 2) === 'signalbox') {
        reason = text(fields, 1);
        for (const entry of fields.get(3) ?? []) {
          const pair = lengthDelimited(entry);
          metadata[text(pair, 1)] = text(pair, 2);
        }
      } else if (detail.type === 'google.rpc.RetryInfo') {
        const delay = fields.get(1)?.[0];
        if (delay) retryAfterMs = durationMs(fromBinary(DurationSchema, delay));
      } else if (detail.type === 'google.rpc.BadRequest') {
        for (const violation of fields.get(1) ?? []) {
          const parts = lengthDelimited(violation);
          fieldViolations.push({ field: text(parts, 1), description: text(parts, 2) });
        }
      }
    } catch {
      // A detail that cannot be read must not hide the error it came with.
    }
  }
  return { reason, retryAfterMs, fieldViolations, metadata };
}

/** The strings, bytes and messages in an encoded message, by field number. */
function lengthDelimited(bytes: Uint8Array): Map<number, Uint8Array[]> {
  const fields = new Map<number, Uint8Array[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type !== WireType.LengthDelimited) {
      reader.skip(type, number);
      continue;
    }
    const values = fields.get(number) ?? [];
    values.push(reader.bytes());
    fields.set(number, values);
  }
  return fields;
}

function text(fields: Map<number, Uint8Array[]>, number: number): string {
  return new TextDecoder().decode(fields.get(number)?.[0]);
}
