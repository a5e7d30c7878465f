//! The Signalbox contract: messages and stubs generated from `signalbox/v1/*.proto`, and the error reasons that server
//! and clients share. The `.proto` files are the reference manual; start with `signal.proto`.

/// Messages and stubs, generated from `signalbox/v1/signal.proto` and `rooms.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/signalbox.v1.rs"));
}

/// The encoded `FileDescriptorSet` of the contract, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/signalbox_descriptor.bin"));

/// Value of `ErrorInfo.domain` in every error.
pub const ERROR_DOMAIN: &str = "signalbox";

/// Values of `ErrorInfo.reason` and `GoAway.reason`; signal.proto maps them to gRPC codes and client actions.
pub mod reason {
    #![allow(missing_docs)]
    pub const ALREADY_JOINED: &str = "ALREADY_JOINED";
    pub const DRAINING: &str = "DRAINING";
    pub const ETAG_MISMATCH: &str = "ETAG_MISMATCH";
    pub const FENCED: &str = "FENCED";
    pub const HEARTBEAT_TIMEOUT: &str = "HEARTBEAT_TIMEOUT";
    pub const IDENTITY_TAKEN: &str = "IDENTITY_TAKEN";
    pub const INVALID_MESSAGE: &str = "INVALID_MESSAGE";
    pub const INVALID_ROOM_NAME: &str = "INVALID_ROOM_NAME";
    pub const JOIN_TIMEOUT: &str = "JOIN_TIMEOUT";
    pub const NOT_SERVED_HERE: &str = "NOT_SERVED_HERE";
    pub const NO_SUCH_MEMBER: &str = "NO_SUCH_MEMBER";
    pub const PASSCODE_WRONG: &str = "PASSCODE_WRONG";
    pub const RATE_LIMITED: &str = "RATE_LIMITED";
    pub const REMOVED: &str = "REMOVED";
    pub const REPLACED: &str = "REPLACED";
    pub const ROOM_CLOSED: &str = "ROOM_CLOSED";
    pub const ROOM_EXISTS: &str = "ROOM_EXISTS";
    pub const ROOM_FORBIDDEN: &str = "ROOM_FORBIDDEN";
    pub const ROOM_FULL: &str = "ROOM_FULL";
    pub const ROOM_LOCKED: &str = "ROOM_LOCKED";
    pub const ROOM_NOT_FOUND: &str = "ROOM_NOT_FOUND";
    pub const SEQ_GAP: &str = "SEQ_GAP";
    pub const SERVER_FULL: &str = "SERVER_FULL";
    pub const SESSION_GONE: &str = "SESSION_GONE";
    pub const SLOW_CONSUMER: &str = "SLOW_CONSUMER";
    pub const STORE_UNAVAILABLE: &str = "STORE_UNAVAILABLE";
    pub const TOKEN_EXPIRED: &str = "TOKEN_EXPIRED";
    pub const TOKEN_INVALID: &str = "TOKEN_INVALID";
    pub const TOO_MANY_STREAMS: &str = "TOO_MANY_STREAMS";
    pub const TOO_MANY_WATCHES: &str = "TOO_MANY_WATCHES";
}

/// Values of `Undelivered.reason`.
pub mod undelivered {
    #![allow(missing_docs)]
    pub const FORBIDDEN: &str = "FORBIDDEN";
    pub const MAILBOX_FULL: &str = "MAILBOX_FULL";
    pub const NO_SUCH_MEMBER: &str = "NO_SUCH_MEMBER";
    pub const RATE_LIMITED: &str = "RATE_LIMITED";
    pub const TARGET_REQUIRED: &str = "TARGET_REQUIRED";
    pub const TOO_LARGE: &str = "TOO_LARGE";
}
