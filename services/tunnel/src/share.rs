//! A share: a server, a tunnel to it, and the monitoring of both.

use std::{pin::pin, sync::Arc, time::Duration};

use bore_cli::client::Client;
use tokio::time::{self, Instant};

use crate::{
    backend::{Backend, Role},
    config::ShareConfig,
    jitter::jitter,
    probe::{ProbeError, fingerprint},
    screen::{Invitation, Screen, State},
    tunnel::{self, OpenError},
};

/// Time between two probes of the public address.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Time between a failed probe and the next one.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Number of failed probes of the public address after which the share reopens the tunnel.
const MAX_FAILED_PROBES: u32 = 2;
/// Minimum and maximum delay before the share reopens the tunnel.
const REOPEN_DELAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// How long the share waits for its previous public port before it takes another. A tunnel server frees the port about
/// a second after it notices the lost client; a longer wait is unlikely to succeed.
const SAME_PORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The reason to show when the tunnel server ends the tunnel, which bore reports as success.
const TUNNEL_ENDED: &str = "the tunnel server ended the tunnel";

/// Runs a share until `stop` completes or the share expires.
pub async fn run(config: ShareConfig, secret: Option<String>, stop: impl Future<Output = ()>) -> Result<(), String> {
    let screen = Arc::new(Screen::new(config.qr));
    screen.print_state(State::Connecting(None));
    let mut stop = pin!(stop);
    let started = tokio::select! {
        started = Backend::start(&config, &screen) => started?,
        () = &mut stop => return Ok(()),
    };
    let share = match Share::new(config, secret, screen, started).await {
        Ok(share) => share,
        Err((backend, error)) => {
            backend.end("").await;
            return Err(error);
        }
    };
    let ttl = share.config.ttl;
    tokio::select! {
        () = share.keep_online() => {}
        () = time::sleep(ttl) => share.screen.print_note("the share has expired"),
        () = &mut stop => {}
    }
    share.screen.print_note("stopping: closing the room");
    share.backend.end(&share.room).await;
    Ok(())
}

struct Share {
    config: ShareConfig,
    secret: Option<String>,
    screen: Arc<Screen>,
    backend: Backend,
    room: String,
    guest_token: String,
    host_token: String,
    fingerprint: Option<String>,
}

/// The public port to request from the tunnel server.
#[derive(Default)]
struct PublicPort {
    /// The port of the previous tunnel.
    last: Option<u16>,
    taken_since: Option<Instant>,
}

/// Whether visitors can reach the share.
#[derive(Default)]
struct Reachability {
    /// The public port in the link that visitors received.
    announced_port: Option<u16>,
    lost_at: Option<Instant>,
}

impl Share {
    async fn new(
        config: ShareConfig,
        secret: Option<String>,
        screen: Arc<Screen>,
        backend: Backend,
    ) -> Result<Self, (Backend, String)> {
        let setup = async {
            let ttl = config.ttl;
            let room = backend.create_room(ttl).await?;
            let guest_token = backend.token(&room, Role::Guest, ttl).await?;
            let host_token = backend.token(&room, Role::Host, ttl).await?;
            let certificate = backend.target.probe_local().await?;
            Ok((room, guest_token, host_token, certificate))
        };
        match setup.await {
            Ok((room, guest_token, host_token, certificate)) => {
                let is_self_signed = config.tls_cert.is_none();
                let fingerprint = certificate.filter(|_| is_self_signed).map(|certificate| fingerprint(&certificate));
                Ok(Self { config, secret, screen, backend, room, guest_token, host_token, fingerprint })
            }
            Err(error) => Err((backend, error)),
        }
    }

    /// Reopens the tunnel whenever it fails.
    async fn keep_online(&self) {
        let (mut port, mut reachability) = (PublicPort::default(), Reachability::default());
        loop {
            let tunnel = self.open_tunnel(&mut port, &mut reachability).await;
            let reason = self.monitor(tunnel, &mut reachability).await;
            self.mark_lost(&mut reachability, reason);
        }
    }

    /// Retries until the tunnel is open.
    async fn open_tunnel(&self, port: &mut PublicPort, reachability: &mut Reachability) -> Client {
        for attempt in 0_u32.. {
            let requested = self.config.port.or(port.last).unwrap_or(0);
            let local = self.backend.target.local;
            let error = match tunnel::open(&self.config.to, requested, local, self.secret.as_deref()).await {
                Ok(tunnel) => {
                    *port = PublicPort { last: Some(tunnel.remote_port()), taken_since: None };
                    return tunnel;
                }
                Err(error) => error,
            };
            let max_delay = match error {
                OpenError::PortTaken(_) => {
                    let since = *port.taken_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > SAME_PORT_TIMEOUT {
                        // Request any port next time, unless --port is set.
                        *port = PublicPort::default();
                    }
                    2 * REOPEN_DELAY.0
                }
                OpenError::Other(_) => (REOPEN_DELAY.0 * 2_u32.pow(attempt.min(4) + 1)).min(REOPEN_DELAY.1),
            };
            self.mark_lost(reachability, error.to_string());
            time::sleep(jitter(REOPEN_DELAY.0, max_delay)).await;
        }
        unreachable!("the loop has no end")
    }

    /// Probes the server through the tunnel until the tunnel must be reopened. Returns the reason.
    async fn monitor(&self, tunnel: Client, reachability: &mut Reachability) -> String {
        let port = tunnel.remote_port();
        let mut listening = pin!(tunnel.listen());
        let (mut failed_probes, mut next) = (0, Instant::now());
        loop {
            let probe = async {
                time::sleep_until(next).await;
                self.backend.target.probe(port).await
            };
            let result = tokio::select! {
                ended = &mut listening => {
                    return match ended {
                        Ok(()) => TUNNEL_ENDED.to_owned(),
                        Err(error) => format!("the tunnel failed: {error:#}"),
                    };
                }
                result = probe => result,
            };
            next = Instant::now() + if result.is_ok() { PROBE_INTERVAL } else { RETRY_INTERVAL };
            match result {
                Ok(()) => {
                    failed_probes = 0;
                    if let Some(address) = self.mark_online(reachability, port) {
                        let announcing = self.backend.announce(&self.room, &address);
                        tokio::select! {
                            announced = announcing => if let Err(error) = announced {
                                self.screen.print_note(&format!("cannot announce the new address to members: {error}"));
                            },
                            _ = &mut listening => return TUNNEL_ENDED.to_owned(),
                        }
                    }
                }
                // The server itself does not respond, so a new tunnel would not help.
                Err(error @ ProbeError::Local(_)) => self.mark_lost(reachability, error.to_string()),
                Err(error @ ProbeError::Public(_)) => {
                    failed_probes += 1;
                    if failed_probes == MAX_FAILED_PROBES {
                        return error.to_string();
                    }
                    self.mark_lost(reachability, error.to_string());
                }
            }
        }
    }

    fn mark_lost(&self, reachability: &mut Reachability, reason: String) {
        if reachability.announced_port.is_none() {
            return self.screen.print_state(State::Connecting(Some(reason)));
        }
        reachability.lost_at.get_or_insert_with(Instant::now);
        self.screen.print_state(State::Lost(reason));
    }

    /// Returns the new public address if it has changed and members must be notified.
    fn mark_online(&self, reachability: &mut Reachability, port: u16) -> Option<String> {
        if let Some(lost_at) = reachability.lost_at.take() {
            self.screen.print_state(State::Back(lost_at.elapsed()));
        }
        if reachability.announced_port == Some(port) {
            return None;
        }
        let address = format!("{}://{}:{port}", self.config.scheme(), self.config.public_host());
        self.screen.print_state(State::Online(address.clone()));
        let has_moved = reachability.announced_port.replace(port).is_some();
        if has_moved {
            self.screen.print_note("the old public port is taken: visitors need the new link");
        }
        self.screen.print_invitation(&self.invitation(&address, port));
        has_moved.then_some(address)
    }

    fn invitation(&self, address: &str, port: u16) -> Invitation<'_> {
        let Self { config, backend, room, guest_token, host_token, .. } = self;
        Invitation {
            link: format!("{address}/?room={room}#token={guest_token}"),
            own_link: format!("{}://{}/?room={room}#token={host_token}", config.scheme(), backend.target.local),
            authority: format!("{}:{port}", config.public_host()),
            token: guest_token,
            room,
            admin: backend.admin,
            fingerprint: self.fingerprint.clone(),
            tls: !config.http,
            stun: config.stun().is_some(),
            reflection: config.reflection,
            ttl: config.ttl,
        }
    }
}
