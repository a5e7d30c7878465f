//! Offers, answers, candidates and data: who gets them, and in which state.

use signalbox_proto::v1::{Data, IceCandidate, client_message::Body as Said};

use crate::common::{TestServer, body, native::Member, say};

/// Three members of one room who have seen each other join.
async fn three(server: &TestServer) -> (Member, Member, Member) {
    let mut a = Member::join(server, "demo").await;
    let mut b = Member::join(server, "demo").await;
    let c = Member::join(server, "demo").await;
    assert_eq!(body!(a.next().await, MemberJoined).member.unwrap().member_id, b.id);
    assert_eq!(body!(a.next().await, MemberJoined).member.unwrap().member_id, c.id);
    assert_eq!(body!(b.next().await, MemberJoined).member.unwrap().member_id, c.id);
    (a, b, c)
}

/// The member's next message must be this one, so that nothing else came before it.
async fn assert_next_is_barrier(member: &mut Member, from: &Member, text: &str) {
    from.say(&member.id, say::data(text)).await;
    assert_eq!(body!(member.next().await, Data).text, text);
}

#[tokio::test]
async fn signals_reach_their_addressee_only_with_the_sender_that_the_server_knows() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b, mut c) = three(&server).await;
    let mut stranger = Member::join(&server, "elsewhere").await;

    let mut offer = say::unnumbered(&b.id, say::offer("v=0 offer"));
    offer.negotiation = 77;
    a.send(offer).await;
    let heard = b.next().await;
    assert_eq!((heard.from.as_str(), heard.negotiation), (a.id.as_str(), 77));
    assert!(heard.seq > b.first().seq, "signals have a place in the log");
    assert_eq!(body!(heard, Offer).sdp, "v=0 offer");

    let mut answer = say::unnumbered(&a.id, say::answer("v=0 answer"));
    answer.negotiation = u64::MAX;
    b.send(answer).await;
    let heard = a.next().await;
    assert_eq!((heard.from.as_str(), heard.negotiation), (b.id.as_str(), u64::MAX));
    assert_eq!(body!(heard, Answer).sdp, "v=0 answer");

    a.say(&b.id, say::candidate("candidate:1 1 udp 1 192.0.2.1 9 typ host")).await;
    let heard = b.next().await;
    assert_eq!((heard.from.as_str(), heard.negotiation), (a.id.as_str(), 0));
    assert_eq!(body!(heard, Candidate).candidate, "candidate:1 1 udp 1 192.0.2.1 9 typ host");

    // Neither the third member, nor another room, nor the senders themselves heard any of it.
    assert_next_is_barrier(&mut c, &a, "to c").await;
    assert_next_is_barrier(&mut a, &b, "to a").await;
    assert_next_is_barrier(&mut b, &a, "to b").await;
    let neighbour = Member::join(&server, "elsewhere").await;
    assert_eq!(body!(stranger.next().await, MemberJoined).member.unwrap().member_id, neighbour.id);
}

#[tokio::test]
async fn candidates_are_relayed_as_given_absent_and_empty_fields_apart() {
    let server = TestServer::start(&[]).await;
    let (a, mut b, _c) = three(&server).await;
    let some = |text: &str| Some(text.to_owned());
    let given = [
        // The end of candidates, as Firefox says it.
        IceCandidate {
            candidate: String::new(),
            sdp_mid: some("0"),
            sdp_m_line_index: Some(0),
            username_fragment: None,
        },
        IceCandidate::default(),
        IceCandidate {
            candidate: "candidate:1".to_owned(),
            sdp_mid: some(""),
            sdp_m_line_index: Some(0),
            username_fragment: some(""),
        },
        IceCandidate {
            candidate: "candidate:2".to_owned(),
            sdp_mid: some("audio"),
            sdp_m_line_index: Some(u32::MAX),
            username_fragment: some("uF/+"),
        },
    ];
    for candidate in &given {
        a.say(&b.id, Said::Candidate(candidate.clone())).await;
    }
    for candidate in &given {
        assert_eq!(&body!(b.next().await, Candidate), candidate);
    }
}

#[tokio::test]
async fn data_goes_to_one_or_to_all_others() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b, mut c) = three(&server).await;
    let data = Data { topic: "chat".to_owned(), payload: vec![0, 159, 146, 150].into(), text: "ü😀".to_owned() };

    a.say("", Said::Data(data.clone())).await;
    for member in [&mut b, &mut c] {
        let heard = member.next().await;
        assert_eq!(heard.from, a.id);
        assert_eq!(body!(heard, Data), data);
    }
    b.say(&c.id, Said::Data(data.clone())).await;
    let heard = c.next().await;
    assert_eq!(heard.from, b.id);
    assert_eq!(body!(heard, Data), data);

    assert_next_is_barrier(&mut a, &b, "to a").await;
    assert_next_is_barrier(&mut b, &a, "to b").await;
    assert_next_is_barrier(&mut c, &a, "to c").await;
}

#[tokio::test]
async fn data_to_all_in_an_empty_room_is_no_error() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    a.send(say::numbered(1, "", say::data("anybody there?"))).await;
    a.await_ack(1).await;
}

#[tokio::test]
async fn an_empty_addressee_is_the_only_other_one() {
    let server = TestServer::start(&[]).await;
    let a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    for (said, text) in [(say::offer("o"), "o"), (say::offer("p"), "p")] {
        a.say("", said).await;
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
}

#[tokio::test]
async fn signals_of_one_sender_keep_their_order_whatever_their_kind() {
    let server = TestServer::start(&[]).await;
    let (a, mut b, _c) = three(&server).await;
    for round in 0..50 {
        a.say(&b.id, say::offer(&format!("offer {round}"))).await;
        a.say(&b.id, say::candidate(&format!("candidate {round}"))).await;
        a.say("", say::data(&format!("data {round}"))).await;
    }
    for round in 0..50 {
        assert_eq!(body!(b.next().await, Offer).sdp, format!("offer {round}"));
        assert_eq!(body!(b.next().await, Candidate).candidate, format!("candidate {round}"));
        assert_eq!(body!(b.next().await, Data).text, format!("data {round}"));
    }
}
