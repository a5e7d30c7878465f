//! The command line of `signalbox`.

pub mod keygen;
pub mod token;

use clap::{Parser, Subcommand};

use self::{keygen::KeygenArgs, token::TokenArgs};
use crate::config::Config;

/// WebRTC signaling server: gRPC, gRPC-Web and a demo page on one port.
#[derive(Debug, Parser)]
#[command(name = "signalbox", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The command; `serve` by default.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of `serve`, which is the default.
    #[command(flatten)]
    pub serve: Config,
}

/// The commands of `signalbox`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server (default)
    Serve(Box<Config>),
    /// Issue a token for a member or an application server, and print it
    Token(Box<TokenArgs>),
    /// Generate an Ed25519 key pair for tokens
    Keygen(KeygenArgs),
}
