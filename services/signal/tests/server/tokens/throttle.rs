//! Who guesses has to wait.

use std::time::Duration;

use signalbox_proto::reason;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::Guarded;
use crate::common::{TestServer, assert_error, native::Member, say};

const THREE: [&str; 4] = ["--max-bad-joins", "3", "--bad-join-window", "30m"];

/// Checks that a join was held back, for about as long.
fn assert_held_back(status: &Status, minutes: u64) {
    assert_error(status, Code::ResourceExhausted, reason::RATE_LIMITED);
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("it says for how long");
    assert!(wait <= Duration::from_secs(60 * minutes) && wait > Duration::from_secs(60 * minutes - 30), "{wait:?}");
}

#[tokio::test]
async fn a_subject_that_tries_other_rooms_is_held_back() {
    let guarded = Guarded::start(&THREE).await;
    let token = guarded.token("demo", "ann");
    let try_room = async |room: &str| guarded.try_join(&token, say::join(room)).await.err();
    for n in 0..3 {
        let refused = try_room(&format!("room-{n}")).await.expect("refused");
        assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    }
    assert_held_back(&try_room("room-4").await.expect("refused"), 10);
    assert_held_back(&try_room("demo").await.expect("even there"), 10);
    // Others at the same address are not.
    guarded.join(&guarded.token("demo", "bob"), "demo").await;
}

#[tokio::test]
async fn an_address_without_a_valid_token_is_held_back_and_those_who_have_one_are_not() {
    let guarded = Guarded::start(&[&THREE[..], &["--bad-joins-by-address", "true"]].concat()).await;
    let guess = async || guarded.try_join("garbage", say::join("demo")).await.err().expect("refused");
    for _ in 0..3 {
        assert_error(&guess().await, Code::Unauthenticated, reason::TOKEN_INVALID);
    }
    assert_held_back(&guess().await, 10);
    guarded.join(&guarded.token("demo", "ann"), "demo").await;
}

#[tokio::test]
async fn loopback_is_no_caller_unless_told_so() {
    let guarded = Guarded::start(&THREE).await;
    for _ in 0..10 {
        let refused = guarded.try_join("garbage", say::join("demo")).await.err().expect("refused");
        assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);
    }
}

#[tokio::test]
async fn without_tokens_guessed_rooms_count_by_address() {
    let flags = ["--auto-create", "false", "--bad-joins-by-address", "true"];
    let server = TestServer::start(&[&THREE[..], &flags].concat()).await;
    let guess = async || Member::try_join(server.addr, say::join("guess")).await.err().expect("refused");
    for _ in 0..3 {
        assert_error(&guess().await, Code::NotFound, reason::ROOM_NOT_FOUND);
    }
    assert_held_back(&guess().await, 10);
}
