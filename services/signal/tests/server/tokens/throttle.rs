//! Rate limits of failed joins.

use std::time::Duration;

use signalbox_proto::reason;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::TokenServer;
use crate::common::{TestServer, assert_error, messages, native::Member};

const THREE: [&str; 4] = ["--max-bad-joins", "3", "--bad-join-window", "30m"];

/// Checks that a join is rate-limited for about that time.
fn assert_rate_limited(status: &Status, minutes: u64) {
    assert_error(status, Code::ResourceExhausted, reason::RATE_LIMITED);
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("it has retry_delay");
    assert!(wait <= Duration::from_secs(60 * minutes) && wait > Duration::from_secs(60 * minutes - 30), "{wait:?}");
}

#[tokio::test]
async fn a_subject_that_tries_other_rooms_is_rate_limited() {
    let server = TokenServer::start(&THREE).await;
    let token = server.token("demo", "ann");
    let try_room = async |room: &str| server.try_join(&token, messages::join(room)).await.err();
    for n in 0..3 {
        let refused = try_room(&format!("room-{n}")).await.expect("refused");
        assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    }
    assert_rate_limited(&try_room("room-4").await.expect("refused"), 10);
    assert_rate_limited(&try_room("demo").await.expect("refused"), 10);
    // Another subject at the same address is not.
    server.join(&server.token("demo", "bob"), "demo").await;
}

#[tokio::test]
async fn an_address_is_rate_limited_for_invalid_tokens_only() {
    let server = TokenServer::start(&[&THREE[..], &["--bad-joins-by-address", "true"]].concat()).await;
    let guess = async || server.try_join("garbage", messages::join("demo")).await.err().expect("refused");
    for _ in 0..3 {
        assert_error(&guess().await, Code::Unauthenticated, reason::TOKEN_INVALID);
    }
    assert_rate_limited(&guess().await, 10);
    server.join(&server.token("demo", "ann"), "demo").await;
}

#[tokio::test]
async fn loopback_is_not_rate_limited_by_default() {
    let server = TokenServer::start(&THREE).await;
    for _ in 0..10 {
        let refused = server.try_join("garbage", messages::join("demo")).await.err().expect("refused");
        assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);
    }
}

#[tokio::test]
async fn without_auth_guessed_rooms_count_by_address() {
    let flags = ["--auto-create", "false", "--bad-joins-by-address", "true"];
    let server = TestServer::start(&[&THREE[..], &flags].concat()).await;
    let guess = async || Member::try_join(server.addr, messages::join("guess")).await.err().expect("refused");
    for _ in 0..3 {
        assert_error(&guess().await, Code::NotFound, reason::ROOM_NOT_FOUND);
    }
    assert_rate_limited(&guess().await, 10);
}
