// Public types for the messages of the contract, and the conversions between the two.

import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type * as pb from './gen/signalbox/v1/signal_pb.js';
import {
  DuplicateIdentity,
  LeaveReason as PbLeaveReason,
  MemberState as PbMemberState,
} from './gen/signalbox/v1/signal_pb.js';

/** A member of the room. */
export interface Member {
  /** Assigned by the server per session, unguessable, never reused. */
  readonly memberId: string;
  /** As given at join; empty = anonymous. */
  readonly identity: string;
  /** Chosen by the member and untrusted: render it as text, never as markup. */
  readonly displayName: string;
  /** Application data, set by the member and untrusted. */
  readonly attributes: Readonly<Record<string, string>>;
  /** Increases with each join to the room. */
  readonly joinOrder: number;
  /** `suspended`: disconnected from the server, and may resume. Its media may be unaffected. */
  readonly state: 'connected' | 'suspended';
  /** When the session was opened. */
  readonly joinedAt: Date | undefined;
}

/** Why a member's session ended. */
export type LeaveReason =
  /** Unknown: the client missed the event, or the server is newer than the client. */
  | 'UNSPECIFIED'
  /** The member left. */
  | 'LEFT'
  /** The member did not resume in time, or did not renew its token. */
  | 'TIMED_OUT'
  /** The application server or an operator removed the member. */
  | 'REMOVED'
  /** The same identity joined again. */
  | 'REPLACED'
  /** The room was deleted or expired. */
  | 'ROOM_CLOSED'
  /** The member did not read its messages. */
  | 'SLOW_CONSUMER'
  /** Reserved; no server sends it. */
  | 'SERVER_LOST';

/** The room as it was when the session was opened. */
export interface RoomInfo {
  readonly name: string;
  readonly displayName: string;
  /** Maximum number of members. */
  readonly maxMembers: number;
  /** The server forwards relay candidates only. */
  readonly relayOnly: boolean;
  /** Whether an identity may have several members in the room. */
  readonly allowsDuplicates: boolean;
}

/** ICE servers for RTCConfiguration, and the time when their credentials expire. */
export interface IceServerList {
  readonly iceServers: RTCIceServer[];
  readonly expiresAt: Date | undefined;
}

/** Limits for the client; defaults of the contract where the server sends none. */
export interface Limits {
  readonly maxMessageBytes: number;
  readonly resumeWindowMs: number;
  readonly heartbeatMs: number;
  readonly maxUnacked: number;
}

/** Converts a protobuf Duration to milliseconds. */
export function durationMs(duration: Duration): number {
  return Number(duration.seconds) * 1_000 + duration.nanos / 1e6;
}

/** Converts a member. Frozen, because snapshots share it. */
export function toMember(member: pb.Member): Member {
  return Object.freeze({
    memberId: member.memberId,
    identity: member.identity,
    displayName: member.displayName,
    attributes: Object.freeze({ ...member.attributes }),
    joinOrder: Number(member.joinOrder),
    state: member.state === PbMemberState.SUSPENDED ? 'suspended' : 'connected',
    joinedAt: toDate(member.joinedAt),
  });
}

/** Converts a received negotiation number. Numbers above 2^53 - 1 violate the contract and become 0 (not used). */
export function toNegotiation(negotiation: bigint): number {
  return negotiation <= Number.MAX_SAFE_INTEGER ? Number(negotiation) : 0;
}

/** Converts a negotiation number to send. */
export function fromNegotiation(negotiation: number): bigint {
  if (!Number.isSafeInteger(negotiation) || negotiation < 0) {
    throw new RangeError(`invalid negotiation ${negotiation}: use an integer from 0 to 2^53 - 1`);
  }
  return BigInt(negotiation);
}

/** Converts a leave reason. Unknown reasons of a newer server become UNSPECIFIED. */
export function toLeaveReason(reason: pb.LeaveReason): LeaveReason {
  return (PbLeaveReason[reason] as LeaveReason | undefined) ?? 'UNSPECIFIED';
}

/** Converts the room. */
export function toRoom(room: pb.Room | undefined): RoomInfo {
  return {
    name: room?.name ?? '',
    displayName: room?.displayName ?? '',
    maxMembers: room?.maxMembers ?? 0,
    relayOnly: room?.relayOnly ?? false,
    allowsDuplicates: room?.duplicateIdentity === DuplicateIdentity.ALLOW,
  };
}

/** Converts ICE servers. Omits empty usernames and credentials, which browsers reject. */
export function toIceServers(servers: readonly pb.IceServer[], expiresAt: Timestamp | undefined): IceServerList {
  return {
    iceServers: servers.map(({ urls, username, credential }) => ({
      urls: [...urls],
      ...(username === '' ? {} : { username, credential }),
    })),
    expiresAt: toDate(expiresAt),
  };
}

/** Converts to RTCIceCandidateInit. Absent and empty fields differ, so absent ones stay absent. */
export function toCandidate(candidate: pb.IceCandidate): RTCIceCandidateInit {
  return {
    candidate: candidate.candidate,
    ...(candidate.sdpMid === undefined ? {} : { sdpMid: candidate.sdpMid }),
    ...(candidate.sdpMLineIndex === undefined ? {} : { sdpMLineIndex: candidate.sdpMLineIndex }),
    ...(candidate.usernameFragment === undefined ? {} : { usernameFragment: candidate.usernameFragment }),
  };
}

/** Converts from RTCIceCandidateInit. */
export function fromCandidate(init: RTCIceCandidateInit) {
  return {
    candidate: init.candidate ?? '',
    ...(init.sdpMid == null ? {} : { sdpMid: init.sdpMid }),
    ...(init.sdpMLineIndex == null ? {} : { sdpMLineIndex: init.sdpMLineIndex }),
    ...(init.usernameFragment == null ? {} : { usernameFragment: init.usernameFragment }),
  };
}

/** Converts the limits of `welcome`. */
export function toLimits(limits: pb.Limits | undefined): Limits {
  return {
    maxMessageBytes: limits?.maxMessageBytes || 128 * 1024,
    resumeWindowMs: limits?.resumeWindow ? durationMs(limits.resumeWindow) : 30_000,
    heartbeatMs: limits?.heartbeatInterval ? durationMs(limits.heartbeatInterval) : 15_000,
    maxUnacked: limits?.maxUnacked || 256,
  };
}

function toDate(timestamp: Timestamp | undefined): Date | undefined {
  return timestamp && timestampDate(timestamp);
}
