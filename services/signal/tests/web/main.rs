//! gRPC-Web: the same sessions on `Subscribe` and `Send`, as browsers make them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod hosts;
mod origins;
mod sessions;
mod wire;
