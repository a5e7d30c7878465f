/** What to do with a remote candidate. */
export type CandidateAction = 'apply' | 'queue' | 'drop';

/**
 * Negotiation numbers for one pair of members. A number groups the offer, answer and candidates of one negotiation.
 *
 * Both peers may start a negotiation at the same time. To keep numbers unique, the impolite peer uses odd numbers
 * and the polite peer even numbers, always above the highest number seen.
 */
export class Negotiation {
  #highest = 0;
  // Numbers of the current local and remote descriptions, of the unanswered local offer and of the last ignored offer.
  #local = 0;
  #remote = 0;
  #offered: number | undefined;
  #ignored: number | undefined;

  /** Number for local candidates. */
  get local(): number {
    return this.#local;
  }

  /** Starts a negotiation and returns its number. */
  start(polite: boolean): number {
    const next = this.#highest + 1;
    const wanted = polite ? 0 : 1;
    this.#highest = next % 2 === wanted ? next : next + 1;
    this.#local = this.#highest;
    this.#offered = this.#highest;
    return this.#highest;
  }

  /** Records an applied remote offer, which has rolled back an unanswered local offer. */
  acceptOffer(number: number): void {
    this.#observe(number);
    this.#remote = number;
    this.#local = number;
    this.#offered = undefined;
  }

  /** Records a colliding offer that the impolite peer ignored. Its candidates will be dropped as well. */
  ignoreOffer(number: number): void {
    this.#observe(number);
    this.#ignored = number;
  }

  /** Whether an answer with this number belongs to the pending local offer. 0: the peer does not use numbers. */
  isExpectedAnswer(number: number): boolean {
    return this.#offered !== undefined && (number === this.#offered || number === 0);
  }

  /** Whether the local offer with this number has no answer yet. */
  isPending(number: number): boolean {
    return this.#offered === number;
  }

  /** Records that the answer to the local offer was applied. */
  acceptAnswer(): void {
    this.#remote = this.#offered ?? this.#remote;
    this.#offered = undefined;
  }

  /**
   * Whether a candidate belongs to the current remote description (`apply`), a later one (`queue`) or an obsolete one
   * (`drop`). `apply` does not imply that there is a remote description.
   */
  classifyCandidate(number: number): CandidateAction {
    if (number === 0 || number === this.#remote) return 'apply';
    if (number === this.#ignored) return 'drop';
    return number > this.#remote ? 'queue' : 'drop';
  }

  #observe(number: number): void {
    if (number > this.#highest) this.#highest = number;
  }
}
