import type { SignalError } from './errors.js';
import type { IceServerList, LeaveReason, Member } from './model.js';
import type { EndReason } from './reasons.js';

/** A session description from another member. */
export interface DescriptionEvent {
  /** The sender's member_id, set by the server. */
  readonly from: string;
  readonly sdp: string;
  /** Groups the offer, answer and candidates of one negotiation; 0 = not used by the sender. */
  readonly negotiation: number;
}

/** An ICE candidate from another member. */
export interface CandidateEvent {
  readonly from: string;
  /** An empty `candidate` is the end-of-candidates indication. */
  readonly candidate: RTCIceCandidateInit;
  readonly negotiation: number;
}

/** Application data from another member. */
export interface DataEvent {
  readonly from: string;
  readonly topic: string;
  readonly text: string;
  readonly payload: Uint8Array;
}

/** Events of a session. `ended` is the last one. */
export interface SessionEvents {
  /**
   * The connection to the server is lost and the session is reconnecting. Media and data channels may be unaffected.
   */
  suspended: { readonly error: SignalError | undefined };
  /** The session continues. No message was lost in either direction. */
  resumed: { readonly replayed: number };
  /**
   * The session could not be resumed, so the client joined the room again and has a new session.
   *
   * - This member has a new member_id.
   * - `members` is replaced without `memberJoined` or `memberLeft` events.
   * - Messages without an outcome are reported as `unknown`, except updates, which are sent again.
   * - Peer connections must be renegotiated, which `Mesh` does.
   */
  rejoined: { readonly previousMemberId: string; readonly previousMembers: ReadonlyMap<string, Member> };
  /**
   * The session has ended and does not reconnect. The reason is `LEFT` (by `leave`), `REPLACED`, `REMOVED`,
   * `ROOM_CLOSED`, or the reason of a rejected rejoin.
   */
  ended: { readonly reason: EndReason; readonly error: SignalError | undefined };

  /** A member joined: this client makes the offer. */
  memberJoined: Member;
  /** A member's state, name or attributes changed. Keep its media when it becomes `suspended`. */
  memberUpdated: Member;
  /** A member's session ended. No event from that member follows. */
  memberLeft: { readonly member: Member; readonly reason: LeaveReason };

  offer: DescriptionEvent;
  answer: DescriptionEvent;
  candidate: CandidateEvent;
  data: DataEvent;
  /** New ICE servers, for RTCPeerConnection.setConfiguration. */
  iceServers: IceServerList;
}
