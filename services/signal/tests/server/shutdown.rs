//! The real program: how it starts, how it stops, and what it writes to its log.

mod canary;
mod drain;
mod logs;
mod start;
mod stop;
