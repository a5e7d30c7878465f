//! The URL of a MongoDB database. Parsing validates the URL, and its display form omits credentials.

#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use mongodb::{
    error::Result,
    options::{
        Acknowledgment, ClientOptions, ConnectionString, HostInfo, ReadPreference, SelectionCriteria,
        ServerMonitoringMode, WriteConcern,
    },
};

/// Name of the database if the URL contains none.
const DATABASE: &str = "signalbox";
/// How long the driver looks for a writable server. Slightly shorter than the deadline of a store call, so that the
/// driver's error explains the failure.
const SELECTION_TIMEOUT: Duration = Duration::from_millis(1400);
/// Deadline for connecting to a server of the database.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval between the driver's health checks of the database's servers.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a write waits for a majority of the database's servers. Shorter than the deadline of a store call, so that
/// the call returns the write concern error instead of timing out.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(1);
/// Connection pool per server of the database: maximum and minimum size, concurrent connects, and idle timeout.
const MAX_CONNECTIONS: u32 = 32;
const MIN_CONNECTIONS: u32 = 4;
const MAX_CONNECTING: u32 = 4;
const MAX_IDLE: Duration = Duration::from_secs(300);

/// The URL of a MongoDB database, parsed from `--store`.
#[derive(Clone, PartialEq)]
pub struct MongoUrl {
    /// The URL with its credentials, which must never be displayed.
    text: String,
    parsed: ConnectionString,
}

impl MongoUrl {
    /// Parses and validates a `mongodb://` or `mongodb+srv://` URL.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let invalid = |problem: &dyn fmt::Display| {
            // The driver's error may quote parts of the URL. In a malformed URL they may be parts of a password.
            let has_secret = text.contains('@') || text.to_ascii_lowercase().contains("password");
            let problem = if has_secret {
                "details are hidden, since the URL contains credentials; percent-encode everything in them that is \
                 not a letter or digit"
            } else {
                &problem.to_string()
            };
            format!(
                "invalid MongoDB URL: {problem} (use mongodb://[USER:PASSWORD@]HOST[:PORT][,...]/[DATABASE][?OPTIONS])"
            )
        };
        let parsed = ConnectionString::parse(text).map_err(|error| invalid(&error.kind))?;
        #[allow(deprecated, reason = "the driver parses the option and later rejects it")]
        if parsed.socket_timeout.is_some() {
            return Err(invalid(&"socketTimeoutMS is not supported"));
        }
        let weaker = |concern: &WriteConcern| {
            concern.w.as_ref().is_some_and(|w| *w != Acknowledgment::Majority) || concern.journal == Some(false)
        };
        if parsed.write_concern.as_ref().is_some_and(weaker) {
            return Err(invalid(&"writes need w=majority and the default journal setting"));
        }
        if parsed.read_preference.as_ref().is_some_and(|preference| *preference != ReadPreference::Primary) {
            return Err(invalid(&"reads need readPreference=primary"));
        }
        let url = Self { text: text.to_owned(), parsed };
        let illegal = ['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0'];
        if url.database().len() > 63 || url.database().contains(illegal) {
            return Err(invalid(&"use a database name of 1-63 bytes without / \\ . \" $ * < > : | ? and spaces"));
        }
        Ok(url)
    }

    /// Returns whether the driver finds the servers through DNS records, which may be unavailable at startup.
    pub(super) fn needs_dns(&self) -> bool {
        matches!(self.parsed.host_info, HostInfo::DnsRecord(_))
    }

    /// Returns the name of the database that contains the rooms.
    pub(super) fn database(&self) -> &str {
        self.parsed.default_database.as_deref().unwrap_or(DATABASE)
    }

    /// Resolves DNS records for `mongodb+srv` and returns the driver's options. The URL can set pool sizes and
    /// timeouts, but not the write concern and read preference.
    pub(super) async fn options(&self) -> Result<ClientOptions> {
        let mut options = ClientOptions::parse(&self.text).await?;
        options.app_name.get_or_insert_with(|| "signalbox".to_owned());
        options.server_selection_timeout.get_or_insert(SELECTION_TIMEOUT);
        options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
        options.heartbeat_freq.get_or_insert(HEARTBEAT);
        options.server_monitoring_mode.get_or_insert(ServerMonitoringMode::Stream);
        let max = *options.max_pool_size.get_or_insert(MAX_CONNECTIONS);
        options.min_pool_size.get_or_insert(MIN_CONNECTIONS.min(max));
        options.max_connecting.get_or_insert(MAX_CONNECTING);
        options.max_idle_time.get_or_insert(MAX_IDLE);
        options.write_concern = Some(write_concern());
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        Ok(options)
    }
}

/// A write succeeds once a majority of the database's servers have it, so in a replica set of three it survives the
/// loss of any one server.
pub(super) fn write_concern() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).w_timeout(MAJORITY_TIMEOUT).build()
}

/// Displays the URL without user, password and options.
impl fmt::Display for MongoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.parsed.host_info {
            HostInfo::HostIdentifiers(hosts) => {
                let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
                write!(f, "mongodb://{}/{}", hosts.join(","), self.database())
            }
            HostInfo::DnsRecord(host) => write!(f, "mongodb+srv://{host}/{}", self.database()),
            other => write!(f, "mongodb:{other:?}/{}", self.database()),
        }
    }
}

impl fmt::Debug for MongoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
