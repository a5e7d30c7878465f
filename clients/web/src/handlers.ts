import type { ReportHandlerError } from './logger.js';

/** Removes a handler. Idempotent. */
export type Unsubscribe = () => void;

/** The handlers of one event. An error of one handler affects neither the other handlers nor the caller. */
export class Handlers<Event> {
  readonly #handlers = new Set<{ readonly handle: (event: Event) => unknown }>();
  readonly #reportError: ReportHandlerError;

  constructor(reportError: ReportHandlerError) {
    this.#reportError = reportError;
  }

  /** Adds a handler. A function that is added twice is called twice. */
  add(handle: (event: Event) => unknown): Unsubscribe {
    const handler = { handle };
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Calls the handlers. Skips handlers that are added or removed during the call. */
  call(event: Event): void {
    for (const handler of [...this.#handlers]) {
      if (!this.#handlers.has(handler)) continue;
      try {
        const result = handler.handle(event);
        // An async handler reports its error through its promise.
        if (result instanceof Promise) result.catch(this.#reportError);
      } catch (error) {
        this.#reportError(error);
      }
    }
  }
}
