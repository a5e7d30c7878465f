/** What to do with a remote candidate. */
export type CandidateAction = 'apply' | 'queue' | 'drop';

/**
 * Negotiation numbers for one pair of members. A number groups the offer, answer and candidates of one negotiation.
 *
 * Both peers may start a negotiation at the same time. To keep numbers unique, the impolite peer uses odd and the
 * polite peer even ones, always above the highest number seen.
 */
export class Negotiation {
  #highest = 0n;
  // Numbers of the current local and remote descriptions, of the unanswered local offer and of the last ignored offer.
  #local = 0n;
  #remote = 0n;
  #offered: bigint | undefined;
  #ignored: bigint | undefined;

  /** Number for local candidates. */
  get local(): bigint {
    return this.#local;
  }

  /** Starts a negotiation and returns its number. */
  start(polite: boolean): bigint {
    const next = this.#highest + 1n;
    const wanted = polite ? 0n : 1n;
    this.#highest = next % 2n === wanted ? next : next + 1n;
    this.#local = this.#highest;
    this.#offered = this.#highest;
    return this.#highest;
  }

  /** A remote offer was applied, which rolls back an unanswered local offer. */
  acceptOffer(number: bigint): void {
    this.#observe(number);
    this.#remote = number;
    this.#local = number;
    this.#offered = undefined;
  }

  /** The impolite peer ignored a colliding offer, and ignores its candidates too. */
  ignoreOffer(number: bigint): void {
    this.#observe(number);
    this.#ignored = number;
  }

  /** Whether this answers the pending local offer. 0: the remote peer does not use numbers. */
  isExpectedAnswer(number: bigint): boolean {
    return this.#offered !== undefined && (number === this.#offered || number === 0n);
  }

  /** Whether the local offer with this number has no answer yet. */
  isPending(number: bigint): boolean {
    return this.#offered === number;
  }

  /** The answer to the local offer was applied. */
  acceptAnswer(): void {
    this.#remote = this.#offered ?? this.#remote;
    this.#offered = undefined;
  }

  /**
   * Whether a candidate belongs to the current remote description (`apply`), a later one (`queue`) or an obsolete one
   * (`drop`). `apply` does not imply that there is a remote description.
   */
  classifyCandidate(number: bigint): CandidateAction {
    if (number === 0n || number === this.#remote) return 'apply';
    if (number === this.#ignored) return 'drop';
    return number > this.#remote ? 'queue' : 'drop';
  }

  #observe(number: bigint): void {
    if (number > this.#highest) this.#highest = number;
  }
}
