//! A share: a server, a tunnel to it, and the watch over both.

use std::{pin::pin, sync::Arc, time::Duration};

use bore_cli::client::Client;
use tokio::time::{self, Instant};

use crate::{
    backend::{Backend, Member},
    config::ShareConfig,
    link::{self, Refusal, jitter},
    look::{Fault, fingerprint},
    screen::{Invitation, Screen, State},
};

/// How often it is looked from outside whether the server is seen...
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// ... and after it was not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Looks in vain after which the tunnel is opened anew.
const MISSES: u32 = 2;
/// Shortest and longest wait before the tunnel is tried again.
const WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// How long the public port that one had is waited for before another is taken. A server that has just lost its client
/// needs a second to see that; whoever else has the port keeps it for long, and so does a server that has not noticed.
const SAME_PORT: Duration = Duration::from_secs(10);

/// bore takes the end of its server for a success.
const ENDED: &str = "the tunnel server has ended the tunnel";

/// Shares until `stop` is done, or the time is up.
pub async fn run(config: ShareConfig, secret: Option<String>, stop: impl Future<Output = ()>) -> Result<(), String> {
    let screen = Arc::new(Screen::new(config.qr));
    screen.state(State::Connecting(None));
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
        () = share.keep() => {}
        () = time::sleep(ttl) => share.screen.note("the time of this share is up"),
        () = &mut stop => {}
    }
    share.screen.note("ending: visitors are told");
    share.backend.end(&share.room).await;
    Ok(())
}

struct Share {
    config: ShareConfig,
    secret: Option<String>,
    screen: Arc<Screen>,
    backend: Backend,
    room: String,
    guest: String,
    host: String,
    fingerprint: Option<String>,
}

/// The public port, and since when it could not be had.
#[derive(Default)]
struct Port {
    last: Option<u16>,
    taken_since: Option<Instant>,
}

/// How it has been going.
#[derive(Default)]
struct Course {
    /// The port that visitors have been told of.
    invited_to: Option<u16>,
    lost_at: Option<Instant>,
}

impl Share {
    async fn new(
        config: ShareConfig,
        secret: Option<String>,
        screen: Arc<Screen>,
        backend: Backend,
    ) -> Result<Self, (Backend, String)> {
        let made = async {
            let ttl = config.ttl;
            let room = backend.make_room(ttl).await?;
            let guest = backend.token(&room, Member::Guest, ttl).await?;
            let host = backend.token(&room, Member::Host, ttl).await?;
            let certificate = backend.places.look_here().await?;
            Ok((room, guest, host, certificate))
        };
        match made.await {
            Ok((room, guest, host, certificate)) => {
                let is_own = config.tls_cert.is_none();
                let fingerprint = certificate.filter(|_| is_own).map(|certificate| fingerprint(&certificate));
                Ok(Self { config, secret, screen, backend, room, guest, host, fingerprint })
            }
            Err(error) => Err((backend, error)),
        }
    }

    /// Keeps the share online.
    async fn keep(&self) {
        let (mut port, mut course) = (Port::default(), Course::default());
        loop {
            let link = self.open(&mut port, &mut course).await;
            let reason = self.watch(link, &mut course).await;
            self.lost(&mut course, reason);
        }
    }

    /// Opens the tunnel, however long that takes.
    async fn open(&self, port: &mut Port, course: &mut Course) -> Client {
        for attempt in 0_u32.. {
            let wanted = self.config.port.or(port.last).unwrap_or(0);
            let local = self.backend.places.local;
            let reason = match link::open(&self.config.to, wanted, local, self.secret.as_deref()).await {
                Ok(link) => {
                    *port = Port { last: Some(link.remote_port()), taken_since: None };
                    return link;
                }
                Err(reason) => reason,
            };
            let longest = match reason {
                Refusal::PortTaken(_) => {
                    let since = *port.taken_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > SAME_PORT {
                        // No port, and so any, unless one was asked for.
                        *port = Port::default();
                    }
                    2 * WAIT.0
                }
                Refusal::Other(_) => (WAIT.0 * 2_u32.pow(attempt.min(4) + 1)).min(WAIT.1),
            };
            self.lost(course, reason.to_string());
            time::sleep(jitter(WAIT.0, longest)).await;
        }
        unreachable!("it is tried for ever")
    }

    /// Watches over a tunnel. Returns why it is of no use any more.
    async fn watch(&self, link: Client, course: &mut Course) -> String {
        let port = link.remote_port();
        let mut listening = pin!(link.listen());
        let (mut misses, mut next) = (0, Instant::now());
        loop {
            let look = async {
                time::sleep_until(next).await;
                self.backend.places.look(port).await
            };
            let seen = tokio::select! {
                ended = &mut listening => {
                    return match ended {
                        Ok(()) => ENDED.to_owned(),
                        Err(error) => format!("the tunnel broke: {error:#}"),
                    };
                }
                seen = look => seen,
            };
            next = Instant::now() + if seen.is_ok() { LOOK_EVERY } else { LOOK_AGAIN };
            match seen {
                Ok(()) => {
                    misses = 0;
                    if let Some(address) = self.online(course, port) {
                        let announcing = self.backend.announce(&self.room, &address);
                        tokio::select! {
                            announced = announcing => if let Err(error) = announced {
                                self.screen.note(&format!("members on this machine were not told: {error}"));
                            },
                            _ = &mut listening => return ENDED.to_owned(),
                        }
                    }
                }
                // A new tunnel would not help.
                Err(fault @ Fault::Server(_)) => self.lost(course, fault.to_string()),
                Err(fault @ Fault::Outside(_)) => {
                    misses += 1;
                    if misses == MISSES {
                        return fault.to_string();
                    }
                    self.lost(course, fault.to_string());
                }
            }
        }
    }

    fn lost(&self, course: &mut Course, reason: String) {
        if course.invited_to.is_none() {
            return self.screen.state(State::Connecting(Some(reason)));
        }
        course.lost_at.get_or_insert_with(Instant::now);
        self.screen.state(State::Lost(reason));
    }

    /// Returns the address if members have to be told of it.
    fn online(&self, course: &mut Course, port: u16) -> Option<String> {
        if let Some(lost_at) = course.lost_at.take() {
            self.screen.state(State::Back(lost_at.elapsed()));
        }
        if course.invited_to == Some(port) {
            return None;
        }
        let address = format!("{}://{}:{port}", self.config.scheme(), self.config.host());
        self.screen.state(State::Online(address.clone()));
        let has_moved = course.invited_to.replace(port).is_some();
        if has_moved {
            self.screen.note("the old address is taken: visitors need the new link");
        }
        self.screen.invite(&self.invitation(&address, port));
        has_moved.then_some(address)
    }

    fn invitation(&self, address: &str, port: u16) -> Invitation<'_> {
        let Self { config, backend, room, guest, host, .. } = self;
        Invitation {
            link: format!("{address}/?room={room}#token={guest}"),
            own_link: format!("{}://{}/?room={room}#token={host}", config.scheme(), backend.places.local),
            authority: format!("{}:{port}", config.host()),
            token: guest,
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
