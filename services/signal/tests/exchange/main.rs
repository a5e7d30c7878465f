//! Sessions on `Exchange`: what native clients say, hear and are promised.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod acks;
mod joining;
mod resume;
mod roster;
mod signals;
mod slow;
mod undelivered;
