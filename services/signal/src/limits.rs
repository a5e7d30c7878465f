//! Limits of the process, and protection against callers that abuse the server.

pub mod fd_limit;
pub mod memory;
mod throttle;

pub use self::{
    memory::Memory,
    throttle::{Caller, Throttle, ThrottlePolicy},
};
