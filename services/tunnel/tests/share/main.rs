//! Shares through a real bore server and a real Signalbox server, each its own process, under faults.
//!
//! Each test uses its own loopback address, because bore's control port is fixed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod existing_server;
mod exposure;
mod faults;
mod harness;
mod shutdown;
mod traffic;
