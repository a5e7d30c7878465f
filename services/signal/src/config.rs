//! The server's configuration: each setting is one field with its flag, its `SIGNALBOX_*` variable, its default and its
//! help. Checked as a whole before any port is bound.

#![allow(rustdoc::bare_urls, reason = "the comments on the fields are the program's help")]

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
use signalbox_core::Limits;

pub(crate) use self::value::duration;
use self::value::{SecretUrl, stun_url, turn_url};
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

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings of `signalbox serve`.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "SIGNALBOX_LISTEN", default_value = "127.0.0.1:50051", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// Writes the bound address to this file once the server listens
    #[arg(long, env = "SIGNALBOX_READY_FILE", value_name = "PATH")]
    pub ready_file: Option<PathBuf>,

    /// Another address to listen on, for the application's back end and operators: loopback or a private network. With
    /// it --listen serves Rooms to tokens only
    #[arg(long, env = "SIGNALBOX_ADMIN_LISTEN", value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,

    /// Writes the bound address of --admin-listen to this file once the server listens
    #[arg(long, env = "SIGNALBOX_ADMIN_READY_FILE", requires = "admin_listen", value_name = "PATH")]
    pub admin_ready_file: Option<PathBuf>,

    /// Name under which the server is reached, such as signal.example.org: HOST at the usual ports and that of --listen,
    /// HOST:PORT, or HOST:* at any; repeat for more. Loopback and the address that was called need none
    #[arg(long, env = "SIGNALBOX_PUBLIC_NAME", value_delimiter = ',', value_name = "NAME")]
    pub public_name: Vec<PublicName>,

    /// Certificate chain of --listen in PEM, for TLS; taken up anew when the file changes. Needs --tls-key
    #[arg(long, env = "SIGNALBOX_TLS_CERT", requires = "tls_key", value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert in PEM
    #[arg(long, env = "SIGNALBOX_TLS_KEY", requires = "tls_cert", value_name = "PATH")]
    pub tls_key: Option<PathBuf>,

    /// Serves TLS at --listen with a certificate of its own making, which is kept in the folder of --store, or ./data;
    /// browsers warn of it. The log has its fingerprint
    #[arg(long, env = "SIGNALBOX_TLS_SELF_SIGNED", default_value = "false", conflicts_with = "tls_cert", num_args = 0..=1,
        default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub tls_self_signed: bool,

    /// Certificates in PEM of who issues those of trusted clients, such as proxies of one's own: who shows one at --listen
    /// may have 256 streams on a connection, and give up any number
    #[arg(long, env = "SIGNALBOX_TLS_CLIENT_CA", value_name = "PATH")]
    pub tls_client_ca: Option<PathBuf>,

    /// Whether --listen serves Rooms; unless set, where only this machine can reach it and there is no --admin-listen, and
    /// with --auth jwt to tokens that say can_admin
    #[arg(long, env = "SIGNALBOX_ROOMS", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub rooms: Option<bool>,

    /// Whether --listen serves reflection; unless set, where only this machine can reach it
    #[arg(long, env = "SIGNALBOX_REFLECTION", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub reflection: Option<bool>,

    /// Whether health at --listen tells of version, store and services, not just that all is well; unless set, where only
    /// this machine can reach it
    #[arg(long, env = "SIGNALBOX_DETAILED_HEALTH", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub detailed_health: Option<bool>,

    /// Where rooms are kept: redb:PATH is the embedded store in that folder, mongodb://HOST/DATABASE (or mongodb+srv://) a
    /// MongoDB
    #[arg(long, env = "SIGNALBOX_STORE", hide_env_values = true, default_value = "redb:./data", value_parser = SecretUrl, value_name = "URL")]
    pub store: StoreUrl,

    /// Folder of the built demo page; without it a short text is served in its place
    #[arg(long, env = "SIGNALBOX_WEB_DIR", default_value = "clients/web/dist", value_name = "PATH")]
    pub web_dir: PathBuf,

    /// Origin, such as https://app.example.org, whose pages may call this server, or https://app.example.org:* for those
    /// of every port; repeat for more. The server's own pages always may
    #[arg(long, env = "SIGNALBOX_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub cors_origin: Vec<Origin>,

    /// How log lines look
    #[arg(long, env = "SIGNALBOX_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: a level, or a filter such as signalbox_server=debug,h2=warn
    #[arg(long, env = "SIGNALBOX_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How long streams may take to end when the server stops
    #[arg(long, env = "SIGNALBOX_DRAIN_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub drain_timeout: Duration,

    /// Who may do what
    #[command(flatten)]
    pub auth: AuthConfig,

    // === ICE ===
    /// STUN server that members are told, such as stun:stun.example.org:3478; repeat for more
    #[arg(long, env = "SIGNALBOX_ICE_SERVER", value_delimiter = ',', value_parser = stun_url, value_name = "URL")]
    pub ice_server: Vec<String>,

    /// TURN server that members are told, such as turn:turn.example.org:3478?transport=udp; repeat for more. Needs
    /// --turn-secret
    #[arg(long, env = "SIGNALBOX_TURN_URL", value_delimiter = ',', value_parser = turn_url, value_name = "URL")]
    pub turn_url: Vec<String>,

    /// Secret shared with the TURN server (coturn: static-auth-secret), for time-limited credentials
    #[arg(long, env = "SIGNALBOX_TURN_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub turn_secret: Option<Secret>,

    /// How long TURN credentials are valid, 24h at most
    #[arg(long, env = "SIGNALBOX_TURN_TTL", default_value = "12h", value_parser = duration, value_name = "TIME")]
    pub turn_ttl: Duration,

    // === rooms ===
    /// Whether joining a room that is not there makes it
    #[arg(long, env = "SIGNALBOX_AUTO_CREATE", default_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub auto_create: bool,

    /// Members a room may have, unless it says otherwise
    #[arg(long, env = "SIGNALBOX_MAX_MEMBERS", default_value = "64", value_name = "N")]
    pub max_members: u32,

    /// Members that a room may be set to have
    #[arg(long, env = "SIGNALBOX_MAX_ROOM_MEMBERS", default_value = "1000", value_name = "N")]
    pub max_room_members: u32,

    /// How long a room made by a join is kept when nobody is in it
    #[arg(long, env = "SIGNALBOX_EMPTY_TIMEOUT", default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub empty_timeout: Duration,

    // === sessions ===
    /// How long a session may be without a stream before its member leaves
    #[arg(long, env = "SIGNALBOX_RESUME_WINDOW", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub resume_window: Duration,

    /// Longest silence of the server on a stream
    #[arg(long, env = "SIGNALBOX_HEARTBEAT", default_value = "15s", value_parser = duration, value_name = "TIME")]
    pub heartbeat: Duration,

    /// How soon a new stream must join or resume
    #[arg(long, env = "SIGNALBOX_JOIN_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub join_timeout: Duration,

    /// How long a connected member may leave messages waiting without taking any
    #[arg(long, env = "SIGNALBOX_STALL_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub stall_timeout: Duration,

    /// Log entries that may wait for one session
    #[arg(long, env = "SIGNALBOX_MAILBOX_ENTRIES", default_value = "1024", value_name = "N")]
    pub mailbox_entries: usize,

    /// Bytes that may wait for one session
    #[arg(long, env = "SIGNALBOX_MAILBOX_BYTES", default_value = "524288", value_name = "BYTES")]
    pub mailbox_bytes: usize,

    /// Numbered client messages that may be in flight
    #[arg(long, env = "SIGNALBOX_MAX_UNACKED", default_value = "256", value_name = "N")]
    pub max_unacked: u32,

    /// Signals a second per session, averaged
    #[arg(long, env = "SIGNALBOX_MAX_SIGNALS_PER_SECOND", default_value = "50", value_name = "N")]
    pub max_signals_per_second: u32,

    /// Signals that a session may send at once
    #[arg(long, env = "SIGNALBOX_SIGNAL_BURST", default_value = "512", value_name = "N")]
    pub signal_burst: u32,

    // === sizes ===
    /// Bytes of one client message
    #[arg(long, env = "SIGNALBOX_MAX_MESSAGE_BYTES", default_value = "131072", value_name = "BYTES")]
    pub max_message_bytes: usize,

    /// Bytes of one SDP
    #[arg(long, env = "SIGNALBOX_MAX_SDP_BYTES", default_value = "65536", value_name = "BYTES")]
    pub max_sdp_bytes: usize,

    /// Bytes of one ICE candidate
    #[arg(long, env = "SIGNALBOX_MAX_CANDIDATE_BYTES", default_value = "4096", value_name = "BYTES")]
    pub max_candidate_bytes: usize,

    /// Bytes of a member's attributes, or a room's labels, keys and values together
    #[arg(long, env = "SIGNALBOX_MAX_ATTRIBUTES_BYTES", default_value = "4096", value_name = "BYTES")]
    pub max_attributes_bytes: usize,

    /// Connections
    #[command(flatten)]
    pub connections: ConnectionConfig,
}

impl Config {
    /// Checks what the fields must be together. The message says which setting to change.
    pub fn check(&self) -> Result<(), String> {
        if let Some(admin) = self.admin_listen {
            if !is_private(admin.ip()) {
                return Err(format!(
                    "--admin-listen {admin} may be reachable from outside: it must be a loopback or private address, \
                     such as 127.0.0.1:50052"
                ));
            }
            if admin == self.listen && admin.port() != 0 {
                return Err("--admin-listen must not be the address of --listen".to_owned());
            }
        }
        self.auth.check(self.is_for_this_machine())?;
        if self.rooms == Some(true) && !self.is_for_this_machine() && !self.requires_tokens() {
            return Err(
                "--rooms true where other machines reach --listen lets anybody close every room: ask for tokens \
                        with --auth jwt, or leave Rooms to --admin-listen"
                    .to_owned(),
            );
        }
        if !self.turn_url.is_empty() && self.turn_secret.is_none() {
            return Err("--turn-url needs --turn-secret: TURN credentials are made from it".to_owned());
        }
        if self.turn_secret.is_some() && self.turn_url.is_empty() {
            return Err("--turn-secret needs --turn-url: without one no member is told of a TURN server".to_owned());
        }
        if self.turn_ttl > Duration::from_secs(24 * 3600) || self.turn_ttl < Duration::from_secs(60) {
            return Err("--turn-ttl must be between 1m and 24h".to_owned());
        }
        let positive = [
            ("--max-members", self.max_members as usize),
            ("--mailbox-entries", self.mailbox_entries),
            ("--max-unacked", self.max_unacked as usize),
            ("--max-signals-per-second", self.max_signals_per_second as usize),
            ("--signal-burst", self.signal_burst as usize),
        ];
        if let Some((flag, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{flag} must be at least 1"));
        }
        if self.max_members > self.max_room_members {
            return Err("--max-members must not be above --max-room-members".to_owned());
        }
        if self.heartbeat < Duration::from_secs(1) {
            return Err("--heartbeat must be at least 1s".to_owned());
        }
        self.connections.check()?;
        if self.tls_client_ca.is_some() && !self.serves_tls() {
            return Err("--tls-client-ca needs TLS: --tls-cert and --tls-key, or --tls-self-signed".to_owned());
        }
        // An SDP of the largest size has to fit into a message, and a message into a mailbox.
        if self.max_sdp_bytes.max(self.max_candidate_bytes).max(self.max_attributes_bytes) > self.max_message_bytes {
            return Err("--max-message-bytes must be at least as large as the sizes of what a message holds".to_owned());
        }
        if self.max_message_bytes > self.mailbox_bytes / 2 {
            return Err("--mailbox-bytes must be at least twice --max-message-bytes".to_owned());
        }
        Ok(())
    }

    /// Whether the port of members speaks TLS.
    pub fn serves_tls(&self) -> bool {
        self.tls_cert.is_some() || self.tls_self_signed
    }

    /// Where the server keeps what it makes.
    pub fn data_folder(&self) -> &Path {
        match &self.store {
            StoreUrl::Embedded(folder) => folder,
            StoreUrl::Mongo(_) => Path::new("data"),
        }
    }

    /// Whether the port of members serves Rooms: for development on one machine only.
    pub fn serves_rooms(&self) -> bool {
        self.admin_listen.is_none() && self.is_for_this_machine()
    }

    /// Whether others cannot reach it: a server with a name that is not this machine's own stands behind a proxy or
    /// tunnel.
    pub fn is_for_this_machine(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback() && self.public_name.iter().all(PublicName::is_loopback)
    }

    /// Whether members and callers of Rooms need tokens.
    pub fn requires_tokens(&self) -> bool {
        self.auth.auth == Auth::Jwt
    }

    /// The limits that rooms enforce.
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

    /// How rooms come into being.
    pub fn room_defaults(&self) -> RoomDefaults {
        RoomDefaults {
            auto_create: self.auto_create,
            max_members: self.max_members,
            max_room_members: self.max_room_members,
            empty_timeout: self.empty_timeout,
        }
    }

    /// The ICE servers that members are told.
    pub fn ice(&self) -> IceConfig {
        IceConfig {
            stun: self.ice_server.clone(),
            turn: self.turn_url.clone(),
            turn_secret: self.turn_secret.clone(),
            turn_ttl: self.turn_ttl,
        }
    }
}
