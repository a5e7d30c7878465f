//! The URL of a MongoDB: checked when it is given, and never shown with its credentials.

use std::{fmt, time::Duration};

use mongodb::{
    error::Result,
    options::{
        Acknowledgment, ClientOptions, ConnectionString, HostInfo, ReadPreference, SelectionCriteria,
        ServerMonitoringMode, WriteConcern,
    },
};

/// The database, where the URL names none.
const DATABASE: &str = "signalbox";
/// How long to look for a server that takes writes. A little less than a call may take, so that the error says why there
/// is none.
const SELECTION_TIMEOUT: Duration = Duration::from_millis(1400);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the servers of the database are asked how they are.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a write waits for the majority of the database's servers. Less than a call may take, so that the error says
/// what was missing.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections to one server of the database: the most, those kept ready, those being made, and how long an idle one
/// stays.
const MAX_CONNECTIONS: u32 = 32;
const MIN_CONNECTIONS: u32 = 4;
const MAX_CONNECTING: u32 = 4;
const MAX_IDLE: Duration = Duration::from_secs(300);

/// Where a MongoDB is, as given on the command line.
#[derive(Clone, PartialEq)]
pub struct MongoUrl {
    /// Holds the credentials, so it is not shown.
    text: String,
    parsed: ConnectionString,
}

impl MongoUrl {
    /// Checks a URL that starts with `mongodb://` or `mongodb+srv://`.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let refuse = |problem: &dyn fmt::Display| {
            // The problem may quote what it is about, and where the URL is malformed that may be a part of a secret.
            let secret = text.contains('@') || text.to_ascii_lowercase().contains("password");
            let problem = if secret {
                "not shown, since the URL holds credentials; in these, percent-encode what is not a letter or digit"
            } else {
                &problem.to_string()
            };
            format!(
                "not a valid MongoDB URL, mongodb://[USER:PASSWORD@]HOST[:PORT][,...]/[DATABASE][?OPTIONS]: {problem}"
            )
        };
        let parsed = ConnectionString::parse(text).map_err(|error| refuse(&error.kind))?;
        #[allow(deprecated, reason = "the driver reads the option and then refuses it")]
        if parsed.socket_timeout.is_some() {
            return Err(refuse(&"socketTimeoutMS is not supported"));
        }
        let weaker = |concern: &WriteConcern| {
            concern.w.as_ref().is_some_and(|w| *w != Acknowledgment::Majority) || concern.journal == Some(false)
        };
        if parsed.write_concern.as_ref().is_some_and(weaker) {
            return Err(refuse(&"rooms are written with w=majority, and with the journal's default"));
        }
        if parsed.read_preference.as_ref().is_some_and(|preference| *preference != ReadPreference::Primary) {
            return Err(refuse(&"rooms are read with readPreference=primary"));
        }
        let url = Self { text: text.to_owned(), parsed };
        let illegal = ['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0'];
        if url.database().len() > 63 || url.database().contains(illegal) {
            return Err(refuse(&"a database name has at most 63 bytes, and none of / \\ . \" $ * < > : | ? and space"));
        }
        Ok(url)
    }

    /// Whether the servers are named by DNS records, which may not be found yet.
    pub(super) fn needs_dns(&self) -> bool {
        matches!(self.parsed.host_info, HostInfo::DnsRecord(_))
    }

    /// The database that holds the rooms.
    pub(super) fn database(&self) -> &str {
        self.parsed.default_database.as_deref().unwrap_or(DATABASE)
    }

    /// The driver's settings. Asks the DNS where the URL is `mongodb+srv`. What the URL says of the pool and of times
    /// holds; the rest is what this server relies on.
    pub(super) async fn options(&self) -> Result<ClientOptions> {
        let mut options = ClientOptions::parse(&self.text).await?;
        options.app_name.get_or_insert_with(|| "signalbox".to_owned());
        options.server_selection_timeout.get_or_insert(SELECTION_TIMEOUT);
        options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
        options.heartbeat_freq.get_or_insert(HEARTBEAT);
        options.server_monitoring_mode.get_or_insert(ServerMonitoringMode::Stream);
        let most = *options.max_pool_size.get_or_insert(MAX_CONNECTIONS);
        options.min_pool_size.get_or_insert(MIN_CONNECTIONS.min(most));
        options.max_connecting.get_or_insert(MAX_CONNECTING);
        options.max_idle_time.get_or_insert(MAX_IDLE);
        options.write_concern = Some(write_concern());
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        Ok(options)
    }
}

/// A write counts once the majority of the database's servers have it: it then survives the loss of any one of three.
pub(super) fn write_concern() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).w_timeout(MAJORITY_TIMEOUT).build()
}

/// Without user, password and options.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        MongoUrl::parse(text).expect_err(text)
    }

    #[test]
    fn credentials_and_options_are_not_shown() {
        let url = "mongodb://ada:hunter2@a.example,b.example:27018/rooms?appName=hunter2";
        let url = MongoUrl::parse(url).expect("a valid URL");
        assert_eq!(url.to_string(), "mongodb://a.example:27017,b.example:27018/rooms");
        assert_eq!(format!("{url:?}"), url.to_string());
        let url = MongoUrl::parse("mongodb+srv://ada:hunter2@cluster.example.org/").expect("a valid URL");
        assert_eq!(url.to_string(), "mongodb+srv://cluster.example.org/signalbox");
    }

    #[test]
    fn what_is_wrong_with_a_url_holds_no_credentials() {
        for wrong in [
            "mongodb:ada:hunter2@a.example",
            "mongodb://ada:hun:ter2@a.example",
            "mongodb://ada:x/hunter2@a.example",
            "mongodb://ada:x?hunter2@a.example",
            "mongodb://ada:hunter2@a.example:port",
            "mongodb://ada:hunter2@a.example/?w=1",
            "mongodb://ada:hunter2@a.example/?maxPoolSize=hunter2",
            "mongodb://a.example/?tlsCertificateKeyFilePassword=hunter2&maxPoolSize=many",
        ] {
            let said = refused(wrong);
            assert!(!said.contains("ter2"), "{wrong}: {said}");
        }
    }

    #[test]
    fn an_option_that_breaks_a_promise_is_named() {
        for (wrong, named) in [
            ("mongodb://a.example/?w=1", "w=majority"),
            ("mongodb://a.example/?journal=false", "journal"),
            ("mongodb://a.example/?readPreference=secondary", "readPreference"),
            ("mongodb://a.example/?socketTimeoutMS=5", "socketTimeoutMS"),
            ("mongodb://a.example/?maxPoolSize=many", "maxpoolsize"),
            ("mongodb://a.example/a.b", "database name"),
            ("mongodb+srv://a.example.org:27017/", "port"),
            ("mongodb://", "host"),
        ] {
            let said = refused(wrong);
            assert!(said.contains(named), "{wrong}: {said}");
        }
        for right in ["mongodb://a.example/?retryWrites=true&w=majority", "mongodb+srv://u:p@cluster.example.org"] {
            MongoUrl::parse(right).expect(right);
        }
    }

    #[tokio::test]
    async fn what_a_url_says_of_the_pool_and_of_times_holds() {
        let options = MongoUrl::parse("mongodb://a.example").expect("a valid URL").options().await.expect("options");
        assert_eq!((options.max_pool_size, options.min_pool_size), (Some(32), Some(4)));
        assert_eq!(options.write_concern, Some(write_concern()));
        let url = "mongodb://a.example/?maxPoolSize=2&serverSelectionTimeoutMS=100&readPreference=primary";
        let options = MongoUrl::parse(url).expect("a valid URL").options().await.expect("options");
        assert_eq!((options.max_pool_size, options.min_pool_size), (Some(2), Some(2)));
        assert_eq!(options.server_selection_timeout, Some(Duration::from_millis(100)));
    }
}
