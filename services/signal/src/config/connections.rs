//! Settings of what a connection may do, and how many there may be.

use std::time::Duration;

use clap::Args;

use super::duration;

/// The least that a server gets along with.
const MIN_MEMORY_MIB: u64 = 64;

/// The settings of connections.
#[derive(Debug, Clone, Args)]
pub struct ConnectionConfig {
    /// Streams and calls that one HTTP/2 connection may have open
    #[arg(long, env = "SIGNALBOX_MAX_STREAMS", default_value = "16", value_name = "N")]
    pub max_streams: u32,

    /// Streams and calls that the client of one connection may open, a second, averaged; more wait for their turn
    #[arg(long, env = "SIGNALBOX_MAX_CALLS_PER_SECOND", default_value = "500", value_name = "N")]
    pub max_calls_per_second: u32,

    /// Streams and calls that it may open at once
    #[arg(long, env = "SIGNALBOX_CALL_BURST", default_value = "1000", value_name = "N")]
    pub call_burst: u32,

    /// Streams and calls that the client of one connection may give up, a second, averaged
    #[arg(long, env = "SIGNALBOX_MAX_RESETS_PER_SECOND", default_value = "20", value_name = "N")]
    pub max_resets_per_second: u32,

    /// Streams and calls that it may give up at once
    #[arg(long, env = "SIGNALBOX_RESET_BURST", default_value = "40", value_name = "N")]
    pub reset_burst: u32,

    /// Connections that a port may have, as far as the system's limit on open files allows
    #[arg(long, env = "SIGNALBOX_MAX_CONNECTIONS", default_value = "20000", value_name = "N")]
    pub max_connections: usize,

    /// Connections from one IPv4 address or one IPv6 network of 64 bits; not of loopback and private addresses, behind
    /// which a proxy may stand for many
    #[arg(long, env = "SIGNALBOX_MAX_CONNECTIONS_PER_ADDRESS", default_value = "64", value_name = "N")]
    pub max_connections_per_address: usize,

    /// How soon the first request of a connection must have arrived as a whole
    #[arg(long, env = "SIGNALBOX_FIRST_REQUEST_TIMEOUT", default_value = "5s", value_parser = duration,
        value_name = "TIME")]
    pub first_request_timeout: Duration,

    /// How long a connection may be without a stream or call; over HTTP/1.1 10 s at most
    #[arg(long, env = "SIGNALBOX_IDLE_TIMEOUT", default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub idle_timeout: Duration,

    /// Resident memory of the process from which --listen takes no more connections; from nine tenths of it nobody new
    /// may join. Who is there goes on, and may resume. Unset, there is no bound; needs Linux
    #[arg(long, env = "SIGNALBOX_MAX_MEMORY_MIB", value_name = "N")]
    pub max_memory_mib: Option<u64>,
}

impl ConnectionConfig {
    /// Checks what the fields must be. The message says which setting to change.
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
            return Err(format!("{flag} must be at least 1"));
        }
        if self.max_memory_mib.is_some_and(|most| most < MIN_MEMORY_MIB) {
            return Err(format!("--max-memory-mib must be at least {MIN_MEMORY_MIB}: the server itself needs some"));
        }
        for (flag, time) in
            [("--first-request-timeout", self.first_request_timeout), ("--idle-timeout", self.idle_timeout)]
        {
            if time < Duration::from_secs(1) {
                return Err(format!("{flag} must be at least 1s"));
            }
        }
        Ok(())
    }
}
