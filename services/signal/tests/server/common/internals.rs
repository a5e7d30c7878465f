//! What tests use of the server's library, in one place. All other tests go through sockets.

use std::time::Duration;

pub(crate) use signalbox_core::{
    Limits, WatchNext,
    id::RoomName,
    relay::{filter_candidate, filter_sdp},
};
pub(crate) use signalbox_server::{
    Parts, Server,
    auth::{Authenticator, Grant, KeySources, MAX_TOKEN, Passcodes, Rules},
    cli::Cli,
    clock::now_ms,
    config::Config,
    error::{Error, RoomError},
    limits::ThrottlePolicy,
    random::Random,
    rooms::{RoomDefaults, Rooms},
    store::{
        Created, EmbeddedStore, Filter, GRACE, Record, SCHEMA, Settings, Store, StoreUrl, Unavailable, Updated, Usage,
    },
    transport::{Network, Tcp},
};

/// The name of a room, which must be valid.
pub(crate) fn room_name(name: &str) -> RoomName {
    RoomName::parse(name, "name").unwrap()
}

/// Checks tokens by these keys, for an hour at most and without grace.
pub(crate) fn authenticator(sources: KeySources, issuer: Option<&str>) -> Result<Authenticator, String> {
    let rules = Rules {
        issuer: issuer.map(str::to_owned),
        audience: "signalbox".to_owned(),
        max_ttl: Duration::from_secs(3600),
        grace: Duration::ZERO,
    };
    Authenticator::with_tokens(sources, rules, throttle_policy())
}

/// The server's default.
pub(crate) fn throttle_policy() -> ThrottlePolicy {
    ThrottlePolicy { failures: 10, window: Duration::from_secs(1800) }
}
