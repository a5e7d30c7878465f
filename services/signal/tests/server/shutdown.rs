//! The program: start, stop, and log.

mod canary;
mod drain;
mod logs;
mod start;
mod stop;
