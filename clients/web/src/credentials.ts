import { sleep } from './backoff.js';
import { SignalError } from './errors.js';

/** A JSON Web Token, or what gets one. */
export type TokenSource = string | (() => string | Promise<string>);

/** How long getting a token may take. */
const TOKEN_TIMEOUT_MS = 10_000;
/** When to try again to get a newer one, and how soon after one another tokens are asked for at most. */
const RETRY_MS = 5_000;
/** A token is replaced when so much of its time is left, or a fifth if that is less. */
const RENEWAL_MARGIN_MS = 60_000;

/** The token of a session: gets it, sends it along, and gets a newer one before it expires. */
export class Credentials {
  readonly #source: TokenSource | undefined;
  readonly #onRenewed: () => void;
  #token: string | undefined;
  // Whether the server has let it pass.
  #isAccepted = false;
  #obtainedAt = 0;
  #isStopped = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `onRenewed`: there is a newer token, which the server should see. */
  constructor(source: TokenSource | undefined, onRenewed: () => void) {
    this.#source = source;
    this.#onRenewed = onRenewed;
  }

  /** Gets a token, unless there is one or none is needed. Throws NO_TOKEN. */
  async ensureToken(): Promise<void> {
    if (this.#source !== undefined && this.#token === undefined) await this.#requestToken(this.#source);
  }

  /** What goes along with a call. */
  headers(): Record<string, string> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }

  /** The server has let the token pass. */
  accepted(): void {
    this.#isAccepted = true;
  }

  /**
   * The server has refused the token. Returns whether another may fare better: if this one was good before, or is not
   * just made.
   */
  rejected(): boolean {
    const mayBeOutdated = this.#isAccepted || Date.now() - this.#obtainedAt >= RETRY_MS;
    if (typeof this.#source !== 'function' || !mayBeOutdated) return false;
    this.#isAccepted = false;
    this.#token = undefined;
    return true;
  }

  /** Nothing more is needed. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #requestToken(source: TokenSource): Promise<void> {
    const timer = new AbortController();
    const timeout = sleep(TOKEN_TIMEOUT_MS, timer.signal).then(() => {
      throw new Error(`no token came within ${TOKEN_TIMEOUT_MS} ms`);
    });
    try {
      const token = await Promise.race([typeof source === 'function' ? source() : source, timeout]);
      if (typeof token !== 'string' || token === '') throw new Error('what came is not a token');
      this.#token = token;
      this.#isAccepted = false;
      this.#obtainedAt = Date.now();
      if (typeof source === 'function') this.#schedule(remainingLifetimeMs(token));
    } catch (cause) {
      throw SignalError.noToken(cause);
    } finally {
      timeout.catch(() => {});
      timer.abort();
    }
  }

  #schedule(remainingMs: number | undefined): void {
    if (remainingMs === undefined) return;
    this.#renewAfter(remainingMs - Math.min(RENEWAL_MARGIN_MS, remainingMs / 5));
  }

  #renewAfter(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#isStopped) return;
    // What a timer can hold is 24 days.
    this.#timer = setTimeout(() => void this.#renew(), Math.min(Math.max(ms, RETRY_MS), 2 ** 31 - 1));
  }

  async #renew(): Promise<void> {
    try {
      if (this.#source !== undefined) await this.#requestToken(this.#source);
      if (!this.#isStopped) this.#onRenewed();
    } catch {
      this.#renewAfter(RETRY_MS);
    }
  }
}

/**
 * How long a token is good, from now; `undefined` when it does not say. Where this clock cannot be right the token is
 * taken as just made.
 */
export function remainingLifetimeMs(token: string, now = Date.now()): number | undefined {
  try {
    const payload = token.split('.')[1] ?? '';
    const claims = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))) as Record<string, unknown>;
    const { exp, nbf, iat = nbf } = claims;
    if (typeof exp !== 'number') return undefined;
    const remaining = exp * 1000 - now;
    const lifetime = typeof iat === 'number' ? (exp - iat) * 1000 : remaining;
    return remaining > 0 && remaining <= lifetime ? remaining : lifetime;
  } catch {
    return undefined;
  }
}
