//! Tokens: what is accepted and what never is, what they grant, how they are renewed and revoked.

#[path = "../common/mod.rs"]
mod common;

mod command;
mod hostile;
