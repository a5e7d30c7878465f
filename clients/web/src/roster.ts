import type { Member } from './model.js';

/**
 * The other members, from a snapshot and later changes. Operations are idempotent, because a resume replays changes,
 * and report what they changed.
 */
export class Roster {
  #members = new Map<string, Member>();
  // Cache of `members`, dropped on each change, so that the object keeps its identity in between.
  #snapshot: ReadonlyMap<string, Member> | undefined;
  // Members missing from the snapshot of a resume. They stay until the replay delivers their member_left, because it
  // may contain earlier signals from them.
  #stale = new Set<string>();

  /** An immutable snapshot, by member_id, in join order. Each change creates a new one. */
  get members(): ReadonlyMap<string, Member> {
    this.#snapshot ??= new Map(this.#members);
    return this.#snapshot;
  }

  /** Replaces all members after a join. */
  reset(members: readonly Member[]): void {
    this.#members = new Map(members.map((member) => [member.memberId, member]));
    this.#snapshot = undefined;
    this.#stale.clear();
  }

  /** Adds or replaces a member. */
  put(member: Member): 'joined' | 'updated' | 'unchanged' {
    const known = this.#members.get(member.memberId);
    this.#stale.delete(member.memberId);
    if (known && isEqual(known, member)) return 'unchanged';
    this.#members.set(member.memberId, member);
    this.#snapshot = undefined;
    return known ? 'updated' : 'joined';
  }

  /** Removes a member and returns it, if present. */
  remove(memberId: string): Member | undefined {
    const member = this.#members.get(memberId);
    if (this.#members.delete(memberId)) this.#snapshot = undefined;
    this.#stale.delete(memberId);
    return member;
  }

  /** Marks the members missing from the snapshot of a resume. `sweep` removes those that the replay did not remove. */
  markStale(snapshot: readonly Member[]): void {
    const present = new Set(snapshot.map((member) => member.memberId));
    this.#stale = new Set([...this.#members.keys()].filter((id) => !present.has(id)));
  }

  /** Removes and returns the members that are still marked after the replay. */
  sweep(): Member[] {
    return [...this.#stale].flatMap((id) => this.remove(id) ?? []);
  }
}

function isEqual(a: Member, b: Member): boolean {
  const keys = Object.keys(a.attributes);
  return (
    a.displayName === b.displayName &&
    a.state === b.state &&
    a.joinOrder === b.joinOrder &&
    keys.length === Object.keys(b.attributes).length &&
    keys.every((key) => a.attributes[key] === b.attributes[key])
  );
}
