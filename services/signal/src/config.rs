//! The server's configuration: each field is a setting with its flag, `SIGNALBOX_*` variable, default and help text.
//! The server runs [`Config::check`] before it binds a port.

#![allow(rustdoc::bare_urls, reason = "the doc comments of the fields are the text of --help")]

mod auth;
mod connections;
#[cfg(test)]
mod tests;
mod value;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use humantime::format_duration;
use signalbox_core::Limits;

pub(crate) use self::value::duration;
use self::value::{SecretUrl, invalid, stun_url, turn_url};
pub use self::{
    auth::{Auth, AuthConfig},
    connections::ConnectionConfig,
    value::Origin,
};
use crate::{
    ice::IceConfig,
    net::{PublicName, is_private},
    rooms::RoomDefaults,
    secret::Secret,
    store::StoreUrl,
};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// The settings of `signalbox serve`.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Address and port of the public listener, for members; port 0 takes a free port
    #[arg(long, env = "SIGNALBOX_LISTEN", default_value = "127.0.0.1:50051", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// Write the address of the public listener to this file once the server listens
    #[arg(long, env = "SIGNALBOX_READY_FILE", value_name = "PATH")]
    pub ready_file: Option<PathBuf>,

    /// Address and port of the admin listener, for application servers and operators: a loopback or private address.
    /// With it, the public listener by default serves Rooms only with --auth jwt
    #[arg(long, env = "SIGNALBOX_ADMIN_LISTEN", value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,

    /// Write the address of the admin listener to this file once the server listens
    #[arg(long, env = "SIGNALBOX_ADMIN_READY_FILE", requires = "admin_listen", value_name = "PATH")]
    pub admin_ready_file: Option<PathBuf>,

    /// Name under which clients reach the server, such as signal.example.org. HOST covers ports 80, 443 and the port of
    /// --listen; HOST:PORT one port; HOST:* every port. Repeatable. Not needed for the address that a client connects
    /// to, or for loopback names if the server listens on loopback
    #[arg(long, env = "SIGNALBOX_PUBLIC_NAME", value_delimiter = ',', value_name = "NAME")]
    pub public_name: Vec<PublicName>,

    /// Certificate chain of the public listener (PEM), which enables TLS. Reloaded when the file changes. Needs
    /// --tls-key
    #[arg(long, env = "SIGNALBOX_TLS_CERT", requires = "tls_key", value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert (PEM), reloaded with it
    #[arg(long, env = "SIGNALBOX_TLS_KEY", requires = "tls_cert", value_name = "PATH")]
    pub tls_key: Option<PathBuf>,

    /// Serve TLS on the public listener with a generated self-signed certificate; browsers warn about it. The server
    /// keeps it in the folder of --store, or in ./data with MongoDB, and logs its SHA-256 fingerprint
    #[arg(long, env = "SIGNALBOX_TLS_SELF_SIGNED", default_value = "false", conflicts_with = "tls_cert", num_args = 0..=1,
        default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub tls_self_signed: bool,

    /// CA bundle (PEM) for optional client certificates. Clients with a valid certificate, such as your reverse proxy,
    /// get at least 256 streams per connection and no limit on calls and resets per second
    #[arg(long, env = "SIGNALBOX_TLS_CLIENT_CA", value_name = "PATH")]
    pub tls_client_ca: Option<PathBuf>,

    /// Serve Rooms on the public listener. Default: true with --auth jwt, for tokens with can_admin; otherwise only if
    /// other machines cannot reach the server and there is no --admin-listen
    #[arg(long, env = "SIGNALBOX_ROOMS", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub rooms: Option<bool>,

    /// Serve gRPC reflection on the public listener. Default: only if other machines cannot reach the server and there
    /// is no --admin-listen
    #[arg(long, env = "SIGNALBOX_REFLECTION", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub reflection: Option<bool>,

    /// Report version, store and services in the health of the public listener, in addition to its status. Default:
    /// only if other machines cannot reach the server and there is no --admin-listen
    #[arg(long, env = "SIGNALBOX_DETAILED_HEALTH", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub detailed_health: Option<bool>,

    /// Store of room records: redb:PATH for the embedded store in the folder PATH, or mongodb://HOST/DATABASE (or
    /// mongodb+srv://) for MongoDB
    #[arg(long, env = "SIGNALBOX_STORE", hide_env_values = true, default_value = "redb:./data", value_parser = SecretUrl, value_name = "URL")]
    pub store: StoreUrl,

    /// Folder of the built demo page. If the folder has no page, the server serves a short text instead
    #[arg(long, env = "SIGNALBOX_WEB_DIR", default_value = "clients/web/dist", value_name = "PATH")]
    pub web_dir: PathBuf,

    /// Origin whose pages may call the server, such as https://app.example.org. Port * covers every port of the host.
    /// Repeatable. Not needed for pages that the server itself serves
    #[arg(long, env = "SIGNALBOX_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub cors_origin: Vec<Origin>,

    /// Format of log lines
    #[arg(long, env = "SIGNALBOX_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Log filter: a level, or directives such as signalbox_server=debug,h2=warn
    #[arg(long, env = "SIGNALBOX_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// Time limit for streams to end when the server stops
    #[arg(long, env = "SIGNALBOX_DRAIN_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub drain_timeout: Duration,

    /// Settings of authentication
    #[command(flatten)]
    pub auth: AuthConfig,

    // === ICE ===
    /// STUN server for members, such as stun:stun.example.org:3478. Repeatable
    #[arg(long, env = "SIGNALBOX_ICE_SERVER", value_delimiter = ',', value_parser = stun_url, value_name = "URL")]
    pub ice_server: Vec<String>,

    /// TURN server for members, such as turn:turn.example.org:3478?transport=udp. Repeatable. Needs --turn-secret
    #[arg(long, env = "SIGNALBOX_TURN_URL", value_delimiter = ',', value_parser = turn_url, value_name = "URL")]
    pub turn_url: Vec<String>,

    /// Secret shared with the TURN server (static-auth-secret of coturn), for time-limited credentials
    #[arg(long, env = "SIGNALBOX_TURN_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub turn_secret: Option<Secret>,

    /// Validity of TURN credentials, 1m to 24h
    #[arg(long, env = "SIGNALBOX_TURN_TTL", default_value = "12h", value_parser = duration, value_name = "TIME")]
    pub turn_ttl: Duration,

    // === rooms ===
    /// Create a room when a client joins one that does not exist
    #[arg(long, env = "SIGNALBOX_AUTO_CREATE", default_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub auto_create: bool,

    /// Default limit of members per room
    #[arg(long, env = "SIGNALBOX_MAX_MEMBERS", default_value = "64", value_name = "N")]
    pub max_members: u32,

    /// Upper bound for the limit of members that a room sets itself
    #[arg(long, env = "SIGNALBOX_MAX_ROOM_MEMBERS", default_value = "1000", value_name = "N")]
    pub max_room_members: u32,

    /// How long the server keeps an empty room that a join created
    #[arg(long, env = "SIGNALBOX_EMPTY_TIMEOUT", default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub empty_timeout: Duration,

    // === sessions ===
    /// How long a session without a stream can be resumed before its member leaves
    #[arg(long, env = "SIGNALBOX_RESUME_WINDOW", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub resume_window: Duration,

    /// Heartbeat interval: the longest time without a message from the server on a stream
    #[arg(long, env = "SIGNALBOX_HEARTBEAT", default_value = "15s", value_parser = duration, value_name = "TIME")]
    pub heartbeat: Duration,

    /// Time limit for the first message of a stream, a join or resume
    #[arg(long, env = "SIGNALBOX_JOIN_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub join_timeout: Duration,

    /// How long a connected member may read nothing while entries wait in its mailbox
    #[arg(long, env = "SIGNALBOX_STALL_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub stall_timeout: Duration,

    /// Entries that may wait in a session's mailbox
    #[arg(long, env = "SIGNALBOX_MAILBOX_ENTRIES", default_value = "1024", value_name = "N")]
    pub mailbox_entries: usize,

    /// Bytes that may wait in a session's mailbox
    #[arg(long, env = "SIGNALBOX_MAILBOX_BYTES", default_value = "524288", value_name = "BYTES")]
    pub mailbox_bytes: usize,

    /// Numbered client messages per session that may be unacknowledged
    #[arg(long, env = "SIGNALBOX_MAX_UNACKED", default_value = "256", value_name = "N")]
    pub max_unacked: u32,

    /// Signals per second and session, on average
    #[arg(long, env = "SIGNALBOX_MAX_SIGNALS_PER_SECOND", default_value = "50", value_name = "N")]
    pub max_signals_per_second: u32,

    /// Signals that a session may send at once
    #[arg(long, env = "SIGNALBOX_SIGNAL_BURST", default_value = "512", value_name = "N")]
    pub signal_burst: u32,

    // === sizes ===
    /// Largest client message, in bytes
    #[arg(long, env = "SIGNALBOX_MAX_MESSAGE_BYTES", default_value = "131072", value_name = "BYTES")]
    pub max_message_bytes: usize,

    /// Largest SDP, in bytes
    #[arg(long, env = "SIGNALBOX_MAX_SDP_BYTES", default_value = "65536", value_name = "BYTES")]
    pub max_sdp_bytes: usize,

    /// Largest ICE candidate, in bytes
    #[arg(long, env = "SIGNALBOX_MAX_CANDIDATE_BYTES", default_value = "4096", value_name = "BYTES")]
    pub max_candidate_bytes: usize,

    /// Largest attributes of a member or labels of a room, in bytes of keys and values together
    #[arg(long, env = "SIGNALBOX_MAX_ATTRIBUTES_BYTES", default_value = "4096", value_name = "BYTES")]
    pub max_attributes_bytes: usize,

    /// Limits for connections
    #[command(flatten)]
    pub connections: ConnectionConfig,
}

impl Config {
    /// Checks the values, alone and in combination. The error names the setting to change.
    pub fn check(&self) -> Result<(), String> {
        if let Some(admin) = self.admin_listen {
            if !is_private(admin.ip()) {
                let advice = "a loopback or private address, such as 127.0.0.1:50052";
                return Err(invalid("--admin-listen", admin, advice));
            }
            if admin == self.listen && admin.port() != 0 {
                return Err(invalid("--admin-listen", admin, "another address than that of --listen"));
            }
        }
        self.auth.check(self.is_local())?;
        if self.rooms == Some(true) && !self.is_local() && !self.requires_tokens() {
            return Err("--rooms true would allow anyone who can reach --listen to delete every room: require tokens \
                        with --auth jwt, or serve Rooms on --admin-listen only"
                .to_owned());
        }
        if !self.turn_url.is_empty() && self.turn_secret.is_none() {
            return Err("--turn-url needs --turn-secret: set it to the secret of the TURN server".to_owned());
        }
        if self.turn_secret.is_some() && self.turn_url.is_empty() {
            return Err("--turn-secret has no effect without --turn-url: add the URL of the TURN server".to_owned());
        }
        if self.turn_ttl > Duration::from_secs(24 * 3600) || self.turn_ttl < Duration::from_secs(60) {
            return Err(invalid("--turn-ttl", format_duration(self.turn_ttl), "1m to 24h"));
        }
        let positive = [
            ("--max-members", self.max_members as usize),
            ("--mailbox-entries", self.mailbox_entries),
            ("--max-unacked", self.max_unacked as usize),
            ("--max-signals-per-second", self.max_signals_per_second as usize),
            ("--signal-burst", self.signal_burst as usize),
        ];
        if let Some((flag, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(invalid(flag, 0, "at least 1"));
        }
        if self.max_members > self.max_room_members {
            let advice = format!("at most --max-room-members ({})", self.max_room_members);
            return Err(invalid("--max-members", self.max_members, advice));
        }
        if self.heartbeat < Duration::from_secs(1) {
            return Err(invalid("--heartbeat", format_duration(self.heartbeat), "at least 1s"));
        }
        self.connections.check()?;
        if self.tls_client_ca.is_some() && !self.serves_tls() {
            return Err("--tls-client-ca needs TLS: add --tls-cert and --tls-key, or --tls-self-signed".to_owned());
        }
        // The largest SDP must fit into a message, and the largest message into a mailbox.
        let parts = [
            ("--max-sdp-bytes", self.max_sdp_bytes),
            ("--max-candidate-bytes", self.max_candidate_bytes),
            ("--max-attributes-bytes", self.max_attributes_bytes),
        ];
        if let Some((part, size)) = parts.iter().find(|(_, size)| *size > self.max_message_bytes) {
            let advice = format!("at least {part} ({size})");
            return Err(invalid("--max-message-bytes", self.max_message_bytes, advice));
        }
        if self.max_message_bytes > self.mailbox_bytes / 2 {
            let advice = format!("at least twice --max-message-bytes ({})", self.max_message_bytes);
            return Err(invalid("--mailbox-bytes", self.mailbox_bytes, advice));
        }
        Ok(())
    }

    /// Returns whether the public listener serves TLS.
    pub fn serves_tls(&self) -> bool {
        self.tls_cert.is_some() || self.tls_self_signed
    }

    /// Returns the folder of generated files, such as the self-signed certificate.
    pub fn data_folder(&self) -> &Path {
        match &self.store {
            StoreUrl::Embedded(folder) => folder,
            StoreUrl::Mongo(_) => Path::new("data"),
        }
    }

    /// Returns whether the public listener serves Rooms and other operator features by default. Only a development
    /// server does, because a loopback address does not identify a caller behind a proxy or tunnel.
    pub fn serves_rooms(&self) -> bool {
        self.admin_listen.is_none() && self.is_local()
    }

    /// Returns whether other machines cannot reach the server. A loopback listener with a non-loopback public name is
    /// behind a proxy or tunnel, so other machines can reach it.
    pub fn is_local(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback() && self.public_name.iter().all(PublicName::is_loopback)
    }

    /// Returns whether joins and calls of Rooms on the public listener need tokens.
    pub fn requires_tokens(&self) -> bool {
        self.auth.auth == Auth::Jwt
    }

    /// Returns the limits that rooms enforce.
    pub fn limits(&self) -> Limits {
        Limits {
            message_bytes: self.max_message_bytes,
            sdp_bytes: self.max_sdp_bytes,
            candidate_bytes: self.max_candidate_bytes,
            attributes_bytes: self.max_attributes_bytes,
            signals_per_second: self.max_signals_per_second,
            signal_burst: self.signal_burst,
            mailbox_entries: self.mailbox_entries,
            mailbox_bytes: self.mailbox_bytes,
            stall_timeout: self.stall_timeout,
            resume_window: self.resume_window,
            heartbeat_interval: self.heartbeat,
            max_unacked: self.max_unacked,
            ..Limits::default()
        }
    }

    /// Returns the default settings of rooms.
    pub fn room_defaults(&self) -> RoomDefaults {
        RoomDefaults {
            auto_create: self.auto_create,
            max_members: self.max_members,
            max_room_members: self.max_room_members,
            empty_timeout: self.empty_timeout,
        }
    }

    /// Returns the ICE servers for members.
    pub fn ice(&self) -> IceConfig {
        IceConfig {
            stun: self.ice_server.clone(),
            turn: self.turn_url.clone(),
            turn_secret: self.turn_secret.clone(),
            turn_ttl: self.turn_ttl,
        }
    }
}
