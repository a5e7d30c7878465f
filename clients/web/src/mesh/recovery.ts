/** How long a connection may take before its cause is told and it is tried again, in milliseconds. */
const CONNECT_TIMEOUT_MS = 15_000;
/** How long a `disconnected` connection may receive nothing before ICE is restarted, in milliseconds. */
const SILENCE_MS = 3_000;
/** How long the polite peer lets the impolite one act first, in milliseconds. */
const POLITE_DELAY_MS = 3_000;
/** Delays between attempts, in milliseconds. */
const ATTEMPT_DELAYS_MS = [5_000, 10_000, 20_000, 30_000];
/** A connection that lasts this long makes the delays start again, in milliseconds. */
const STABLE_MS = 10_000;
/** Every so many attempts the connection is replaced, in case ICE restarts cannot repair it. */
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
  /** The connection failed or took too long, or another attempt had no success. */
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
  #timer: ReturnType<typeof setTimeout> | undefined;
  // Fires also while the remote peer acts.
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

  /** Connected. Returns how long that took, in milliseconds. */
  connected(): number {
    const { elapsedMs } = this;
    this.#lostAt = undefined;
    this.#hasFailed = false;
    this.#connectedAt = Date.now();
    this.close();
    return elapsedMs;
  }

  /** No packets arrive, perhaps for a moment only. */
  disconnected(): void {
    this.#lost();
    void this.#actAfterSilence();
  }

  /** The remote end closed its connection. Its offer from a new one may be on the way. */
  remoteEnded(): void {
    this.#lost();
    if (!this.#hasFailed) this.#actIn(SILENCE_MS);
  }

  /** ICE failed. */
  failed(): void {
    this.#lost();
    // The next attempt is under way.
    if (this.#hasFailed && this.#timer !== undefined) return;
    this.#fail();
    this.#actIn(0);
  }

  /** The network of this device changed: only this side knows. */
  networkChanged(): void {
    this.#host.restartIce();
  }

  /** Signals reach the member again: an attempt before may have been lost. */
  reachable(): void {
    if (this.#lostAt !== undefined && this.#hasFailed) this.#actIn(0);
  }

  /** The remote peer acted, so this side waits for the result. */
  remoteActed(): void {
    if (this.#lostAt !== undefined) this.#actIn(this.#hasFailed ? this.#nextDelay() : CONNECT_TIMEOUT_MS);
  }

  /** A connection takes the place of the previous one. */
  replaced(): void {
    this.#lost();
    if (!this.#hasFailed) this.#connecting();
  }

  /** Stops everything. */
  close(): void {
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
    if (this.#lostAt === undefined || this.#hasFailed) return;
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
    this.#timer = setTimeout(() => this.#act(), delay + (this.#host.isPolite ? POLITE_DELAY_MS : 0));
  }

  #act(): void {
    this.#timer = undefined;
    // Again, as the cause may be another one by now.
    this.#fail();
    this.#actIn(this.#nextDelay());
    // `reachable` acts as soon as it can help.
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
