//! Runs bore's tunnel server after checking that its settings are safe.

use bore_cli::server::Server;

use crate::config::{MIN_SECRET, SECRET, TunnelServerConfig};

/// Serves tunnels until the process ends.
pub async fn run(config: &TunnelServerConfig, secret: Option<&str>) -> Result<(), String> {
    let TunnelServerConfig { min_port, max_port, bind_addr, open } = *config;
    if min_port > max_port {
        return Err(format!("invalid port range {min_port}-{max_port}: --min-port must not exceed --max-port"));
    }
    match secret {
        None if !open => {
            return Err(format!(
                "no secret: set {SECRET}, for example to the output of `openssl rand -hex 16`, or let anybody open \
                 tunnels with --open"
            ));
        }
        Some(secret) if secret.len() < MIN_SECRET => {
            return Err(format!("invalid secret in {SECRET}: use at least {MIN_SECRET} characters"));
        }
        Some(_) if open => return Err(format!("--open conflicts with a secret: unset {SECRET}")),
        _ => {}
    }
    let mut server = Server::new(min_port..=max_port, secret);
    server.set_bind_addr(bind_addr);
    server.set_bind_tunnels(bind_addr);
    server.listen().await.map_err(|error| format!("cannot serve tunnels at {bind_addr}:7835: {error:#}"))
}
