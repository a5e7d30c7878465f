import type { Client } from '@connectrpc/connect';
import { backoff, sleep } from './backoff.js';
import { SignalError } from './errors.js';
import type { Signal } from './gen/signalbox/v1/signal_pb.js';

/** Timeout of one attempt, in milliseconds. */
const TIMEOUT_MS = 4_000;
/** Maximum number of attempts, since a bad network may lose one. */
const ATTEMPTS = 3;

/**
 * Checks that a Signalbox server answers, with an unnumbered heartbeat, which changes nothing. A server that does not
 * know the session, for example after a restart, counts as answering. Throws a SignalError otherwise.
 */
export async function probe(
  client: Client<typeof Signal>,
  sessionToken: string,
  headers: Record<string, string>,
  attempts = ATTEMPTS,
): Promise<void> {
  const messages = [{ body: { case: 'heartbeat' as const, value: {} } }];
  for (let attempt = 1; ; attempt += 1) {
    try {
      await client.send({ sessionToken, messages }, { headers, timeoutMs: TIMEOUT_MS });
      return;
    } catch (cause) {
      const error = SignalError.from(cause);
      if (error.reason === 'SESSION_GONE') return;
      if (!error.retryable || attempt === attempts) throw error;
      await sleep(error.retryAfterMs ?? backoff(attempt));
    }
  }
}
