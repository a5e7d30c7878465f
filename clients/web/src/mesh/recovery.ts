/** How long a connection may take to connect before it counts as failed and is retried, in milliseconds. */
const CONNECT_TIMEOUT_MS = 15_000;
/** How long a `disconnected` connection may receive nothing before ICE is restarted, in milliseconds. */
const SILENCE_MS = 3_000;
/** Extra delay of the polite peer, so that the impolite peer acts first, in milliseconds. */
const POLITE_DELAY_MS = 3_000;
/** Delays between attempts, in milliseconds. */
const ATTEMPT_DELAYS_MS = [5_000, 10_000, 20_000, 30_000];
/** A connection that stays up this long resets the backoff, in milliseconds. */
const STABLE_MS = 10_000;
/** Every n-th attempt replaces the connection, in case ICE restarts cannot repair it. */
const ATTEMPTS_PER_CONNECTION = 4;

/** What recovery requires from its peer. */
export interface RecoveryHost {
  readonly isPolite: boolean;
  /** Whether signals reach the member now, because neither session is suspended. */
  readonly isReachable: boolean;
  /** Whether an ICE restart cannot help, for example because the remote end has closed its connection. */
  readonly isBeyondRestart: boolean;
  /** Bytes received so far, to tell a dead connection from a short interruption. */
  receivedBytes(): Promise<number>;
  restartIce(): void;
  replaceConnection(): void;
  /** The connection failed or timed out, or another attempt did not succeed. */
  onFailure(): void;
}

/**
 * Restores a connection for as long as the member is in the room: restarts ICE after silence or a failure, with backoff,
 * and replaces a connection that restarts do not repair.
 */
export class Recovery {
  readonly #host: RecoveryHost;
  #lostAt: number | undefined = Date.now();
  #connectedAt = 0;
  #attempt = 0;
  #hasFailed = false;
  #isClosed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  // Reports the first failure, even if `remoteActed` postpones the next attempt.
  #failTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(host: RecoveryHost) {
    this.#host = host;
    this.#connecting();
  }

  /** Milliseconds since the connection was lost, or since the first attempt to connect. */
  get elapsedMs(): number {
    return this.#lostAt === undefined ? 0 : Date.now() - this.#lostAt;
  }

  /** Whether the connection failed and has not been connected since. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Records that the connection is up. Returns how long it took to connect, in milliseconds. */
  connected(): number {
    const { elapsedMs } = this;
    this.#lostAt = undefined;
    this.#hasFailed = false;
    this.#connectedAt = Date.now();
    this.#stop();
    clearTimeout(this.#failTimer);
    return elapsedMs;
  }

  /** Handles the state `disconnected`: acts only if packets stop arriving. */
  disconnected(): void {
    this.#lost();
    void this.#actAfterSilence();
  }

  /** Handles a connection that the remote end closed. Waits, because an offer for a new connection may arrive. */
  remoteEnded(): void {
    this.#lost();
    if (!this.#hasFailed) this.#actIn(SILENCE_MS);
  }

  /** Handles a failed connection. */
  failed(): void {
    this.#lost();
    // The next attempt is already scheduled.
    if (this.#hasFailed && this.#timer !== undefined) return;
    this.#fail();
    this.#actIn(0);
  }

  /** Restarts ICE at once after a network change of this device, which the remote peer cannot detect. */
  networkChanged(): void {
    this.#host.restartIce();
  }

  /** Retries a failed connection, because signals reach the member again. */
  reachable(): void {
    if (this.#lostAt !== undefined && this.#hasFailed) this.#actIn(0);
  }

  /** Postpones the next attempt, because the remote peer has made an offer. */
  remoteActed(): void {
    if (this.#lostAt !== undefined) this.#actIn(this.#hasFailed ? this.#nextDelay() : CONNECT_TIMEOUT_MS);
  }

  /** Restarts the connect timeout for a new connection that replaced the previous one. */
  replaced(): void {
    this.#lost();
    if (!this.#hasFailed) this.#connecting();
  }

  /** Stops all timers and prevents new ones. */
  close(): void {
    this.#isClosed = true;
    this.#stop();
    clearTimeout(this.#failTimer);
  }

  #connecting(): void {
    clearTimeout(this.#failTimer);
    this.#failTimer = setTimeout(() => this.#fail(), CONNECT_TIMEOUT_MS);
    this.#actIn(CONNECT_TIMEOUT_MS);
  }

  #fail(): void {
    clearTimeout(this.#failTimer);
    this.#hasFailed = true;
    this.#host.onFailure();
  }

  #lost(): void {
    if (this.#lostAt !== undefined) return;
    this.#lostAt = Date.now();
    if (this.#lostAt - this.#connectedAt > STABLE_MS) this.#attempt = 0;
  }

  async #actAfterSilence(): Promise<void> {
    const before = await this.#host.receivedBytes();
    if (this.#isClosed || this.#lostAt === undefined || this.#hasFailed) return;
    this.#stop();
    this.#timer = setTimeout(async () => {
      const after = await this.#host.receivedBytes();
      if (this.#lostAt === undefined || this.#hasFailed) return;
      if (after > before) void this.#actAfterSilence();
      else this.#actIn(0);
    }, SILENCE_MS);
  }

  #actIn(delay: number): void {
    this.#stop();
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => this.#act(), delay + (this.#host.isPolite ? POLITE_DELAY_MS : 0));
  }

  #act(): void {
    this.#timer = undefined;
    // Report again, because the cause may have changed.
    this.#fail();
    this.#actIn(this.#nextDelay());
    // Once the member is reachable, `reachable` retries at once.
    if (!this.#host.isReachable) return;
    this.#attempt += 1;
    const replace = this.#host.isBeyondRestart || this.#attempt % ATTEMPTS_PER_CONNECTION === 0;
    if (replace) this.#host.replaceConnection();
    else this.#host.restartIce();
  }

  #nextDelay(): number {
    return ATTEMPT_DELAYS_MS[Math.min(this.#attempt, ATTEMPT_DELAYS_MS.length - 1)] ?? 0;
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
