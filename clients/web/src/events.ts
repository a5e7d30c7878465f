import type { SignalError } from './errors.js';
import type { IceServerList, LeaveReason, Member } from './model.js';

/** A session description from another member. */
export interface DescriptionEvent {
  /** The sender's member_id, as the server vouches for it. */
  readonly from: string;
  readonly sdp: string;
  /** Ties offer, answer and candidates of one negotiation together; 0 = not used by the sender. */
  readonly negotiation: bigint;
}

/** An ICE candidate from another member. */
export interface CandidateEvent {
  readonly from: string;
  /** Its `candidate` is empty at the end of candidates. */
  readonly candidate: RTCIceCandidateInit;
  readonly negotiation: bigint;
}

/** Application data from another member. */
export interface DataEvent {
  readonly from: string;
  readonly topic: string;
  readonly text: string;
  readonly payload: Uint8Array;
}

/** What a session tells. The first four are about the connection: three of them pass, `ended` is the last of all. */
export interface SessionEvents {
  /** The connection to the server is lost; the session keeps trying. Media and data channels may well go on. */
  suspended: { readonly error: SignalError | undefined };
  /** The session goes on as if nothing had happened: no message was lost either way. */
  resumed: { readonly replayed: number };
  /**
   * The old session could not be resumed, so a new one was opened in the same room. This member has a new member_id,
   * the roster is new as a whole (no `memberJoined` or `memberLeft` told it), what was unsettled is `unknown`, and peer
   * connections must be negotiated anew. `Mesh` does that.
   */
  rejoined: { readonly previousMemberId: string; readonly previousMembers: ReadonlyMap<string, Member> };
  /**
   * The session is over and does not come back: `LEFT` (by `leave`), `REPLACED`, `REMOVED`, `ROOM_CLOSED`, `FENCED`
   * (continued elsewhere), or the reason why the room did not take this member back.
   */
  ended: { readonly reason: string; readonly error: SignalError | undefined };

  /** Somebody joined: this side makes the offer. */
  memberJoined: Member;
  /** Somebody's state, name or attributes changed. Do not tear down media for `suspended`. */
  memberUpdated: Member;
  /** Somebody's session ended. Nothing of that member follows. */
  memberLeft: { readonly member: Member; readonly reason: LeaveReason };

  offer: DescriptionEvent;
  answer: DescriptionEvent;
  candidate: CandidateEvent;
  data: DataEvent;
  /** Fresh ICE servers, for RTCPeerConnection.setConfiguration. */
  iceServers: IceServerList;
}
