import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import { SignalError } from './errors.js';
import type { ServerMessage, Signal, SubscribeRequestSchema } from './gen/signalbox/v1/signal_pb.js';
import { sendLeave } from './leave.js';

type Request = NonNullable<MessageInitShape<typeof SubscribeRequestSchema>['open']>;

/** Options of a stream. */
export interface StreamOptions {
  readonly client: Client<typeof Signal>;
  readonly open: Request;
  readonly headers: Record<string, string>;
  /** Timeout for the first message, in milliseconds. */
  readonly openMs: number;
  /** Timeout for each later message: a dead connection can look open, and only missing heartbeats reveal it. */
  readonly silenceMs: () => number;
  readonly onMessage: (message: ServerMessage) => void;
}

/** One Subscribe call, which joins or resumes. */
export class Stream {
  readonly #options: StreamOptions;
  readonly #call = new AbortController();
  readonly #attached = new AbortController();
  readonly #finished: Promise<void>;
  #isOpened = false;
  #settle: (error: SignalError | undefined) => void = () => {};

  /** Resolves when the stream has ended, with its error if it failed. Never rejects. */
  readonly ended = new Promise<SignalError | undefined>((settle) => {
    this.#settle = settle;
  });

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#finished = this.#read();
  }

  /** Whether the first message has arrived. */
  get isOpened(): boolean {
    return this.#isOpened;
  }

  /** Aborted when the stream ends. */
  get signal(): AbortSignal {
    return this.#attached.signal;
  }

  /** Ends the stream. */
  close(): void {
    this.#detach();
    this.#call.abort();
  }

  /**
   * Ends the stream permanently. A pending join continues in the background until it times out, or receives `welcome`
   * and leaves, because aborting it could leave a suspended member.
   */
  async closeAndLeave(): Promise<void> {
    this.#detach();
    if (this.#isOpened || this.#options.open.case === 'resume') this.#call.abort();
    await this.#finished;
  }

  async #read(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const { client, open, headers, openMs, silenceMs } = this.#options;
    const restartTimer = () => {
      clearTimeout(timer);
      const ms = this.#isOpened ? silenceMs() : openMs;
      timer = setTimeout(() => {
        // Settle now, because not every `fetch` obeys the abort.
        this.#settle(SignalError.timeout(`no message from the server within ${ms} ms`));
        this.close();
      }, ms);
    };
    restartTimer();
    try {
      for await (const message of client.subscribe({ open }, { headers, signal: this.#call.signal })) {
        this.#receive(message);
        // Restart after handling the message, because the first one changes the timeout.
        restartTimer();
      }
      this.#settle(undefined);
    } catch (error) {
      this.#settle(SignalError.from(error));
    } finally {
      clearTimeout(timer);
      this.#attached.abort();
      this.#call.abort();
    }
  }

  #detach(): void {
    this.#attached.abort();
    this.#settle(undefined);
  }

  #receive(message: ServerMessage): void {
    if (!this.#attached.signal.aborted) {
      this.#isOpened = true;
      this.#options.onMessage(message);
    } else if (!this.#isOpened && message.body.case === 'welcome') {
      const { client, headers } = this.#options;
      const { sessionToken } = message.body.value;
      void sendLeave(client, sessionToken, headers, 'join aborted').then(() => this.#call.abort());
    }
  }
}
