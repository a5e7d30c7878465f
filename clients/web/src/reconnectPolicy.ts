import { Code } from '@connectrpc/connect';
import type { SignalError } from './errors.js';
import { Action, type GoAway } from './gen/signalbox/v1/signal_pb.js';
import { durationMs } from './model.js';

/**
 * What failed: the opening of a stream with `join` or `resume`, a `stream` after its first message, or a `send`. See
 * "Reason and action" in docs/protocol.md for the rules of each.
 */
export type Phase = 'join' | 'resume' | 'stream' | 'send';

/** How a stream ended. */
export interface StreamEnd {
  readonly phase: Phase;
  /** Undefined if the stream ended without an error. */
  readonly error: SignalError | undefined;
  readonly goAway: GoAway | undefined;
  /** Whether the server rejected the token and another one is available. */
  readonly hasNewToken: boolean;
}

/**
 * The next step. `resume` without a session repeats the join, and an undefined `waitMs` means the backoff. The
 * application receives the reason of `stop`.
 */
export type Step =
  | { readonly to: 'resume' | 'rejoin'; readonly waitMs: number | undefined }
  | { readonly to: 'stop'; readonly reason: string };

/** Reasons that determine the next step. For all others, the status code determines it. */
const ACTIONS: Readonly<Record<Phase, Readonly<Record<string, 'resume' | 'rejoin'>>>> = {
  join: { RATE_LIMITED: 'resume', SERVER_FULL: 'resume' },
  resume: { RATE_LIMITED: 'resume', SESSION_GONE: 'rejoin', INVALID_MESSAGE: 'rejoin' },
  stream: { SEQ_GAP: 'resume', SESSION_GONE: 'rejoin', SLOW_CONSUMER: 'rejoin' },
  send: { SEQ_GAP: 'resume', SESSION_GONE: 'rejoin', SLOW_CONSUMER: 'rejoin' },
};
const TRANSIENT_CODES: ReadonlySet<Code> = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Internal]);

/** Follows the server's go_away if there is one, else the error. */
export function nextStep({ phase, error, goAway, hasNewToken }: StreamEnd): Step {
  const waitMs = goAway?.retryAfter ? durationMs(goAway.retryAfter) : error?.retryAfterMs;
  const resume = { to: 'resume', waitMs } as const;
  const rejoin = { to: 'rejoin', waitMs: waitMs ?? 0 } as const;
  // The session token never leaves this client, so the newer stream was an abandoned resume that arrived late.
  if ((goAway?.reason ?? error?.reason) === 'FENCED') return resume;
  if (goAway?.action === Action.STOP) return { to: 'stop', reason: goAway.reason };
  if (goAway?.action === Action.REJOIN) return rejoin;
  if (goAway?.action === Action.RESUME || !error) return resume;
  // The new token may be valid. A stream ends with `TOKEN_EXPIRED` only when its session ends, so rejoin.
  if (hasNewToken) return phase === 'stream' && error.reason === 'TOKEN_EXPIRED' ? rejoin : resume;
  if (!error.isFromServer) return error.isFinal ? { to: 'stop', reason: error.reason } : resume;
  const action = ACTIONS[phase][error.reason] ?? (TRANSIENT_CODES.has(error.code) ? 'resume' : 'stop');
  if (action === 'stop') return { to: 'stop', reason: error.reason };
  return action === 'rejoin' ? rejoin : resume;
}
