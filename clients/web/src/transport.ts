import type { Transport } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import { SignalError } from './errors.js';

const NO_BODY = 'this fetch cannot stream: its responses have no body to read while they arrive';

/** Creates the gRPC-Web transport. Without `fetch`, each call uses the current global one. */
export function createTransport(baseUrl: string, fetch: typeof globalThis.fetch | undefined): Transport {
  return createGrpcWebTransport({
    baseUrl,
    fetch: async (input, init) => {
      const response = await (fetch ?? globalThis.fetch)(input, init);
      if (response.ok && !response.body) throw SignalError.unsupported(NO_BODY);
      return response;
    },
  });
}

/**
 * Checks before a join that `fetch` can stream, because a join whose response cannot be read leaves a suspended member.
 * React Native lacks `body` altogether. Outside a page, where no Content-Security-Policy applies, the check also calls
 * `fetch`.
 *
 * @throws SignalError with `UNSUPPORTED`.
 */
export async function checkStreaming(fetch: typeof globalThis.fetch | undefined): Promise<void> {
  if (typeof Response === 'function' && !('body' in Response.prototype)) throw SignalError.unsupported(NO_BODY);
  if (typeof document !== 'undefined') return;
  const response = await (fetch ?? globalThis.fetch)('data:,x').catch(() => undefined);
  if (response?.ok && !response.body) throw SignalError.unsupported(NO_BODY);
  await response?.body?.cancel();
}
