//! The command line.

#![allow(rustdoc::bare_urls, reason = "the comments on the fields are the program's help")]

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Shortest secret of a tunnel server: 128 bits in base64.
pub const MIN_SECRET: usize = 22;
/// The variable that holds the secret of the tunnel server, as bore itself has it.
pub const SECRET: &str = "BORE_SECRET";
/// Longest time that a share may last.
const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// Puts a Signalbox server of this machine on the public internet.
#[derive(Debug, Parser)]
#[command(name = "signalbox-tunnel", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shares a fresh room of a server on this machine
    Share(Box<ShareConfig>),
    /// Runs a tunnel server, on a machine that others can reach
    Serve(ServeConfig),
    /// Runs a program that ends when standard input does
    #[command(hide = true)]
    Guard(GuardConfig),
}

/// When the QR code is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Qr {
    /// On a terminal.
    Auto,
    /// Whatever standard output is.
    Always,
    /// Not at all.
    Never,
}

/// The settings of a share.
#[derive(Debug, Clone, Args)]
pub struct ShareConfig {
    /// Tunnel server to go through; its secret, if it has one, is taken from BORE_SECRET
    #[arg(long, env = "SIGNALBOX_SHARE_TO", default_value = "bore.pub", value_name = "HOST")]
    pub to: String,

    /// Name that visitors use for that host, where it is another
    #[arg(long, env = "SIGNALBOX_SHARE_NAME", value_parser = host, value_name = "HOST")]
    pub public_name: Option<String>,

    /// Public port to ask for, and to wait for while it is taken; unless set, any, and the same again after an outage
    #[arg(long, env = "SIGNALBOX_SHARE_PORT", value_parser = clap::value_parser!(u16).range(1..), value_name = "PORT")]
    pub port: Option<u16>,

    /// How long the share lasts, a week at most
    #[arg(long, default_value = "12h", value_parser = ttl, value_name = "TIME")]
    pub ttl: Duration,

    /// Plain http: no certificate, but browsers then give neither camera nor microphone, only data channels
    #[arg(long)]
    pub http: bool,

    /// Certificate chain in PEM, for a public name of your own; without it the server makes one itself
    #[arg(long, env = "SIGNALBOX_SHARE_TLS_CERT", requires = "tls_key", conflicts_with = "http", value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert in PEM
    #[arg(long, env = "SIGNALBOX_SHARE_TLS_KEY", requires = "tls_cert", value_name = "PATH")]
    pub tls_key: Option<PathBuf>,

    /// Lets visitors ask the server what services it has
    #[arg(long)]
    pub reflection: bool,

    /// STUN server that members are told, so that their media finds its way through NATs; none for none. A TURN server,
    /// for those behind stricter firewalls, is set behind --
    #[arg(long, env = "SIGNALBOX_SHARE_STUN", default_value = "stun:stun.l.google.com:19302", value_name = "URL")]
    pub stun: String,

    /// Shares a running server at this loopback address instead of starting one. It must ask for tokens and serve
    /// nothing else to the public; what is missing is said
    #[arg(long, value_parser = loopback, conflicts_with_all = ["tls_cert", "reflection"], value_name = "ADDR")]
    pub server: Option<SocketAddr>,

    /// Where the running server serves Rooms: its --admin-listen, a loopback address. Without it Rooms is called at
    /// --server, and then whoever can make a token for it can, too, through the tunnel
    #[arg(long, value_parser = loopback, requires = "server", value_name = "ADDR")]
    pub admin: Option<SocketAddr>,

    /// Private key in PEM that signs tokens for --server; without it the secret in SIGNALBOX_JWT_SECRET does
    #[arg(long, requires = "server", value_name = "PATH")]
    pub key: Option<PathBuf>,

    /// Where the key of the server's own certificate is kept
    #[arg(long, env = "SIGNALBOX_SHARE_DATA", default_value = "data/share", value_name = "PATH")]
    pub data: PathBuf,

    /// The server's program; unless set, signalbox beside this one
    #[arg(long, value_name = "PATH")]
    pub signalbox: Option<PathBuf>,

    /// Folder of the built demo page
    #[arg(long, default_value = "clients/web/dist", value_name = "PATH")]
    pub web_dir: PathBuf,

    /// Whether the link is drawn as a QR code
    #[arg(long, default_value = "auto", value_name = "WHEN")]
    pub qr: Qr,

    /// Further flags of the server, behind --
    #[arg(last = true, value_name = "FLAG")]
    pub server_flags: Vec<OsString>,
}

impl ShareConfig {
    /// The name that visitors use.
    pub fn host(&self) -> &str {
        self.public_name.as_deref().unwrap_or(&self.to)
    }

    /// What public addresses begin with.
    pub fn scheme(&self) -> &'static str {
        if self.http { "http" } else { "https" }
    }

    /// The STUN server, if there is to be one.
    pub fn stun(&self) -> Option<&str> {
        (self.stun != "none").then_some(self.stun.as_str())
    }
}

/// The settings of a tunnel server.
#[derive(Debug, Clone, Args)]
pub struct ServeConfig {
    /// First port that may be given to a share
    #[arg(long, default_value = "20000", value_parser = clap::value_parser!(u16).range(1024..), value_name = "PORT")]
    pub min_port: u16,

    /// Last port that may be given to a share
    #[arg(long, default_value = "20100", value_parser = clap::value_parser!(u16).range(1024..), value_name = "PORT")]
    pub max_port: u16,

    /// Address to listen on, at port 7835 for shares and at the others for visitors
    #[arg(long, default_value_t = Ipv4Addr::UNSPECIFIED.into(), value_name = "IP")]
    pub bind_addr: IpAddr,

    /// Lets everybody open tunnels; without it a secret of 22 characters or more must be in BORE_SECRET
    #[arg(long)]
    pub open: bool,
}

/// What a guard runs.
#[derive(Debug, Clone, Args)]
pub struct GuardConfig {
    /// Folder that goes with the program when standard input ends
    #[arg(long, value_name = "PATH")]
    pub folder: Option<PathBuf>,

    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 30m or 12h"))?;
    let fits = (Duration::from_secs(60)..=MAX_TTL).contains(&ttl);
    if fits { Ok(ttl) } else { Err("must be between 1m and 7days".to_owned()) }
}

fn host(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let fits = !text.is_empty() && text.chars().all(is_part);
    if fits { Ok(text.to_ascii_lowercase()) } else { Err("expected a name such as share.example.org".to_owned()) }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "expected an address such as 127.0.0.1:50051".to_owned())?;
    let fits = address.ip().is_loopback() && address.port() != 0;
    if fits { Ok(address) } else { Err("expected a loopback address, such as 127.0.0.1:50051".to_owned()) }
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
    fn what_makes_no_sense_is_refused() {
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
    fn visitors_use_the_public_name() {
        let config = parse(&["--to", "127.0.0.1", "--public-name", "Share.test", "--stun", "none"]).expect("valid");
        assert_eq!((config.host(), config.scheme(), config.stun()), ("share.test", "https", None));
        let config = parse(&["--http", "--", "--turn-url", "turn:t.example"]).expect("valid");
        assert_eq!((config.host(), config.scheme()), ("bore.pub", "http"));
        assert_eq!(config.server_flags, ["--turn-url", "turn:t.example"]);
    }
}
