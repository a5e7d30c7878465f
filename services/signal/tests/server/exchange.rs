//! Sessions of native clients, on `Exchange`.

mod acks;
mod joining;
mod resume;
mod roster;
mod signals;
mod slow;
mod undelivered;
