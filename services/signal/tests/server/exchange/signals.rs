//! Offers, answers, candidates and data: to whom they are delivered, unchanged.

use signalbox_proto::v1::{Data, IceCandidate, client_message::Body as ClientBody};

use crate::common::{TestServer, body, messages, native::Member};

/// Three members of a room that have received the joins of each other.
async fn three(server: &TestServer) -> (Member, Member, Member) {
    let mut a = Member::join(server, "demo").await;
    let mut b = Member::join(server, "demo").await;
    let c = Member::join(server, "demo").await;
    assert_eq!(body!(a.next().await, MemberJoined).member.unwrap().member_id, b.id);
    assert_eq!(body!(a.next().await, MemberJoined).member.unwrap().member_id, c.id);
    assert_eq!(body!(b.next().await, MemberJoined).member.unwrap().member_id, c.id);
    (a, b, c)
}

/// The next message of the member is this one, so nothing came before it.
async fn assert_next_is_barrier(member: &mut Member, from: &Member, text: &str) {
    from.send(&member.id, messages::data(text)).await;
    assert_eq!(body!(member.next().await, Data).text, text);
}

#[tokio::test]
async fn signals_reach_only_their_addressee_and_name_their_sender() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b, mut c) = three(&server).await;
    let mut stranger = Member::join(&server, "elsewhere").await;

    let mut offer = messages::unnumbered(&b.id, messages::offer("v=0 offer"));
    offer.negotiation = 77;
    a.send_message(offer).await;
    let received = b.next().await;
    assert_eq!((received.from.as_str(), received.negotiation), (a.id.as_str(), 77));
    assert!(received.seq > b.first().seq, "signals have sequence numbers");
    assert_eq!(body!(received, Offer).sdp, "v=0 offer");

    let mut answer = messages::unnumbered(&a.id, messages::answer("v=0 answer"));
    answer.negotiation = u64::MAX;
    b.send_message(answer).await;
    let received = a.next().await;
    assert_eq!((received.from.as_str(), received.negotiation), (b.id.as_str(), u64::MAX));
    assert_eq!(body!(received, Answer).sdp, "v=0 answer");

    a.send(&b.id, messages::candidate("candidate:1 1 udp 1 192.0.2.1 9 typ host")).await;
    let received = b.next().await;
    assert_eq!((received.from.as_str(), received.negotiation), (a.id.as_str(), 0));
    assert_eq!(body!(received, Candidate).candidate, "candidate:1 1 udp 1 192.0.2.1 9 typ host");

    // Neither the third member, nor another room, nor the senders received any of it.
    assert_next_is_barrier(&mut c, &a, "to c").await;
    assert_next_is_barrier(&mut a, &b, "to a").await;
    assert_next_is_barrier(&mut b, &a, "to b").await;
    let neighbour = Member::join(&server, "elsewhere").await;
    assert_eq!(body!(stranger.next().await, MemberJoined).member.unwrap().member_id, neighbour.id);
}

#[tokio::test]
async fn candidates_arrive_unchanged_with_absent_and_empty_fields_distinct() {
    let server = TestServer::start(&[]).await;
    let (a, mut b, _c) = three(&server).await;
    let some = |text: &str| Some(text.to_owned());
    let given = [
        // The end of candidates, as Firefox sends it.
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
        a.send(&b.id, ClientBody::Candidate(candidate.clone())).await;
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

    a.send("", ClientBody::Data(data.clone())).await;
    for member in [&mut b, &mut c] {
        let received = member.next().await;
        assert_eq!(received.from, a.id);
        assert_eq!(body!(received, Data), data);
    }
    b.send(&c.id, ClientBody::Data(data.clone())).await;
    let received = c.next().await;
    assert_eq!(received.from, b.id);
    assert_eq!(body!(received, Data), data);

    assert_next_is_barrier(&mut a, &b, "to a").await;
    assert_next_is_barrier(&mut b, &a, "to b").await;
    assert_next_is_barrier(&mut c, &a, "to c").await;
}

#[tokio::test]
async fn data_to_all_without_other_members_is_accepted() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    a.send_message(messages::numbered(1, "", messages::data("anybody there?"))).await;
    a.await_ack(1).await;
}

#[tokio::test]
async fn an_empty_addressee_is_the_only_other_member() {
    let server = TestServer::start(&[]).await;
    let a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    for (body, text) in [(messages::offer("o"), "o"), (messages::offer("p"), "p")] {
        a.send("", body).await;
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
}

#[tokio::test]
async fn signals_of_all_kinds_keep_their_order() {
    let server = TestServer::start(&[]).await;
    let (a, mut b, _c) = three(&server).await;
    for round in 0..50 {
        a.send(&b.id, messages::offer(&format!("offer {round}"))).await;
        a.send(&b.id, messages::candidate(&format!("candidate {round}"))).await;
        a.send("", messages::data(&format!("data {round}"))).await;
    }
    for round in 0..50 {
        assert_eq!(body!(b.next().await, Offer).sdp, format!("offer {round}"));
        assert_eq!(body!(b.next().await, Candidate).candidate, format!("candidate {round}"));
        assert_eq!(body!(b.next().await, Data).text, format!("data {round}"));
    }
}
