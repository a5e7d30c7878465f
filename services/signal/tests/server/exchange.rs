//! Sessions of native clients, on `Exchange`.

mod acks;
mod joining;
mod one_connection;
mod resume;
mod roster;
mod signals;
mod slow;
mod undelivered;
