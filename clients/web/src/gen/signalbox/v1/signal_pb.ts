// Signalbox: WebRTC signaling over gRPC and gRPC-Web.
//
// This file is the reference manual of the signaling service. It says what each message means, in which order
// messages come, what is promised about their delivery, every limit and every error.
//
// # Words
//
// - room: a named meeting place. Its settings are stored, its live state is in memory.
// - member: somebody in a room. Has a public `member_id` made by the server, an identity and a display name.
// - session: one member's incarnation in one room, from join to leave, kept through reconnects. Has a secret
//   `session_token`.
// - stream: the network stream that carries a session at the moment. A new stream replaces (fences) the old one.
// - signal: an offer, answer, candidate or application data, from one session to another.
// - log: the room's ordered list of what happened, numbered by `ServerMessage.seq`. A session reads the log, filtered
//   to what is addressed to it; resuming is reading on after a number.
//
// # Flow
//
//   newcomer            server             member already there
//      | -- join ---------> |                        |
//      | <-------- welcome  |  member_joined ------> |
//      | <--------- offer   | <------------- offer   |
//      | -- answer -------> |  answer -------------> |
//      | <-- candidates --> | <---- candidates ----> |
//      |                 media flows peer to peer    |
//
// The member who was there first offers: on `welcome`, wait for offers from its `members`; on `member_joined`, make
// the offer. When offers collide later on, the later joiner (greater `join_order`) is the polite peer of the W3C
// "perfect negotiation" pattern (WebRTC 1.0, section 10.7). Neither rule changes when a session is resumed.
//
// # Two transports, one session
//
// Native clients use `Exchange`. Browsers cannot stream requests, so they use `Subscribe` for what the server says and
// `Send` for what they say. Both carry the same session, the same sequence numbers and the same resume; a session
// opened on one may be resumed on the other.
//
// # Delivery
//
// *Accepted* means: the server acknowledged the client's `seq` and reported it neither before nor with that as
// `undelivered`. An accepted signal is in the room's log, addressed to a live session, and
//
// - per ordered pair of sessions the receiver sees a gap-free, duplicate-free prefix of the accepted signals, in
//   sending order, over any number of reconnects (RFC 8838, section 18, asks this of a signaling protocol);
// - it reaches the application once, or the receiver's session ends and both ends are told;
// - a member's `member_joined` comes before any of its signals, and nothing of it comes after its `member_left`.
//
// Not promised: order between different pairs, delivery after a session ended, durability of signals, media.
// The server never reads or alters SDP or candidates; rooms with `relay_only` are the one exception.
//
// # Tokens
//
// A server may let nobody in without a JSON Web Token (RFC 7519) that the application has made. It is sent with a call
// as metadata `authorization: Bearer TOKEN`, and in no other way. It is signed with EdDSA (Ed25519), ES256 or HS256,
// has at most 4096 bytes, a `kid` where the server has several keys, no `crit`, no name twice, and these claims:
//
//   sub            required: the member's identity, 1 to 256 bytes
//   room           required: a room's name, or the beginning of one and `*`; `*` alone is every room
//   aud            required: the server's audience, `signalbox` unless set; a text, or a list that holds it
//   nbf, exp       required: from when until when, in whole seconds since 1970; 24 hours apart at most, unless set. 10 s
//                  of difference between clocks are let pass
//   iss            where the server asks for one
//   name           the display name; without it the member may choose one
//   can_join       whether it opens a session; true unless given
//   can_send_data  whether the session may send `data`; true unless given
//   can_admin      whether it opens the Rooms service, for the rooms of `room`; false unless given
//
// A join without a token, or with one that is not accepted, is UNAUTHENTICATED / TOKEN_INVALID, with one whose time is
// over TOKEN_EXPIRED; get a new one. With one for other rooms it is PERMISSION_DENIED / ROOM_FORBIDDEN, in the same words
// whether or not there is such a room. Who fails too often has to wait: RESOURCE_EXHAUSTED / RATE_LIMITED.
//
// The calls of a session need no token, since `session_token` says whose they are, and one that comes with them must be
// good, unless it is the one that the session goes by already. A session ends 25 s after the `exp` of its token (others
// see it TIMED_OUT, it gets go_away with TOKEN_EXPIRED and REJOIN), unless any call of it - a `Send` with a heartbeat, on
// whichever transport the session is, or a resume - has come with a token whose `exp` is later, for the same `sub` and
// the same room. What that token says of `can_send_data` then holds.
//
// Removing a member (Rooms.RemoveMember) revokes every token that was made for its identity and that room until then,
// as told by `nbf`: a join with one is ROOM_FORBIDDEN. A server that is restarted has forgotten that.
//
// # Limits (defaults; each is a setting of the server, the main ones are told in `Limits`)
//
//   message 128 KiB | SDP 64 KiB | candidate 4 KiB | attributes 4 KiB (keys and values together) in 64 entries
//   identity, display name, passcode 256 bytes | topic 128 bytes | room name 1-64 of A-Z a-z 0-9 _ -
//   50 signals a second per session, burst 512 | 64 members a room
//   join within 5 s of the stream's opening | resume window 30 s | heartbeat 15 s
//   1,024 entries or 512 KiB waiting for one session
//
// Sizes are bytes of UTF-8.
//
// # Errors
//
// A message that cannot be delivered comes back as `undelivered` and the stream lives. Faults of the stream end it with
// a gRPC status that carries google.rpc.ErrorInfo{reason, domain "signalbox"} and, where trying again helps,
// google.rpc.RetryInfo. Branch on code and reason, never on the text.
//
//   INVALID_ARGUMENT     INVALID_ROOM_NAME, INVALID_MESSAGE (with BadRequest field violations), ALREADY_JOINED
//   UNAUTHENTICATED      PASSCODE_WRONG, TOKEN_INVALID, TOKEN_EXPIRED (get a new token)
//   PERMISSION_DENIED    ROOM_LOCKED, ROOM_FORBIDDEN, NOT_SERVED_HERE (Rooms has another port)
//   NOT_FOUND            ROOM_NOT_FOUND, SESSION_GONE (join again), NO_SUCH_MEMBER
//   ALREADY_EXISTS       IDENTITY_TAKEN, ROOM_EXISTS
//   FAILED_PRECONDITION  SEQ_GAP (metadata expected_seq; the session is kept)
//   RESOURCE_EXHAUSTED   ROOM_FULL, RATE_LIMITED, SLOW_CONSUMER, TOO_MANY_WATCHES, SERVER_FULL (of a join: the server
//                        has no memory for more members; try again after RetryInfo)
//   OUT_OF_RANGE         a frame larger than the server reads
//   ABORTED              FENCED, REPLACED, REMOVED, ROOM_CLOSED, ETAG_MISMATCH
//   DEADLINE_EXCEEDED    JOIN_TIMEOUT
//   UNAVAILABLE          DRAINING, HEARTBEAT_TIMEOUT (resume), STORE_UNAVAILABLE
//   INTERNAL             a bug; nothing is leaked, the server's log has it

// @generated by protoc-gen-es v2.17.0 with parameter "target=ts"
// @generated from file signalbox/v1/signal.proto (package signalbox.v1, syntax proto3)
/* eslint-disable */

import type { GenEnum, GenFile, GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import { enumDesc, fileDesc, messageDesc, serviceDesc } from "@bufbuild/protobuf/codegenv2";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { file_google_protobuf_duration, file_google_protobuf_timestamp } from "@bufbuild/protobuf/wkt";
import type { Message } from "@bufbuild/protobuf";

/**
 * Describes the file signalbox/v1/signal.proto.
 */
export const file_signalbox_v1_signal: GenFile = /*@__PURE__*/
  fileDesc("ChlzaWduYWxib3gvdjEvc2lnbmFsLnByb3RvEgxzaWduYWxib3gudjEijgQKDUNsaWVudE1lc3NhZ2USCwoDc2VxGAEgASgEEgsKA2FjaxgCIAEoBBIKCgJ0bxgDIAEoCRITCgtuZWdvdGlhdGlvbhgEIAEoBBIiCgRqb2luGAogASgLMhIuc2lnbmFsYm94LnYxLkpvaW5IABImCgZyZXN1bWUYCyABKAsyFC5zaWduYWxib3gudjEuUmVzdW1lSAASJAoFbGVhdmUYDCABKAsyEy5zaWduYWxib3gudjEuTGVhdmVIABIxCgVvZmZlchgNIAEoCzIgLnNpZ25hbGJveC52MS5TZXNzaW9uRGVzY3JpcHRpb25IABIyCgZhbnN3ZXIYDiABKAsyIC5zaWduYWxib3gudjEuU2Vzc2lvbkRlc2NyaXB0aW9uSAASLwoJY2FuZGlkYXRlGA8gASgLMhouc2lnbmFsYm94LnYxLkljZUNhbmRpZGF0ZUgAEiIKBGRhdGEYECABKAsyEi5zaWduYWxib3gudjEuRGF0YUgAEiwKBnVwZGF0ZRgRIAEoCzIaLnNpZ25hbGJveC52MS5NZW1iZXJVcGRhdGVIABIsCgloZWFydGJlYXQYEiABKAsyFy5zaWduYWxib3gudjEuSGVhcnRiZWF0SAASMAoGcmVwb3J0GBMgASgLMh4uc2lnbmFsYm94LnYxLkNvbm5lY3Rpb25SZXBvcnRIAEIGCgRib2R5IrsFCg1TZXJ2ZXJNZXNzYWdlEgsKA3NlcRgBIAEoBBILCgNhY2sYAiABKAQSDAoEZnJvbRgDIAEoCRITCgtuZWdvdGlhdGlvbhgEIAEoBBIoCgd3ZWxjb21lGAogASgLMhUuc2lnbmFsYm94LnYxLldlbGNvbWVIABIoCgdyZXN1bWVkGAsgASgLMhUuc2lnbmFsYm94LnYxLlJlc3VtZWRIABIzCg1tZW1iZXJfam9pbmVkGAwgASgLMhouc2lnbmFsYm94LnYxLk1lbWJlckpvaW5lZEgAEjUKDm1lbWJlcl91cGRhdGVkGBYgASgLMhsuc2lnbmFsYm94LnYxLk1lbWJlclVwZGF0ZWRIABIxCgVvZmZlchgNIAEoCzIgLnNpZ25hbGJveC52MS5TZXNzaW9uRGVzY3JpcHRpb25IABIyCgZhbnN3ZXIYDiABKAsyIC5zaWduYWxib3gudjEuU2Vzc2lvbkRlc2NyaXB0aW9uSAASLwoJY2FuZGlkYXRlGA8gASgLMhouc2lnbmFsYm94LnYxLkljZUNhbmRpZGF0ZUgAEiIKBGRhdGEYECABKAsyEi5zaWduYWxib3gudjEuRGF0YUgAEi8KC21lbWJlcl9sZWZ0GBEgASgLMhguc2lnbmFsYm94LnYxLk1lbWJlckxlZnRIABIsCgloZWFydGJlYXQYEiABKAsyFy5zaWduYWxib3gudjEuSGVhcnRiZWF0SAASMAoLdW5kZWxpdmVyZWQYEyABKAsyGS5zaWduYWxib3gudjEuVW5kZWxpdmVyZWRIABIvCgtpY2Vfc2VydmVycxgUIAEoCzIYLnNpZ25hbGJveC52MS5JY2VTZXJ2ZXJzSAASJwoHZ29fYXdheRgVIAEoCzIULnNpZ25hbGJveC52MS5Hb0F3YXlIAEIGCgRib2R5IrkBCgRKb2luEgwKBHJvb20YASABKAkSEAoIaWRlbnRpdHkYAiABKAkSFAoMZGlzcGxheV9uYW1lGAMgASgJEjYKCmF0dHJpYnV0ZXMYBCADKAsyIi5zaWduYWxib3gudjEuSm9pbi5BdHRyaWJ1dGVzRW50cnkSEAoIcGFzc2NvZGUYBSABKAkaMQoPQXR0cmlidXRlc0VudHJ5EgsKA2tleRgBIAEoCRINCgV2YWx1ZRgCIAEoCToCOAEiMgoGUmVzdW1lEhUKDXNlc3Npb25fdG9rZW4YASABKAkSEQoJYWZ0ZXJfc2VxGAIgASgEIhcKBUxlYXZlEg4KBnJlYXNvbhgBIAEoCSIhChJTZXNzaW9uRGVzY3JpcHRpb24SCwoDc2RwGAEgASgJIq0BCgxJY2VDYW5kaWRhdGUSEQoJY2FuZGlkYXRlGAEgASgJEhQKB3NkcF9taWQYAiABKAlIAIgBARIdChBzZHBfbV9saW5lX2luZGV4GAMgASgNSAGIAQESHgoRdXNlcm5hbWVfZnJhZ21lbnQYBCABKAlIAogBAUIKCghfc2RwX21pZEITChFfc2RwX21fbGluZV9pbmRleEIUChJfdXNlcm5hbWVfZnJhZ21lbnQiNAoERGF0YRINCgV0b3BpYxgBIAEoCRIPCgdwYXlsb2FkGAIgASgMEgwKBHRleHQYAyABKAkixwEKDE1lbWJlclVwZGF0ZRIZCgxkaXNwbGF5X25hbWUYASABKAlIAIgBARI+CgphdHRyaWJ1dGVzGAIgAygLMiouc2lnbmFsYm94LnYxLk1lbWJlclVwZGF0ZS5BdHRyaWJ1dGVzRW50cnkSGAoQY2xlYXJfYXR0cmlidXRlcxgDIAEoCBoxCg9BdHRyaWJ1dGVzRW50cnkSCwoDa2V5GAEgASgJEg0KBXZhbHVlGAIgASgJOgI4AUIPCg1fZGlzcGxheV9uYW1lIgsKCUhlYXJ0YmVhdCK/AQoQQ29ubmVjdGlvblJlcG9ydBIMCgRwZWVyGAEgASgJEhEKCWljZV9zdGF0ZRgCIAEoCRIYChBjb25uZWN0aW9uX3N0YXRlGAMgASgJEhwKFGxvY2FsX2NhbmRpZGF0ZV90eXBlGAQgASgJEh0KFXJlbW90ZV9jYW5kaWRhdGVfdHlwZRgFIAEoCRIQCghwcm90b2NvbBgGIAEoCRISCgplbGFwc2VkX21zGAcgASgNEg0KBWVycm9yGAggASgJIqwCCgdXZWxjb21lEhUKDXNlc3Npb25fdG9rZW4YASABKAkSIQoDeW91GAIgASgLMhQuc2lnbmFsYm94LnYxLk1lbWJlchIgCgRyb29tGAMgASgLMhIuc2lnbmFsYm94LnYxLlJvb20SJQoHbWVtYmVycxgEIAMoCzIULnNpZ25hbGJveC52MS5NZW1iZXISLAoLaWNlX3NlcnZlcnMYBSADKAsyFy5zaWduYWxib3gudjEuSWNlU2VydmVyEjIKDmljZV9leHBpcmVzX2F0GAYgASgLMhouZ29vZ2xlLnByb3RvYnVmLlRpbWVzdGFtcBIkCgZsaW1pdHMYByABKAsyFC5zaWduYWxib3gudjEuTGltaXRzEhYKDnNlcnZlcl92ZXJzaW9uGAggASgJIqQBCgdSZXN1bWVkEhAKCHJlcGxheWVkGAEgASgEEiUKB21lbWJlcnMYAiADKAsyFC5zaWduYWxib3gudjEuTWVtYmVyEiwKC2ljZV9zZXJ2ZXJzGAMgAygLMhcuc2lnbmFsYm94LnYxLkljZVNlcnZlchIyCg5pY2VfZXhwaXJlc19hdBgEIAEoCzIaLmdvb2dsZS5wcm90b2J1Zi5UaW1lc3RhbXAinQIKBk1lbWJlchIRCgltZW1iZXJfaWQYASABKAkSEAoIaWRlbnRpdHkYAiABKAkSFAoMZGlzcGxheV9uYW1lGAMgASgJEjgKCmF0dHJpYnV0ZXMYBCADKAsyJC5zaWduYWxib3gudjEuTWVtYmVyLkF0dHJpYnV0ZXNFbnRyeRISCgpqb2luX29yZGVyGAUgASgEEigKBXN0YXRlGAYgASgOMhkuc2lnbmFsYm94LnYxLk1lbWJlclN0YXRlEi0KCWpvaW5lZF9hdBgHIAEoCzIaLmdvb2dsZS5wcm90b2J1Zi5UaW1lc3RhbXAaMQoPQXR0cmlidXRlc0VudHJ5EgsKA2tleRgBIAEoCRINCgV2YWx1ZRgCIAEoCToCOAEiNAoMTWVtYmVySm9pbmVkEiQKBm1lbWJlchgBIAEoCzIULnNpZ25hbGJveC52MS5NZW1iZXIiNQoNTWVtYmVyVXBkYXRlZBIkCgZtZW1iZXIYASABKAsyFC5zaWduYWxib3gudjEuTWVtYmVyIkoKCk1lbWJlckxlZnQSEQoJbWVtYmVyX2lkGAEgASgJEikKBnJlYXNvbhgCIAEoDjIZLnNpZ25hbGJveC52MS5MZWF2ZVJlYXNvbiJtCgtVbmRlbGl2ZXJlZBISCgpjbGllbnRfc2VxGAEgASgEEgoKAnRvGAIgASgJEg4KBnJlYXNvbhgDIAEoCRIuCgtyZXRyeV9hZnRlchgEIAEoCzIZLmdvb2dsZS5wcm90b2J1Zi5EdXJhdGlvbiJqCgpJY2VTZXJ2ZXJzEiwKC2ljZV9zZXJ2ZXJzGAEgAygLMhcuc2lnbmFsYm94LnYxLkljZVNlcnZlchIuCgpleHBpcmVzX2F0GAIgASgLMhouZ29vZ2xlLnByb3RvYnVmLlRpbWVzdGFtcCI/CglJY2VTZXJ2ZXISDAoEdXJscxgBIAMoCRIQCgh1c2VybmFtZRgCIAEoCRISCgpjcmVkZW50aWFsGAMgASgJIm4KBkdvQXdheRIOCgZyZWFzb24YASABKAkSJAoGYWN0aW9uGAIgASgOMhQuc2lnbmFsYm94LnYxLkFjdGlvbhIuCgtyZXRyeV9hZnRlchgDIAEoCzIZLmdvb2dsZS5wcm90b2J1Zi5EdXJhdGlvbiLBAQoGTGltaXRzEhkKEW1heF9tZXNzYWdlX2J5dGVzGAEgASgNEh4KFm1heF9zaWduYWxzX3Blcl9zZWNvbmQYAiABKA0SMAoNcmVzdW1lX3dpbmRvdxgDIAEoCzIZLmdvb2dsZS5wcm90b2J1Zi5EdXJhdGlvbhI1ChJoZWFydGJlYXRfaW50ZXJ2YWwYBCABKAsyGS5nb29nbGUucHJvdG9idWYuRHVyYXRpb24SEwoLbWF4X3VuYWNrZWQYBSABKA0iZgoQU3Vic2NyaWJlUmVxdWVzdBIiCgRqb2luGAEgASgLMhIuc2lnbmFsYm94LnYxLkpvaW5IABImCgZyZXN1bWUYAiABKAsyFC5zaWduYWxib3gudjEuUmVzdW1lSABCBgoEb3BlbiJTCgtTZW5kUmVxdWVzdBIVCg1zZXNzaW9uX3Rva2VuGAEgASgJEi0KCG1lc3NhZ2VzGAIgAygLMhsuc2lnbmFsYm94LnYxLkNsaWVudE1lc3NhZ2UiSwoMU2VuZFJlc3BvbnNlEgsKA2FjaxgBIAEoBBIuCgt1bmRlbGl2ZXJlZBgCIAMoCzIZLnNpZ25hbGJveC52MS5VbmRlbGl2ZXJlZCLcBAoEUm9vbRIMCgRuYW1lGAEgASgJEhQKDGRpc3BsYXlfbmFtZRgCIAEoCRITCgttYXhfbWVtYmVycxgDIAEoDRIZChFwYXNzY29kZV9yZXF1aXJlZBgEIAEoCBIOCgZsb2NrZWQYBSABKAgSLgoKY3JlYXRlZF9hdBgGIAEoCzIaLmdvb2dsZS5wcm90b2J1Zi5UaW1lc3RhbXASLgoKZXhwaXJlc19hdBgHIAEoCzIaLmdvb2dsZS5wcm90b2J1Zi5UaW1lc3RhbXASMAoNZW1wdHlfdGltZW91dBgIIAEoCzIZLmdvb2dsZS5wcm90b2J1Zi5EdXJhdGlvbhIuCgZsYWJlbHMYCSADKAsyHi5zaWduYWxib3gudjEuUm9vbS5MYWJlbHNFbnRyeRIUCgxtZW1iZXJfY291bnQYCiABKA0SOwoSZHVwbGljYXRlX2lkZW50aXR5GAsgASgOMh8uc2lnbmFsYm94LnYxLkR1cGxpY2F0ZUlkZW50aXR5EhIKCnJlbGF5X29ubHkYDCABKAgSDAoEZXRhZxgNIAEoCRIuCgp1cGRhdGVkX2F0GA4gASgLMhouZ29vZ2xlLnByb3RvYnVmLlRpbWVzdGFtcBIyCg5sYXN0X2FjdGl2ZV9hdBgPIAEoCzIaLmdvb2dsZS5wcm90b2J1Zi5UaW1lc3RhbXASEgoKam9pbl9jb3VudBgQIAEoBBISCgpjYWxsX2NvdW50GBEgASgEGi0KC0xhYmVsc0VudHJ5EgsKA2tleRgBIAEoCRINCgV2YWx1ZRgCIAEoCToCOAEqYwoLTWVtYmVyU3RhdGUSHAoYTUVNQkVSX1NUQVRFX1VOU1BFQ0lGSUVEEAASGgoWTUVNQkVSX1NUQVRFX0NPTk5FQ1RFRBABEhoKFk1FTUJFUl9TVEFURV9TVVNQRU5ERUQQAirvAQoLTGVhdmVSZWFzb24SHAoYTEVBVkVfUkVBU09OX1VOU1BFQ0lGSUVEEAASFQoRTEVBVkVfUkVBU09OX0xFRlQQARIaChZMRUFWRV9SRUFTT05fVElNRURfT1VUEAISGAoUTEVBVkVfUkVBU09OX1JFTU9WRUQQAxIZChVMRUFWRV9SRUFTT05fUkVQTEFDRUQQBBIcChhMRUFWRV9SRUFTT05fUk9PTV9DTE9TRUQQBRIeChpMRUFWRV9SRUFTT05fU0xPV19DT05TVU1FUhAGEhwKGExFQVZFX1JFQVNPTl9TRVJWRVJfTE9TVBAHKlcKBkFjdGlvbhIWChJBQ1RJT05fVU5TUEVDSUZJRUQQABIRCg1BQ1RJT05fUkVTVU1FEAESEQoNQUNUSU9OX1JFSk9JThACEg8KC0FDVElPTl9TVE9QEAMqlAEKEUR1cGxpY2F0ZUlkZW50aXR5EiIKHkRVUExJQ0FURV9JREVOVElUWV9VTlNQRUNJRklFRBAAEh4KGkRVUExJQ0FURV9JREVOVElUWV9SRVBMQUNFEAESHQoZRFVQTElDQVRFX0lERU5USVRZX1JFSkVDVBACEhwKGERVUExJQ0FURV9JREVOVElUWV9BTExPVxADMt0BCgZTaWduYWwSSAoIRXhjaGFuZ2USGy5zaWduYWxib3gudjEuQ2xpZW50TWVzc2FnZRobLnNpZ25hbGJveC52MS5TZXJ2ZXJNZXNzYWdlKAEwARJKCglTdWJzY3JpYmUSHi5zaWduYWxib3gudjEuU3Vic2NyaWJlUmVxdWVzdBobLnNpZ25hbGJveC52MS5TZXJ2ZXJNZXNzYWdlMAESPQoEU2VuZBIZLnNpZ25hbGJveC52MS5TZW5kUmVxdWVzdBoaLnNpZ25hbGJveC52MS5TZW5kUmVzcG9uc2ViBnByb3RvMw", [file_google_protobuf_duration, file_google_protobuf_timestamp]);

/**
 * What a client says.
 *
 * @generated from message signalbox.v1.ClientMessage
 */
export type ClientMessage = Message<"signalbox.v1.ClientMessage"> & {
  /**
   * Number of this message in the session: 1, 2, 3 and so on, without gaps. Sending a number again is safe: it is
   * acknowledged again, not handled again. A jump ends the stream with SEQ_GAP and keeps the session.
   * 0 = unnumbered: not acknowledged, not deduplicated; for use by hand. `join` and `resume` are unnumbered.
   *
   * @generated from field: uint64 seq = 1;
   */
  seq: bigint;

  /**
   * Highest `ServerMessage.seq` that the client has processed. The server may drop what was acknowledged; a resume can
   * then not go back before it. May come in a message of its own, without a body.
   *
   * @generated from field: uint64 ack = 2;
   */
  ack: bigint;

  /**
   * The addressee's `member_id`. Signals (offer, answer, candidate) go to one member: required, unless exactly one
   * other member is there. Data: empty = all others.
   *
   * @generated from field: string to = 3;
   */
  to: string;

  /**
   * Opaque to the server and relayed: ties the offer, answer and candidates of one ICE session together, so that a
   * receiver can tell late candidates of an earlier negotiation. 0 = not used.
   *
   * @generated from field: uint64 negotiation = 4;
   */
  negotiation: bigint;

  /**
   * What is said.
   *
   * @generated from oneof signalbox.v1.ClientMessage.body
   */
  body: {
    /**
     * Enters a room. Only as the first message of a stream.
     *
     * @generated from field: signalbox.v1.Join join = 10;
     */
    value: Join;
    case: "join";
  } | {
    /**
     * Continues a session on a new stream. Only as the first message of a stream.
     *
     * @generated from field: signalbox.v1.Resume resume = 11;
     */
    value: Resume;
    case: "resume";
  } | {
    /**
     * Ends the session at once; the others see member_left with LEFT.
     *
     * @generated from field: signalbox.v1.Leave leave = 12;
     */
    value: Leave;
    case: "leave";
  } | {
    /**
     * An SDP offer for `to`.
     *
     * @generated from field: signalbox.v1.SessionDescription offer = 13;
     */
    value: SessionDescription;
    case: "offer";
  } | {
    /**
     * An SDP answer for `to`.
     *
     * @generated from field: signalbox.v1.SessionDescription answer = 14;
     */
    value: SessionDescription;
    case: "answer";
  } | {
    /**
     * An ICE candidate for `to`.
     *
     * @generated from field: signalbox.v1.IceCandidate candidate = 15;
     */
    value: IceCandidate;
    case: "candidate";
  } | {
    /**
     * Application data for `to`, or for all others.
     *
     * @generated from field: signalbox.v1.Data data = 16;
     */
    value: Data;
    case: "data";
  } | {
    /**
     * Changes what others see of this member.
     *
     * @generated from field: signalbox.v1.MemberUpdate update = 17;
     */
    value: MemberUpdate;
    case: "update";
  } | {
    /**
     * Says that the client is alive.
     *
     * @generated from field: signalbox.v1.Heartbeat heartbeat = 18;
     */
    value: Heartbeat;
    case: "heartbeat";
  } | {
    /**
     * What became of the peer connection to another member; for operators, not relayed.
     *
     * @generated from field: signalbox.v1.ConnectionReport report = 19;
     */
    value: ConnectionReport;
    case: "report";
  } | { case: undefined; value?: undefined };
};

/**
 * Describes the message signalbox.v1.ClientMessage.
 * Use `create(ClientMessageSchema)` to create a new message.
 */
export const ClientMessageSchema: GenMessage<ClientMessage> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 0);

/**
 * What the server says.
 *
 * @generated from message signalbox.v1.ServerMessage
 */
export type ServerMessage = Message<"signalbox.v1.ServerMessage"> & {
  /**
   * Position in the room's log, rising, with gaps where entries are not for this session. 0 = not part of the log.
   *
   * @generated from field: uint64 seq = 1;
   */
  seq: bigint;

  /**
   * Highest `ClientMessage.seq` that was handled; every lower one was handled too. An `undelivered` always comes before
   * the first ack that covers it. 0 = nothing to say. At most 50 ms or 32 messages late. A message without a body
   * carries only an ack.
   *
   * The ack of `resumed` is the exception: it says what need not be sent again, while outcomes are settled by the next
   * ack, before which every `undelivered` that the lost stream may have swallowed is repeated.
   *
   * @generated from field: uint64 ack = 2;
   */
  ack: bigint;

  /**
   * The sender's `member_id`, stamped by the server whatever the client claims. Empty: from the server.
   *
   * @generated from field: string from = 3;
   */
  from: string;

  /**
   * As the sender gave it.
   *
   * @generated from field: uint64 negotiation = 4;
   */
  negotiation: bigint;

  /**
   * What is said.
   *
   * @generated from oneof signalbox.v1.ServerMessage.body
   */
  body: {
    /**
     * First message after a join.
     *
     * @generated from field: signalbox.v1.Welcome welcome = 10;
     */
    value: Welcome;
    case: "welcome";
  } | {
    /**
     * First message after a resume.
     *
     * @generated from field: signalbox.v1.Resumed resumed = 11;
     */
    value: Resumed;
    case: "resumed";
  } | {
    /**
     * Somebody joined: make the offer.
     *
     * @generated from field: signalbox.v1.MemberJoined member_joined = 12;
     */
    value: MemberJoined;
    case: "memberJoined";
  } | {
    /**
     * Somebody's state, name or attributes changed. Do not tear down media when a member becomes SUSPENDED: the
     * peer-to-peer path may be fine.
     *
     * @generated from field: signalbox.v1.MemberUpdated member_updated = 22;
     */
    value: MemberUpdated;
    case: "memberUpdated";
  } | {
    /**
     * An SDP offer from `from`.
     *
     * @generated from field: signalbox.v1.SessionDescription offer = 13;
     */
    value: SessionDescription;
    case: "offer";
  } | {
    /**
     * An SDP answer from `from`.
     *
     * @generated from field: signalbox.v1.SessionDescription answer = 14;
     */
    value: SessionDescription;
    case: "answer";
  } | {
    /**
     * An ICE candidate from `from`.
     *
     * @generated from field: signalbox.v1.IceCandidate candidate = 15;
     */
    value: IceCandidate;
    case: "candidate";
  } | {
    /**
     * Application data from `from`.
     *
     * @generated from field: signalbox.v1.Data data = 16;
     */
    value: Data;
    case: "data";
  } | {
    /**
     * Somebody's session ended. Nothing of that member follows.
     *
     * @generated from field: signalbox.v1.MemberLeft member_left = 17;
     */
    value: MemberLeft;
    case: "memberLeft";
  } | {
    /**
     * Sent when the server had nothing else to say for the heartbeat interval. Not part of the log.
     *
     * @generated from field: signalbox.v1.Heartbeat heartbeat = 18;
     */
    value: Heartbeat;
    case: "heartbeat";
  } | {
    /**
     * A message of this client was handled but not delivered. Not part of the log.
     *
     * @generated from field: signalbox.v1.Undelivered undelivered = 19;
     */
    value: Undelivered;
    case: "undelivered";
  } | {
    /**
     * Fresh ICE servers, before the credentials of the old ones expire. Not part of the log.
     *
     * @generated from field: signalbox.v1.IceServers ice_servers = 20;
     */
    value: IceServers;
    case: "iceServers";
  } | {
    /**
     * Last message of a stream that the server ends. Not part of the log.
     *
     * @generated from field: signalbox.v1.GoAway go_away = 21;
     */
    value: GoAway;
    case: "goAway";
  } | { case: undefined; value?: undefined };
};

/**
 * Describes the message signalbox.v1.ServerMessage.
 * Use `create(ServerMessageSchema)` to create a new message.
 */
export const ServerMessageSchema: GenMessage<ServerMessage> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 1);

/**
 * Enters a room, creating it where the server allows that (it does by default).
 *
 * @generated from message signalbox.v1.Join
 */
export type Join = Message<"signalbox.v1.Join"> & {
  /**
   * 1 to 64 of A-Z, a-z, 0-9, `_` and `-`.
   *
   * @generated from field: string room = 1;
   */
  room: string;

  /**
   * Who this is, to the application; at most 256 bytes. Empty = anonymous, which never collides. What happens when the
   * same identity joins again is the room's `duplicate_identity`. With a token: empty or its `sub`, which is the identity.
   *
   * @generated from field: string identity = 2;
   */
  identity: string;

  /**
   * Shown to people; at most 256 bytes. The `name` of a token takes its place.
   *
   * @generated from field: string display_name = 3;
   */
  displayName: string;

  /**
   * Anything the application wants others to know; at most 4 KiB, keys and values together, in 64 entries.
   *
   * @generated from field: map<string, string> attributes = 4;
   */
  attributes: { [key: string]: string };

  /**
   * Where the room has one. A wrong or missing one is UNAUTHENTICATED / PASSCODE_WRONG. Rooms are guarded against
   * guessing: after 10 failures further attempts, right or wrong, are tried one at a time, after pauses that grow to
   * 4 s. An attempt that had no turn within 5 s is refused with RESOURCE_EXHAUSTED / RATE_LIMITED and RetryInfo, which
   * says nothing about the passcode. Resuming needs none.
   *
   * @generated from field: string passcode = 5;
   */
  passcode: string;
};

/**
 * Describes the message signalbox.v1.Join.
 * Use `create(JoinSchema)` to create a new message.
 */
export const JoinSchema: GenMessage<Join> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 2);

/**
 * Continues a session after its stream was lost, on either transport, as often as needed.
 *
 * The server answers `resumed`, then repeats `undelivered` outcomes, then what was addressed to the session after
 * `after_seq`, then goes on live. An older stream of the session that still looks alive ends with ABORTED / FENCED.
 * When the replay cannot be complete the session is over: NOT_FOUND / SESSION_GONE; join again and renegotiate.
 *
 * @generated from message signalbox.v1.Resume
 */
export type Resume = Message<"signalbox.v1.Resume"> & {
  /**
   * From `welcome`. An unknown one is answered with SESSION_GONE.
   *
   * @generated from field: string session_token = 1;
   */
  sessionToken: string;

  /**
   * Highest `ServerMessage.seq` that the client has processed. 0 = from the session's start. A number the room has not
   * reached is INVALID_ARGUMENT and leaves the session as it is.
   *
   * @generated from field: uint64 after_seq = 2;
   */
  afterSeq: bigint;
};

/**
 * Describes the message signalbox.v1.Resume.
 * Use `create(ResumeSchema)` to create a new message.
 */
export const ResumeSchema: GenMessage<Resume> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 3);

/**
 * Ends the session.
 *
 * @generated from message signalbox.v1.Leave
 */
export type Leave = Message<"signalbox.v1.Leave"> & {
  /**
   * For people and logs; not relayed.
   *
   * @generated from field: string reason = 1;
   */
  reason: string;
};

/**
 * Describes the message signalbox.v1.Leave.
 * Use `create(LeaveSchema)` to create a new message.
 */
export const LeaveSchema: GenMessage<Leave> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 4);

/**
 * RTCSessionDescriptionInit (WebRTC 1.0, section 4.6) without its type, which is the name of the field that holds it.
 *
 * @generated from message signalbox.v1.SessionDescription
 */
export type SessionDescription = Message<"signalbox.v1.SessionDescription"> & {
  /**
   * The SDP, at most 64 KiB. Not read by the server, unless the room is `relay_only`.
   *
   * @generated from field: string sdp = 1;
   */
  sdp: string;
};

/**
 * Describes the message signalbox.v1.SessionDescription.
 * Use `create(SessionDescriptionSchema)` to create a new message.
 */
export const SessionDescriptionSchema: GenMessage<SessionDescription> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 5);

/**
 * RTCIceCandidateInit (WebRTC 1.0, section 4.8.1); the JSON form is the same. Absent and empty differ and both are
 * relayed as given.
 *
 * @generated from message signalbox.v1.IceCandidate
 */
export type IceCandidate = Message<"signalbox.v1.IceCandidate"> & {
  /**
   * candidate-attribute of RFC 8839, section 5.1; at most 4 KiB. Empty = end of candidates (RFC 8838, section 13).
   *
   * @generated from field: string candidate = 1;
   */
  candidate: string;

  /**
   * Media stream identification tag of the m-line (RFC 5888).
   *
   * @generated from field: optional string sdp_mid = 2;
   */
  sdpMid?: string | undefined;

  /**
   * Index of the m-line, from 0.
   *
   * @generated from field: optional uint32 sdp_m_line_index = 3;
   */
  sdpMLineIndex?: number | undefined;

  /**
   * ice-ufrag of the ICE session it belongs to (RFC 8839, section 5.4).
   *
   * @generated from field: optional string username_fragment = 4;
   */
  usernameFragment?: string | undefined;
};

/**
 * Describes the message signalbox.v1.IceCandidate.
 * Use `create(IceCandidateSchema)` to create a new message.
 */
export const IceCandidateSchema: GenMessage<IceCandidate> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 6);

/**
 * Application data. Keeps the order of the sender's other signals.
 *
 * @generated from message signalbox.v1.Data
 */
export type Data = Message<"signalbox.v1.Data"> & {
  /**
   * What it is about, at most 128 bytes.
   *
   * @generated from field: string topic = 1;
   */
  topic: string;

  /**
   * Bytes, up to the message limit.
   *
   * @generated from field: bytes payload = 2;
   */
  payload: Uint8Array;

  /**
   * Text, up to the message limit.
   *
   * @generated from field: string text = 3;
   */
  text: string;
};

/**
 * Describes the message signalbox.v1.Data.
 * Use `create(DataSchema)` to create a new message.
 */
export const DataSchema: GenMessage<Data> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 7);

/**
 * Changes what others see of this member. Counts as a signal for the rate limit. Not echoed to the sender. A receiver
 * who has not read an earlier update yet gets only the latest.
 *
 * @generated from message signalbox.v1.MemberUpdate
 */
export type MemberUpdate = Message<"signalbox.v1.MemberUpdate"> & {
  /**
   * The new display name, at most 256 bytes. Absent = unchanged. Where a token has given the name, the whole update is
   * `undelivered` with FORBIDDEN.
   *
   * @generated from field: optional string display_name = 1;
   */
  displayName?: string | undefined;

  /**
   * The new attributes as a whole, at most 4 KiB in 64 entries. Empty = unchanged, unless `clear_attributes`.
   *
   * @generated from field: map<string, string> attributes = 2;
   */
  attributes: { [key: string]: string };

  /**
   * Removes all attributes.
   *
   * @generated from field: bool clear_attributes = 3;
   */
  clearAttributes: boolean;
};

/**
 * Describes the message signalbox.v1.MemberUpdate.
 * Use `create(MemberUpdateSchema)` to create a new message.
 */
export const MemberUpdateSchema: GenMessage<MemberUpdate> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 8);

/**
 * Says that the sender is alive.
 *
 * @generated from message signalbox.v1.Heartbeat
 */
export type Heartbeat = Message<"signalbox.v1.Heartbeat"> & {
};

/**
 * Describes the message signalbox.v1.Heartbeat.
 * Use `create(HeartbeatSchema)` to create a new message.
 */
export const HeartbeatSchema: GenMessage<Heartbeat> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 9);

/**
 * What this member's RTCPeerConnection to another member came to.
 *
 * @generated from message signalbox.v1.ConnectionReport
 */
export type ConnectionReport = Message<"signalbox.v1.ConnectionReport"> & {
  /**
   * The other's `member_id`, at most 64 bytes as the other texts here. A report with longer ones is undelivered with
   * TOO_LARGE.
   *
   * @generated from field: string peer = 1;
   */
  peer: string;

  /**
   * RTCIceConnectionState (WebRTC 1.0, section 5.6.4).
   *
   * @generated from field: string ice_state = 2;
   */
  iceState: string;

  /**
   * RTCPeerConnectionState (WebRTC 1.0, section 4.3.3).
   *
   * @generated from field: string connection_state = 3;
   */
  connectionState: string;

  /**
   * RTCIceCandidateType of the selected pair's local candidate: host, srflx, prflx or relay.
   *
   * @generated from field: string local_candidate_type = 4;
   */
  localCandidateType: string;

  /**
   * The same of its remote candidate.
   *
   * @generated from field: string remote_candidate_type = 5;
   */
  remoteCandidateType: string;

  /**
   * Transport of the selected pair: udp, tcp or tls.
   *
   * @generated from field: string protocol = 6;
   */
  protocol: string;

  /**
   * From the first signal to this state, in milliseconds.
   *
   * @generated from field: uint32 elapsed_ms = 7;
   */
  elapsedMs: number;

  /**
   * What went wrong, at most 256 bytes.
   *
   * @generated from field: string error = 8;
   */
  error: string;
};

/**
 * Describes the message signalbox.v1.ConnectionReport.
 * Use `create(ConnectionReportSchema)` to create a new message.
 */
export const ConnectionReportSchema: GenMessage<ConnectionReport> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 10);

/**
 * The session is open. Its `seq` is where the room's log stood: what comes later has a greater one.
 *
 * @generated from message signalbox.v1.Welcome
 */
export type Welcome = Message<"signalbox.v1.Welcome"> & {
  /**
   * Secret of this session, for `Resume` and `Send`. Whoever has it is this member: never show or log it.
   *
   * @generated from field: string session_token = 1;
   */
  sessionToken: string;

  /**
   * This member as the others see it.
   *
   * @generated from field: signalbox.v1.Member you = 2;
   */
  you?: Member | undefined;

  /**
   * The room.
   *
   * @generated from field: signalbox.v1.Room room = 3;
   */
  room?: Room | undefined;

  /**
   * The others, as of this message's `seq`, in join order. They will offer.
   *
   * @generated from field: repeated signalbox.v1.Member members = 4;
   */
  members: Member[];

  /**
   * For RTCConfiguration.iceServers.
   *
   * @generated from field: repeated signalbox.v1.IceServer ice_servers = 5;
   */
  iceServers: IceServer[];

  /**
   * When the credentials in `ice_servers` expire. Absent: they do not.
   *
   * @generated from field: google.protobuf.Timestamp ice_expires_at = 6;
   */
  iceExpiresAt?: Timestamp | undefined;

  /**
   * What the client has to keep to.
   *
   * @generated from field: signalbox.v1.Limits limits = 7;
   */
  limits?: Limits | undefined;

  /**
   * Version of the server.
   *
   * @generated from field: string server_version = 8;
   */
  serverVersion: string;
};

/**
 * Describes the message signalbox.v1.Welcome.
 * Use `create(WelcomeSchema)` to create a new message.
 */
export const WelcomeSchema: GenMessage<Welcome> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 11);

/**
 * The session goes on. `seq` is the resume's `after_seq`; `ack` is the highest client message that was handled.
 *
 * @generated from message signalbox.v1.Resumed
 */
export type Resumed = Message<"signalbox.v1.Resumed"> & {
  /**
   * How many log entries follow as replay.
   *
   * @generated from field: uint64 replayed = 1;
   */
  replayed: bigint;

  /**
   * The others as they are now, in join order. Replayed membership entries are older or the same; apply them anyway.
   *
   * @generated from field: repeated signalbox.v1.Member members = 2;
   */
  members: Member[];

  /**
   * Fresh, for RTCPeerConnection.setConfiguration.
   *
   * @generated from field: repeated signalbox.v1.IceServer ice_servers = 3;
   */
  iceServers: IceServer[];

  /**
   * When the credentials in `ice_servers` expire. Absent: they do not.
   *
   * @generated from field: google.protobuf.Timestamp ice_expires_at = 4;
   */
  iceExpiresAt?: Timestamp | undefined;
};

/**
 * Describes the message signalbox.v1.Resumed.
 * Use `create(ResumedSchema)` to create a new message.
 */
export const ResumedSchema: GenMessage<Resumed> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 12);

/**
 * Somebody in a room.
 *
 * @generated from message signalbox.v1.Member
 */
export type Member = Message<"signalbox.v1.Member"> & {
  /**
   * Made by the server, unguessable, never reused.
   *
   * @generated from field: string member_id = 1;
   */
  memberId: string;

  /**
   * As given at join.
   *
   * @generated from field: string identity = 2;
   */
  identity: string;

  /**
   * As given at join, or by update.
   *
   * @generated from field: string display_name = 3;
   */
  displayName: string;

  /**
   * As given at join, or by update.
   *
   * @generated from field: map<string, string> attributes = 4;
   */
  attributes: { [key: string]: string };

  /**
   * Position in the room's order of joins, rising. Of two members the one with the greater number is polite.
   *
   * @generated from field: uint64 join_order = 5;
   */
  joinOrder: bigint;

  /**
   * Whether a stream carries the session at the moment.
   *
   * @generated from field: signalbox.v1.MemberState state = 6;
   */
  state: MemberState;

  /**
   * When the session was opened.
   *
   * @generated from field: google.protobuf.Timestamp joined_at = 7;
   */
  joinedAt?: Timestamp | undefined;
};

/**
 * Describes the message signalbox.v1.Member.
 * Use `create(MemberSchema)` to create a new message.
 */
export const MemberSchema: GenMessage<Member> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 13);

/**
 * Somebody joined.
 *
 * @generated from message signalbox.v1.MemberJoined
 */
export type MemberJoined = Message<"signalbox.v1.MemberJoined"> & {
  /**
   * Who.
   *
   * @generated from field: signalbox.v1.Member member = 1;
   */
  member?: Member | undefined;
};

/**
 * Describes the message signalbox.v1.MemberJoined.
 * Use `create(MemberJoinedSchema)` to create a new message.
 */
export const MemberJoinedSchema: GenMessage<MemberJoined> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 14);

/**
 * Somebody's state, name or attributes changed.
 *
 * @generated from message signalbox.v1.MemberUpdated
 */
export type MemberUpdated = Message<"signalbox.v1.MemberUpdated"> & {
  /**
   * The member as it is now.
   *
   * @generated from field: signalbox.v1.Member member = 1;
   */
  member?: Member | undefined;
};

/**
 * Describes the message signalbox.v1.MemberUpdated.
 * Use `create(MemberUpdatedSchema)` to create a new message.
 */
export const MemberUpdatedSchema: GenMessage<MemberUpdated> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 15);

/**
 * Somebody's session ended.
 *
 * @generated from message signalbox.v1.MemberLeft
 */
export type MemberLeft = Message<"signalbox.v1.MemberLeft"> & {
  /**
   * Whose.
   *
   * @generated from field: string member_id = 1;
   */
  memberId: string;

  /**
   * Why.
   *
   * @generated from field: signalbox.v1.LeaveReason reason = 2;
   */
  reason: LeaveReason;
};

/**
 * Describes the message signalbox.v1.MemberLeft.
 * Use `create(MemberLeftSchema)` to create a new message.
 */
export const MemberLeftSchema: GenMessage<MemberLeft> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 16);

/**
 * A message of this client was handled and not delivered.
 *
 * @generated from message signalbox.v1.Undelivered
 */
export type Undelivered = Message<"signalbox.v1.Undelivered"> & {
  /**
   * Its `ClientMessage.seq`; 0 when it was unnumbered.
   *
   * @generated from field: uint64 client_seq = 1;
   */
  clientSeq: bigint;

  /**
   * Who did not get it. For data to all: one `undelivered` for each member that did not get it; the others did.
   *
   * @generated from field: string to = 2;
   */
  to: string;

  /**
   * NO_SUCH_MEMBER: nobody of that id is in the room, or it is oneself.
   * TARGET_REQUIRED: `to` was empty where not exactly one other member is there.
   * MAILBOX_FULL: the addressee has too much unread.
   * RATE_LIMITED: too many signals; `retry_after` says when to go on.
   * TOO_LARGE: the message or one of its fields is over its limit.
   * FORBIDDEN: the room does not allow it (a candidate that is not a relay's in a `relay_only` room), or the member's
   * token does not (data, or another display name).
   *
   * @generated from field: string reason = 3;
   */
  reason: string;

  /**
   * With RATE_LIMITED.
   *
   * @generated from field: google.protobuf.Duration retry_after = 4;
   */
  retryAfter?: Duration | undefined;
};

/**
 * Describes the message signalbox.v1.Undelivered.
 * Use `create(UndeliveredSchema)` to create a new message.
 */
export const UndeliveredSchema: GenMessage<Undelivered> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 17);

/**
 * Fresh ICE servers.
 *
 * @generated from message signalbox.v1.IceServers
 */
export type IceServers = Message<"signalbox.v1.IceServers"> & {
  /**
   * For RTCPeerConnection.setConfiguration.
   *
   * @generated from field: repeated signalbox.v1.IceServer ice_servers = 1;
   */
  iceServers: IceServer[];

  /**
   * When their credentials expire. Absent: they do not.
   *
   * @generated from field: google.protobuf.Timestamp expires_at = 2;
   */
  expiresAt?: Timestamp | undefined;
};

/**
 * Describes the message signalbox.v1.IceServers.
 * Use `create(IceServersSchema)` to create a new message.
 */
export const IceServersSchema: GenMessage<IceServers> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 18);

/**
 * RTCIceServer (WebRTC 1.0, section 4.2.4); the JSON form is the same.
 *
 * @generated from message signalbox.v1.IceServer
 */
export type IceServer = Message<"signalbox.v1.IceServer"> & {
  /**
   * stun:, stuns:, turn: or turns: URIs (RFC 7064, RFC 7065).
   *
   * @generated from field: repeated string urls = 1;
   */
  urls: string[];

  /**
   * For TURN: unix time of expiry, a colon and an opaque id.
   *
   * @generated from field: string username = 2;
   */
  username: string;

  /**
   * For TURN: base64 of HMAC-SHA1 over the username.
   *
   * @generated from field: string credential = 3;
   */
  credential: string;
};

/**
 * Describes the message signalbox.v1.IceServer.
 * Use `create(IceServerSchema)` to create a new message.
 */
export const IceServerSchema: GenMessage<IceServer> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 19);

/**
 * The server ends this stream. The gRPC status that follows has the same reason.
 *
 * @generated from message signalbox.v1.GoAway
 */
export type GoAway = Message<"signalbox.v1.GoAway"> & {
  /**
   * As in the table of errors.
   *
   * @generated from field: string reason = 1;
   */
  reason: string;

  /**
   * What the client should do.
   *
   * @generated from field: signalbox.v1.Action action = 2;
   */
  action: Action;

  /**
   * How long to wait before doing it; already spread out, so that not everybody returns at once.
   *
   * @generated from field: google.protobuf.Duration retry_after = 3;
   */
  retryAfter?: Duration | undefined;
};

/**
 * Describes the message signalbox.v1.GoAway.
 * Use `create(GoAwaySchema)` to create a new message.
 */
export const GoAwaySchema: GenMessage<GoAway> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 20);

/**
 * What the client has to keep to.
 *
 * @generated from message signalbox.v1.Limits
 */
export type Limits = Message<"signalbox.v1.Limits"> & {
  /**
   * Bytes of one encoded ClientMessage.
   *
   * @generated from field: uint32 max_message_bytes = 1;
   */
  maxMessageBytes: number;

  /**
   * Signals a second, averaged; bursts may be larger.
   *
   * @generated from field: uint32 max_signals_per_second = 2;
   */
  maxSignalsPerSecond: number;

  /**
   * How long a session may be without a stream.
   *
   * @generated from field: google.protobuf.Duration resume_window = 3;
   */
  resumeWindow?: Duration | undefined;

  /**
   * The server is never silent for longer; a client on `Subscribe` must not be either.
   *
   * @generated from field: google.protobuf.Duration heartbeat_interval = 4;
   */
  heartbeatInterval?: Duration | undefined;

  /**
   * Numbered client messages that may be in flight, that is, not yet settled by an ack. Outcomes are remembered for as
   * many; the ack of `resumed` settles nothing and so does not make room for more.
   *
   * @generated from field: uint32 max_unacked = 5;
   */
  maxUnacked: number;
};

/**
 * Describes the message signalbox.v1.Limits.
 * Use `create(LimitsSchema)` to create a new message.
 */
export const LimitsSchema: GenMessage<Limits> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 21);

/**
 * Opens or resumes a session.
 *
 * @generated from message signalbox.v1.SubscribeRequest
 */
export type SubscribeRequest = Message<"signalbox.v1.SubscribeRequest"> & {
  /**
   * Which of the two. Required.
   *
   * @generated from oneof signalbox.v1.SubscribeRequest.open
   */
  open: {
    /**
     * Opens one.
     *
     * @generated from field: signalbox.v1.Join join = 1;
     */
    value: Join;
    case: "join";
  } | {
    /**
     * Resumes one.
     *
     * @generated from field: signalbox.v1.Resume resume = 2;
     */
    value: Resume;
    case: "resume";
  } | { case: undefined; value?: undefined };
};

/**
 * Describes the message signalbox.v1.SubscribeRequest.
 * Use `create(SubscribeRequestSchema)` to create a new message.
 */
export const SubscribeRequestSchema: GenMessage<SubscribeRequest> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 22);

/**
 * What a client says, in order.
 *
 * @generated from message signalbox.v1.SendRequest
 */
export type SendRequest = Message<"signalbox.v1.SendRequest"> & {
  /**
   * From `welcome`.
   *
   * @generated from field: string session_token = 1;
   */
  sessionToken: string;

  /**
   * At least one. No `join` or `resume` among them.
   *
   * @generated from field: repeated signalbox.v1.ClientMessage messages = 2;
   */
  messages: ClientMessage[];
};

/**
 * Describes the message signalbox.v1.SendRequest.
 * Use `create(SendRequestSchema)` to create a new message.
 */
export const SendRequestSchema: GenMessage<SendRequest> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 23);

/**
 * What became of it.
 *
 * @generated from message signalbox.v1.SendResponse
 */
export type SendResponse = Message<"signalbox.v1.SendResponse"> & {
  /**
   * Highest `ClientMessage.seq` of the session that was handled.
   *
   * @generated from field: uint64 ack = 1;
   */
  ack: bigint;

  /**
   * Those of this request that were not delivered.
   *
   * @generated from field: repeated signalbox.v1.Undelivered undelivered = 2;
   */
  undelivered: Undelivered[];
};

/**
 * Describes the message signalbox.v1.SendResponse.
 * Use `create(SendResponseSchema)` to create a new message.
 */
export const SendResponseSchema: GenMessage<SendResponse> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 24);

/**
 * A room's settings, and how many are in it. Settings can be given to CreateRoom and changed by UpdateRoom; what is
 * marked as output only is ignored there.
 *
 * @generated from message signalbox.v1.Room
 */
export type Room = Message<"signalbox.v1.Room"> & {
  /**
   * 1 to 64 of A-Z, a-z, 0-9, `_` and `-`. Cannot be changed.
   *
   * @generated from field: string name = 1;
   */
  name: string;

  /**
   * Shown to people; at most 256 bytes.
   *
   * @generated from field: string display_name = 2;
   */
  displayName: string;

  /**
   * How many may be in it at once, 1,000 at the most unless the server says otherwise. 0 in a request = the server's
   * default, 64 unless set. Suspended members keep their seats, so that a resume never finds the room full.
   *
   * @generated from field: uint32 max_members = 3;
   */
  maxMembers: number;

  /**
   * Output only. Whether a join needs a passcode. The passcode itself is a field of CreateRoomRequest and
   * UpdateRoomRequest.
   *
   * @generated from field: bool passcode_required = 4;
   */
  passcodeRequired: boolean;

  /**
   * Nobody new may join (PERMISSION_DENIED / ROOM_LOCKED); members stay, and may resume.
   *
   * @generated from field: bool locked = 5;
   */
  locked: boolean;

  /**
   * Output only. When the room was created.
   *
   * @generated from field: google.protobuf.Timestamp created_at = 6;
   */
  createdAt?: Timestamp | undefined;

  /**
   * When the room ends. In a request: whoever is in it then is sent away with ROOM_CLOSED and STOP; must be in the
   * future; absent = never. In an answer: the same or, while nobody is in the room, the end of its `empty_timeout` if
   * that is earlier. The room may outlive its `empty_timeout` by up to a minute. A room that has ended is not there.
   *
   * @generated from field: google.protobuf.Timestamp expires_at = 7;
   */
  expiresAt?: Timestamp | undefined;

  /**
   * How long the room is kept when nobody is in it, counted from when the last member left, or from the creation or
   * last change of a room that nobody has been in since. Absent: until deleted. Rooms made by a join have the server's
   * default, 5 minutes unless set.
   *
   * @generated from field: google.protobuf.Duration empty_timeout = 8;
   */
  emptyTimeout?: Duration | undefined;

  /**
   * For the application; at most 4 KiB, keys and values together, in 64 entries.
   *
   * @generated from field: map<string, string> labels = 9;
   */
  labels: { [key: string]: string };

  /**
   * Output only. Members at the moment, suspended ones included.
   *
   * @generated from field: uint32 member_count = 10;
   */
  memberCount: number;

  /**
   * What happens when an identity that is in the room joins again.
   *
   * @generated from field: signalbox.v1.DuplicateIdentity duplicate_identity = 11;
   */
  duplicateIdentity: DuplicateIdentity;

  /**
   * Keeps the members' addresses from each other: only candidates of a TURN server are let through. The server goes by
   * what clients write, so this protects members from each other, not from themselves.
   *
   * A `candidate` whose type is not `relay`, or that is not of the form of RFC 8839, section 5.1, is undelivered with
   * FORBIDDEN; an empty one (end of candidates) passes. In offers and answers such candidates are left out, together
   * with `a=remote-candidates` and `a=source-filter`; the addresses in `o=`, `c=` and `a=rtcp` become 0.0.0.0 (or ::)
   * and the ports of `m=` and `a=rtcp` become 9, as before any candidate is known, and whatever looks like an address
   * in another line is blanked in the same way. Candidates that pass lose their related address (`raddr` 0.0.0.0 or ::,
   * `rport` 9) and extensions other than generation, network-cost, network-id, tcptype and ufrag. `data` is not looked
   * at.
   *
   * Members should set `iceTransportPolicy: "relay"`, and the server needs a TURN server to tell them of.
   *
   * @generated from field: bool relay_only = 12;
   */
  relayOnly: boolean;

  /**
   * Output only. Changes with every change of the settings and with every ban; in an update, what the change is based
   * on.
   *
   * @generated from field: string etag = 13;
   */
  etag: string;

  /**
   * When the settings changed last.
   *
   * @generated from field: google.protobuf.Timestamp updated_at = 14;
   */
  updatedAt?: Timestamp | undefined;

  /**
   * When somebody was in the room last: now, while somebody is. Absent: never.
   *
   * @generated from field: google.protobuf.Timestamp last_active_at = 15;
   */
  lastActiveAt?: Timestamp | undefined;

  /**
   * How many sessions were opened in it.
   *
   * @generated from field: uint64 join_count = 16;
   */
  joinCount: bigint;

  /**
   * How many pairs of sessions had a connection, as one of the two reported (ConnectionReport with `connection_state`
   * "connected"); each pair counts once.
   *
   * @generated from field: uint64 call_count = 17;
   */
  callCount: bigint;
};

/**
 * Describes the message signalbox.v1.Room.
 * Use `create(RoomSchema)` to create a new message.
 */
export const RoomSchema: GenMessage<Room> = /*@__PURE__*/
  messageDesc(file_signalbox_v1_signal, 25);

/**
 * Whether a stream carries a session.
 *
 * @generated from enum signalbox.v1.MemberState
 */
export enum MemberState {
  /**
   * Not used.
   *
   * @generated from enum value: MEMBER_STATE_UNSPECIFIED = 0;
   */
  UNSPECIFIED = 0,

  /**
   * A stream carries it.
   *
   * @generated from enum value: MEMBER_STATE_CONNECTED = 1;
   */
  CONNECTED = 1,

  /**
   * Its stream was lost. It may resume within the window; signals for it wait.
   *
   * @generated from enum value: MEMBER_STATE_SUSPENDED = 2;
   */
  SUSPENDED = 2,
}

/**
 * Describes the enum signalbox.v1.MemberState.
 */
export const MemberStateSchema: GenEnum<MemberState> = /*@__PURE__*/
  enumDesc(file_signalbox_v1_signal, 0);

/**
 * Why a session ended.
 *
 * @generated from enum signalbox.v1.LeaveReason
 */
export enum LeaveReason {
  /**
   * Not used.
   *
   * @generated from enum value: LEAVE_REASON_UNSPECIFIED = 0;
   */
  UNSPECIFIED = 0,

  /**
   * It said leave.
   *
   * @generated from enum value: LEAVE_REASON_LEFT = 1;
   */
  LEFT = 1,

  /**
   * It did not come back within the resume window, came back too late for a complete replay, or its token ran out and
   * was not renewed.
   *
   * @generated from enum value: LEAVE_REASON_TIMED_OUT = 2;
   */
  TIMED_OUT = 2,

  /**
   * It was removed by the application's back end or an operator.
   *
   * @generated from enum value: LEAVE_REASON_REMOVED = 3;
   */
  REMOVED = 3,

  /**
   * Its identity joined again.
   *
   * @generated from enum value: LEAVE_REASON_REPLACED = 4;
   */
  REPLACED = 4,

  /**
   * The room was closed.
   *
   * @generated from enum value: LEAVE_REASON_ROOM_CLOSED = 5;
   */
  ROOM_CLOSED = 5,

  /**
   * It did not read what was waiting for it.
   *
   * @generated from enum value: LEAVE_REASON_SLOW_CONSUMER = 6;
   */
  SLOW_CONSUMER = 6,

  /**
   * The server that held it died.
   *
   * @generated from enum value: LEAVE_REASON_SERVER_LOST = 7;
   */
  SERVER_LOST = 7,
}

/**
 * Describes the enum signalbox.v1.LeaveReason.
 */
export const LeaveReasonSchema: GenEnum<LeaveReason> = /*@__PURE__*/
  enumDesc(file_signalbox_v1_signal, 1);

/**
 * What to do after a go_away. A client that does not know the reason goes by this.
 *
 * @generated from enum signalbox.v1.Action
 */
export enum Action {
  /**
   * Not used.
   *
   * @generated from enum value: ACTION_UNSPECIFIED = 0;
   */
  UNSPECIFIED = 0,

  /**
   * Resume the session.
   *
   * @generated from enum value: ACTION_RESUME = 1;
   */
  RESUME = 1,

  /**
   * The session is over; join again.
   *
   * @generated from enum value: ACTION_REJOIN = 2;
   */
  REJOIN = 2,

  /**
   * The session is over on this stream; do not come back by yourself.
   *
   * @generated from enum value: ACTION_STOP = 3;
   */
  STOP = 3,
}

/**
 * Describes the enum signalbox.v1.Action.
 */
export const ActionSchema: GenEnum<Action> = /*@__PURE__*/
  enumDesc(file_signalbox_v1_signal, 2);

/**
 * What happens when an identity that is in the room joins again. An empty identity never collides.
 *
 * @generated from enum signalbox.v1.DuplicateIdentity
 */
export enum DuplicateIdentity {
  /**
   * REPLACE.
   *
   * @generated from enum value: DUPLICATE_IDENTITY_UNSPECIFIED = 0;
   */
  UNSPECIFIED = 0,

  /**
   * The new session takes the place of the old one, which ends with REPLACED. The default.
   *
   * @generated from enum value: DUPLICATE_IDENTITY_REPLACE = 1;
   */
  REPLACE = 1,

  /**
   * The join is refused with ALREADY_EXISTS / IDENTITY_TAKEN.
   *
   * @generated from enum value: DUPLICATE_IDENTITY_REJECT = 2;
   */
  REJECT = 2,

  /**
   * Both stay.
   *
   * @generated from enum value: DUPLICATE_IDENTITY_ALLOW = 3;
   */
  ALLOW = 3,
}

/**
 * Describes the enum signalbox.v1.DuplicateIdentity.
 */
export const DuplicateIdentitySchema: GenEnum<DuplicateIdentity> = /*@__PURE__*/
  enumDesc(file_signalbox_v1_signal, 3);

/**
 * Signaling between the members of a room.
 *
 * @generated from service signalbox.v1.Signal
 */
export const Signal: GenService<{
  /**
   * A session on one bidirectional stream, for native clients.
   *
   * The first message must be `join` or `resume`, within 5 s, else the stream ends with DEADLINE_EXCEEDED /
   * JOIN_TIMEOUT. The server's headers come at once; its first message is `welcome` or `resumed`.
   *
   * `leave` ends the session and then the stream, with status OK. A stream that ends in any other way suspends the
   * session for the resume window. Closing only the sending side leaves the member in the room, listening.
   *
   * @generated from rpc signalbox.v1.Signal.Exchange
   */
  exchange: {
    methodKind: "bidi_streaming";
    input: typeof ClientMessageSchema;
    output: typeof ServerMessageSchema;
  },
  /**
   * Opens or resumes a session whose messages the server streams, for browsers (gRPC-Web). What the client says goes
   * through `Send`, with the `session_token` of `welcome`. The stream's messages are those of `Exchange`, but outcomes
   * (`ack`, `undelivered`) of what was sent by `Send` come in the `SendResponse`, not in the stream.
   *
   * Such a session must `Send` something (a `heartbeat` will do) every heartbeat interval; after two intervals and 5 s
   * of silence it is suspended and the stream ends with UNAVAILABLE / HEARTBEAT_TIMEOUT: resume it.
   *
   * @generated from rpc signalbox.v1.Signal.Subscribe
   */
  subscribe: {
    methodKind: "server_streaming";
    input: typeof SubscribeRequestSchema;
    output: typeof ServerMessageSchema;
  },
  /**
   * Says one or more things in a session, in order. Handled up to the first faulty message; what was handled before a
   * fault stays handled and is re-acknowledged when sent again. Unary calls may overtake each other, so keep one in
   * flight and batch what comes meanwhile. Holds at most 1,024 messages, `Limits.max_unacked` of them numbered, and 4
   * times the message limit in bytes.
   * A suspended session's `Send` is handled and does not revive it.
   *
   * @generated from rpc signalbox.v1.Signal.Send
   */
  send: {
    methodKind: "unary";
    input: typeof SendRequestSchema;
    output: typeof SendResponseSchema;
  },
}> = /*@__PURE__*/
  serviceDesc(file_signalbox_v1_signal, 0);

