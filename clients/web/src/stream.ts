import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import { SignalError } from './errors.js';
import type { ServerMessage, Signal, SubscribeRequestSchema } from './gen/signalbox/v1/signal_pb.js';

/**
 * Reads one Subscribe stream until the server ends it. Throws a SignalError if it fails or is silent for `silenceMs()`:
 * a dead connection can look open for hours, and only missing heartbeats reveal it.
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
      // After the message, because the first one changes `silenceMs()`.
      rearm();
    }
  } catch (error) {
    throw silent ? SignalError.timeout(`no message from the server within ${silenceMs()} ms`) : SignalError.from(error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    stop();
  }
}
