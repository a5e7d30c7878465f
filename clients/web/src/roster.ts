import type { Member } from './model.js';

/**
 * The other members, from a snapshot and the changes after it. Every operation may come again (a resume replays what
 * was seen already) and says whether it changed anything.
 */
export class Roster {
  #members = new Map<string, Member>();
  // Members that a resume's snapshot no longer has. Their member_left, with its reason, is part of the replay, and
  // signals of theirs may come before it, so they stay until then.
  #stale = new Set<string>();

  /** By member_id, in join order. */
  get members(): ReadonlyMap<string, Member> {
    return this.#members;
  }

  /** Starts anew, after a join. Returns nothing: a snapshot is told as a whole. */
  reset(members: readonly Member[]): void {
    this.#members = new Map(members.map((member) => [member.memberId, member]));
    this.#stale.clear();
  }

  /** Adds or replaces one. */
  put(member: Member): 'joined' | 'updated' | 'unchanged' {
    const known = this.#members.get(member.memberId);
    this.#members.set(member.memberId, member);
    this.#stale.delete(member.memberId);
    if (!known) return 'joined';
    return isEqual(known, member) ? 'unchanged' : 'updated';
  }

  /** Removes one, and returns it if it was there. */
  remove(memberId: string): Member | undefined {
    const member = this.#members.get(memberId);
    this.#members.delete(memberId);
    this.#stale.delete(memberId);
    return member;
  }

  /** Notes who is missing in a resume's snapshot; `sweep` removes those that the replay did not. */
  markStale(snapshot: readonly Member[]): void {
    const present = new Set(snapshot.map((member) => member.memberId));
    this.#stale = new Set([...this.#members.keys()].filter((id) => !present.has(id)));
  }

  /** After the replay: removes and returns those that are still stale. */
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
