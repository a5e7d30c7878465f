import { Code } from '@connectrpc/connect';
import type { SignalError } from './errors.js';
import { Action, type GoAway } from './gen/signalbox/v1/signal_pb.js';
import { durationMs } from './model.js';

/** What to do when a stream has ended. `waitMs` undefined: as the back-off says. */
export type Step =
  | { readonly to: 'resume' | 'rejoin'; readonly waitMs: number | undefined }
  | { readonly to: 'end'; readonly reason: string };

/** Reasons that end this session, while a new one is welcome. */
const REJOIN_REASONS = new Set(['SESSION_GONE', 'SLOW_CONSUMER', 'SEQ_GAP']);

/** Decides by the server's go_away where there was one, otherwise by the error; `undefined` = the stream just ended. */
export function nextStep(error: SignalError | undefined, goAway: GoAway | undefined, resuming: boolean): Step {
  const waitMs = goAway?.retryAfter ? durationMs(goAway.retryAfter) : error?.retryAfterMs;
  if (goAway?.action === Action.STOP) return { to: 'end', reason: goAway.reason };
  if (goAway?.action === Action.REJOIN) return { to: 'rejoin', waitMs: waitMs ?? 0 };
  if (goAway?.action === Action.RESUME) return { to: 'resume', waitMs };
  const reason = error?.reason ?? '';
  if (REJOIN_REASONS.has(reason)) return { to: 'rejoin', waitMs: waitMs ?? 0 };
  // Whatever a broken network or something in between says, it does not speak for the session.
  const fromServer = error && reason !== '' && reason !== 'PROXY' && !error.retryable && error.code !== Code.Internal;
  if (!fromServer) return { to: 'resume', waitMs };
  // The server does not understand the resume, say because it was set up anew: the session is of no use any more.
  if (resuming && error.code === Code.InvalidArgument) return { to: 'rejoin', waitMs: waitMs ?? 0 };
  return { to: 'end', reason };
}
