import type { SessionEvents } from './events.js';
import type * as pb from './gen/signalbox/v1/signal_pb.js';
import { type Member, toCandidate, toIceServers, toLeaveReason, toMember, toNegotiation } from './model.js';
import { Roster } from './roster.js';

/** Bounds the memory of an application that never registers a handler. */
const MAX_HELD = 1_024;

/** A message or event held until `release`. */
interface Held {
  readonly deliver: () => void;
  /** Dropped when a new stream opens: a resume replays it and a rejoin makes it obsolete. */
  readonly belongsToStream: boolean;
}

/**
 * Turns server messages into events, each exactly once, and maintains the roster. Holds everything until `release`, so
 * that the application can register its handlers.
 */
export class Inbox {
  readonly #emit: <Name extends keyof SessionEvents>(name: Name, event: SessionEvents[Name]) => void;
  readonly #roster = new Roster();
  #lastSeq = 0n;
  #replayLeft = 0n;
  #held: Held[] | undefined = [];

  constructor(emit: <Name extends keyof SessionEvents>(name: Name, event: SessionEvents[Name]) => void) {
    this.#emit = emit;
  }

  /** The highest ServerMessage.seq that was processed. */
  get lastSeq(): bigint {
    return this.#lastSeq;
  }

  /** The other members. */
  get members(): ReadonlyMap<string, Member> {
    return this.#roster.members;
  }

  /** Starts a new session at `seq`. Returns the members of the previous one. */
  welcome(seq: bigint, members: readonly pb.Member[]): ReadonlyMap<string, Member> {
    const previous = this.#roster.members;
    this.#dropStreamEntries();
    this.#roster.reset(members.map(toMember));
    this.#replayLeft = 0n;
    this.#lastSeq = seq;
    return previous;
  }

  /** Applies the snapshot of a resume; the replay from `lastSeq` follows. */
  resumed(resumed: pb.Resumed): void {
    this.#dropStreamEntries();
    this.#deliver(() => this.#applySnapshot(resumed), true);
  }

  /** Receives every message except `welcome`, `resumed` and `go_away`. */
  receive(message: pb.ServerMessage): void {
    this.#deliver(() => this.#process(message), true);
  }

  /** Emits an event of the session itself, in order with events from messages. */
  notify<Name extends keyof SessionEvents>(name: Name, event: SessionEvents[Name]): void {
    this.#deliver(() => this.#emit(name, event), false);
  }

  /** Delivers everything held; later messages and events are delivered at once. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const { deliver } of held) deliver();
  }

  #deliver(deliver: () => void, belongsToStream: boolean): void {
    if (!this.#held) deliver();
    else if (this.#held.push({ deliver, belongsToStream }) > MAX_HELD) this.release();
  }

  #dropStreamEntries(): void {
    this.#held = this.#held?.filter(({ belongsToStream }) => !belongsToStream);
  }

  #applySnapshot({ members, replayed }: pb.Resumed): void {
    this.#replayLeft = replayed;
    const snapshot = members.map(toMember);
    this.#roster.markStale(snapshot);
    for (const member of snapshot) this.#putMember(member);
    this.#sweepAfterReplay();
  }

  #process(message: pb.ServerMessage): void {
    const { seq } = message;
    if (seq === 0n || seq > this.#lastSeq) {
      if (seq !== 0n) this.#lastSeq = seq;
      this.#dispatch(message);
    }
    if (seq === 0n || this.#replayLeft === 0n) return;
    this.#replayLeft -= 1n;
    this.#sweepAfterReplay();
  }

  #dispatch({ from, negotiation, body }: pb.ServerMessage): void {
    switch (body.case) {
      case 'memberJoined':
      case 'memberUpdated':
        if (body.value.member) this.#putMember(toMember(body.value.member));
        break;
      case 'memberLeft': {
        const member = this.#roster.remove(body.value.memberId);
        if (member) this.#emit('memberLeft', { member, reason: toLeaveReason(body.value.reason) });
        break;
      }
      case 'offer':
      case 'answer':
        this.#emit(body.case, { from, sdp: body.value.sdp, negotiation: toNegotiation(negotiation) });
        break;
      case 'candidate':
        this.#emit('candidate', {
          from,
          candidate: toCandidate(body.value),
          negotiation: toNegotiation(negotiation),
        });
        break;
      case 'data':
        this.#emit('data', { from, topic: body.value.topic, text: body.value.text, payload: body.value.payload });
        break;
      case 'iceServers':
        this.#emit('iceServers', toIceServers(body.value.iceServers, body.value.expiresAt));
        break;
      default:
        // Heartbeats need no event, and messages of a newer contract are ignored.
        break;
    }
  }

  #putMember(member: Member): void {
    const change = this.#roster.put(member);
    if (change === 'joined') this.#emit('memberJoined', member);
    if (change === 'updated') this.#emit('memberUpdated', member);
  }

  #sweepAfterReplay(): void {
    if (this.#replayLeft > 0n) return;
    for (const member of this.#roster.sweep()) this.#emit('memberLeft', { member, reason: 'UNSPECIFIED' });
  }
}
