//! A removal revokes tokens.

use serde_json::json;
use signalbox_proto::{reason, v1::RemoveMemberRequest};
use tonic::Code;

use super::TokenServer;
use crate::common::{TestServer, assert_error, body, jwt::now, messages, native::Member, with_token};

#[tokio::test]
async fn a_removal_revokes_all_earlier_tokens_of_the_identity_for_the_room() {
    let server = TokenServer::start(&[]).await;
    let (used, unused, wide) =
        (server.token("demo", "ann"), server.token_for("demo", "ann", 200), server.token("*", "ann"));
    let mut ann = server.join(&used, "demo").await;
    let bob = server.join(&server.token("demo", "bob"), "demo").await;

    let admin = server.token_with("demo", "backend", &json!({"can_admin": true}));
    let remove =
        |member_id: &str| RemoveMemberRequest { room: "demo".to_owned(), member_id: member_id.to_owned(), ban: None };
    let mut rooms = server.rooms().await;
    rooms.remove_member(with_token(remove(&ann.id), Some(&admin))).await.expect("she is removed");
    body!(ann.next().await, MemberJoined);
    let (go_away, status) = ann.expect_go_away().await;
    assert_eq!(go_away.reason, reason::REMOVED);
    assert_error(&status, Code::Aborted, reason::REMOVED);
    for token in [&used, &unused, &wide] {
        let refused = server.try_join(token, messages::join("demo")).await.err().expect("refused");
        assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    }
    let gone = Member::try_resume_with_token(server.addr, Some(&unused), &ann.ticket()).await.err().expect("refused");
    assert_error(&gone, Code::NotFound, reason::SESSION_GONE);

    // Other rooms, other members and later tokens are not affected.
    server.join(&wide, "other").await;
    drop(bob);
    server.join(&server.token("demo", "bob"), "demo").await;
    let later = server.token_with("demo", "ann", &json!({"nbf": now() + 2}));
    server.join(&later, "demo").await;
}

#[tokio::test]
async fn a_member_without_a_token_may_rejoin_after_a_removal() {
    let server = TestServer::start(&[]).await;
    let mut ann = Member::join_with(server.addr, messages::join_as("demo", "ann")).await;
    let remove = RemoveMemberRequest { room: "demo".to_owned(), member_id: ann.id.clone(), ban: None };
    server.rooms().await.remove_member(remove).await.expect("she is removed");
    ann.expect_go_away().await;
    Member::join_with(server.addr, messages::join_as("demo", "ann")).await;
}
