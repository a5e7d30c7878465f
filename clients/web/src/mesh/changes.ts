/** Lets asynchronous code wait for a state that changes elsewhere. */
export class Changes {
  readonly #waiting = new Set<() => void>();

  /** Makes every waiting `until` check its condition again. */
  notify(): void {
    for (const check of [...this.#waiting]) check();
  }

  /** Waits until `isReached` returns true; rejects when it throws, or when the signal is aborted. */
  until(isReached: () => boolean, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (outcome: () => void) => {
        this.#waiting.delete(check);
        signal?.removeEventListener('abort', check);
        outcome();
      };
      const check = () => {
        try {
          signal?.throwIfAborted();
          if (isReached()) settle(resolve);
        } catch (error) {
          settle(() => reject(error));
        }
      };
      this.#waiting.add(check);
      signal?.addEventListener('abort', check);
      check();
    });
  }
}
