//! Resumed sessions: nothing is missing, nothing comes twice.

use signalbox_proto::v1::{Action, LeaveReason, MemberState};
use tonic::Code;

use crate::common::{
    TestServer, assert_error, assert_field_error, body, messages,
    native::{Member, Ticket},
};

async fn pair(server: &TestServer) -> (Member, Member) {
    let mut a = Member::join(server, "demo").await;
    let b = Member::join(server, "demo").await;
    body!(a.next().await, MemberJoined);
    (a, b)
}

/// Drops the stream of a member, and waits until the other member sees it suspended.
async fn suspend(member: Member, other: &mut Member) -> Ticket {
    let ticket = member.disconnect();
    let updated = body!(other.event().await, MemberUpdated).member.unwrap();
    assert_eq!((updated.member_id.as_str(), updated.state()), (ticket.id.as_str(), MemberState::Suspended));
    ticket
}

async fn assert_back(other: &mut Member, id: &str) {
    let updated = body!(other.event().await, MemberUpdated).member.unwrap();
    assert_eq!((updated.member_id.as_str(), updated.state()), (id, MemberState::Connected));
}

#[tokio::test]
async fn a_resume_replays_missed_messages_once() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    a.send("", messages::offer("before")).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "before");

    let ticket = suspend(b, &mut a).await;
    for text in ["1", "2", "3"] {
        a.send("", messages::offer(text)).await;
    }
    let mut b = Member::resume(&server, &ticket).await;
    assert_back(&mut a, &b.id).await;
    let (resumed, ack) = b.resumed();
    assert_eq!((b.first().seq, ack), (ticket.seq, 0), "resumed.seq is after_seq");
    let members: Vec<_> = resumed.members.iter().map(|m| (m.member_id.as_str(), m.state())).collect();
    assert_eq!(members, [(a.id.as_str(), MemberState::Connected)]);

    a.send("", messages::offer("after")).await;
    for text in ["1", "2", "3", "after"] {
        let message = b.next().await;
        assert_eq!(message.from, a.id);
        assert_eq!(body!(message, Offer).sdp, text);
    }
}

#[tokio::test]
async fn a_resume_can_be_repeated_from_the_same_or_an_earlier_position() {
    let server = TestServer::start(&[]).await;
    let (mut a, b) = pair(&server).await;
    let start = b.ticket();
    let mut ticket = suspend(b, &mut a).await;
    a.send("", messages::offer("1")).await;
    a.send("", messages::offer("2")).await;

    // A client that did not receive the replay, or not even `Resumed`, asks for it again.
    for _ in 0..2 {
        let mut b = Member::resume(&server, &ticket).await;
        assert_back(&mut a, &b.id).await;
        assert_eq!(b.resumed().0.replayed, 2);
        assert_eq!(body!(b.next().await, Offer).sdp, "1");
        suspend(b, &mut a).await;
    }
    let mut b = Member::resume(&server, &ticket).await;
    assert_back(&mut a, &b.id).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "1");
    assert_eq!(body!(b.next().await, Offer).sdp, "2");
    a.send("", messages::offer("3")).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "3");

    // From the end nothing is replayed.
    ticket = suspend(b, &mut a).await;
    let b = Member::resume(&server, &ticket).await;
    assert_back(&mut a, &b.id).await;
    assert_eq!(b.resumed().0.replayed, 0);
    suspend(b, &mut a).await;
    // From the start of the session, which is also the meaning of 0.
    for after_seq in [start.seq, 0] {
        let mut b = Member::resume(&server, &Ticket { seq: after_seq, ..start.clone() }).await;
        assert_back(&mut a, &b.id).await;
        assert_eq!((b.first().seq, b.resumed().0.replayed), (after_seq, 3));
        for text in ["1", "2", "3"] {
            assert_eq!(body!(b.next().await, Offer).sdp, text);
        }
        suspend(b, &mut a).await;
    }
}

#[tokio::test]
async fn a_resume_replays_joins_and_leaves() {
    let server = TestServer::start(&[]).await;
    let (mut a, b) = pair(&server).await;
    let ticket = suspend(b, &mut a).await;
    let c = Member::join(&server, "demo").await;
    c.send(&ticket.id, messages::data("hello")).await;
    c.send("", messages::leave()).await;
    body!(a.event().await, MemberJoined);
    body!(a.event().await, MemberLeft);

    let mut b = Member::resume(&server, &ticket).await;
    let (resumed, _) = b.resumed();
    assert_eq!(resumed.members.len(), 1, "the roster is as of now");
    assert_eq!(resumed.replayed, 3);
    assert_eq!(body!(b.next().await, MemberJoined).member.unwrap().member_id, c.id);
    assert_eq!(body!(b.next().await, Data).text, "hello");
    let left = body!(b.next().await, MemberLeft);
    assert_eq!((left.member_id.as_str(), left.reason()), (c.id.as_str(), LeaveReason::Left));
}

#[tokio::test]
async fn a_resume_fences_the_old_stream() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut old) = pair(&server).await;
    let mut b = Member::resume(&server, &old.ticket()).await;
    let (go_away, status) = old.expect_go_away().await;
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("FENCED", Action::Stop));
    assert_error(&status, Code::Aborted, "FENCED");

    // The session is not affected, and the others see nothing.
    drop(old);
    b.send("", messages::data("new stream")).await;
    assert_eq!(body!(a.next().await, Data).text, "new stream");
    a.send("", messages::data("to the new one")).await;
    assert_eq!(body!(b.next().await, Data).text, "to the new one");
}

#[tokio::test]
async fn sequence_numbers_continue_after_a_resume() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    for seq in 1..=3 {
        a.send_message(messages::numbered(seq, "", messages::offer(&seq.to_string()))).await;
    }
    a.await_ack(3).await;
    for text in ["1", "2", "3"] {
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
    let ticket = suspend(a, &mut b).await;

    let mut a = Member::resume(&server, &ticket).await;
    assert_eq!(a.resumed().1, 3, "what need not be sent again");
    // The client did not know: it sends 3 again, and then 4.
    a.send_message(messages::numbered(3, "", messages::offer("3 again"))).await;
    a.send_message(messages::numbered(4, "", messages::offer("4"))).await;
    a.await_ack(4).await;
    assert_back(&mut b, &ticket.id).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "4", "3 was not delivered again");
}

#[tokio::test]
async fn outcomes_are_repeated_after_a_resume_before_the_next_ack() {
    let server = TestServer::start(&[]).await;
    let (a, mut b) = pair(&server).await;
    for (seq, to) in [(1, b.id.as_str()), (2, "unknown"), (3, &b.id), (4, "unknown-too")] {
        a.send_message(messages::numbered(seq, to, messages::offer(&seq.to_string()))).await;
    }
    assert_eq!(body!(b.next().await, Offer).sdp, "1");
    assert_eq!(body!(b.next().await, Offer).sdp, "3");
    // When 5 has arrived, 4 has been handled.
    a.send_message(messages::numbered(5, &b.id, messages::offer("5"))).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "5");
    let ticket = suspend(a, &mut b).await;

    let mut a = Member::resume(&server, &ticket).await;
    assert_eq!(a.resumed().1, 5);
    for (seq, to) in [(2, "unknown"), (4, "unknown-too")] {
        let message = a.next().await;
        assert_eq!(message.ack, 0, "no ack before the outcomes");
        let undelivered = body!(message, Undelivered);
        assert_eq!((undelivered.client_seq, undelivered.to.as_str()), (seq, to));
    }
    a.await_ack(5).await;
}

#[tokio::test]
async fn a_position_ahead_of_the_room_is_refused_and_the_session_stays() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    let ahead = Ticket { seq: b.seq + 1, ..b.ticket() };
    let status = Member::try_resume(server.addr, &ahead).await.err().expect("it must be refused");
    assert_field_error(&status, "INVALID_MESSAGE", "resume.after_seq");

    // The stream was not fenced.
    a.send("", messages::data("still there")).await;
    assert_eq!(body!(b.next().await, Data).text, "still there");
    let ticket = suspend(b, &mut a).await;
    let ahead = Ticket { seq: u64::MAX, ..ticket.clone() };
    let status = Member::try_resume(server.addr, &ahead).await.err().expect("it must be refused");
    assert_field_error(&status, "INVALID_MESSAGE", "resume.after_seq");
    Member::resume(&server, &ticket).await;
    assert_back(&mut a, &ticket.id).await;
}

#[tokio::test]
async fn a_wrong_session_token_is_session_gone() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    let token = b.token.clone();
    let forged = |token: String| Ticket { token, ..b.ticket() };
    // A token is the member's id (16 characters of it), then a secret. Here the secret of another member.
    let swapped = format!("{}{}", &token[..16], &a.token[16..]);
    let flipped = format!("{}{}{}", &token[..20], if &token[20..21] == "A" { "B" } else { "A" }, &token[21..]);
    for garbage in ["".to_owned(), "garbage".to_owned(), "é".to_owned(), "A".repeat(10_000), swapped, flipped] {
        let status = Member::try_resume(server.addr, &forged(garbage.clone())).await.err();
        let status = status.unwrap_or_else(|| panic!("{garbage:?} was accepted"));
        assert_error(&status, Code::NotFound, "SESSION_GONE");
    }
    b.send("", messages::data("undisturbed")).await;
    assert_eq!(body!(a.next().await, Data).text, "undisturbed");
    a.send("", messages::data("undisturbed")).await;
    assert_eq!(body!(b.next().await, Data).text, "undisturbed");
}
