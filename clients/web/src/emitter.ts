import { SignalError } from './errors.js';
import { EventQueue } from './eventQueue.js';
import { Handlers, type Unsubscribe } from './handlers.js';
import { handlerErrorReporter, type ReportHandlerError } from './logger.js';

/** Options of `once`. */
export interface OnceOptions {
  /** When aborted, rejects the promise with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Options of `events`. */
export interface EventsOptions {
  /** When aborted, ends the loop. */
  readonly signal?: AbortSignal;
  /** Maximum number of events that wait for the loop. Default: 1,024. */
  readonly limit?: number;
}

const DEFAULT_LIMIT = 1_024;

/**
 * Typed event emitter. `Events` maps each event name to the type of its event.
 *
 * Errors that a handler throws are reported and stop neither the other handlers nor the emitter.
 */
export class Emitter<Events> {
  readonly #handlers: { [Name in keyof Events]?: Handlers<Events[Name]> } = {};
  readonly #reportError: ReportHandlerError;
  readonly #onEnd = new Set<() => void>();
  #isEnded = false;

  constructor(reportError: ReportHandlerError = handlerErrorReporter(undefined)) {
    this.#reportError = reportError;
  }

  /** Calls `handler` for every `name` event. */
  on<Name extends keyof Events>(name: Name, handler: (event: Events[Name]) => void): Unsubscribe {
    this.#handlers[name] ??= new Handlers(this.#reportError);
    return this.#handlers[name].add(handler);
  }

  /**
   * Resolves with the next `name` event. Rejects with the reason of `signal` when it is aborted, and with the
   * SignalError `ENDED` if no event follows.
   */
  once<Name extends keyof Events>(name: Name, { signal }: OnceOptions = {}): Promise<Events[Name]> {
    return new Promise((resolve, reject) => {
      const abort = () => settle(() => reject(signal?.reason));
      const end = () => settle(() => reject(SignalError.ended()));
      const unsubscribe = this.on(name, (event) => settle(() => resolve(event)));
      const settle = (action: () => void) => {
        unsubscribe();
        this.#onEnd.delete(end);
        signal?.removeEventListener('abort', abort);
        action();
      };
      this.#onEnd.add(end);
      signal?.addEventListener('abort', abort);
      if (signal?.aborted) abort();
      else if (this.#isEnded) end();
    });
  }

  /**
   * Iterates over the `name` events from now on, in a `for await` loop. The loop ends after the last event and when
   * `signal` is aborted.
   *
   * Events that arrive while the loop body runs are queued. If more than `limit` are queued, the loop receives the
   * queued events and then throws the SignalError `QUEUE_FULL`, so that no event is lost silently.
   */
  events<Name extends keyof Events>(
    name: Name,
    { signal, limit = DEFAULT_LIMIT }: EventsOptions = {},
  ): AsyncIterableIterator<Events[Name]> {
    const end = () => queue.end();
    const queue = new EventQueue<Events[Name]>(limit, () => {
      unsubscribe();
      this.#onEnd.delete(end);
      signal?.removeEventListener('abort', end);
    });
    const unsubscribe = this.on(name, (event) => queue.push(event));
    this.#onEnd.add(end);
    signal?.addEventListener('abort', end);
    if (signal?.aborted || this.#isEnded) end();
    return queue;
  }

  protected emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    this.#handlers[name]?.call(event);
  }

  /** Ends all loops and rejects all promises, because no event follows. */
  protected endEvents(): void {
    this.#isEnded = true;
    for (const end of [...this.#onEnd]) end();
  }
}
