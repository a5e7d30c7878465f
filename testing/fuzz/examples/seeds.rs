//! Writes what the fuzz targets begin with, from messages that are valid: run with
//! `cargo run -p signalbox-fuzz --example seeds`, then let `scripts/fuzz.sh --merge` choose among them.

use std::{collections::HashMap, fs, io, path::Path};

use data_encoding::BASE64URL_NOPAD;
use prost::Message;
use prost_types::{Duration, FieldMask, Timestamp};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use signalbox_fuzz::{
    keys::{self, AUDIENCE, ISSUER, NOW},
    server::{Call, ROOM, how, member, token},
    stage,
};
use signalbox_proto::v1::{
    ClientMessage, ConnectionReport, CreateRoomRequest, Data, DeleteRoomRequest, GetRoomRequest, Heartbeat,
    IceCandidate, Join, Leave, ListMembersRequest, ListRoomsRequest, MemberUpdate, RemoveMemberRequest, Resume, Room,
    SendRequest, SessionDescription, SubscribeRequest, UpdateRoomRequest, WatchRoomRequest,
    client_message::Body as Said, subscribe_request::Open,
};

const SDP: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 192.0.2.7\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=audio 50123 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 192.0.2.7\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.7 50123 typ host generation 0\r\na=ice-ufrag:Ab/+\r\n\
    a=fingerprint:sha-256 7B:8B:F0:65:5F:78\r\na=setup:actpass\r\n";
const HOST: &str = "candidate:1 1 udp 2122260223 192.0.2.7 50123 typ host generation 0 ufrag Ab/+";
const RELAY: &str =
    "candidate:3 1 udp 41885439 198.51.100.4 61000 typ relay raddr 2001:db8::7 rport 50123 generation 0";

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let seeds = [
        ("messages", messages()),
        ("signals", signals()),
        ("jwt", tokens()),
        ("session_token", vec![token().into_bytes(), vec![65; 45]]),
        ("grpc_web", calls()),
        ("session", sessions()),
    ];
    for (target, inputs) in seeds {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        for (index, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{index:02}")), input)?;
        }
    }
    Ok(())
}

fn map(entries: &[(&str, &str)]) -> HashMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn join() -> Join {
    Join {
        room: ROOM.to_owned(),
        identity: "bob".to_owned(),
        display_name: "Bob".to_owned(),
        attributes: map(&[("device", "phone")]),
        passcode: String::new(),
    }
}

/// One of each kind, to somebody.
fn said(to: &str) -> Vec<ClientMessage> {
    let description = || SessionDescription { sdp: "v=0\r\n".to_owned() };
    let bodies = [
        Said::Offer(description()),
        Said::Answer(description()),
        Said::Candidate(IceCandidate {
            candidate: HOST.to_owned(),
            sdp_mid: Some("0".to_owned()),
            sdp_m_line_index: Some(0),
            username_fragment: Some("Ab/+".to_owned()),
        }),
        Said::Data(Data { topic: "chat".to_owned(), payload: vec![1, 2].into(), text: "hi".to_owned() }),
        Said::Update(MemberUpdate {
            display_name: Some("Bob".to_owned()),
            attributes: map(&[("hand", "up")]),
            clear_attributes: true,
        }),
        Said::Heartbeat(Heartbeat {}),
        Said::Report(ConnectionReport {
            peer: to.to_owned(),
            connection_state: "connected".to_owned(),
            elapsed_ms: 300,
            ..ConnectionReport::default()
        }),
        Said::Leave(Leave { reason: "bye".to_owned() }),
    ];
    let message = |body| ClientMessage { seq: 1, ack: 0, to: to.to_owned(), negotiation: 7, body: Some(body) };
    bodies.into_iter().map(message).collect()
}

fn room() -> Room {
    Room {
        name: "other".to_owned(),
        display_name: "Other".to_owned(),
        max_members: 3,
        locked: true,
        expires_at: Some(Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        empty_timeout: Some(Duration { seconds: 60, nanos: 0 }),
        labels: map(&[("team", "a")]),
        duplicate_identity: 2,
        relay_only: true,
        ..Room::default()
    }
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

fn messages() -> Vec<Vec<u8>> {
    let of = |kind: u8, message: Vec<u8>| [&[kind][..], &message].concat();
    let mut all: Vec<_> = said(&stage::id(1).to_string()).iter().map(|m| of(0, m.encode_to_vec())).collect();
    let to_all = ClientMessage { to: String::new(), ..said("").swap_remove(3) };
    all.push(of(0, to_all.encode_to_vec()));
    all.push(of(0, ClientMessage { body: Some(Said::Join(join())), ..ClientMessage::default() }.encode_to_vec()));
    let resume = Resume { session_token: token(), after_seq: 3 };
    for open in [Open::Join(join()), Open::Resume(resume)] {
        all.push(of(1, SubscribeRequest { open: Some(open) }.encode_to_vec()));
    }
    let send = SendRequest { session_token: token(), messages: said("") };
    all.push(of(2, send.encode_to_vec()));
    all.push(of(3, CreateRoomRequest { room: Some(room()), ..CreateRoomRequest::default() }.encode_to_vec()));
    all.push(of(4, UpdateRoomRequest { room: Some(room()), ..UpdateRoomRequest::default() }.encode_to_vec()));
    all
}

fn signals() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for relay_only in [0, 1] {
        for (kind, text) in [(0, SDP), (2, SDP), (4, HOST), (4, RELAY), (4, "")] {
            all.push([&[relay_only | kind][..], text.as_bytes()].concat());
        }
    }
    all
}

fn claims() -> Value {
    json!({
        "aud": AUDIENCE, "iss": ISSUER, "sub": "ann", "name": "Ann", "room": "team-*", "nbf": NOW - 5, "exp": NOW + 300,
        "can_join": true, "can_send_data": false, "can_admin": true,
    })
}

fn tokens() -> Vec<Vec<u8>> {
    let encode = |part: &[u8]| BASE64URL_NOPAD.encode(part);
    let make = |alg: &str, kid: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let header = json!({"alg": alg, "kid": kid, "typ": "JWT"}).to_string();
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims().to_string().as_bytes()));
        let signature = encode(&sign(signed.as_bytes()));
        format!("\0{signed}.{signature}").into_bytes()
    };
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &keys::P256_PRIVATE,
        &keys::p256(),
        &random,
    )
    .expect("a key pair");
    let header = json!({"alg": "HS256", "kid": "oct", "typ": "JWT"}).to_string();
    vec![
        make("HS256", "oct", &keys::hs256),
        make("EdDSA", "okp", &|message| keys::ed25519().sign(message).as_ref().to_vec()),
        make("ES256", "ec", &|message| pair.sign(&random, message).expect("a signature").as_ref().to_vec()),
        format!("\u{1}{}", claims()).into_bytes(),
        format!("\u{2}{header}\n{}", claims()).into_bytes(),
    ]
}

/// Calls as pages and native clients make them, one input each, and a conversation.
fn calls() -> Vec<Vec<u8>> {
    let of =
        |path: u8, message: Vec<u8>| Call { path, kind: 0, how: how::FRAMED | how::HTTP1, body: &message }.to_bytes();
    let send = |messages| of(0, SendRequest { session_token: token(), messages }.encode_to_vec());
    let subscribe = |open| of(1, SubscribeRequest { open: Some(open) }.encode_to_vec());
    let name = || ROOM.to_owned();
    let create = CreateRoomRequest { room: Some(room()), passcode: "sesame".to_owned() };
    let update =
        UpdateRoomRequest { room: Some(room()), update_mask: mask(&["locked", "labels"]), ..Default::default() };
    let ban = Some(Duration { seconds: 60, nanos: 0 });
    let remove = RemoveMemberRequest { room: name(), member_id: member().to_string(), ban };
    let numbered: Vec<_> =
        said("").into_iter().zip(1..).map(|(message, seq)| ClientMessage { seq, ..message }).collect();
    let first = ClientMessage { body: Some(Said::Join(join())), ..ClientMessage::default() }.encode_to_vec();
    let sent = SendRequest { session_token: token(), messages: vec![said("").swap_remove(5)] }.encode_to_vec();
    let text = Call { path: 0, kind: 1, how: how::FRAMED | how::PIECES, body: &sent }.to_bytes();
    let native = Call { path: 2, kind: 2, how: how::FRAMED, body: &first }.to_bytes();
    let resume = Resume { session_token: token(), after_seq: 0 };
    let mut all = vec![
        send(said("").drain(3..6).collect()),
        subscribe(Open::Join(join())),
        native,
        text,
        [subscribe(Open::Join(join())), send(numbered)].concat(),
        subscribe(Open::Resume(resume)),
        of(3, create.encode_to_vec()),
        [
            of(3, CreateRoomRequest { room: Some(room()), ..Default::default() }.encode_to_vec()),
            of(6, update.encode_to_vec()),
        ]
        .concat(),
        of(9, remove.encode_to_vec()),
        [of(10, WatchRoomRequest { room: name() }.encode_to_vec()), send(said(""))].concat(),
    ];
    all.push(of(4, GetRoomRequest { name: name() }.encode_to_vec()));
    all.push(of(5, ListRoomsRequest { page_size: 10, ..ListRoomsRequest::default() }.encode_to_vec()));
    all.push(of(7, DeleteRoomRequest { name: name() }.encode_to_vec()));
    all.push(of(8, ListMembersRequest { room: name() }.encode_to_vec()));
    all.extend([11, 12, 13].map(|path| of(path, Vec::new())));
    all
}

/// Joins, signals, losses, resumes, leaves.
fn sessions() -> Vec<Vec<u8>> {
    vec![
        [[0, 1], [0, 2], [0, 3]].concat(),
        vec![0, 1, 0, 2, 3, 0x10, 0, 10, 0xf1, 14, 1, 3, 0x10, 0, 16, 1, 10, 0xf1, 18, 0],
        vec![0, 1, 0, 2, 9, 0, 13, 0x51, 20, 0, 31, 16, 0x10, 23, 0x10, 21, 2, 22, 0xf1, 19, 0xf0],
        [vec![0, 1, 0, 2], [3, 0x10, 0].repeat(12), vec![10, 0xf1, 18, 0xf0, 15, 0, 19, 0]].concat(),
    ]
}
