import { Code } from '@connectrpc/connect';
import type { SignalError } from './errors.js';
import { Action, type GoAway } from './gen/signalbox/v1/signal_pb.js';
import { durationMs } from './model.js';

/** What to do after a stream has ended. `waitMs` undefined: use the backoff. */
export type Step =
  | { readonly to: 'resume' | 'rejoin'; readonly waitMs: number | undefined }
  | { readonly to: 'end'; readonly reason: string };

/**
 * Reasons after which the client joins again. SEQ_GAP keeps the session, but a resume would send the same messages and
 * hit the same gap.
 */
const REJOIN_REASONS = new Set(['SESSION_GONE', 'SLOW_CONSUMER', 'SEQ_GAP']);

/**
 * Follows the server's go_away if there is one, else the error. `error` is undefined if the stream ended without one.
 */
export function nextStep(error: SignalError | undefined, goAway: GoAway | undefined, resuming: boolean): Step {
  const waitMs = goAway?.retryAfter ? durationMs(goAway.retryAfter) : error?.retryAfterMs;
  if (goAway?.action === Action.STOP) return { to: 'end', reason: goAway.reason };
  if (goAway?.action === Action.REJOIN) return { to: 'rejoin', waitMs: waitMs ?? 0 };
  if (goAway?.action === Action.RESUME) return { to: 'resume', waitMs };
  const reason = error?.reason ?? '';
  if (REJOIN_REASONS.has(reason)) return { to: 'rejoin', waitMs: waitMs ?? 0 };
  // Errors of the network or of a proxy do not end the session.
  const fromServer = error && reason !== '' && reason !== 'PROXY' && !error.retryable && error.code !== Code.Internal;
  if (!fromServer) return { to: 'resume', waitMs };
  // The server cannot process the resume, for example because its data was reset: the session is lost.
  if (resuming && error.code === Code.InvalidArgument) return { to: 'rejoin', waitMs: waitMs ?? 0 };
  return { to: 'end', reason };
}
