//! Shares through a real bore server and a real Signalbox server, each a process of its own, with what can befall them.
//!
//! Each test has a loopback address of its own: bore's control port cannot be changed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod ending;
mod faults;
mod outside;
mod parts;
mod running;
mod talk;
