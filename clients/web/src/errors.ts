import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { DurationSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { durationMs } from './model.js';
import type { ErrorReason } from './reasons.js';

/** An invalid field of a request. */
export interface FieldViolation {
  /** Path of the field, such as `join.room`. */
  readonly field: string;
  /** Human-readable description of the problem. */
  readonly description: string;
}

/**
 * HTTP statuses that come from a wrong configuration, such as `--public-name` or `--cors-origin`, and do not go away by
 * themselves. See "Reason and action" in docs/protocol.md.
 */
const CONFIGURATION_STATUSES: ReadonlySet<number | undefined> = new Set([403, 415, 421]);
/** Reasons of errors that no retry resolves. */
const FINAL_REASONS: ReadonlySet<string> = new Set(['ABORTED', 'ENDED', 'QUEUE_FULL', 'STREAM_BLOCKED', 'UNSUPPORTED']);
/** Reasons of the server that a retry may resolve, whatever the code. */
const RETRYABLE_REASONS: ReadonlySet<string> = new Set(['RATE_LIMITED', 'SERVER_FULL']);
const RETRYABLE_CODES: ReadonlySet<Code> = new Set([Code.Unavailable, Code.DeadlineExceeded]);

interface SignalErrorInit {
  code: Code;
  reason: string;
  message: string;
  isFromServer?: boolean;
  httpStatus?: number | undefined;
  retryAfterMs?: number | undefined;
  fieldViolations?: readonly FieldViolation[];
  metadata?: Readonly<Record<string, string>>;
  cause?: unknown;
}

/** The error of every failed operation. Branch on `code` and `reason`, never on `message`. */
export class SignalError extends Error {
  override readonly name = 'SignalError';
  /** gRPC status code. */
  readonly code: Code;
  /** Stable machine-readable reason; empty if the server sent none. */
  readonly reason: ErrorReason;
  /** Whether retrying the same operation may succeed. */
  readonly retryable: boolean;
  /** @internal Whether a Signalbox server sent the reason. */
  readonly isFromServer: boolean;
  /** @internal Whether the environment, and not the server, rules out another attempt. */
  get isFinal(): boolean {
    // `ABORTED` is not final, because the browser may cancel a call that the client did not abort.
    return !this.isFromServer && !this.retryable && this.reason !== 'ABORTED';
  }
  /** HTTP status of a response that is not gRPC-Web, with the reason `PROXY`. */
  readonly httpStatus: number | undefined;
  /** Delay before a retry as requested by the server, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Fields that the server rejected. */
  readonly fieldViolations: readonly FieldViolation[];
  /** Further details, such as `expected_seq` with `SEQ_GAP`. */
  readonly metadata: Readonly<Record<string, string>>;

  private constructor(init: SignalErrorInit) {
    super(init.message, { cause: init.cause });
    this.code = init.code;
    this.reason = init.reason;
    this.isFromServer = init.isFromServer ?? false;
    this.httpStatus = init.httpStatus;
    this.retryable = this.isFromServer
      ? RETRYABLE_CODES.has(init.code) || RETRYABLE_REASONS.has(init.reason)
      : !FINAL_REASONS.has(init.reason) && !CONFIGURATION_STATUSES.has(init.httpStatus);
    this.retryAfterMs = init.retryAfterMs;
    this.fieldViolations = init.fieldViolations ?? [];
    this.metadata = init.metadata ?? {};
  }

  /** Converts any error thrown by an RPC. */
  static from(error: unknown): SignalError {
    if (error instanceof SignalError) return error;
    const from = ConnectError.from(error);
    // Thrown by the client's own wrapper of `fetch`.
    if (from.cause instanceof SignalError) return from.cause;
    const message = from.rawMessage;
    if (from.code === Code.Canceled && !from.isWireError) return SignalError.aborted();
    if (from.isWireError || from.details.length > 0) {
      const details = readDetails(from);
      return new SignalError({
        code: from.code,
        message,
        cause: error,
        isFromServer: details.reason !== '',
        ...details,
      });
    }
    if (from.code === Code.DeadlineExceeded) return SignalError.timeout(message);
    // Neither a failed fetch (TypeError) nor an interrupted stream ("missing trailer") has a status.
    const httpStatus = Number(/^HTTP (\d+)$/.exec(message)?.[1]) || undefined;
    if (from.code === Code.Unknown && !httpStatus) return SignalError.network(message, error);
    return new SignalError({ code: from.code, reason: 'PROXY', message, httpStatus, cause: error });
  }

  /** No connection, or it was lost. */
  static network(message: string, cause?: unknown): SignalError {
    return new SignalError({ code: Code.Unavailable, reason: 'NETWORK', message, cause });
  }

  /** No response in time. */
  static timeout(message: string): SignalError {
    return new SignalError({ code: Code.DeadlineExceeded, reason: 'TIMEOUT', message });
  }

  /** Calls work and streams do not. Retrying cannot help until the proxy is configured. */
  static streamBlocked(cause: unknown): SignalError {
    const message =
      'the server answers, but its stream does not arrive: turn off response buffering in the proxy in between';
    return new SignalError({ code: Code.FailedPrecondition, reason: 'STREAM_BLOCKED', message, cause });
  }

  /** The application's `token` function failed. Retryable, since its backend may be temporarily unavailable. */
  static noToken(cause: unknown): SignalError {
    const message = `failed to get a token: ${cause instanceof Error ? cause.message : String(cause)}`;
    return new SignalError({ code: Code.Unavailable, reason: 'NO_TOKEN', message, cause });
  }

  /** Canceled by an AbortSignal or a later call. */
  static aborted(): SignalError {
    return new SignalError({ code: Code.Canceled, reason: 'ABORTED', message: 'canceled by the caller' });
  }

  /** The environment lacks a required feature. */
  static unsupported(message: string, cause?: unknown): SignalError {
    return new SignalError({ code: Code.Unimplemented, reason: 'UNSUPPORTED', message, cause });
  }

  /** A loop over events does not keep up. */
  static queueFull(limit: number): SignalError {
    const message = `more than ${limit} events wait for the loop: make its body faster or raise limit`;
    return new SignalError({ code: Code.ResourceExhausted, reason: 'QUEUE_FULL', message });
  }

  /** The session has ended. */
  static ended(): SignalError {
    return new SignalError({
      code: Code.FailedPrecondition,
      reason: 'ENDED',
      message: 'the session has ended: join again',
    });
  }
}

/**
 * Decodes google.rpc.ErrorInfo, RetryInfo and BadRequest without generated code, which would make the bundle larger.
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
      // A malformed detail must not hide the error that carries it.
    }
  }
  return { reason, retryAfterMs, fieldViolations, metadata };
}

/** The length-delimited fields of an encoded message, by field number. */
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
