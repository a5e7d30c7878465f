//! Limits for connections.

use std::time::Duration;

use clap::Args;
use humantime::format_duration;

use super::{duration, value::invalid};

/// Smallest `--max-memory-mib`. A lower limit leaves too little memory for sessions, since the server itself needs
/// some.
const MIN_MEMORY_MIB: u64 = 64;

/// The limits for connections.
#[derive(Debug, Clone, Args)]
pub struct ConnectionConfig {
    /// Concurrent streams per HTTP/2 connection; every call is one
    #[arg(long, env = "SIGNALBOX_MAX_STREAMS", default_value = "16", value_name = "N")]
    pub max_streams: u32,

    /// Streams that a client may open per second and connection, on average; the server delays further streams
    #[arg(long, env = "SIGNALBOX_MAX_CALLS_PER_SECOND", default_value = "500", value_name = "N")]
    pub max_calls_per_second: u32,

    /// Streams that a client may open at once on a connection
    #[arg(long, env = "SIGNALBOX_CALL_BURST", default_value = "1000", value_name = "N")]
    pub call_burst: u32,

    /// Streams that a client may reset per second and connection, on average; further resets end the connection
    #[arg(long, env = "SIGNALBOX_MAX_RESETS_PER_SECOND", default_value = "20", value_name = "N")]
    pub max_resets_per_second: u32,

    /// Streams that a client may reset at once on a connection
    #[arg(long, env = "SIGNALBOX_RESET_BURST", default_value = "40", value_name = "N")]
    pub reset_burst: u32,

    /// Connections per listener; a lower limit on open files (ulimit -n) takes precedence
    #[arg(long, env = "SIGNALBOX_MAX_CONNECTIONS", default_value = "20000", value_name = "N")]
    pub max_connections: usize,

    /// Connections per IPv4 address or IPv6 /64 network. Loopback and private addresses have no limit, because a proxy
    /// may connect from there for many clients
    #[arg(long, env = "SIGNALBOX_MAX_CONNECTIONS_PER_ADDRESS", default_value = "64", value_name = "N")]
    pub max_connections_per_address: usize,

    /// Time limit for the complete first request of a connection
    #[arg(long, env = "SIGNALBOX_FIRST_REQUEST_TIMEOUT", default_value = "5s", value_parser = duration,
        value_name = "TIME")]
    pub first_request_timeout: Duration,

    /// How long a connection may be without a stream; at most 10s over HTTP/1.1
    #[arg(long, env = "SIGNALBOX_IDLE_TIMEOUT", default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub idle_timeout: Duration,

    /// Limit of resident memory, in MiB; at least 64. From 90% of it the server rejects joins, and at the limit the
    /// public listener rejects connections. Existing sessions continue and may resume. Default: no limit. Needs Linux
    #[arg(long, env = "SIGNALBOX_MAX_MEMORY_MIB", value_name = "N")]
    pub max_memory_mib: Option<u64>,
}

impl ConnectionConfig {
    /// Checks the values. The error names the setting to change.
    pub(super) fn check(&self) -> Result<(), String> {
        let positive = [
            ("--max-streams", self.max_streams as usize),
            ("--max-calls-per-second", self.max_calls_per_second as usize),
            ("--call-burst", self.call_burst as usize),
            ("--reset-burst", self.reset_burst as usize),
            ("--max-connections", self.max_connections),
            ("--max-connections-per-address", self.max_connections_per_address),
        ];
        if let Some((flag, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(invalid(flag, 0, "at least 1"));
        }
        if let Some(limit) = self.max_memory_mib
            && limit < MIN_MEMORY_MIB
        {
            return Err(invalid("--max-memory-mib", limit, format!("at least {MIN_MEMORY_MIB}")));
        }
        for (flag, time) in
            [("--first-request-timeout", self.first_request_timeout), ("--idle-timeout", self.idle_timeout)]
        {
            if time < Duration::from_secs(1) {
                return Err(invalid(flag, format_duration(time), "at least 1s"));
            }
        }
        Ok(())
    }
}
