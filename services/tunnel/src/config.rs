//! The command line of `signalbox-tunnel`.

#![allow(rustdoc::bare_urls, reason = "the doc comments are the --help texts")]

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Minimum length of a tunnel server's secret: 128 bits in base64.
pub const MIN_SECRET: usize = 22;
/// Environment variable with the tunnel server's secret, the same as bore's.
pub const SECRET: &str = "BORE_SECRET";
/// Maximum duration of a share.
const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// Publishes a Signalbox server of this machine through a bore tunnel.
#[derive(Debug, Parser)]
#[command(name = "signalbox-tunnel", version)]
pub struct Cli {
    /// The subcommand to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands of `signalbox-tunnel`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Share a new room of a server on this machine
    Share(Box<ShareConfig>),
    /// Run a tunnel server, on a machine with a public address
    Serve(TunnelServerConfig),
    /// Run a program until standard input closes
    #[command(hide = true)]
    ParentWatchdog(ParentWatchdogConfig),
}

/// When to print the QR code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Qr {
    /// Only if standard output is a terminal.
    Auto,
    /// Always, even if standard output is not a terminal.
    Always,
    /// Never, even on a terminal.
    Never,
}

/// The settings of a share.
#[derive(Debug, Clone, Args)]
pub struct ShareConfig {
    /// Tunnel server; BORE_SECRET holds its secret, if it has one
    #[arg(long, env = "SIGNALBOX_SHARE_TO", default_value = "bore.pub", value_name = "HOST")]
    pub to: String,

    /// Host name in the public address, if it differs from --to
    #[arg(long, env = "SIGNALBOX_SHARE_NAME", value_parser = host, value_name = "HOST")]
    pub public_name: Option<String>,

    /// Public port; the share waits while it is taken. Unset: any port, and the same port again after an outage
    #[arg(long, env = "SIGNALBOX_SHARE_PORT", value_parser = clap::value_parser!(u16).range(1..), value_name = "PORT")]
    pub port: Option<u16>,

    /// Duration of the share, at most 7 days
    #[arg(long, default_value = "12h", value_parser = ttl, value_name = "TIME")]
    pub ttl: Duration,

    /// Plain HTTP: no certificate, but browsers allow neither camera nor microphone, only data channels
    #[arg(long)]
    pub http: bool,

    /// Certificate chain (PEM) for the public host name. Unset: the server uses a self-signed certificate
    #[arg(long, env = "SIGNALBOX_SHARE_TLS_CERT", requires = "tls_key", conflicts_with = "http", value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,

    /// Private key (PEM) of --tls-cert
    #[arg(long, env = "SIGNALBOX_SHARE_TLS_KEY", requires = "tls_cert", value_name = "PATH")]
    pub tls_key: Option<PathBuf>,

    /// Serve gRPC reflection to visitors
    #[arg(long)]
    pub reflection: bool,

    /// STUN server for members, so that media traverses NATs; `none` for no server. For strict firewalls, add a TURN
    /// server after `--`
    #[arg(long, env = "SIGNALBOX_SHARE_STUN", default_value = "stun:stun.l.google.com:19302", value_name = "URL")]
    pub stun: String,

    /// Share the running server at this loopback address instead of starting one. It must require tokens and expose
    /// nothing else; the share reports what is missing
    #[arg(long, value_parser = loopback, conflicts_with_all = ["tls_cert", "reflection"], value_name = "ADDR")]
    pub server: Option<SocketAddr>,

    /// The --admin-listen address of --server, a loopback address. Unset: the share calls Rooms at --server, where
    /// admin tokens also work through the tunnel
    #[arg(long, value_parser = loopback, requires = "server", value_name = "ADDR")]
    pub admin: Option<SocketAddr>,

    /// Private key (PEM) that signs tokens for --server. Unset: the secret in SIGNALBOX_JWT_SECRET signs them
    #[arg(long, requires = "server", value_name = "PATH")]
    pub key: Option<PathBuf>,

    /// Folder that keeps the self-signed certificate and its key between shares
    #[arg(long, env = "SIGNALBOX_SHARE_DATA", default_value = "data/share", value_name = "PATH")]
    pub data: PathBuf,

    /// Path of the server program. Unset: `signalbox` next to this program
    #[arg(long, value_name = "PATH")]
    pub signalbox: Option<PathBuf>,

    /// Folder with the built demo page
    #[arg(long, default_value = "clients/web/dist", value_name = "PATH")]
    pub web_dir: PathBuf,

    /// When to print the link as a QR code
    #[arg(long, default_value = "auto", value_name = "WHEN")]
    pub qr: Qr,

    /// Further server flags, after `--`
    #[arg(last = true, value_name = "FLAG")]
    pub server_flags: Vec<OsString>,
}

impl ShareConfig {
    /// Returns the host name in the public address.
    pub fn public_host(&self) -> &str {
        self.public_name.as_deref().unwrap_or(&self.to)
    }

    /// Returns the URL scheme of the public address.
    pub fn scheme(&self) -> &'static str {
        if self.http { "http" } else { "https" }
    }

    /// Returns the STUN server, if any.
    pub fn stun(&self) -> Option<&str> {
        (self.stun != "none").then_some(self.stun.as_str())
    }
}

/// The settings of a tunnel server.
#[derive(Debug, Clone, Args)]
pub struct TunnelServerConfig {
    /// First public port for shares
    #[arg(long, default_value = "20000", value_parser = clap::value_parser!(u16).range(1024..), value_name = "PORT")]
    pub min_port: u16,

    /// Last public port for shares
    #[arg(long, default_value = "20100", value_parser = clap::value_parser!(u16).range(1024..), value_name = "PORT")]
    pub max_port: u16,

    /// Address to listen on: port 7835 for shares, the public ports for visitors
    #[arg(long, default_value_t = Ipv4Addr::UNSPECIFIED.into(), value_name = "IP")]
    pub bind_addr: IpAddr,

    /// Let anybody open tunnels. Unset: BORE_SECRET must hold a secret of at least 22 characters
    #[arg(long)]
    pub open: bool,
}

/// The settings of a parent watchdog.
#[derive(Debug, Clone, Args)]
pub struct ParentWatchdogConfig {
    /// Folder to remove after standard input has closed and the program has ended
    #[arg(long, value_name = "PATH")]
    pub remove_folder: Option<PathBuf>,

    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl =
        humantime::parse_duration(text).map_err(|error| format!("use a duration such as 30m or 12h ({error})"))?;
    let is_valid = (Duration::from_secs(60)..=MAX_TTL).contains(&ttl);
    if is_valid { Ok(ttl) } else { Err("use a duration from 1m to 7days".to_owned()) }
}

fn host(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_valid = !text.is_empty() && text.chars().all(is_allowed);
    if is_valid { Ok(text.to_ascii_lowercase()) } else { Err("use a host name such as share.example.org".to_owned()) }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let hint = || "use a loopback address with a port, such as 127.0.0.1:50051".to_owned();
    let address: SocketAddr = text.parse().map_err(|_| hint())?;
    let is_valid = address.ip().is_loopback() && address.port() != 0;
    if is_valid { Ok(address) } else { Err(hint()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<ShareConfig, clap::Error> {
        let cli = Cli::try_parse_from([&["signalbox-tunnel", "share"], args].concat())?;
        match cli.command {
            Command::Share(config) => Ok(*config),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn invalid_settings_are_rejected() {
        for args in [
            &["--port", "0"][..],
            &["--ttl", "10"],
            &["--ttl", "8days"],
            &["--tls-cert", "a.pem"],
            &["--http", "--tls-cert", "a.pem", "--tls-key", "b.pem"],
            &["--server", "192.0.2.1:50051"],
            &["--server", "127.0.0.1:0"],
            &["--server", "127.0.0.1:50051", "--reflection"],
            &["--key", "jwt.key"],
            &["--admin", "127.0.0.1:50052"],
            &["--server", "127.0.0.1:50051", "--admin", "192.0.2.1:50052"],
            &["--public-name", "https://share.test"],
            &["--public-name", ""],
        ] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn public_name_replaces_the_tunnel_host() {
        let config = parse(&["--to", "127.0.0.1", "--public-name", "Share.test", "--stun", "none"]).expect("valid");
        assert_eq!((config.public_host(), config.scheme(), config.stun()), ("share.test", "https", None));
        let config = parse(&["--http", "--", "--turn-url", "turn:t.example"]).expect("valid");
        assert_eq!((config.public_host(), config.scheme()), ("bore.pub", "http"));
        assert_eq!(config.server_flags, ["--turn-url", "turn:t.example"]);
    }
}
