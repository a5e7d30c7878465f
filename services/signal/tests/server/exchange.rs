//! Sessions on `Exchange`: what native clients say, hear and are promised.

mod acks;
mod joining;
mod resume;
mod roster;
mod signals;
mod slow;
mod undelivered;
