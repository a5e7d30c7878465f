import { sleep } from './backoff.js';
import { SignalError } from './errors.js';

/** A JSON Web Token, or a function that returns one. */
export type TokenSource = string | (() => string | Promise<string>);

/** Deadline of one call of the token function. */
const TOKEN_TIMEOUT_MS = 10_000;
/** Delay after a failed renewal, and the minimum interval between renewals. */
const RETRY_MS = 5_000;
/** Tokens are renewed this long before they expire, or after 80 % of their lifetime if that is later. */
const RENEWAL_MARGIN_MS = 60_000;

/** Provides the token of a session and renews it before it expires. */
export class Credentials {
  readonly #source: TokenSource | undefined;
  readonly #onRenewed: () => void;
  #token: string | undefined;
  // Whether the server has accepted the current token.
  #isAccepted = false;
  #obtainedAt = 0;
  #isStopped = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `onRenewed` is called with each new token that must be sent to the server. */
  constructor(source: TokenSource | undefined, onRenewed: () => void) {
    this.#source = source;
    this.#onRenewed = onRenewed;
  }

  /** Requests a token, unless there is one or none is configured. Throws NO_TOKEN. */
  async ensureToken(): Promise<void> {
    if (this.#source !== undefined && this.#token === undefined) await this.#requestToken(this.#source);
  }

  /** Request headers for a call. */
  headers(): Record<string, string> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }

  /** Records that the server accepted the token. */
  accepted(): void {
    this.#isAccepted = true;
  }

  /**
   * Records that the server rejected the token. Returns whether to retry with a new one, which is pointless if the
   * rejected token is itself new.
   */
  rejected(): boolean {
    const mayBeOutdated = this.#isAccepted || Date.now() - this.#obtainedAt >= RETRY_MS;
    if (typeof this.#source !== 'function' || !mayBeOutdated) return false;
    this.#isAccepted = false;
    this.#token = undefined;
    return true;
  }

  /** Stops renewals. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #requestToken(source: TokenSource): Promise<void> {
    const timer = new AbortController();
    const timeout = sleep(TOKEN_TIMEOUT_MS, timer.signal).then(() => {
      throw new Error(`the token function did not return within ${TOKEN_TIMEOUT_MS} ms`);
    });
    try {
      const token = await Promise.race([typeof source === 'function' ? source() : source, timeout]);
      if (typeof token !== 'string' || token === '') throw new Error('invalid token: use a non-empty string');
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
    // setTimeout fires at once for delays above 2^31 - 1 ms (24 days).
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
 * Time until a token expires, or `undefined` if it has no `exp`. If the local clock contradicts the claims, the token
 * counts as just issued.
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
