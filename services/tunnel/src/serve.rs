//! A tunnel server of one's own: bore's, with what it needs to be safe.

use bore_cli::server::Server;

use crate::config::{MIN_SECRET, SECRET, ServeConfig};

/// Serves tunnels until the process ends.
pub async fn run(config: &ServeConfig, secret: Option<&str>) -> Result<(), String> {
    if config.min_port > config.max_port {
        return Err("--min-port must not be above --max-port".to_owned());
    }
    match secret {
        None if !config.open => {
            return Err(format!(
                "anybody could open tunnels here: put a secret into {SECRET} (openssl rand -hex 16 makes a good one), or \
                 say --open"
            ));
        }
        Some(secret) if secret.len() < MIN_SECRET => {
            return Err(format!("the secret in {SECRET} must have at least {MIN_SECRET} characters"));
        }
        Some(_) if config.open => return Err(format!("--open does not go with a secret: unset {SECRET}")),
        _ => {}
    }
    let mut server = Server::new(config.min_port..=config.max_port, secret);
    server.set_bind_addr(config.bind_addr);
    server.set_bind_tunnels(config.bind_addr);
    server.listen().await.map_err(|error| format!("cannot serve tunnels at {}:7835: {error:#}", config.bind_addr))
}
