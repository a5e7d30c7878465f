//! A session ends with its token, unless a newer token renews it.

use serde_json::json;
use signalbox_proto::{
    reason,
    v1::{Action, LeaveReason, SendRequest, server_message::Body as ServerBody},
};
use tonic::{Code, Request};

use super::TokenServer;
use crate::common::{
    assert_error, assert_field_error, body, messages,
    native::Member,
    web::{WebClient, WebMember},
    with_token,
};

/// Without grace, so that tests need not wait for it.
const AT_ONCE: [&str; 2] = ["--jwt-grace", "0s"];

/// A heartbeat with a token.
fn heartbeat(session: &str, token: &str) -> Request<SendRequest> {
    let messages = vec![messages::unnumbered("", messages::heartbeat())];
    with_token(SendRequest { session_token: session.to_owned(), messages }, Some(token))
}

/// Reads until that member has timed out.
async fn until_timed_out(member: &mut Member, id: &str) {
    loop {
        match member.next().await.body {
            Some(ServerBody::MemberLeft(left)) if left.member_id == id => {
                return assert_eq!(left.reason(), LeaveReason::TimedOut);
            }
            Some(ServerBody::MemberLeft(left)) => panic!("another member left: {left:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let server = TokenServer::start(&AT_ONCE).await;
    let mut bob = server.join(&server.token("demo", "bob"), "demo").await;
    // In different rooms, so that neither receives the leave of the other.
    let mut ann = server.join(&server.token_for("demo", "ann", 3), "demo").await;
    let web = WebClient::new(server.addr).with_token(&server.token_for("other", "page", 3));
    let mut page = WebMember::join(web, messages::join("other")).await;
    for (go_away, status) in [ann.expect_go_away().await, page.expect_go_away().await] {
        assert_eq!((go_away.reason.as_str(), go_away.action()), (reason::TOKEN_EXPIRED, Action::Rejoin));
        assert_error(&status, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    }
    body!(bob.next().await, MemberJoined);
    assert_eq!(body!(bob.next().await, MemberLeft).reason(), LeaveReason::TimedOut);
    let gone = Member::try_resume(server.addr, &ann.disconnect()).await.err().expect("refused");
    assert_error(&gone, Code::NotFound, reason::SESSION_GONE);
}

#[tokio::test]
async fn an_expired_token_within_the_leeway_neither_joins_nor_renews() {
    let server = TokenServer::start(&AT_ONCE).await;
    let mut ann = server.join(&server.token("demo", "ann"), "demo").await;
    let now = crate::common::jwt::now();
    // The Rooms service still accepts it.
    let late = |subject| server.token_with("demo", subject, &json!({"nbf": now - 60, "exp": now - 2}));
    let refused = server.try_join(&late("bob"), messages::join("demo")).await.err().expect("refused");
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    let refused = server.signal().await.send(heartbeat(&ann.token, &late("ann"))).await.expect_err("refused");
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    // Bob was not visible, and ann's session continues.
    let _cid = server.join(&server.token("demo", "cid"), "demo").await;
    let joined = body!(ann.next().await, MemberJoined);
    assert_eq!(joined.member.expect("a member").identity, "cid");
}

#[tokio::test]
async fn a_newer_token_renews_a_session_in_any_call() {
    let server = TokenServer::start(&AT_ONCE).await;
    let addr = server.addr;
    let short = |subject| server.token_for("demo", subject, 5);
    let mut by_send = server.join(&short("by-send"), "demo").await;
    let by_resume = server.join(&short("by-resume"), "demo").await;
    let web = WebClient::new(addr).with_token(&short("by-page"));
    let page = WebMember::join(web, messages::join("demo")).await;
    // Its token expires after the short ones of the others.
    let last = server.join(&server.token_for("demo", "last", 6), "demo").await;

    let mut client = server.signal().await;
    client.send(heartbeat(&by_send.token, &server.token("demo", "by-send"))).await.expect("it is renewed");
    let newer = web.with_token(&server.token("demo*", "by-page"));
    newer.send(&page.token, vec![messages::unnumbered("", messages::heartbeat())]).await.expect("it is renewed");
    let renewed = server.token("demo", "by-resume");
    let _by_resume = Member::try_resume_with_token(addr, Some(&renewed), &by_resume.disconnect())
        .await
        .expect("it is resumed and renewed");
    // A token that expires earlier does not shorten the session.
    client.send(heartbeat(&by_send.token, &server.token_for("demo", "by-send", 3))).await.expect("it is accepted");
    until_timed_out(&mut by_send, &last.id).await;
}

#[tokio::test]
async fn a_renewal_changes_permissions() {
    let server = TokenServer::start(&[]).await;
    let mut ann = server.join(&server.token_for("demo", "ann", 60), "demo").await;
    let _bob = server.join(&server.token("demo", "bob"), "demo").await;
    body!(ann.next().await, MemberJoined);
    let silent = server.token_with("demo", "ann", &json!({"can_send_data": false}));
    server.signal().await.send(heartbeat(&ann.token, &silent)).await.expect("it is renewed");
    ann.send("", messages::data("no")).await;
    assert_eq!(body!(ann.event().await, Undelivered).reason, "FORBIDDEN");
}

#[tokio::test]
async fn a_send_with_another_token_is_refused_as_a_whole() {
    let server = TokenServer::start(&[]).await;
    let mut ann = server.join(&server.token("demo", "ann"), "demo").await;
    let mut bob = server.join(&server.token("demo", "bob"), "demo").await;
    body!(ann.next().await, MemberJoined);
    let web = WebClient::new(server.addr);
    let send_with = |token: String| {
        let offer = messages::numbered(1, &bob.id, messages::offer("never"));
        let session = ann.token.clone();
        async move { web.with_token(&token).send(&session, vec![offer]).await.expect_err("refused") }
    };
    let refused = send_with(server.token("demo", "bob")).await;
    assert_field_error(&refused, reason::INVALID_MESSAGE, "authorization");
    let refused = send_with(server.token("other", "ann")).await;
    assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    let refused = send_with(server.token_with("demo", "ann", &json!({"can_join": false}))).await;
    assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    let refused = send_with("garbage".to_owned()).await;
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);
    let now = crate::common::jwt::now();
    let refused = send_with(server.token_with("demo", "ann", &json!({"nbf": now - 60, "exp": now - 30}))).await;
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    let refused = Member::try_resume_with_token(web.addr, Some("garbage"), &ann.ticket()).await.err().expect("refused");
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);

    // A valid token does not replace the session token.
    let stolen = web.with_token(&server.token("demo", "ann"));
    let refused =
        stolen.send("AAAA", vec![messages::unnumbered("", messages::heartbeat())]).await.expect_err("refused");
    assert_error(&refused, Code::NotFound, reason::SESSION_GONE);

    // The stream continues, and this is the first message that bob receives.
    ann.send_message(messages::numbered(1, &bob.id, messages::offer("first"))).await;
    assert_eq!(body!(bob.next().await, Offer).sdp, "first");
}
