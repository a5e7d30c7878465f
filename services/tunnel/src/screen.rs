//! The output of a share on standard output.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    time::Duration,
};

use parking_lot::Mutex;
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

use crate::config::Qr;

/// The state of a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The share is not reachable yet. Holds the reason if it is known.
    Connecting(Option<String>),
    /// The share is reachable at this public address.
    Online(String),
    /// The share is no longer reachable. Holds the reason.
    Lost(String),
    /// The share is reachable again. Holds the duration of the outage.
    Back(Duration),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting(None) => write!(f, "connecting"),
            Self::Connecting(Some(reason)) => write!(f, "connecting   {reason}; retrying"),
            Self::Online(address) => write!(f, "online       {address}, reachable from outside"),
            Self::Lost(reason) => write!(f, "lost         {reason}; reconnecting"),
            Self::Back(outage) => write!(f, "back         after {:.1} s", outage.as_secs_f32()),
        }
    }
}

/// The links, the token and the notes to print for a public address.
pub struct Invitation<'a> {
    /// The link for visitors.
    pub link: String,
    /// The link for the host, on this machine.
    pub own_link: String,
    /// Host and port of the public address.
    pub authority: String,
    /// The visitors' token, for clients other than the demo page.
    pub token: &'a str,
    /// Name of the room.
    pub room: &'a str,
    /// Address of the server's admin listener.
    pub admin: Option<SocketAddr>,
    /// Fingerprint of the certificate, if browsers warn about it.
    pub fingerprint: Option<String>,
    /// Whether the public address uses TLS.
    pub tls: bool,
    /// Whether members get a STUN server.
    pub stun: bool,
    /// Whether the server serves gRPC reflection.
    pub reflection: bool,
    /// Duration of the share.
    pub ttl: Duration,
}

/// Prints the progress of a share to standard output.
pub struct Screen {
    prints_qr: bool,
    last_state: Mutex<Option<State>>,
}

impl Screen {
    /// Creates a screen that has printed nothing.
    pub fn new(qr: Qr) -> Self {
        let prints_qr = match qr {
            Qr::Auto => io::stdout().is_terminal(),
            Qr::Always => true,
            Qr::Never => false,
        };
        Self { prints_qr, last_state: Mutex::default() }
    }

    /// Prints a state, unless it is the last printed one.
    pub fn print_state(&self, state: State) {
        let mut last = self.last_state.lock();
        if last.as_ref() != Some(&state) {
            print(&format!("  {state}\n"));
            *last = Some(state);
        }
    }

    /// Prints a line that starts with `note`.
    pub fn print_note(&self, text: &str) {
        print(&format!("  note         {text}\n"));
    }

    /// Prints the links and how to use them.
    pub fn print_invitation(&self, invitation: &Invitation<'_>) {
        let qr = if self.prints_qr { qr(&invitation.link) } else { String::new() };
        print(&format!("{qr}{invitation}\n"));
    }
}

/// Prints text and ignores errors: if the terminal has closed, SIGHUP ends the share.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// ANSI escape for black on white, from the part of the 256-color palette that terminal themes do not change.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

/// Renders a QR code for a terminal, with the quiet zone that scanners need. Returns an empty string if the text does
/// not fit.
fn qr(text: &str) -> String {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else { return String::new() };
    let rendered = code.render::<Dense1x2>().quiet_zone(true).build();
    let lines = rendered.lines().map(|line| format!("  {BLACK_ON_WHITE}{line}{RESET}\n"));
    format!("\n{}\n", lines.collect::<String>())
}

impl fmt::Display for Invitation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (room, token, authority) = (self.room, self.token, &self.authority);
        writeln!(f, "\n  Visitors open   {}", self.link)?;
        writeln!(f, "  You open        {}", self.own_link)?;
        let tls = if self.tls { "-insecure" } else { "-plaintext" };
        let proto = if self.reflection { "" } else { " -import-path proto -proto signalbox/v1/signal.proto" };
        let metadata = format!("-H 'authorization: Bearer {token}'");
        writeln!(f, "  With grpcurl    grpcurl {tls}{proto} {metadata} -d @ {authority} signalbox.v1.Signal/Exchange")?;
        writeln!(f, "                  then type {{\"join\": {{\"room\": \"{room}\"}}}} and press Enter")?;
        if let Some(admin) = self.admin {
            let data = format!("-d '{{\"room\": \"{room}\"}}'");
            writeln!(f, "  List members    grpcurl -plaintext {data} {admin} signalbox.v1.Rooms/ListMembers")?;
            writeln!(f, "                  (only on this machine; Rooms/RemoveMember removes a member)")?;
        }
        let ttl = humantime::format_duration(self.ttl);
        writeln!(
            f,
            "\n  Anybody with the link can join this room, and only this room, for {ttl} or until you press Ctrl-C."
        )?;
        if let Some(fingerprint) = &self.fingerprint {
            writeln!(
                f,
                "\n  Browsers warn about the self-signed certificate: visitors choose \"Advanced\" and continue."
            )?;
            writeln!(f, "  The certificate is genuine if its SHA-256 fingerprint is")?;
            writeln!(f, "  {fingerprint}")?;
        }
        if !self.tls {
            writeln!(f, "\n  Plain HTTP: visitors have no camera and no microphone, only data channels.")?;
            writeln!(f, "  Anybody on the network path can read what goes through the tunnel.")?;
        }
        writeln!(
            f,
            "\n  The tunnel carries the page and the signaling. Audio, video and data flow directly between members."
        )?;
        if self.stun {
            writeln!(f, "  For strict firewalls, add a TURN server: -- --turn-url ... (see docs/sharing.md).")
        } else {
            writeln!(
                f,
                "  No STUN server is set: members connect within one network only, unless you add a TURN server:"
            )?;
            writeln!(f, "  -- --turn-url ... (see docs/sharing.md).")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qr_code_of_a_link_with_a_token_fits_a_terminal() {
        let link = format!("https://bore.pub:40123/?room={}#token={}", "r".repeat(22), "t".repeat(260));
        let rendered = qr(&link).replace(BLACK_ON_WHITE, "").replace(RESET, "");
        let width = rendered.lines().map(|line| line.chars().count()).max().expect("lines");
        assert!((40..80).contains(&width), "{width} columns");
        assert!(rendered.lines().count() < 42);
    }
}
