import { create, toBinary } from '@bufbuild/protobuf';
import { SendRequestSchema } from './gen/signalbox/v1/signal_pb.js';

/** What a session wants to know about the page it lives in. */
export interface PageHandlers {
  /** The network came back or changed: whatever connection there was is not to be trusted. */
  networkChanged(): void;
  /** The page is in front again: connections may have died unseen. */
  becameVisible(): void;
  /** The page goes away for good. */
  unloading(): void;
}

/** Listens to the page, where there is one. Returns a function that stops. */
export function watchPage(handlers: PageHandlers): () => void {
  if (typeof window === 'undefined' || typeof document === 'undefined') return () => {};
  const listening = new AbortController();
  const options = { signal: listening.signal };
  window.addEventListener('online', () => handlers.networkChanged(), options);
  // A page from the back-forward cache has lost its stream even though nothing told it.
  window.addEventListener('pageshow', (event) => event.persisted && handlers.networkChanged(), options);
  window.addEventListener('pagehide', (event) => event.persisted || handlers.unloading(), options);
  document.addEventListener(
    'visibilitychange',
    () => document.visibilityState === 'visible' && handlers.becameVisible(),
    options,
  );
  // Wi-Fi to mobile without an offline in between; Chromium only.
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
 * Says leave in a way that outlives the page: a gRPC-Web request by hand (one length-prefixed message), because the
 * browser lets only a plain fetch with `keepalive` finish after the page has gone.
 */
export function sendLeaveKeepalive(url: string, sessionToken: string, headers: Record<string, string>): void {
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
