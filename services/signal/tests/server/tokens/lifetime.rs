//! A session lives as long as its token, unless it is renewed by a newer one.

use serde_json::json;
use signalbox_proto::{
    reason,
    v1::{Action, LeaveReason, SendRequest, server_message::Body},
};
use tonic::{Code, Request};

use super::Guarded;
use crate::common::{
    assert_error, assert_field_error, body,
    native::Member,
    say,
    web::{Web, WebMember},
    with_token,
};

/// Without grace, so that no test waits for it.
const AT_ONCE: [&str; 2] = ["--jwt-grace", "0s"];

/// A heartbeat in a session, which shows a token.
fn heartbeat(session: &str, token: &str) -> Request<SendRequest> {
    let messages = vec![say::unnumbered("", say::heartbeat())];
    with_token(SendRequest { session_token: session.to_owned(), messages }, Some(token))
}

/// Reads until somebody's token has run out.
async fn until_timed_out(member: &mut Member, id: &str) {
    loop {
        match member.next().await.body {
            Some(Body::MemberLeft(left)) if left.member_id == id => {
                return assert_eq!(left.reason(), LeaveReason::TimedOut);
            }
            Some(Body::MemberLeft(left)) => panic!("somebody else left: {left:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let guarded = Guarded::start(&AT_ONCE).await;
    let mut bob = guarded.join(&guarded.token("demo", "bob"), "demo").await;
    // Each in a room of its own, to hear nothing of the other's end; bob is with ann.
    let mut ann = guarded.join(&guarded.token_for("demo", "ann", 3), "demo").await;
    let web = Web::new(guarded.server.addr).with_token(&guarded.token_for("other", "page", 3));
    let mut page = WebMember::join(web, say::join("other")).await;
    for (go_away, status) in [ann.sent_away().await, page.sent_away().await] {
        assert_eq!((go_away.reason.as_str(), go_away.action()), (reason::TOKEN_EXPIRED, Action::Rejoin));
        assert_error(&status, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    }
    body!(bob.next().await, MemberJoined);
    assert_eq!(body!(bob.next().await, MemberLeft).reason(), LeaveReason::TimedOut);
    let gone = Member::try_resume(guarded.server.addr, &ann.lose()).await.err().expect("refused");
    assert_error(&gone, Code::NotFound, reason::SESSION_GONE);
}

#[tokio::test]
async fn a_token_that_leaves_a_session_no_time_opens_and_renews_none() {
    let guarded = Guarded::start(&AT_ONCE).await;
    let mut ann = guarded.join(&guarded.token("demo", "ann"), "demo").await;
    let now = crate::common::jwt::now();
    // Within the leeway for clocks, which the Rooms service still gives.
    let late = |who| guarded.token_with("demo", who, &json!({"nbf": now - 60, "exp": now - 2}));
    let refused = guarded.try_join(&late("bob"), say::join("demo")).await.err().expect("refused");
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    let refused = guarded.server.signal().await.send(heartbeat(&ann.token, &late("ann"))).await.expect_err("refused");
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    // Nobody was told of bob, and ann's session goes on.
    let _cid = guarded.join(&guarded.token("demo", "cid"), "demo").await;
    let joined = body!(ann.next().await, MemberJoined);
    assert_eq!(joined.member.expect("a member").identity, "cid");
}

#[tokio::test]
async fn a_newer_token_renews_a_session_in_any_call() {
    let guarded = Guarded::start(&AT_ONCE).await;
    let addr = guarded.server.addr;
    let short = |subject| guarded.token_for("demo", subject, 5);
    let mut by_send = guarded.join(&short("by-send"), "demo").await;
    let by_resume = guarded.join(&short("by-resume"), "demo").await;
    let web = Web::new(addr).with_token(&short("by-page"));
    let page = WebMember::join(web, say::join("demo")).await;
    // It joins last and has the longest of the short tokens: when it is gone, so would be the others.
    let last = guarded.join(&guarded.token_for("demo", "last", 6), "demo").await;

    let mut client = guarded.server.signal().await;
    client.send(heartbeat(&by_send.token, &guarded.token("demo", "by-send"))).await.expect("it is renewed");
    let newer = web.with_token(&guarded.token("demo*", "by-page"));
    newer.send(&page.token, vec![say::unnumbered("", say::heartbeat())]).await.expect("it is renewed");
    let renewed = guarded.token("demo", "by-resume");
    let _by_resume =
        Member::try_resume_as(addr, Some(&renewed), &by_resume.lose()).await.expect("it is resumed and renewed");
    // A token that is good for a shorter time than the one that is known takes nothing away.
    client.send(heartbeat(&by_send.token, &guarded.token_for("demo", "by-send", 3))).await.expect("it is accepted");
    until_timed_out(&mut by_send, &last.id).await;
}

#[tokio::test]
async fn a_renewal_changes_what_may_be_said() {
    let guarded = Guarded::start(&[]).await;
    let mut ann = guarded.join(&guarded.token_for("demo", "ann", 60), "demo").await;
    let _bob = guarded.join(&guarded.token("demo", "bob"), "demo").await;
    body!(ann.next().await, MemberJoined);
    let silent = guarded.token_with("demo", "ann", &json!({"can_send_data": false}));
    guarded.server.signal().await.send(heartbeat(&ann.token, &silent)).await.expect("it is renewed");
    ann.say("", say::data("no")).await;
    assert_eq!(body!(ann.event().await, Undelivered).reason, "FORBIDDEN");
}

#[tokio::test]
async fn a_token_of_somebody_else_renews_nothing_and_nothing_is_handled() {
    let guarded = Guarded::start(&[]).await;
    let mut ann = guarded.join(&guarded.token("demo", "ann"), "demo").await;
    let mut bob = guarded.join(&guarded.token("demo", "bob"), "demo").await;
    body!(ann.next().await, MemberJoined);
    let web = Web::new(guarded.server.addr);
    let say_with = |token: String| {
        let offer = say::numbered(1, &bob.id, say::offer("never"));
        let session = ann.token.clone();
        async move { web.with_token(&token).send(&session, vec![offer]).await.expect_err("refused") }
    };
    let refused = say_with(guarded.token("demo", "bob")).await;
    assert_field_error(&refused, reason::INVALID_MESSAGE, "authorization");
    let refused = say_with(guarded.token("other", "ann")).await;
    assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    let refused = say_with(guarded.token_with("demo", "ann", &json!({"can_join": false}))).await;
    assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    let refused = say_with("garbage".to_owned()).await;
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);
    let now = crate::common::jwt::now();
    let refused = say_with(guarded.token_with("demo", "ann", &json!({"nbf": now - 60, "exp": now - 30}))).await;
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    let refused = Member::try_resume_as(web.addr, Some("garbage"), &ann.ticket()).await.err().expect("refused");
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);

    // Another's session is not renewed by its owner's token either: whoever has no session token learns nothing.
    let stolen = web.with_token(&guarded.token("demo", "ann"));
    let refused = stolen.send("AAAA", vec![say::unnumbered("", say::heartbeat())]).await.expect_err("refused");
    assert_error(&refused, Code::NotFound, reason::SESSION_GONE);

    // The stream that was there is still there, and the first thing that bob hears is this.
    ann.send(say::numbered(1, &bob.id, say::offer("first"))).await;
    assert_eq!(body!(bob.next().await, Offer).sdp, "first");
}
