import type { Client } from '@connectrpc/connect';
import { backoff, sleep } from './backoff.js';
import { SignalError } from './errors.js';
import type { Signal } from './gen/signalbox/v1/signal_pb.js';

/** How long the server may take to answer, in milliseconds. */
const TIMEOUT_MS = 4_000;
/** How often it is tried: one attempt may be lost on a bad network. */
const ATTEMPTS = 3;

/**
 * Asks whether the server of a session answers there: with a heartbeat that has no number, which changes nothing. One that
 * does not know the session, say because it was started anew, answers, too. Throws a SignalError if nobody does, or
 * somebody who does not want this member.
 */
export async function probe(
  client: Client<typeof Signal>,
  sessionToken: string,
  headers: Record<string, string>,
): Promise<void> {
  const messages = [{ body: { case: 'heartbeat' as const, value: {} } }];
  for (let attempt = 1; ; attempt += 1) {
    try {
      await client.send({ sessionToken, messages }, { headers, timeoutMs: TIMEOUT_MS });
      return;
    } catch (cause) {
      const error = SignalError.from(cause);
      if (error.reason === 'SESSION_GONE') return;
      if (!error.retryable || attempt === ATTEMPTS) throw error;
      await sleep(error.retryAfterMs ?? backoff(attempt));
    }
  }
}
