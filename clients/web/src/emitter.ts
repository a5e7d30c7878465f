/** Takes back an `on`. Calling it twice is fine. */
export type Unsubscribe = () => void;

/** Typed events. `Events` maps a name to what its handlers are given. */
export class Emitter<Events> {
  readonly #handlers = new Map<keyof Events, Set<(event: never) => void>>();

  /** Calls `handler` on every `name` from now on. */
  on<Name extends keyof Events>(name: Name, handler: (event: Events[Name]) => void): Unsubscribe {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers);
    handlers.add(handler);
    return () => handlers.delete(handler);
  }

  /** A handler that throws stops neither the others nor the emitting code; the error is reported as uncaught. */
  protected emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      try {
        (handler as (event: Events[Name]) => void)(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
