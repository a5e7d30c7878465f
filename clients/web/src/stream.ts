import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import { SignalError } from './errors.js';
import type { ServerMessage, Signal, SubscribeRequestSchema } from './gen/signalbox/v1/signal_pb.js';

/**
 * Reads one Subscribe stream, calling `onMessage` for each message, until the server ends it (returns), it breaks, or
 * nothing came for `silenceMs()` (both throw a SignalError). A connection can look open and deliver nothing for hours;
 * only the server's heartbeats tell.
 */
export async function readStream(
  client: Client<typeof Signal>,
  request: MessageInitShape<typeof SubscribeRequestSchema>,
  headers: Record<string, string>,
  silenceMs: () => number,
  signal: AbortSignal,
  onMessage: (message: ServerMessage) => void,
): Promise<void> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  let silent = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const rearm = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      silent = true;
      stop();
    }, silenceMs());
  };
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  rearm();
  try {
    for await (const message of client.subscribe(request, { headers, signal: controller.signal })) {
      onMessage(message);
      // After, because the first message says how long silence may be.
      rearm();
    }
  } catch (error) {
    throw silent ? SignalError.timeout('the server has been silent for too long') : SignalError.from(error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    stop();
  }
}
