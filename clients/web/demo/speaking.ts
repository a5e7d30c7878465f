import type { Peer } from '../src/index.js';
import { watchLevel } from './level.js';

/** How often peers are checked, in milliseconds. */
const INTERVAL_MS = 250;
/** Level of the own microphone above which one speaks, 0 to 1. */
const THRESHOLD = 0.02;
/** How long a pause between words may last, in milliseconds. */
const HOLD_MS = 800;

/** Watches who speaks. `own` is the key of the own member. */
export class Speaking<Key> {
  readonly #report: (key: Key, speaking: boolean) => void;
  readonly #lastHeard = new Map<Key, number>();
  readonly #timer: ReturnType<typeof setInterval>;
  #ownTrack: MediaStreamTrack | undefined;
  #stopOwn: (() => void) | undefined;

  /** `report` is called when a member starts or stops speaking. */
  constructor(peers: () => Iterable<readonly [Key, Peer]>, report: (key: Key, speaking: boolean) => void) {
    this.#report = report;
    this.#timer = setInterval(() => {
      for (const [key, peer] of peers()) this.#hear(key, peer.speaking);
    }, INTERVAL_MS);
  }

  /** Watches the own microphone too. */
  watchOwn(key: Key, track: MediaStreamTrack | undefined): void {
    if (track === this.#ownTrack) return;
    this.#stopOwn?.();
    this.#ownTrack = track;
    this.#stopOwn = track && watchLevel(track, (level) => this.#hear(key, level > THRESHOLD));
    if (!track) this.#hear(key, false);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#stopOwn?.();
  }

  #hear(key: Key, isLoud: boolean): void {
    const now = Date.now();
    const last = this.#lastHeard.get(key);
    if (isLoud) {
      this.#lastHeard.set(key, now);
      if (last === undefined) this.#report(key, true);
    } else if (last !== undefined && now - last > HOLD_MS) {
      this.#lastHeard.delete(key);
      this.#report(key, false);
    }
  }
}
