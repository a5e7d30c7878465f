//! What is told on standard output.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

use crate::config::Qr;

/// How a share is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has not been reachable yet; why, once that is known.
    Connecting(Option<String>),
    /// It is seen from outside, at this address.
    Online(String),
    /// It is not any more, and is being brought back.
    Lost(String),
    /// It is again, after so long.
    Back(Duration),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting(None) => write!(f, "connecting"),
            Self::Connecting(Some(why)) => write!(f, "connecting   {why}; trying again"),
            Self::Online(address) => write!(f, "online       {address}, seen from outside"),
            Self::Lost(why) => write!(f, "lost         {why}; bringing it back"),
            Self::Back(after) => write!(f, "back         after {:.1} s", after.as_secs_f32()),
        }
    }
}

/// All that is said about an address.
pub struct Invitation<'a> {
    /// What visitors open.
    pub link: String,
    /// What the one who shares opens.
    pub own_link: String,
    /// Host and port.
    pub authority: String,
    /// The token of visitors, for programs.
    pub token: &'a str,
    /// The room.
    pub room: &'a str,
    /// Where operators reach the server.
    pub admin: Option<SocketAddr>,
    /// Of the certificate, if there is one that browsers warn of.
    pub fingerprint: Option<String>,
    /// Whether it is served with TLS.
    pub tls: bool,
    /// Whether members are told of a STUN server.
    pub stun: bool,
    /// Whether the server describes itself.
    pub reflection: bool,
    /// How long all this lasts.
    pub ttl: Duration,
}

/// Standard output, and what was said there last.
pub struct Screen {
    draws_qr: bool,
    last: Mutex<Option<State>>,
}

impl Screen {
    /// A screen that has said nothing.
    pub fn new(qr: Qr) -> Self {
        let draws_qr = match qr {
            Qr::Auto => io::stdout().is_terminal(),
            Qr::Always => true,
            Qr::Never => false,
        };
        Self { draws_qr, last: Mutex::default() }
    }

    /// Tells of the state, if it is another.
    pub fn state(&self, state: State) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&state) {
            say(&format!("  {state}\n"));
            *last = Some(state);
        }
    }

    /// Tells of something else.
    pub fn note(&self, text: &str) {
        say(&format!("  note         {text}\n"));
    }

    /// Tells what visitors need.
    pub fn invite(&self, invitation: &Invitation<'_>) {
        let qr = if self.draws_qr { qr(&invitation.link) } else { String::new() };
        say(&format!("{qr}{invitation}\n"));
    }
}

/// A terminal that is gone hears nothing; the signal that comes with that ends the share.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Black on white, whatever the colours of the terminal are: the fixed part of its 256.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const AS_BEFORE: &str = "\x1b[0m";

/// A QR code for a terminal, with the border that readers need.
fn qr(text: &str) -> String {
    // More than a code holds is not drawn.
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else { return String::new() };
    let drawn = code.render::<Dense1x2>().quiet_zone(true).build();
    let lines = drawn.lines().map(|line| format!("  {BLACK_ON_WHITE}{line}{AS_BEFORE}\n"));
    format!("\n{}\n", lines.collect::<String>())
}

impl fmt::Display for Invitation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room = self.room;
        writeln!(f, "\n  Visitors open   {}", self.link)?;
        writeln!(f, "  You open        {}", self.own_link)?;
        let plain = if self.tls { "-insecure" } else { "-plaintext" };
        let describe = if self.reflection { "" } else { " -import-path proto -proto signalbox/v1/signal.proto" };
        writeln!(
            f,
            "  By hand         grpcurl {plain}{describe} -H 'authorization: Bearer {}' -d @ {} signalbox.v1.Signal/Exchange",
            self.token, self.authority
        )?;
        writeln!(f, "                  then type {{\"join\": {{\"room\": \"{room}\"}}}} and press Enter")?;
        if let Some(admin) = self.admin {
            writeln!(
                f,
                "  Who is there    grpcurl -plaintext -d '{{\"room\": \"{room}\"}}' {admin} signalbox.v1.Rooms/ListMembers"
            )?;
            writeln!(f, "                  (on this machine only; Rooms/RemoveMember removes somebody)")?;
        }
        let ttl = humantime::format_duration(self.ttl);
        writeln!(
            f,
            "\n  Whoever has the link can join this room, and nothing else, until you press Ctrl-C, or for {ttl}."
        )?;
        if let Some(fingerprint) = &self.fingerprint {
            writeln!(
                f,
                "\n  Browsers warn of the certificate, which this machine has made itself: visitors choose \"Advanced\" and go"
            )?;
            writeln!(f, "  on. It is the right one if its SHA-256 fingerprint is")?;
            writeln!(f, "  {fingerprint}")?;
        }
        if !self.tls {
            writeln!(
                f,
                "\n  Plain http: visitors have no camera and no microphone, only data channels, and everybody on the way can"
            )?;
            writeln!(f, "  read what goes through the tunnel.")?;
        }
        writeln!(
            f,
            "\n  Through the tunnel go the page and the signaling. Pictures, sound and data go straight from member to member."
        )?;
        if self.stun {
            writeln!(
                f,
                "  Some firewalls do not let them: for those add a TURN server, -- --turn-url ... (see README.md)."
            )
        } else {
            writeln!(
                f,
                "  No STUN server is set, so that works on one network only, or with -- --turn-url ... (see README.md)."
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_with_a_token_fits_a_terminal() {
        let link = format!("https://bore.pub:40123/?room={}#token={}", "r".repeat(22), "t".repeat(260));
        let drawn = qr(&link).replace(BLACK_ON_WHITE, "").replace(AS_BEFORE, "");
        let width = drawn.lines().map(|line| line.chars().count()).max().expect("lines");
        assert!((40..80).contains(&width), "{width} columns");
        assert!(drawn.lines().count() < 42);
    }
}
