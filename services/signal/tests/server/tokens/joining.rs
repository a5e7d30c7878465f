//! The permissions that a token grants.

use serde_json::json;
use signalbox_proto::{
    reason, undelivered,
    v1::{MemberUpdate, client_message::Body, subscribe_request::Open},
};
use tonic::Code;

use super::TokenServer;
use crate::common::{
    TestServer, assert_error, assert_field_error, body,
    jwt::{Key, claims},
    messages,
    native::Member,
    web::{WebClient, WebMember},
};

#[tokio::test]
async fn a_join_needs_a_token() {
    let server = TokenServer::start(&[]).await;
    let addr = server.addr;
    let native = Member::try_join(addr, messages::join("demo")).await.err().expect("refused");
    assert_error(&native, Code::Unauthenticated, reason::TOKEN_INVALID);
    assert!(native.message().contains("authorization: Bearer"), "{native:?}");
    let page = WebClient::new(addr).subscribe(Open::Join(messages::join("demo"))).await.err().expect("refused");
    assert_error(&page, Code::Unauthenticated, reason::TOKEN_INVALID);
}

#[tokio::test]
async fn calls_within_a_session_need_no_token() {
    let server = TokenServer::start(&[]).await;
    let addr = server.addr;
    let ann = server.join(&server.token("demo", "ann"), "demo").await;
    let bob =
        WebMember::join(WebClient::new(addr).with_token(&server.token("demo", "bob")), messages::join("demo")).await;
    let mut ann = Member::try_resume(addr, &ann.disconnect()).await.expect("it can be resumed");
    let (token, offer) = (bob.token.clone(), messages::numbered(1, &ann.id, messages::offer("o")));
    assert_eq!(WebClient::new(addr).send(&token, vec![offer]).await.expect("it is handled").undelivered, []);
    loop {
        if let Some(signalbox_proto::v1::server_message::Body::Offer(offer)) = ann.next().await.body {
            assert_eq!(offer.sdp, "o");
            break;
        }
    }
}

#[tokio::test]
async fn identity_and_name_are_taken_from_the_token() {
    let server = TokenServer::start(&[]).await;
    let named = server.token_with("demo", "ann", &json!({"name": "Ann"}));
    let mut join = messages::join_as("demo", "ann");
    join.display_name = "another name".to_owned();
    let ann = server.try_join(&named, join.clone()).await.expect("the identity may be repeated");
    let you = ann.welcome().you.clone().expect("a welcome names its receiver");
    assert_eq!((you.identity.as_str(), you.display_name.as_str()), ("ann", "Ann"));

    let bob = server
        .try_join(&server.token("demo", "bob"), messages::join("demo"))
        .await
        .expect("the identity may be omitted");
    assert_eq!(bob.welcome().you.as_ref().map(|you| you.identity.as_str()), Some("bob"));
    join.identity = String::new();
    let carol =
        server.try_join(&server.token("demo", "carol"), join.clone()).await.expect("the name is not in the token");
    assert_eq!(carol.welcome().you.as_ref().map(|you| you.display_name.as_str()), Some("another name"));

    join.identity = "root".to_owned();
    let refused = server.try_join(&named, join).await.err().expect("refused");
    assert_field_error(&refused, reason::INVALID_MESSAGE, "join.identity");
}

#[tokio::test]
async fn a_token_joins_its_rooms_only_and_reveals_no_others() {
    let server = TokenServer::start(&[]).await;
    let rooms = ["alpha", "beta", "team-", "team-a", "team-b"];
    let all = server.token("*", "host");
    // Some of the rooms exist.
    let _alpha = server.join(&all, "alpha").await;
    let _team = server.join(&all, "team-a").await;
    let patterns = ["alpha", "beta", "team-*", "team-b", "t*", "*"];
    let mut refusals = Vec::new();
    for pattern in patterns {
        for room in rooms {
            let token = server.token(pattern, &format!("{pattern}-{room}"));
            let matches = pattern == room || pattern.strip_suffix('*').is_some_and(|p| room.starts_with(p));
            match server.try_join(&token, messages::join(room)).await {
                Ok(_) => assert!(matches, "{pattern} joined {room}"),
                Err(status) => {
                    assert!(!matches, "{pattern} did not join {room}: {status:?}");
                    refusals.push((status.code(), status.message().to_owned(), status.details().to_vec()));
                }
            }
        }
    }
    assert_eq!(refusals.len(), 16);
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
    let token = server.token_with("alpha", "ann", &json!({"can_join": false}));
    let refused = server.try_join(&token, messages::join("alpha")).await.err().expect("refused");
    assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    assert_eq!((refused.code(), refused.message().to_owned(), refused.details().to_vec()), refusals[0]);
}

#[tokio::test]
async fn without_can_send_data_a_member_may_signal() {
    let server = TokenServer::start(&[]).await;
    let token = server.token_with("demo", "ann", &json!({"can_send_data": false, "name": "Ann"}));
    let mut ann = server.join(&token, "demo").await;
    let mut bob = server.join(&server.token("demo", "bob"), "demo").await;
    body!(ann.next().await, MemberJoined);
    let color = MemberUpdate { attributes: [("a".to_owned(), "b".to_owned())].into(), ..MemberUpdate::default() };
    for (seq, body) in [messages::data("no"), messages::display_name("Bea"), Body::Update(color), messages::offer("o")]
        .into_iter()
        .enumerate()
    {
        ann.send_message(messages::numbered(seq as u64 + 1, "", body)).await;
    }
    for seq in [1, 2] {
        let report = body!(ann.event().await, Undelivered);
        assert_eq!((report.client_seq, report.reason.as_str()), (seq, undelivered::FORBIDDEN));
    }
    let updated = body!(bob.next().await, MemberUpdated).member.expect("a member");
    assert_eq!((updated.display_name.as_str(), updated.attributes["a"].as_str()), ("Ann", "b"));
    assert_eq!(body!(bob.next().await, Offer).sdp, "o");
    // Other members may send data.
    bob.send("", messages::data("yes")).await;
    assert_eq!(body!(ann.event().await, Data).text, "yes");
}

#[tokio::test]
async fn the_authorization_header_must_be_a_bearer_token() {
    let server = TokenServer::start(&[]).await;
    let token = server.token("demo", "ann");
    let join = || Open::Join(messages::join("demo"));
    let web = WebClient::new(server.addr);
    let with = |value: &str| WebClient { authorization: Some(value.to_owned().leak()), ..web };
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
async fn without_auth_tokens_are_ignored() {
    let server = TestServer::start(&[]).await;
    let token = Key::ed25519(1).mint(&claims("other", "ann"));
    for token in [token.as_str(), "garbage"] {
        let member = Member::try_join_with_token(server.addr, Some(token), messages::join("demo"))
            .await
            .expect("no token is required");
        assert_eq!(member.welcome().you.as_ref().map(|you| you.identity.as_str()), Some(""));
    }
}
