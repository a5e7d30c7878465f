//! Input of clients and secrets do not get into the log or the metrics: all input contains a mark, which is searched for.

use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use signalbox_proto::v1::{
    ClientMessage, ConnectionReport, CreateRoomRequest, Data, Join, Leave, RemoveMemberRequest, Room,
    SessionDescription, UpdateRoomRequest, client_message::Body as ClientBody, rooms_client::RoomsClient,
    signal_client::SignalClient, subscribe_request::Open,
};
use tokio::net::TcpStream;
use tonic::{
    Code,
    transport::{Endpoint, Uri},
};
use tower::service_fn;

use super::logs::{Format, assert_form};
use crate::common::{
    assert_error, body, connect, messages,
    native::Member,
    program::Program,
    raw::{Version, request, text},
    web::{WebClient, WebMember},
    with_token,
};

/// Part of all input, also of what may be logged below `info`: the name of the room, and the host of a request.
const MARK: &str = "canary";
const ROOM: &str = "canary-room";
const HOST: &str = "canary-host.example";
/// A name that tries to add a line to the log, and to colour it.
const FORGER: &str = "canary\n2026-01-01T00:00:00.000000Z  INFO forged: canary\r\u{1b}[31m\u{9b}31m\u{7}";

/// Settings that are secrets.
const SECRETS: [&str; 4] = ["--turn-url", "turn:turn.example.org", "--turn-secret", "canary-turn-secret"];

/// Joins; returns the client and the local address of its connection.
async fn join_and_return_address(program: &Program, join: Join) -> (SignalClient<tonic::transport::Channel>, String) {
    let (address, local) = (program.addr, Arc::new(Mutex::new(None)));
    let connector = {
        let local = local.clone();
        service_fn(move |_: Uri| {
            let local = local.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                *local.lock().unwrap() = Some(stream.local_addr()?);
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        })
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = SignalClient::new(endpoint.connect_with_connector(connector).await.unwrap());
    let first = ClientMessage { body: Some(ClientBody::Join(join)), ..ClientMessage::default() };
    let mut stream = client.exchange(tokio_stream::iter([first])).await.unwrap().into_inner();
    body!(stream.message().await.unwrap().unwrap(), Welcome);
    let address = local.lock().unwrap().unwrap();
    (client, address.to_string())
}

fn join(identity: &str, passcode: &str) -> Join {
    Join {
        room: ROOM.to_owned(),
        identity: identity.to_owned(),
        display_name: FORGER.to_owned(),
        attributes: [("canary-key".to_owned(), FORGER.to_owned())].into(),
        passcode: passcode.to_owned(),
    }
}

/// Messages of all kinds, all marked, some of which are refused.
fn all_messages() -> Vec<ClientMessage> {
    let description = || SessionDescription { sdp: format!("v=0\r\ns={FORGER}\r\n") };
    let report = ConnectionReport {
        peer: MARK.to_owned(),
        connection_state: "connected".to_owned(),
        error: FORGER.to_owned(),
        ..ConnectionReport::default()
    };
    let data = Data { topic: "canary-topic".to_owned(), text: FORGER.to_owned(), payload: MARK.into() };
    let bodies = [
        ClientBody::Offer(description()),
        ClientBody::Answer(description()),
        messages::candidate("candidate:1 1 udp 1 203.0.113.77 9 typ host ufrag canary"),
        ClientBody::Data(data),
        messages::display_name(FORGER),
        ClientBody::Report(report),
        messages::heartbeat(),
    ];
    // The first one has an unknown addressee.
    let to = |index: usize| if index == 0 { FORGER } else { "" };
    bodies.into_iter().zip(1..).map(|(body, seq)| messages::numbered(seq, to(seq as usize - 1), body)).collect()
}

/// Sends valid and invalid input in all ways. Returns what must not be logged at any level.
async fn send_everything(program: &Program) -> Vec<String> {
    let passcode = "canary-passcode";
    let mut rooms = RoomsClient::new(connect(program.addr).await);
    let room = Room {
        name: ROOM.to_owned(),
        display_name: FORGER.to_owned(),
        labels: [("canary-label".to_owned(), FORGER.to_owned())].into(),
        ..Room::default()
    };
    let create = CreateRoomRequest { room: Some(room), passcode: passcode.to_owned() };
    rooms.create_room(create.clone()).await.unwrap();
    assert_error(&rooms.create_room(create).await.unwrap_err(), Code::AlreadyExists, "ROOM_EXISTS");
    let update = UpdateRoomRequest {
        room: Some(Room { name: ROOM.to_owned(), etag: FORGER.to_owned(), ..Room::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec![FORGER.to_owned()] }),
        passcode: String::new(),
    };
    assert_eq!(rooms.update_room(update).await.unwrap_err().code(), Code::InvalidArgument);

    // Joins without the passcode, with a wrong one, of a room with an invalid name. With a token, which is not required.
    let web = WebClient::new(program.addr);
    for refused in [join(FORGER, ""), join(FORGER, "canary-wrong"), Join { room: FORGER.to_owned(), ..join("", "") }] {
        assert!(
            Member::try_join_with_token(program.addr, Some("canary-jwt.canary.canary"), refused.clone()).await.is_err()
        );
        assert!(web.with_token("canary-jwt").subscribe(Open::Join(refused)).await.is_err());
    }
    let mut native = Member::join_with(program.addr, join("canary-native", passcode)).await;
    let page = WebMember::join(web, join(FORGER, passcode)).await;
    body!(native.event().await, MemberJoined);

    for message in all_messages() {
        native.send_message(message).await;
    }
    while native.acked < 7 {
        native.next().await;
    }
    let sent = page.send(all_messages()).await.unwrap();
    assert!(!sent.undelivered.is_empty(), "some of them are refused");

    // A resume, and invalid session tokens.
    let ticket = native.disconnect();
    let native = Member::try_resume(program.addr, &ticket).await.unwrap();
    let garbage = messages::resume("canary-session-token", 0);
    assert!(web.subscribe(Open::Resume(garbage)).await.is_err());
    assert!(web.send("canary-session-token", all_messages()).await.is_err());

    // A connection with a known address, a removal, a leave.
    let (client, address) = join_and_return_address(program, join("canary-known", passcode)).await;
    let remove = |member_id: &str| RemoveMemberRequest {
        room: ROOM.to_owned(),
        member_id: member_id.to_owned(),
        ban: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
    };
    rooms.remove_member(with_token(remove(&page.id), Some("canary-jwt"))).await.unwrap();
    assert!(rooms.remove_member(remove(FORGER)).await.is_err());
    native.send("", ClientBody::Leave(Leave { reason: FORGER.to_owned() })).await;
    drop(client);

    // Requests that are not calls, from another origin, or for another host.
    for (path, headers, status) in [
        ("/canary.Service/Call", &[("content-type", "application/grpc-web+proto")][..], StatusCode::OK),
        ("/canary/../canary?canary", &[], StatusCode::NOT_FOUND),
        ("/canary.Service/Call", &[("content-type", "text/canary")], StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let response = request(program.addr, Version::Http1, Method::POST, path, headers, "canary").await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
    let origin = [("origin", "https://canary.example"), ("content-type", "application/grpc-web+proto")];
    let foreign = request(program.addr, Version::Http1, Method::POST, "/signalbox.v1.Signal/Send", &origin, "").await;
    assert_eq!(foreign.unwrap().status(), StatusCode::FORBIDDEN);
    let misdirected = crate::common::raw::get_page_for_host(program.addr, HOST).await;
    assert!(misdirected.starts_with("HTTP/1.1 421 "), "{misdirected}");

    let metrics = request(program.addr, Version::Http1, Method::GET, "/metrics", &[], "").await.unwrap();
    let metrics = text(metrics).await;
    assert!(metrics.contains("signalbox_") && !metrics.contains(MARK) && !metrics.contains("forged"), "{metrics}");

    let mut secrets = vec![passcode.to_owned(), address, ticket.token, page.token, "203.0.113.77".to_owned()];
    secrets.extend(["canary-jwt", "canary-wrong", "canary-turn", "canary-session", "forged"].map(str::to_owned));
    secrets
}

async fn log_of(level: &str, format: Format) -> (String, Vec<String>) {
    let flags = [&SECRETS[..], &["--log", level, "--log-format", format.flag()]].concat();
    let program = Program::start(&flags).await;
    let secrets = send_everything(&program).await;
    let log = program.stop().await;
    assert!(log.contains("listening") && log.contains("stopped"), "{log}");
    assert_form(&log, format);
    for secret in &secrets {
        assert!(!log.contains(secret), "{secret:?} is in the log:\n{log}");
    }
    (log, secrets)
}

#[tokio::test]
async fn at_info_no_input_is_logged() {
    for format in [Format::Text, Format::Json] {
        let (log, _) = log_of("info", format).await;
        assert!(!log.contains(MARK), "the mark is in the log:\n{log}");
    }
}

#[tokio::test]
async fn at_debug_only_rooms_and_hosts_are_logged() {
    for format in [Format::Text, Format::Json] {
        let (log, _) = log_of("debug", format).await;
        // The search for the mark works.
        assert!(log.contains(ROOM) && log.contains(HOST), "{log}");
        let rest = log.replace(ROOM, "").replace(HOST, "");
        assert!(!rest.contains(MARK), "the mark is in the log:\n{rest}");
    }
}

/// Text from the files of operators may be logged, but only within a line.
#[tokio::test]
async fn control_characters_are_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks.json");
    let secret = data_encoding::BASE64URL_NOPAD.encode(b"canary-secret-of-thirty-two-bytes-or-more");
    let keys = serde_json::json!({"keys": [
        {"kty": "RSA", "kid": FORGER, "n": "canary", "e": "AQAB"}, {"kty": "oct", "kid": "one", "k": secret},
    ]});
    std::fs::write(&jwks, keys.to_string()).unwrap();
    for (format, escaped) in [(Format::Text, r"canary\n2026-01-01"), (Format::Json, r"canary\n2026-01-01")] {
        let flags = ["--auth", "jwt", "--jwks", jwks.to_str().unwrap(), "--log-format", format.flag()];
        let program = Program::start(&flags).await;
        program.signal(Signal::TERM);
        let (status, log) = program.end().await;
        assert!(status.success() && log.contains(escaped), "{log}");
        assert_form(&log, format);
        assert!(!log.contains(&secret) && !log.contains("canary-secret"), "{log}");
    }
}

/// The log has the address of the store and the failure.
#[tokio::test]
async fn credentials_of_a_failing_store_are_not_logged() {
    for format in [Format::Text, Format::Json] {
        let store = "mongodb://canary-user:canary-password@127.0.0.1:1/rooms?authSource=admin";
        let flags = ["--store", store, "--log", "debug", "--log-format", format.flag()];
        let program = Program::start(&flags).await;
        let refused = Member::try_join(program.addr, join(FORGER, "canary-passcode")).await;
        assert_error(&refused.err().expect("the store is unavailable"), Code::Unavailable, "STORE_UNAVAILABLE");
        let log = program.stop().await;
        assert!(log.contains("room store unavailable") && log.contains("127.0.0.1:1/rooms"), "{log}");
        assert_form(&log, format);
        assert!(!log.replace(ROOM, "").contains(MARK), "the mark is in the log:\n{log}");
    }
}
