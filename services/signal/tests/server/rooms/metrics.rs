//! Metrics.

use std::{collections::BTreeMap, net::SocketAddr};

use http::{Method, StatusCode};
use signalbox_proto::v1::RemoveMemberRequest;
use signalbox_testkit::eventually;
use tonic::Code;

use crate::common::{
    DEADLINE, TestServer, assert_error, body, messages,
    native::{Member, Ticket},
    raw::{Version, header_of, request, text},
};

/// The metrics by name and labels, and the whole text. It is well-formed, and each metric has a type and a help text.
async fn scrape(addr: SocketAddr, version: Version) -> (BTreeMap<String, u64>, String) {
    let response = request(addr, version, Method::GET, "/metrics", &[], "").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(header_of(&response, "content-type"), content_type);
    assert_eq!(header_of(&response, "cache-control"), "no-store");
    let text = text(response).await;
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.pop(), Some("# EOF"));
    let mut values = BTreeMap::new();
    for line in lines.iter().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("signalbox_"), "{line}");
        let family = name.split('{').next().unwrap().trim_end_matches("_total");
        for about in ["HELP", "TYPE"] {
            let about = format!("# {about} {family} ");
            assert!(lines.iter().any(|line| line.starts_with(&about)), "{about}");
        }
        assert!(values.insert(name.to_owned(), value.parse().expect("a number")).is_none(), "{name} twice");
    }
    (values, text)
}

/// Checks some of the metrics.
#[track_caller]
fn check(values: &BTreeMap<String, u64>, expected: &[(&str, u64)]) {
    for (name, value) in expected {
        assert_eq!(values.get(&format!("signalbox_{name}")), Some(value), "{name} in {values:#?}");
    }
}

#[tokio::test]
async fn sessions_signals_and_refusals_are_counted() {
    let server = TestServer::start(&["--max-members", "2"]).await;
    for version in [Version::Http1, Version::Http2] {
        let (values, _) = scrape(server.addr, version).await;
        check(&values, &[("rooms", 0), ("streams", 0), ("sessions_opened_total", 0)]);
        check(&values, &[("sessions{state=\"connected\"}", 0), ("sessions{state=\"suspended\"}", 0)]);
        check(&values, &[("signals_accepted_total{kind=\"offer\"}", 0), ("mailbox_high_water_entries", 0)]);
        check(&values, &[("signals_undelivered_total{reason=\"MAILBOX_FULL\"}", 0)]);
        check(&values, &[("sessions_ended_total{reason=\"SLOW_CONSUMER\"}", 0), ("resumes_total", 0)]);
    }

    let mut a = Member::join(&server, "secret-room").await;
    let mut b = Member::join(&server, "secret-room").await;
    let full = Member::try_join(server.addr, messages::join("secret-room")).await.err().expect("the room is full");
    assert_error(&full, Code::ResourceExhausted, "ROOM_FULL");
    body!(a.next().await, MemberJoined);
    let (values, _) = scrape(server.addr, Version::Http1).await;
    check(&values, &[("rooms", 1), ("streams", 2), ("sessions{state=\"connected\"}", 2)]);
    a.send("", messages::candidate("candidate:1")).await;
    body!(b.next().await, Candidate);
    let ticket = b.disconnect();
    body!(a.event().await, MemberUpdated);
    for seq in 1..=3 {
        a.send_message(messages::numbered(seq, &ticket.id, messages::offer(&"x".repeat(1000)))).await;
    }
    a.send_message(messages::numbered(4, "unknown", messages::answer(""))).await;
    body!(a.event().await, Undelivered);
    a.await_ack(4).await;
    let (values, text) = scrape(server.addr, Version::Http1).await;
    check(&values, &[("rooms", 1), ("sessions_opened_total", 2)]);
    check(&values, &[("sessions{state=\"connected\"}", 1), ("sessions{state=\"suspended\"}", 1)]);
    check(&values, &[("signals_accepted_total{kind=\"offer\"}", 3), ("signals_accepted_total{kind=\"answer\"}", 0)]);
    check(&values, &[("signals_accepted_total{kind=\"candidate\"}", 1)]);
    check(&values, &[("signals_undelivered_total{reason=\"NO_SUCH_MEMBER\"}", 1)]);
    check(&values, &[("joins_refused_total{reason=\"ROOM_FULL\"}", 1), ("mailbox_high_water_entries", 3)]);
    let most = values["signalbox_mailbox_high_water_bytes"];
    assert!((3000..4000).contains(&most), "{most} bytes waited");
    for private in ["secret-room", &a.id, &ticket.id, "127.0.0.1"] {
        assert!(!text.contains(private), "{private} is private");
    }

    let garbage = Ticket { token: "garbage".to_owned(), ..ticket.clone() };
    let gone = Member::try_resume(server.addr, &garbage).await.err().expect("the token is wrong");
    assert_error(&gone, Code::NotFound, "SESSION_GONE");
    let mut b = Member::resume(&server, &ticket).await;
    body!(a.event().await, MemberUpdated);
    a.send("", messages::data("to all")).await;
    for _ in 0..3 {
        body!(b.event().await, Offer);
    }
    body!(b.event().await, Data);
    let remove = RemoveMemberRequest { room: "secret-room".to_owned(), member_id: b.id.clone(), ban: None };
    server.rooms().await.remove_member(remove).await.expect("it is removed");
    b.expect_go_away().await;
    a.send("", messages::leave()).await;

    // Counters of a closed room stay.
    let values = eventually(DEADLINE, "the room is closed", async || {
        let (values, _) = scrape(server.addr, Version::Http1).await;
        (values["signalbox_streams"] == 0 && values["signalbox_rooms"] == 0).then_some(values)
    })
    .await;
    check(&values, &[("sessions{state=\"connected\"}", 0), ("sessions{state=\"suspended\"}", 0)]);
    check(&values, &[("sessions_ended_total{reason=\"LEFT\"}", 1), ("sessions_ended_total{reason=\"REMOVED\"}", 1)]);
    check(&values, &[("sessions_opened_total", 2), ("resumes_total", 1)]);
    check(&values, &[("resumes_refused_total{reason=\"SESSION_GONE\"}", 1)]);
    check(&values, &[("signals_accepted_total{kind=\"offer\"}", 3), ("signals_accepted_total{kind=\"data\"}", 1)]);
    check(&values, &[("mailbox_high_water_entries", 3), ("mailbox_high_water_bytes", most)]);
}
