//! The Signalbox server.
//!
//! Imports point downwards in this list; `scripts/check-modules.sh` fails on a cycle.
//!
//! | module | job |
//! |---|---|
//! | [`cli`] | the command line: `serve`, `token`, `keygen` |
//! | [`server`] | starts and stops everything else |
//! | [`http`] | what a listener serves: request filter, routing, pages |
//! | [`transport`] | sockets, connection limits, TLS, HTTP connections |
//! | [`health`] | gRPC health |
//! | [`rpc`] | the gRPC services |
//! | [`context`] | what all services share |
//! | [`metrics`] | metrics for operators |
//! | [`config`] | flags and environment variables |
//! | [`rooms`] | live rooms: opening, timers, write-behind |
//! | [`auth`] | tokens, revocations, passcodes |
//! | [`store`] | room records, embedded or in MongoDB |
//! | [`limits`] | limits of the process, throttling of callers |
//! | [`ice`] | ICE servers and TURN credentials |
//! | [`session_token`] | the tokens that resume a session |
//! | [`error`] | why calls and streams fail |
//! | `reload` | values that are reloaded when their files change |
//! | [`net`], [`random`], [`secret`], [`clock`] | addresses, random bits, secrets, time |
//!
//! The logic of a room is in the crate `signalbox_core`.

pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod context;
pub mod error;
pub mod health;
pub mod http;
pub mod ice;
pub mod limits;
pub mod metrics;
pub mod net;
pub mod random;
mod reload;
pub mod rooms;
pub mod rpc;
pub mod secret;
pub mod server;
pub mod session_token;
pub mod store;
pub mod transport;

pub use self::server::{Parts, Server};
