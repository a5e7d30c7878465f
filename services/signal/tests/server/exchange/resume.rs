//! Streams come and go, the session goes on: nothing is missing, nothing comes twice.

use signalbox_proto::v1::{Action, LeaveReason, MemberState};
use tonic::Code;

use crate::common::{
    TestServer, assert_error, assert_field_error, body,
    native::{Member, Ticket},
    say,
};

async fn pair(server: &TestServer) -> (Member, Member) {
    let mut a = Member::join(server, "demo").await;
    let b = Member::join(server, "demo").await;
    body!(a.next().await, MemberJoined);
    (a, b)
}

/// The member loses its stream, and the other has been told.
async fn lose(member: Member, other: &mut Member) -> Ticket {
    let ticket = member.lose();
    let shown = body!(other.event().await, MemberUpdated).member.unwrap();
    assert_eq!((shown.member_id.as_str(), shown.state()), (ticket.id.as_str(), MemberState::Suspended));
    ticket
}

async fn assert_back(other: &mut Member, id: &str) {
    let shown = body!(other.event().await, MemberUpdated).member.unwrap();
    assert_eq!((shown.member_id.as_str(), shown.state()), (id, MemberState::Connected));
}

#[tokio::test]
async fn a_resume_replays_once_what_came_meanwhile() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    a.say("", say::offer("before")).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "before");

    let ticket = lose(b, &mut a).await;
    for text in ["1", "2", "3"] {
        a.say("", say::offer(text)).await;
    }
    let mut b = Member::resume(&server, &ticket).await;
    assert_back(&mut a, &b.id).await;
    let (resumed, ack) = b.resumed();
    assert_eq!((b.first().seq, ack), (ticket.seq, 0), "resumed.seq is after_seq");
    let members: Vec<_> = resumed.members.iter().map(|m| (m.member_id.as_str(), m.state())).collect();
    assert_eq!(members, [(a.id.as_str(), MemberState::Connected)]);

    a.say("", say::offer("after")).await;
    for text in ["1", "2", "3", "after"] {
        let message = b.next().await;
        assert_eq!(message.from, a.id);
        assert_eq!(body!(message, Offer).sdp, text);
    }
}

#[tokio::test]
async fn a_resume_can_be_repeated_from_the_same_place_or_an_earlier_one() {
    let server = TestServer::start(&[]).await;
    let (mut a, b) = pair(&server).await;
    let start = b.ticket();
    let mut ticket = lose(b, &mut a).await;
    a.say("", say::offer("1")).await;
    a.say("", say::offer("2")).await;

    // Whether the replay, or even the resumed, arrived is not known: it is asked for again.
    for _ in 0..2 {
        let mut b = Member::resume(&server, &ticket).await;
        assert_back(&mut a, &b.id).await;
        assert_eq!(b.resumed().0.replayed, 2);
        assert_eq!(body!(b.next().await, Offer).sdp, "1");
        lose(b, &mut a).await;
    }
    let mut b = Member::resume(&server, &ticket).await;
    assert_back(&mut a, &b.id).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "1");
    assert_eq!(body!(b.next().await, Offer).sdp, "2");
    a.say("", say::offer("3")).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "3");

    // From the end: nothing is replayed.
    ticket = lose(b, &mut a).await;
    let b = Member::resume(&server, &ticket).await;
    assert_back(&mut a, &b.id).await;
    assert_eq!(b.resumed().0.replayed, 0);
    lose(b, &mut a).await;
    // From the session's start, which 0 means too.
    for after_seq in [start.seq, 0] {
        let mut b = Member::resume(&server, &Ticket { seq: after_seq, ..start.clone() }).await;
        assert_back(&mut a, &b.id).await;
        assert_eq!((b.first().seq, b.resumed().0.replayed), (after_seq, 3));
        for text in ["1", "2", "3"] {
            assert_eq!(body!(b.next().await, Offer).sdp, text);
        }
        lose(b, &mut a).await;
    }
}

#[tokio::test]
async fn a_resume_replays_what_became_of_others_too() {
    let server = TestServer::start(&[]).await;
    let (mut a, b) = pair(&server).await;
    let ticket = lose(b, &mut a).await;
    let c = Member::join(&server, "demo").await;
    c.say(&ticket.id, say::data("hello")).await;
    c.say("", say::leave()).await;
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
async fn a_resume_fences_the_stream_that_still_looks_alive() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut old) = pair(&server).await;
    let mut b = Member::resume(&server, &old.ticket()).await;
    let (go_away, status) = old.sent_away().await;
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("FENCED", Action::Stop));
    assert_error(&status, Code::Aborted, "FENCED");

    // Neither the fencing nor the end of the old stream touches the session: the others see nothing.
    drop(old);
    b.say("", say::data("new stream")).await;
    assert_eq!(body!(a.next().await, Data).text, "new stream");
    a.say("", say::data("to the new one")).await;
    assert_eq!(body!(b.next().await, Data).text, "to the new one");
}

#[tokio::test]
async fn numbers_go_on_after_a_resume() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    for seq in 1..=3 {
        a.send(say::numbered(seq, "", say::offer(&seq.to_string()))).await;
    }
    a.await_ack(3).await;
    for text in ["1", "2", "3"] {
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
    let ticket = lose(a, &mut b).await;

    let mut a = Member::resume(&server, &ticket).await;
    assert_eq!(a.resumed().1, 3, "what need not be sent again");
    // The client did not know: it sends 3 again, and then 4.
    a.send(say::numbered(3, "", say::offer("3 again"))).await;
    a.send(say::numbered(4, "", say::offer("4"))).await;
    a.await_ack(4).await;
    assert_back(&mut b, &ticket.id).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "4", "3 was not delivered again");
}

#[tokio::test]
async fn outcomes_that_the_lost_stream_may_have_swallowed_are_told_again_before_the_next_ack() {
    let server = TestServer::start(&[]).await;
    let (a, mut b) = pair(&server).await;
    for (seq, to) in [(1, b.id.as_str()), (2, "nobody"), (3, &b.id), (4, "no one")] {
        a.send(say::numbered(seq, to, say::offer(&seq.to_string()))).await;
    }
    assert_eq!(body!(b.next().await, Offer).sdp, "1");
    assert_eq!(body!(b.next().await, Offer).sdp, "3");
    // Handled up to 4, since what came after 3 on the stream is handled before what comes after it in the room.
    a.send(say::numbered(5, &b.id, say::offer("5"))).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "5");
    let ticket = lose(a, &mut b).await;

    let mut a = Member::resume(&server, &ticket).await;
    assert_eq!(a.resumed().1, 5);
    for (seq, to) in [(2, "nobody"), (4, "no one")] {
        let message = a.next().await;
        assert_eq!(message.ack, 0, "no ack before the outcomes are told");
        let undelivered = body!(message, Undelivered);
        assert_eq!((undelivered.client_seq, undelivered.to.as_str()), (seq, to));
    }
    a.await_ack(5).await;
}

#[tokio::test]
async fn a_place_that_the_room_has_not_reached_is_refused_and_the_session_stays() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    let ahead = Ticket { seq: b.seq + 1, ..b.ticket() };
    let status = Member::try_resume(server.addr, &ahead).await.err().expect("it must be refused");
    assert_field_error(&status, "INVALID_MESSAGE", "resume.after_seq");

    // The stream that carries the session was not even fenced.
    a.say("", say::data("still there")).await;
    assert_eq!(body!(b.next().await, Data).text, "still there");
    let ticket = lose(b, &mut a).await;
    let ahead = Ticket { seq: u64::MAX, ..ticket.clone() };
    let status = Member::try_resume(server.addr, &ahead).await.err().expect("it must be refused");
    assert_field_error(&status, "INVALID_MESSAGE", "resume.after_seq");
    Member::resume(&server, &ticket).await;
    assert_back(&mut a, &ticket.id).await;
}

#[tokio::test]
async fn a_token_that_is_not_the_sessions_own_is_session_gone() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    let token = b.token.clone();
    let forged = |token: String| Ticket { token, ..b.ticket() };
    // A token holds the member's id (16 characters of it), then the secret: that of another is of no use.
    let swapped = format!("{}{}", &token[..16], &a.token[16..]);
    let flipped = format!("{}{}{}", &token[..20], if &token[20..21] == "A" { "B" } else { "A" }, &token[21..]);
    for garbage in ["".to_owned(), "garbage".to_owned(), "é".to_owned(), "A".repeat(10_000), swapped, flipped] {
        let status = Member::try_resume(server.addr, &forged(garbage.clone())).await.err();
        let status = status.unwrap_or_else(|| panic!("{garbage:?} was taken for a token"));
        assert_error(&status, Code::NotFound, "SESSION_GONE");
    }
    b.say("", say::data("undisturbed")).await;
    assert_eq!(body!(a.next().await, Data).text, "undisturbed");
    a.say("", say::data("undisturbed")).await;
    assert_eq!(body!(b.next().await, Data).text, "undisturbed");
}
