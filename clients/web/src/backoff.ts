/** Delays of successive attempts, in milliseconds: quadratic growth, capped at 7 s. */
const DELAYS_MS = [0, 300, 1_200, 2_700, 4_800, 7_000];

/** Bounds of the delay before jitter, in milliseconds. */
export interface BackoffBounds {
  readonly minMs: number;
  readonly maxMs: number;
}

const NO_BOUNDS: BackoffBounds = { minMs: 0, maxMs: Number.POSITIVE_INFINITY };

/**
 * Delay before the given attempt (0, 1, 2, ...), in milliseconds. Jitter of ±15 % keeps clients that were disconnected
 * together from reconnecting together.
 */
export function backoff(attempt: number, bounds = NO_BOUNDS, random: () => number = Math.random): number {
  const delay = DELAYS_MS[Math.min(Math.max(attempt, 0), DELAYS_MS.length - 1)] ?? 0;
  return Math.round(Math.max(bounds.minMs, Math.min(delay, bounds.maxMs)) * (0.85 + 0.3 * random()));
}

/** Resolves after `ms` milliseconds, or as soon as `signal` is aborted. Never rejects. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done);
  });
}
