// The public shapes of what the contract's messages say, and the way from one to the other.

import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type * as pb from './gen/signalbox/v1/signal_pb.js';
import {
  DuplicateIdentity,
  LeaveReason as PbLeaveReason,
  MemberState as PbMemberState,
} from './gen/signalbox/v1/signal_pb.js';

/** Somebody in the room. */
export interface Member {
  /** Made by the server, unguessable, never reused; a session that is opened anew has a new one. */
  readonly memberId: string;
  /** As given at join; empty = anonymous. */
  readonly identity: string;
  /** For people. Given by the member: show it as text, never as markup. */
  readonly displayName: string;
  /** The member's own. */
  readonly attributes: Readonly<Record<string, string>>;
  /** Position in the room's order of joins, rising. */
  readonly joinOrder: bigint;
  /** `suspended`: its network is gone and may come back; its media may well go on. */
  readonly state: 'connected' | 'suspended';
  /** When the session was opened. */
  readonly joinedAt: Date | undefined;
}

/** Why a member's session ended. signal.proto says what each means. */
export type LeaveReason =
  | 'UNSPECIFIED'
  | 'LEFT'
  | 'TIMED_OUT'
  | 'REMOVED'
  | 'REPLACED'
  | 'ROOM_CLOSED'
  | 'SLOW_CONSUMER'
  | 'SERVER_LOST';

/** The room as it was when the session was opened. */
export interface RoomInfo {
  readonly name: string;
  readonly displayName: string;
  /** How many may be in it at once. */
  readonly maxMembers: number;
  /** Only relayed candidates are passed on. */
  readonly relayOnly: boolean;
  /** Whether one identity may be there more than once. */
  readonly allowsDuplicates: boolean;
}

/** ICE servers as RTCConfiguration takes them, and when their credentials expire. */
export interface IceServerList {
  readonly iceServers: RTCIceServer[];
  readonly expiresAt: Date | undefined;
}

/** What the client has to keep to, with the contract's defaults where the server says nothing. */
export interface Limits {
  readonly maxMessageBytes: number;
  readonly resumeWindowMs: number;
  readonly heartbeatMs: number;
  readonly maxUnacked: number;
}

/** Milliseconds of a protobuf Duration. */
export function durationMs(duration: Duration): number {
  return Number(duration.seconds) * 1_000 + duration.nanos / 1e6;
}

/** The public form of a member. */
export function toMember(member: pb.Member): Member {
  return {
    memberId: member.memberId,
    identity: member.identity,
    displayName: member.displayName,
    attributes: { ...member.attributes },
    joinOrder: member.joinOrder,
    state: member.state === PbMemberState.SUSPENDED ? 'suspended' : 'connected',
    joinedAt: toDate(member.joinedAt),
  };
}

/** The public form of a leave reason; one that is not known yet reads as UNSPECIFIED. */
export function toLeaveReason(reason: pb.LeaveReason): LeaveReason {
  return (PbLeaveReason[reason] as LeaveReason | undefined) ?? 'UNSPECIFIED';
}

/** The public form of the room. */
export function toRoom(room: pb.Room | undefined): RoomInfo {
  return {
    name: room?.name ?? '',
    displayName: room?.displayName ?? '',
    maxMembers: room?.maxMembers ?? 0,
    relayOnly: room?.relayOnly ?? false,
    allowsDuplicates: room?.duplicateIdentity === DuplicateIdentity.ALLOW,
  };
}

/** RTCConfiguration.iceServers; an empty user name or credential is left out, because browsers refuse it. */
export function toIceServers(servers: readonly pb.IceServer[], expiresAt: Timestamp | undefined): IceServerList {
  return {
    iceServers: servers.map(({ urls, username, credential }) => ({
      urls: [...urls],
      ...(username === '' ? {} : { username, credential }),
    })),
    expiresAt: toDate(expiresAt),
  };
}

/** RTCIceCandidateInit. Absent and empty differ, so absent fields stay absent. */
export function toCandidate(candidate: pb.IceCandidate): RTCIceCandidateInit {
  return {
    candidate: candidate.candidate,
    ...(candidate.sdpMid === undefined ? {} : { sdpMid: candidate.sdpMid }),
    ...(candidate.sdpMLineIndex === undefined ? {} : { sdpMLineIndex: candidate.sdpMLineIndex }),
    ...(candidate.usernameFragment === undefined ? {} : { usernameFragment: candidate.usernameFragment }),
  };
}

/** The other way round. */
export function fromCandidate(init: RTCIceCandidateInit) {
  return {
    candidate: init.candidate ?? '',
    ...(init.sdpMid == null ? {} : { sdpMid: init.sdpMid }),
    ...(init.sdpMLineIndex == null ? {} : { sdpMLineIndex: init.sdpMLineIndex }),
    ...(init.usernameFragment == null ? {} : { usernameFragment: init.usernameFragment }),
  };
}

/** The limits told by `welcome`. */
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
