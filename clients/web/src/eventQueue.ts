import { SignalError } from './errors.js';

/** Holds events until a `for await` loop takes them. One event more than `limit` ends the loop with an error. */
export class EventQueue<Event> implements AsyncIterableIterator<Event> {
  readonly #limit: number;
  readonly #onEnd: () => void;
  readonly #events: Event[] = [];
  readonly #waiting: ((result: IteratorResult<Event>) => void)[] = [];
  #isEnded = false;
  #error: SignalError | undefined;

  /** `onEnd` is called once, when the queue takes no more events. */
  constructor(limit: number, onEnd: () => void) {
    this.#limit = limit;
    this.#onEnd = onEnd;
  }

  /** Adds an event. */
  push(event: Event): void {
    if (this.#isEnded) return;
    const waiting = this.#waiting.shift();
    if (waiting) {
      waiting({ done: false, value: event });
    } else if (this.#events.length < this.#limit) {
      this.#events.push(event);
    } else {
      this.#error = SignalError.queueFull(this.#limit);
      this.end();
    }
  }

  /** Takes no more events. The loop still receives the queued ones. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#onEnd();
    for (const resolve of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<Event>> {
    const [event] = this.#events;
    if (this.#events.length > 0) {
      this.#events.shift();
      return Promise.resolve({ done: false, value: event as Event });
    }
    if (this.#error) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#isEnded) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Called when the loop is left. */
  return(): Promise<IteratorResult<Event>> {
    this.end();
    this.#events.length = 0;
    this.#error = undefined;
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
