//! What an application's back end and operators do with rooms, and what they see of the server's health.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod health;
mod members;
mod metrics;
mod ports;
mod records;

use signalbox_proto::v1::{CreateRoomRequest, Room};

/// A request for a room with these settings.
fn create(room: Room) -> CreateRoomRequest {
    CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() }
}

/// A room's name, and defaults.
fn named(name: &str) -> Room {
    Room { name: name.to_owned(), ..Room::default() }
}
