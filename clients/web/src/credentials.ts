import { sleep } from './backoff.js';
import { SignalError } from './errors.js';

/** A JSON Web Token, or what gets one. */
export type TokenSource = string | (() => string | Promise<string>);

/** How long getting a token may take. */
const GET_TIMEOUT_MS = 10_000;
/** When to try again to get a newer one, and how soon after one another tokens are asked for at most. */
const RETRY_MS = 5_000;
/** A token is replaced when so much of its time is left, or a fifth if that is less. */
const MARGIN_MS = 60_000;

/** The token of a session: gets it, sends it along, and gets a newer one before it expires. */
export class Credentials {
  readonly #source: TokenSource | undefined;
  readonly #renewed: () => void;
  #token: string | undefined;
  // Whether the server has let it pass.
  #proven = false;
  #since = 0;
  #stopped = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `renewed`: there is a newer token, which the server should see. */
  constructor(source: TokenSource | undefined, renewed: () => void) {
    this.#source = source;
    this.#renewed = renewed;
  }

  /** Gets a token, unless there is one or none is needed. Throws NO_TOKEN. */
  async ready(): Promise<void> {
    if (this.#source !== undefined && this.#token === undefined) await this.#get(this.#source);
  }

  /** What goes along with a call. */
  headers(): Record<string, string> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }

  /** The server has let the token pass. */
  accepted(): void {
    this.#proven = true;
  }

  /**
   * The server has refused the token. Returns whether another may fare better: if this one was good before, or is not
   * just made.
   */
  refused(): boolean {
    const wasGood = this.#proven || Date.now() - this.#since >= RETRY_MS;
    if (typeof this.#source !== 'function' || !wasGood) return false;
    this.#proven = false;
    this.#token = undefined;
    return true;
  }

  /** Nothing more is needed. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #get(source: TokenSource): Promise<void> {
    const late = new AbortController();
    const timeout = sleep(GET_TIMEOUT_MS, late.signal).then(() => {
      throw new Error(`no token came within ${GET_TIMEOUT_MS} ms`);
    });
    try {
      const token = await Promise.race([typeof source === 'function' ? source() : source, timeout]);
      if (typeof token !== 'string' || token === '') throw new Error('what came is not a token');
      this.#token = token;
      this.#proven = false;
      this.#since = Date.now();
      if (typeof source === 'function') this.#schedule(lifetimeMs(token));
    } catch (cause) {
      throw SignalError.noToken(cause);
    } finally {
      timeout.catch(() => {});
      late.abort();
    }
  }

  #schedule(leftMs: number | undefined): void {
    if (leftMs === undefined) return;
    this.#after(leftMs - Math.min(MARGIN_MS, leftMs / 5));
  }

  #after(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    // What a timer can hold is 24 days.
    this.#timer = setTimeout(() => void this.#renew(), Math.min(Math.max(ms, RETRY_MS), 2 ** 31 - 1));
  }

  async #renew(): Promise<void> {
    try {
      if (this.#source !== undefined) await this.#get(this.#source);
      if (!this.#stopped) this.#renewed();
    } catch {
      this.#after(RETRY_MS);
    }
  }
}

/**
 * How long a token is good, from now; `undefined` when it does not say. Where this clock cannot be right the token is
 * taken as just made.
 */
export function lifetimeMs(token: string, now = Date.now()): number | undefined {
  try {
    const payload = token.split('.')[1] ?? '';
    const claims = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))) as Record<string, unknown>;
    const { exp, nbf, iat = nbf } = claims;
    if (typeof exp !== 'number') return undefined;
    const left = exp * 1000 - now;
    const whole = typeof iat === 'number' ? (exp - iat) * 1000 : left;
    return left > 0 && left <= whole ? left : whole;
  } catch {
    return undefined;
  }
}
