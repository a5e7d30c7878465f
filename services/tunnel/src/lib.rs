//! Publishes a Signalbox server of this machine through a [bore](https://github.com/ekzhang/bore) tunnel, and monitors
//! its public address.
//!
//! ```text
//! main → share         → backend  (the shared server: started here, or already running)
//!                      → tunnel   (the connection to the tunnel server)
//!                      → probe    (health checks on this machine and at the public address)
//!                      → screen   (standard output)
//!      → tunnel_server            (a tunnel server of your own)
//!      → parent_watchdog          (ends the shared server when the share ends)
//! ```
//!
//! bore is linked as a library, so that failures are errors instead of log lines and no orphaned process remains.
//! Visitors' connections survive the loss of the control connection.

pub mod backend;
pub mod config;
mod jitter;
pub mod parent_watchdog;
pub mod probe;
pub mod screen;
pub mod share;
pub mod tunnel;
pub mod tunnel_server;
