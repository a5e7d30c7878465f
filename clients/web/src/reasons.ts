// The reasons of errors, failures and endings. All are open: a newer server may send others, so keep a default branch.

/** A known value, or one of a newer server. */
export type Open<Known extends string> = Known | (string & Record<never, never>);

/** Reasons that a server gives for a rejected join, resume or call. */
export type ServerReason =
  /** A client bug: it joined twice on one stream. */
  | 'ALREADY_JOINED'
  /** The server is stopping. */
  | 'DRAINING'
  /** A newer stream is attached to the session. The client resumes. */
  | 'FENCED'
  /** The client sent nothing for too long. The client resumes. */
  | 'HEARTBEAT_TIMEOUT'
  /** The identity is already in the room, and the room rejects duplicates. */
  | 'IDENTITY_TAKEN'
  /** A field is invalid; see `fieldViolations`. */
  | 'INVALID_MESSAGE'
  /** The room name is not 1 to 64 of A-Z a-z 0-9 _ -. */
  | 'INVALID_ROOM_NAME'
  /** The join came too late on its stream. */
  | 'JOIN_TIMEOUT'
  /** The passcode is wrong or missing. */
  | 'PASSCODE_WRONG'
  /** Too many attempts; wait for `retryAfterMs`. */
  | 'RATE_LIMITED'
  /** The application server or an operator removed this member. */
  | 'REMOVED'
  /** The same identity joined again. */
  | 'REPLACED'
  /** The room was deleted or expired. */
  | 'ROOM_CLOSED'
  /** The token does not permit this room, or was revoked. */
  | 'ROOM_FORBIDDEN'
  /** The room has its maximum number of members. */
  | 'ROOM_FULL'
  /** The room takes no new members. */
  | 'ROOM_LOCKED'
  /** The room does not exist, and the server does not create it. */
  | 'ROOM_NOT_FOUND'
  /** A sequence number was skipped. The client resumes. */
  | 'SEQ_GAP'
  /** The server is out of memory for new members; wait for `retryAfterMs`. */
  | 'SERVER_FULL'
  /** The session is unknown, or a resume cannot be complete. The client rejoins. */
  | 'SESSION_GONE'
  /** This member did not read its messages. The client rejoins. */
  | 'SLOW_CONSUMER'
  /** The database of the server is unavailable. */
  | 'STORE_UNAVAILABLE'
  /** The token has expired. */
  | 'TOKEN_EXPIRED'
  /** The token is missing or invalid. */
  | 'TOKEN_INVALID'
  /** Too many sessions on this connection, or too many streams from this address; see the metadata `limit`. */
  | 'TOO_MANY_STREAMS';

/** Reasons that the client itself gives. */
export type ClientReason =
  /** Canceled by an AbortSignal or a later call. */
  | 'ABORTED'
  /** The session has ended. */
  | 'ENDED'
  /** No connection, or it was lost. */
  | 'NETWORK'
  /** The `token` function failed. */
  | 'NO_TOKEN'
  /** The response did not come from a Signalbox server. */
  | 'PROXY'
  /** A loop over `events` is too slow. */
  | 'QUEUE_FULL'
  /** The server answers calls, but no message of its stream arrives. */
  | 'STREAM_BLOCKED'
  /** No response in time. */
  | 'TIMEOUT'
  /** This environment cannot run the client. */
  | 'UNSUPPORTED';

/** Reason of a SignalError. Empty if a server sent none. */
export type ErrorReason = Open<ServerReason | ClientReason | ''>;

/** Why a message was not delivered. */
export type FailureReason = Open<
  /** No member with this id is in the room, or the id is the sender's own. */
  | 'NO_SUCH_MEMBER'
  /** `to` is empty, but the room has no other member or several. */
  | 'TARGET_REQUIRED'
  /** The member has too many unread messages; send again later. */
  | 'MAILBOX_FULL'
  /** Too many messages; wait for `retryAfterMs`. */
  | 'RATE_LIMITED'
  /** The message or one of its fields exceeds its limit. */
  | 'TOO_LARGE'
  /** The room or the token does not permit it. */
  | 'FORBIDDEN'
  /** Too many messages wait to be sent. */
  | 'OUTBOX_FULL'
  /** The client is rejoining. */
  | 'SESSION_GONE'
  /** The session has ended. */
  | 'ENDED'
  /** The server rejected the message. */
  | 'INVALID_MESSAGE'
>;

/** Why the session ended: `LEFT` after `leave`, else the reason of the server or of the last error. */
export type EndReason = Open<'LEFT' | 'REMOVED' | 'REPLACED' | 'ROOM_CLOSED' | ServerReason | ClientReason>;
