/** What to do with a candidate. */
export type CandidateAction = 'apply' | 'queue' | 'drop';

/**
 * The numbers that tie offer, answer and candidates of one negotiation together, for one pair of members.
 *
 * Both sides may begin a negotiation, and at the same time. So that each number names one offer only, the impolite
 * side uses odd numbers, the polite one even numbers, and each goes above the highest that it has seen.
 */
export class Negotiation {
  #highest = 0n;
  // Of the local and the remote description in force, and of an offer of ours that has no answer yet.
  #local = 0n;
  #remote = 0n;
  #offered: bigint | undefined;
  #ignored: bigint | undefined;

  /** Number for the candidates that are sent. */
  get local(): bigint {
    return this.#local;
  }

  /** Begins a negotiation and returns its number. */
  begin(polite: boolean): bigint {
    const next = this.#highest + 1n;
    const wanted = polite ? 0n : 1n;
    this.#highest = next % 2n === wanted ? next : next + 1n;
    this.#local = this.#highest;
    this.#offered = this.#highest;
    return this.#highest;
  }

  /** A remote offer was applied, and is being answered; an offer of ours is thereby withdrawn. */
  acceptOffer(number: bigint): void {
    this.#observe(number);
    this.#remote = number;
    this.#local = number;
    this.#offered = undefined;
  }

  /** A remote offer collided and this side does not give way: its candidates are of no use either. */
  ignoreOffer(number: bigint): void {
    this.#observe(number);
    this.#ignored = number;
  }

  /** Whether this is the answer to the offer that waits for one. 0 = the other side does not use numbers. */
  isExpectedAnswer(number: bigint): boolean {
    return this.#offered !== undefined && (number === this.#offered || number === 0n);
  }

  /** The awaited answer was applied. */
  acceptAnswer(): void {
    this.#remote = this.#offered ?? this.#remote;
    this.#offered = undefined;
  }

  /** Whether a candidate belongs to the remote description in force, to one that is yet to come, or to none. Says
   * nothing about whether there is a remote description at all. */
  classifyCandidate(number: bigint): CandidateAction {
    if (number === 0n || number === this.#remote) return 'apply';
    if (number === this.#ignored) return 'drop';
    return number > this.#remote ? 'queue' : 'drop';
  }

  #observe(number: bigint): void {
    if (number > this.#highest) this.#highest = number;
  }
}
