//! What a client may know without having read it, case by case.

use std::{task::Waker, time::Instant};

use signalbox_core::{
    Limits, Newcomer, Next, Permit, Policy, Room, StreamKind, Via,
    id::{MemberId, Secret},
};
use signalbox_proto::v1::{
    ClientMessage, Data, LeaveReason, Member, MemberState, client_message::Body as ClientBody, server_message::Body,
};

use crate::{
    model::News,
    streams::decode,
    world::{Numbering, Op, To, World},
};

const JOIN: Op = Op::Join { identity: 0, passcode: None };
const RESUME: Op = Op::Resume { who: 0, back: 0, ahead: false, lost: false };
const RESUMED_LOST: Op = Op::Resume { who: 0, back: 0, ahead: false, lost: true };
const READ: Op = Op::Read { who: 0, most: 100 };

/// Member 0 is the observer, 1 the other one. Runs the operations; what the observer has read by then.
fn observe(ops: &[Op]) -> Vec<News> {
    let mut world = World::new();
    for op in ops {
        world.apply(op);
        world.check();
    }
    let seen = world.live[0].processed.iter().map(|(_, news)| news.clone()).collect();
    world.finish();
    seen
}

fn is_joined(news: &News) -> bool {
    matches!(news, News::Joined(_))
}

fn is_left(news: &News) -> bool {
    matches!(news, News::Left(_, LeaveReason::Left))
}

#[test]
fn a_member_that_a_snapshot_showed_leaves_aloud() {
    let seen = observe(&[JOIN, Op::Drop { who: 0 }, JOIN, RESUME, Op::Leave { who: 1 }, READ]);
    assert!(matches!(&seen[..], [joined, left] if is_joined(joined) && is_left(left)), "{seen:?}");
}

#[test]
fn a_snapshot_that_may_have_been_lost_counts_as_shown() {
    let seen = observe(&[JOIN, Op::Drop { who: 0 }, JOIN, RESUMED_LOST, Op::Leave { who: 1 }, RESUME, READ]);
    assert!(matches!(&seen[..], [joined, left] if is_joined(joined) && is_left(left)), "{seen:?}");
    let seen = observe(&[JOIN, Op::Drop { who: 0 }, JOIN, RESUME, RESUME, Op::Leave { who: 1 }, READ]);
    assert!(matches!(&seen[..], [joined, left] if is_joined(joined) && is_left(left)), "{seen:?}");
}

#[test]
fn the_sender_learns_of_the_end_of_an_addressee_whose_join_it_has_not_read() {
    let to_only = Op::Signal { from: 0, to: To::Empty, numbering: Numbering::Next };
    let to_id = Op::Signal { from: 0, to: To::Member(1), numbering: Numbering::Next };
    for send in [to_only, to_id, Op::DataToAll { from: 0 }] {
        let seen = observe(&[JOIN, JOIN, send.clone(), Op::Leave { who: 1 }, READ]);
        assert!(matches!(&seen[..], [joined, left] if is_joined(joined) && is_left(left)), "{send:?}: {seen:?}");
    }
}

#[test]
fn updates_that_a_resume_counted_as_replayed_are_not_merged() {
    let flap = [Op::Drop { who: 1 }, Op::Resume { who: 1, back: 0, ahead: false, lost: false }];
    let [drop, resume] = flap;
    let ops = [JOIN, JOIN, READ, Op::Drop { who: 0 }, drop, RESUME, resume, READ];
    let states: Vec<_> = observe(&ops).into_iter().filter(|news| matches!(news, News::Updated(..))).collect();
    let [News::Updated(_, first), News::Updated(_, second)] = &states[..] else { panic!("{states:?}") };
    assert_eq!([first, second], [&MemberState::Suspended, &MemberState::Connected]);
}

#[test]
fn a_visit_that_nobody_can_know_of_takes_no_space() {
    assert_eq!(observe(&[JOIN, JOIN, Op::Leave { who: 1 }, READ]), []);
}

/// The announcement of a resume may end a member that is too slow for it. The snapshot does not show that member, and
/// its leave is part of the replay.
#[test]
fn a_snapshot_is_as_new_as_the_replay_that_it_counts() {
    let now = Instant::now();
    let limits = Limits { mailbox_entries: 1, ..Limits::default() };
    let mut room = Room::new(Policy { max_members: 1000, ..Policy::default() }, limits);
    let secret = Secret::new([1; 32]);
    let mut joined = 0_u16;
    let mut join = |room: &mut Room| {
        joined += 1;
        let mut bits = [0; 12];
        bits[..2].copy_from_slice(&joined.to_be_bytes());
        let newcomer = Newcomer {
            id: MemberId::new(bits),
            secret: Secret::new([1; 32]),
            member: Member::default(),
            permit: Permit::default(),
        };
        room.join(now, newcomer, None, StreamKind::Subscribe).unwrap();
        MemberId::new(bits)
    };
    let drain = |room: &mut Room, id, generation| {
        let mut bodies = Vec::new();
        while let Next::Frame(frame) = room.poll(now, id, generation, Waker::noop()) {
            bodies.extend(decode(&frame).body);
        }
        bodies
    };
    let observer = join(&mut room);
    let slow = join(&mut room);
    for _ in 0..10 {
        join(&mut room);
    }
    let read = drain(&mut room, observer, 1).len();
    assert_eq!(read, 11);
    let after = 12;
    room.stream_lost(now, observer, 1);
    // A sender may know of everything before its signal, so a later update of the observer does not replace the first.
    let data = ClientBody::Data(Data { text: "known".to_owned(), ..Data::default() });
    let message = ClientMessage { to: observer.to_string(), body: Some(data), ..ClientMessage::default() };
    assert!(room.handle(now, slow, Via::Unary, message).unwrap().undelivered.is_empty());
    // The slow member reads nothing: ten joins and an update wait for it, and as many joins as fit.
    for _ in 0..257 - 11 {
        join(&mut room);
    }
    assert!(room.member(slow).is_some(), "nothing was too much yet");

    let opened = room.resume(now, observer, &secret, after, StreamKind::Subscribe).unwrap();
    assert!(room.member(slow).is_none(), "the announcement did not fit");
    assert!(opened.members.iter().all(|member| member.member_id != slow.to_string()), "the snapshot");
    let entries = drain(&mut room, observer, opened.generation);
    assert_eq!(opened.replayed as usize, entries.len());
    let Some(Body::MemberLeft(left)) = entries.last() else { panic!("{entries:?}") };
    assert_eq!((&left.member_id, left.reason()), (&slow.to_string(), LeaveReason::SlowConsumer));
}
