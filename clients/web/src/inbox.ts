import type { SessionEvents } from './events.js';
import type * as pb from './gen/signalbox/v1/signal_pb.js';
import { type Member, toCandidate, toIceServers, toLeaveReason, toMember } from './model.js';
import { Roster } from './roster.js';

/** How many messages are held back for an application that does not listen yet. */
const MAX_HELD = 1_024;

/**
 * Turns what the server says into events, each once: what a resume replays is known by its number. Keeps the roster.
 * Holds everything back until `release`, so that an application has time to register its handlers; should more than
 * 1,024 messages gather, nobody is going to listen and they are let go.
 */
export class Inbox {
  readonly #emit: <Name extends keyof SessionEvents>(name: Name, event: SessionEvents[Name]) => void;
  readonly #roster = new Roster();
  #lastSeq = 0n;
  #replayLeft = 0n;
  #held: pb.ServerMessage[] | undefined = [];

  constructor(emit: <Name extends keyof SessionEvents>(name: Name, event: SessionEvents[Name]) => void) {
    this.#emit = emit;
  }

  /** The highest number in the room's log that was processed. */
  get lastSeq(): bigint {
    return this.#lastSeq;
  }

  /** The other members. */
  get members(): ReadonlyMap<string, Member> {
    return this.#roster.members;
  }

  /** A new session begins at `seq`. Returns the members of the old one. */
  welcome(seq: bigint, members: readonly pb.Member[]): ReadonlyMap<string, Member> {
    const previous = this.#roster.members;
    this.#roster.reset(members.map(toMember));
    this.#restart(0n);
    this.#lastSeq = seq;
    return previous;
  }

  /** The session goes on after `lastSeq`; what was held back comes again. */
  resumed(resumed: pb.Resumed): void {
    this.#restart(resumed.replayed);
    const snapshot = resumed.members.map(toMember);
    this.#roster.markStale(snapshot);
    for (const member of snapshot) this.#put(member);
    this.#sweepAfterReplay();
  }

  /** Takes any message but the first and the last of a stream. */
  accept(message: pb.ServerMessage): void {
    if (!this.#held) this.#process(message);
    else if (this.#held.push(message) > MAX_HELD) this.release();
  }

  /** The application listens. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const message of held) this.#process(message);
  }

  #restart(replayed: bigint): void {
    this.#replayLeft = replayed;
    if (this.#held) this.#held = [];
  }

  #process(message: pb.ServerMessage): void {
    if (message.seq !== 0n) {
      if (message.seq <= this.#lastSeq) return;
      this.#lastSeq = message.seq;
    }
    const { from, negotiation, body } = message;
    switch (body.case) {
      case 'memberJoined':
      case 'memberUpdated':
        if (body.value.member) this.#put(toMember(body.value.member));
        break;
      case 'memberLeft': {
        const member = this.#roster.remove(body.value.memberId);
        if (member) this.#emit('memberLeft', { member, reason: toLeaveReason(body.value.reason) });
        break;
      }
      case 'offer':
      case 'answer':
        this.#emit(body.case, { from, sdp: body.value.sdp, negotiation });
        break;
      case 'candidate':
        this.#emit('candidate', { from, candidate: toCandidate(body.value), negotiation });
        break;
      case 'data':
        this.#emit('data', { from, topic: body.value.topic, text: body.value.text, payload: body.value.payload });
        break;
      case 'iceServers':
        this.#emit('iceServers', toIceServers(body.value.iceServers, body.value.expiresAt));
        break;
      default:
        // Heartbeats and acknowledgements have done their work by arriving; what is not known yet is passed over.
        break;
    }
    if (message.seq !== 0n && this.#replayLeft > 0n) {
      this.#replayLeft -= 1n;
      this.#sweepAfterReplay();
    }
  }

  #put(member: Member): void {
    const change = this.#roster.put(member);
    if (change === 'joined') this.#emit('memberJoined', member);
    if (change === 'updated') this.#emit('memberUpdated', member);
  }

  #sweepAfterReplay(): void {
    if (this.#replayLeft > 0n) return;
    for (const member of this.#roster.sweep()) this.#emit('memberLeft', { member, reason: 'UNSPECIFIED' });
  }
}
