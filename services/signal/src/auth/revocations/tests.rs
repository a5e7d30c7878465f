use std::time::Duration;

use super::*;
use crate::auth::{RoomPattern, token_id};

const NOW: u64 = 1_000_000;

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn grant(subject: &str, not_before: u64) -> Grant {
    Grant {
        token: token_id(subject),
        subject: subject.to_owned(),
        display_name: None,
        rooms: RoomPattern::Prefix(String::new()),
        can_join: true,
        can_send_data: true,
        can_admin: false,
        not_before,
        expires_at: at(not_before + 60),
    }
}

fn rules() -> Rules {
    Rules { issuer: None, audience: String::new(), max_ttl: Duration::from_secs(3600), grace: Duration::ZERO }
}

#[test]
fn earlier_tokens_are_revoked_for_that_room_and_subject() {
    let revoked = Revocations::default();
    let room = |name| RoomName::parse(name, "room").expect("a name");
    revoked.add(&room("demo"), "ann", 5, at(NOW), &rules());
    assert!(revoked.contains(&room("demo"), &grant("ann", NOW)));
    assert!(!revoked.contains(&room("demo"), &grant("ann", NOW + 1)));
    assert!(!revoked.contains(&room("demo"), &grant("bob", NOW)));
    assert!(!revoked.contains(&room("other"), &grant("ann", NOW)));
    // The issuer's clock is ahead, so the `nbf` of the used token is in the future.
    revoked.add(&room("demo"), "bob", NOW + 8, at(NOW), &rules());
    assert!(revoked.contains(&room("demo"), &grant("bob", NOW + 8)));
}

#[test]
fn list_is_bounded_and_drops_the_oldest() {
    let revoked = Revocations::default();
    let room = RoomName::parse("demo", "room").expect("a name");
    let contains = |n: usize| revoked.contains(&room, &grant(&n.to_string(), 0));
    for n in 0..MAX.get() {
        revoked.add(&room, &n.to_string(), 0, at(NOW), &rules());
    }
    // A second removal makes the oldest revocation the newest.
    revoked.add(&room, "0", 0, at(NOW + 1), &rules());
    assert!(contains(0) && contains(1) && contains(MAX.get() - 1));
    revoked.add(&room, &MAX.to_string(), 0, at(NOW + 2), &rules());
    assert!(contains(0) && !contains(1) && contains(2) && contains(MAX.get()));
}
