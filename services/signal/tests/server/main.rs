//! The server as clients, operators and attackers reach it: over real sockets, in this process and as the program.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod attacks;
mod bad_input;
mod common;
mod contract;
mod exchange;
mod grpcurl;
mod outage;
mod rooms;
mod shutdown;
mod store;
mod tls;
mod tokens;
mod web;
