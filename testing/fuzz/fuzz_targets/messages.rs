//! Each message that clients send: decoded, checked and, where a room handles it, handled by one.
#![no_main]

use std::{sync::Arc, time::Duration};

use libfuzzer_sys::fuzz_target;
use prost::Message;
use signalbox_fuzz::stage::{Stage, id, limits};
use signalbox_proto::v1::{
    ClientMessage, CreateRoomRequest, Join, SendRequest, SubscribeRequest, UpdateRoomRequest,
    client_message::Body as Said, server_message::Body as Told, subscribe_request::Open,
};
use signalbox_server::{
    auth::Passcodes,
    random::Random,
    rooms::{RoomDefaults, Rooms},
    rpc::{codec::Inbound, fuzzing::check_join, fuzzing::set},
    store::Settings,
};
use signalbox_testkit::MemoryStore;

const MAX_SEATS: u32 = 100;
/// The paths of an update mask, and one that is none.
const PATHS: [&str; 9] = [
    "display_name",
    "max_members",
    "locked",
    "expires_at",
    "empty_timeout",
    "labels",
    "duplicate_identity",
    "relay_only",
    "name",
];

fuzz_target!(|data: &[u8]| {
    let Some((kind, encoded)) = data.split_first() else { return };
    match kind % 5 {
        0 => said(encoded),
        1 => subscribe(encoded),
        2 => send(encoded),
        3 => settings(decode::<CreateRoomRequest>(encoded).and_then(|request| request.room)),
        _ => settings(decode::<UpdateRoomRequest>(encoded).and_then(|request| request.room)),
    }
});

/// What can be decoded says the same when it is encoded and decoded again.
fn decode<T: Message + Default + PartialEq>(encoded: &[u8]) -> Option<T> {
    let message = T::decode(encoded).ok()?;
    let again = message.encode_to_vec();
    assert_eq!(again.len(), message.encoded_len());
    assert!(T::decode(&again[..]).as_ref() == Ok(&message));
    Some(message)
}

/// A message in a session: who gets it, and what its sender is told, fit together.
fn said(encoded: &[u8]) {
    let Some(message) = decode::<ClientMessage>(encoded) else { return };
    if let Some(Said::Join(join)) = &message.body {
        joined(join);
    }
    let mut stage = Stage::new(false);
    let ClientMessage { seq, negotiation, body, .. } = message.clone();
    let size = message.encoded_len();
    let Ok(handled) = stage.say(message) else { return };
    let heard = [stage.hear(1), stage.hear(2)].concat();
    let own = stage.hear(0);
    let acked = own.iter().map(|message| message.ack).max().unwrap_or_default();
    if handled.left {
        assert_eq!(acked, seq, "a leave is acknowledged");
        return;
    }
    assert_eq!(handled.ack, seq, "what is handled is acknowledged");
    let told: Vec<_> = own.into_iter().filter_map(|message| message.body).collect();
    let undelivered: Vec<_> = handled.undelivered.iter().cloned().map(Told::Undelivered).collect();
    assert_eq!(told, undelivered, "the stream tells what became of it");
    assert_eq!(acked, seq);
    let expected = match body {
        Some(Said::Offer(offer)) => Some(Told::Offer(offer)),
        Some(Said::Answer(answer)) => Some(Told::Answer(answer)),
        Some(Said::Candidate(candidate)) => Some(Told::Candidate(candidate)),
        Some(Said::Data(data)) => Some(Told::Data(data)),
        Some(Said::Update(_)) => {
            assert!(heard.iter().all(|message| matches!(message.body, Some(Told::MemberUpdated(_)))));
            assert!(heard.len() == if undelivered.is_empty() { 2 } else { 0 });
            return;
        }
        _ => None,
    };
    let Some(expected) = expected else { return assert!(heard.is_empty()) };
    assert!(size <= limits().message_bytes || !undelivered.is_empty(), "it is too large");
    assert!(!heard.is_empty() || !undelivered.is_empty(), "somebody gets it, or its sender is told");
    for message in heard {
        assert_eq!(message.from, id(0).to_string(), "the server says who sent it");
        assert_eq!(
            (message.negotiation, message.body.as_ref()),
            (negotiation, Some(&expected)),
            "it arrives as it was"
        );
    }
}

fn joined(join: &Join) {
    let limits = limits();
    let Ok(name) = check_join(join, &limits) else { return };
    assert_eq!(name.as_str(), join.room);
    assert!((1..=64).contains(&join.room.len()) && !join.room.contains(['$', '.', '/', '\0', ' ', '\n']));
    for text in [&join.identity, &join.display_name, &join.passcode] {
        assert!(text.len() <= limits.name_bytes);
    }
    let bytes: usize = join.attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes <= limits.attributes_bytes && join.attributes.len() <= limits.attributes);
}

fn subscribe(encoded: &[u8]) {
    if let Some(SubscribeRequest { open: Some(Open::Join(join)) }) = decode(encoded) {
        joined(&join);
    }
}

/// The number of messages is bounded before they are decoded, and right.
fn send(encoded: &[u8]) {
    let checked = SendRequest::check(encoded);
    let Some(request) = decode::<SendRequest>(encoded) else { return };
    assert_eq!(checked.is_ok(), (1..=1024).contains(&request.messages.len()), "{checked:?}");
}

/// What can be set of a room keeps to its limits, and to the types of the store.
fn settings(room: Option<signalbox_proto::v1::Room>) {
    thread_local! {
        static ROOMS: Arc<Rooms> = Rooms::new(
            Arc::<MemoryStore>::default(),
            Passcodes::new(Random::from_fn(|bits| bits.fill(1))),
            limits(),
            RoomDefaults {
                auto_create: true,
                max_members: 8,
                max_room_members: MAX_SEATS,
                empty_timeout: Duration::from_secs(60),
            },
        );
    }
    let Some(room) = room else { return };
    let mut changed = Settings::default();
    for path in PATHS {
        let before = changed.clone();
        if ROOMS.with(|rooms| set(rooms, &mut changed, path, &room)).is_err() {
            assert_eq!(changed, before, "what is refused changes nothing");
        }
    }
    assert!(changed.max_members.is_none_or(|seats| (1..=MAX_SEATS).contains(&seats)));
    assert!(changed.display_name.len() <= limits().name_bytes && changed.labels.len() <= limits().attributes);
    assert!((0..=3).contains(&changed.duplicate_identity));
    let text = serde_json::to_vec(&changed).expect("settings can be stored");
    assert_eq!(serde_json::from_slice::<Settings>(&text).expect("and read"), changed);
}
