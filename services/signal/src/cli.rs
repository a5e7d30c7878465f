//! The command line: what to run, and with which configuration.

pub mod keygen;
pub mod token;

use clap::{Parser, Subcommand};

use self::{keygen::KeygenArgs, token::TokenArgs};
use crate::config::Config;

/// WebRTC signaling server: gRPC, gRPC-Web and a demo page on one port.
#[derive(Debug, Parser)]
#[command(name = "signalbox", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to run; `serve` by default.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of `serve`.
    #[command(flatten)]
    pub serve: Config,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server (default)
    Serve(Box<Config>),
    /// Print a token for a member or an application server
    Token(Box<TokenArgs>),
    /// Make a key pair that signs tokens
    Keygen(KeygenArgs),
}
