//! Puts a Signalbox server of this machine on the public internet, through a [bore](https://github.com/ekzhang/bore)
//! tunnel that is watched from outside.
//!
//! ```text
//! main → share → backend  (the server, a child process; guard ends it with this process)
//!              → link     (the connection to the tunnel server)
//!              → look     (is the server seen at its public address?)
//!              → screen   (what is told)
//! ```
//!
//! bore is used as a library, not as a child process: what went wrong is an error instead of a line of a log, there is
//! no second process that could be left behind, and connections of visitors outlive a control connection that is lost.

pub mod backend;
pub mod config;
pub mod guard;
pub mod link;
pub mod look;
pub mod screen;
pub mod serve;
pub mod share;
