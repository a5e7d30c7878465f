import { create, toBinary } from '@bufbuild/protobuf';
import { SendRequestSchema } from './gen/signalbox/v1/signal_pb.js';

/** Page lifecycle and network events that a session reacts to. */
export interface PageHandlers {
  /** The network came back or changed, so existing connections may be dead. */
  networkChanged(): void;
  /** The page became visible; its timers were throttled, so a dead connection may be unnoticed. */
  becameVisible(): void;
  /** The page is unloaded and not kept in the back-forward cache. */
  unloading(): void;
}

/** Registers the handlers; does nothing outside of a page. Returns a function that removes them. */
export function watchPage(handlers: PageHandlers): () => void {
  if (typeof window === 'undefined' || typeof document === 'undefined') return () => {};
  const listening = new AbortController();
  const options = { signal: listening.signal };
  window.addEventListener('online', () => handlers.networkChanged(), options);
  // A page restored from the back-forward cache has lost its stream without an error.
  window.addEventListener('pageshow', (event) => event.persisted && handlers.networkChanged(), options);
  window.addEventListener('pagehide', (event) => event.persisted || handlers.unloading(), options);
  document.addEventListener(
    'visibilitychange',
    () => document.visibilityState === 'visible' && handlers.becameVisible(),
    options,
  );
  // Detects a switch from Wi-Fi to cellular, which may fire no `offline` event. Chromium only.
  const network = (navigator as { connection?: EventTarget & { type?: string } }).connection;
  let type = network?.type;
  network?.addEventListener(
    'change',
    () => {
      if (network.type === type) return;
      type = network.type;
      handlers.networkChanged();
    },
    options,
  );
  return () => listening.abort();
}

/**
 * Sends `leave` while the page unloads. Encodes the gRPC-Web frame manually, because only a fetch with `keepalive`
 * outlives the page.
 */
export function sendLeaveKeepalive(
  url: string,
  sessionToken: string,
  headers: Record<string, string>,
  fetch = globalThis.fetch,
): void {
  const messages = [{ body: { case: 'leave' as const, value: { reason: 'page closed' } } }];
  const message = toBinary(SendRequestSchema, create(SendRequestSchema, { sessionToken, messages }));
  const frame = new Uint8Array(5 + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, 5);
  fetch(`${url}/signalbox.v1.Signal/Send`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/grpc-web+proto', 'x-grpc-web': '1' },
    body: frame,
    keepalive: true,
  }).catch(() => {});
}
