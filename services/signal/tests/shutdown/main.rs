//! The real program: how it starts, how it stops, and what it writes to its log.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod canary;
mod drain;
mod logs;
mod start;
mod stop;
