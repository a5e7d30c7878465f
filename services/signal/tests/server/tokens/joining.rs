//! What a token grants to who joins with it.

use serde_json::json;
use signalbox_proto::{
    reason, undelivered,
    v1::{MemberUpdate, client_message::Body, subscribe_request::Open},
};
use tonic::Code;

use super::Guarded;
use crate::common::{
    TestServer, assert_error, assert_field_error, body,
    jwt::{Key, claims},
    native::Member,
    say,
    web::{Web, WebMember},
};

#[tokio::test]
async fn without_a_token_nobody_joins() {
    let guarded = Guarded::start(&[]).await;
    let addr = guarded.server.addr;
    let native = Member::try_join(addr, say::join("demo")).await.err().expect("refused");
    assert_error(&native, Code::Unauthenticated, reason::TOKEN_INVALID);
    assert!(native.message().contains("authorization: Bearer"), "{native:?}");
    let page = Web::new(addr).subscribe(Open::Join(say::join("demo"))).await.err().expect("refused");
    assert_error(&page, Code::Unauthenticated, reason::TOKEN_INVALID);
}

#[tokio::test]
async fn a_session_needs_no_token_any_more() {
    let guarded = Guarded::start(&[]).await;
    let addr = guarded.server.addr;
    let ann = guarded.join(&guarded.token("demo", "ann"), "demo").await;
    let bob = WebMember::join(Web::new(addr).with_token(&guarded.token("demo", "bob")), say::join("demo")).await;
    let mut ann = Member::try_resume(addr, &ann.lose()).await.expect("it can be resumed");
    let (token, offer) = (bob.token.clone(), say::numbered(1, &ann.id, say::offer("o")));
    assert_eq!(Web::new(addr).send(&token, vec![offer]).await.expect("it is handled").undelivered, []);
    loop {
        if let Some(signalbox_proto::v1::server_message::Body::Offer(offer)) = ann.next().await.body {
            assert_eq!(offer.sdp, "o");
            break;
        }
    }
}

#[tokio::test]
async fn identity_and_name_are_those_of_the_token() {
    let guarded = Guarded::start(&[]).await;
    let named = guarded.token_with("demo", "ann", &json!({"name": "Ann"}));
    let mut join = say::join_as("demo", "ann");
    join.display_name = "somebody else".to_owned();
    let ann = guarded.try_join(&named, join.clone()).await.expect("its own identity may be said");
    let you = ann.welcome().you.clone().expect("a welcome says who one is");
    assert_eq!((you.identity.as_str(), you.display_name.as_str()), ("ann", "Ann"));

    let bob = guarded.try_join(&guarded.token("demo", "bob"), say::join("demo")).await.expect("it need not be");
    assert_eq!(bob.welcome().you.as_ref().map(|you| you.identity.as_str()), Some("bob"));
    join.identity = String::new();
    let carol = guarded.try_join(&guarded.token("demo", "carol"), join.clone()).await.expect("a name may be chosen");
    assert_eq!(carol.welcome().you.as_ref().map(|you| you.display_name.as_str()), Some("somebody else"));

    join.identity = "root".to_owned();
    let refused = guarded.try_join(&named, join).await.err().expect("refused");
    assert_field_error(&refused, reason::INVALID_MESSAGE, "join.identity");
}

#[tokio::test]
async fn a_token_opens_its_rooms_only_and_does_not_tell_of_others() {
    let guarded = Guarded::start(&[]).await;
    let rooms = ["alpha", "beta", "team-", "team-a", "team-b"];
    let all = guarded.token("*", "host");
    // Some rooms are there and some are not.
    let _alpha = guarded.join(&all, "alpha").await;
    let _team = guarded.join(&all, "team-a").await;
    let patterns = ["alpha", "beta", "team-*", "team-b", "t*", "*"];
    let mut refusals = Vec::new();
    for pattern in patterns {
        for room in rooms {
            let token = guarded.token(pattern, &format!("{pattern}-{room}"));
            let matches = pattern == room || pattern.strip_suffix('*').is_some_and(|p| room.starts_with(p));
            match guarded.try_join(&token, say::join(room)).await {
                Ok(_) => assert!(matches, "{pattern} opened {room}"),
                Err(status) => {
                    assert!(!matches, "{pattern} did not open {room}: {status:?}");
                    refusals.push((status.code(), status.message().to_owned(), status.details().to_vec()));
                }
            }
        }
    }
    assert_eq!(refusals.len(), 16);
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
    let token = guarded.token_with("alpha", "ann", &json!({"can_join": false}));
    let refused = guarded.try_join(&token, say::join("alpha")).await.err().expect("refused");
    assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    assert_eq!((refused.code(), refused.message().to_owned(), refused.details().to_vec()), refusals[0]);
}

#[tokio::test]
async fn who_may_not_send_data_may_still_signal() {
    let guarded = Guarded::start(&[]).await;
    let token = guarded.token_with("demo", "ann", &json!({"can_send_data": false, "name": "Ann"}));
    let mut ann = guarded.join(&token, "demo").await;
    let mut bob = guarded.join(&guarded.token("demo", "bob"), "demo").await;
    body!(ann.next().await, MemberJoined);
    let color = MemberUpdate { attributes: [("a".to_owned(), "b".to_owned())].into(), ..MemberUpdate::default() };
    for (seq, body) in
        [say::data("no"), say::display_name("Bea"), Body::Update(color), say::offer("o")].into_iter().enumerate()
    {
        ann.send(say::numbered(seq as u64 + 1, "", body)).await;
    }
    for seq in [1, 2] {
        let report = body!(ann.event().await, Undelivered);
        assert_eq!((report.client_seq, report.reason.as_str()), (seq, undelivered::FORBIDDEN));
    }
    let updated = body!(bob.next().await, MemberUpdated).member.expect("who");
    assert_eq!((updated.display_name.as_str(), updated.attributes["a"].as_str()), ("Ann", "b"));
    assert_eq!(body!(bob.next().await, Offer).sdp, "o");
    // The others may.
    bob.say("", say::data("yes")).await;
    assert_eq!(body!(ann.event().await, Data).text, "yes");
}

#[tokio::test]
async fn the_header_has_one_form() {
    let guarded = Guarded::start(&[]).await;
    let token = guarded.token("demo", "ann");
    let join = || Open::Join(say::join("demo"));
    let web = Web::new(guarded.server.addr);
    let with = |value: &str| Web { authorization: Some(value.to_owned().leak()), ..web };
    for good in [format!("bearer {token}"), format!("BEARER {token}")] {
        assert!(with(&good).subscribe(join()).await.is_ok(), "{good}");
    }
    for bad in [
        token.clone(),
        format!("Basic {token}"),
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        "Bearer".to_owned(),
    ] {
        let refused = with(&bad).subscribe(join()).await.err().expect("refused");
        assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);
    }
}

#[tokio::test]
async fn where_no_tokens_are_asked_for_none_is_looked_at() {
    let server = TestServer::start(&[]).await;
    let token = Key::ed25519(1).mint(&claims("other", "ann"));
    for token in [token.as_str(), "garbage"] {
        let member = Member::try_join_as(server.addr, Some(token), say::join("demo")).await.expect("anybody may join");
        assert_eq!(member.welcome().you.as_ref().map(|you| you.identity.as_str()), Some(""));
    }
}
