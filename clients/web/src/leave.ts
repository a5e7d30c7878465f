import type { Client } from '@connectrpc/connect';
import type { Signal } from './gen/signalbox/v1/signal_pb.js';

/** How long to wait for the server's response to `leave`, in milliseconds. */
export const LEAVE_TIMEOUT_MS = 2_000;

/** Sends an unnumbered `leave`, ahead of pending messages. Best effort: never rejects. */
export async function sendLeave(
  client: Client<typeof Signal>,
  sessionToken: string,
  headers: Record<string, string>,
  reason: string,
): Promise<void> {
  const messages = [{ body: { case: 'leave' as const, value: { reason } } }];
  await client.send({ sessionToken, messages }, { headers, timeoutMs: LEAVE_TIMEOUT_MS }).catch(() => {});
}
