/**
 * Signalbox client for browsers. `join` opens a `Session` for signaling in a room; `Mesh` adds a peer connection to
 * every other member.
 *
 * @packageDocumentation
 */

export { Code } from '@connectrpc/connect';
export type { TokenSource } from './credentials.js';
export type { EventsOptions, OnceOptions } from './emitter.js';
export { type FieldViolation, SignalError } from './errors.js';
export type { CandidateEvent, DataEvent, DescriptionEvent, SessionEvents } from './events.js';
export type { Unsubscribe } from './handlers.js';
export type { Logger } from './logger.js';
export type { MeshChannel, MeshChannelEvents, MeshChannelOptions } from './mesh/channel.js';
export { Mesh, type MeshEvents, type MeshOptions } from './mesh/mesh.js';
export type { Peer, PeerState } from './mesh/peer.js';
export { PeerError, type PeerErrorReason } from './mesh/peerError.js';
export type { Kind, Publication, PublishEncoding, PublishOptions } from './mesh/publication.js';
export type { Quality, QualityLevel } from './mesh/quality.js';
export type { RemoteTrack } from './mesh/remoteTracks.js';
export type { Path } from './mesh/selectedCandidatePair.js';
export type { MessageData, ReceivedData, SendOptions } from './mesh/transfer.js';
export type { WebRtc } from './mesh/webrtc.js';
export type { IceServerList, LeaveReason, Member, RoomInfo } from './model.js';
export type { JoinOptions, ReconnectOptions, Report, SessionState } from './options.js';
export type { Failure, Outcome } from './outbox.js';
export type { ProfileChange, ProfileValues } from './profile.js';
export type { ClientReason, EndReason, ErrorReason, FailureReason, ServerReason } from './reasons.js';
export { join, type Session } from './session.js';
