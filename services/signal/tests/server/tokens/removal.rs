//! Who is removed does not come back with a token that was made before.

use serde_json::json;
use signalbox_proto::{reason, v1::RemoveMemberRequest};
use tonic::Code;

use super::Guarded;
use crate::common::{assert_error, body, jwt::now, native::Member, say, with_token};

#[tokio::test]
async fn a_removal_revokes_every_token_that_was_made_for_that_identity_and_room() {
    let guarded = Guarded::start(&[]).await;
    let (shown, kept, wide) =
        (guarded.token("demo", "ann"), guarded.token_for("demo", "ann", 200), guarded.token("*", "ann"));
    let mut ann = guarded.join(&shown, "demo").await;
    let bob = guarded.join(&guarded.token("demo", "bob"), "demo").await;

    let admin = guarded.token_with("demo", "back end", &json!({"can_admin": true}));
    let remove =
        |member_id: &str| RemoveMemberRequest { room: "demo".to_owned(), member_id: member_id.to_owned(), ban: None };
    let mut rooms = guarded.server.rooms().await;
    rooms.remove_member(with_token(remove(&ann.id), Some(&admin))).await.expect("she is removed");
    body!(ann.next().await, MemberJoined);
    let (go_away, status) = ann.sent_away().await;
    assert_eq!(go_away.reason, reason::REMOVED);
    assert_error(&status, Code::Aborted, reason::REMOVED);
    for token in [&shown, &kept, &wide] {
        let refused = guarded.try_join(token, say::join("demo")).await.err().expect("refused");
        assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    }
    let gone = Member::try_resume_as(guarded.server.addr, Some(&kept), &ann.ticket()).await.err().expect("refused");
    assert_error(&gone, Code::NotFound, reason::SESSION_GONE);

    // Other rooms, other members and tokens that were made afterwards are as good as before.
    guarded.join(&wide, "other").await;
    drop(bob);
    guarded.join(&guarded.token("demo", "bob"), "demo").await;
    let later = guarded.token_with("demo", "ann", &json!({"nbf": now() + 2}));
    guarded.join(&later, "demo").await;
}

#[tokio::test]
async fn a_member_without_a_token_is_removed_as_ever() {
    let server = super::TestServer::start(&[]).await;
    let mut ann = Member::join_with(server.addr, say::join_as("demo", "ann")).await;
    let remove = RemoveMemberRequest { room: "demo".to_owned(), member_id: ann.id.clone(), ban: None };
    server.rooms().await.remove_member(remove).await.expect("she is removed");
    ann.sent_away().await;
    Member::join_with(server.addr, say::join_as("demo", "ann")).await;
}
