//! Tests with entries that a client may know of before it receives them.

use std::{task::Waker, time::Instant};

use signalbox_core::{
    Limits, Newcomer, Next, Permit, Policy, Room, StreamKind, Via,
    id::{MemberId, Secret},
};
use signalbox_proto::v1::{
    ClientMessage, Data, LeaveReason, Member, MemberState, client_message::Body as ClientBody, server_message::Body,
};

use crate::{
    model::Entry,
    streams::decode,
    world::{Numbering, Op, To, World},
};

const JOIN: Op = Op::Join { identity: 0, passcode: None };
const RESUME: Op = Op::Resume { member: 0, back: 0, ahead: false, lost: false };
const RESUMED_LOST: Op = Op::Resume { member: 0, back: 0, ahead: false, lost: true };
const READ: Op = Op::Read { member: 0, limit: 100 };

/// Runs the operations and returns the entries that member 0, the observer, has received.
fn observe(ops: &[Op]) -> Vec<Entry> {
    let mut world = World::new();
    for op in ops {
        world.apply(op);
        world.check();
    }
    let received = world.live[0].processed.iter().map(|(_, entry)| entry.clone()).collect();
    world.finish();
    received
}

fn is_joined(entry: &Entry) -> bool {
    matches!(entry, Entry::Joined(_))
}

fn is_left(entry: &Entry) -> bool {
    matches!(entry, Entry::Left(_, LeaveReason::Left))
}

#[test]
fn leave_of_a_member_in_the_snapshot_is_delivered() {
    let seen = observe(&[JOIN, Op::Drop { member: 0 }, JOIN, RESUME, Op::Leave { member: 1 }, READ]);
    assert!(matches!(&seen[..], [joined, left] if is_joined(joined) && is_left(left)), "{seen:?}");
}

#[test]
fn lost_snapshot_counts_as_received() {
    let seen = observe(&[JOIN, Op::Drop { member: 0 }, JOIN, RESUMED_LOST, Op::Leave { member: 1 }, RESUME, READ]);
    assert!(matches!(&seen[..], [joined, left] if is_joined(joined) && is_left(left)), "{seen:?}");
    let seen = observe(&[JOIN, Op::Drop { member: 0 }, JOIN, RESUME, RESUME, Op::Leave { member: 1 }, READ]);
    assert!(matches!(&seen[..], [joined, left] if is_joined(joined) && is_left(left)), "{seen:?}");
}

#[test]
fn sender_receives_the_leave_of_an_addressee_whose_join_it_has_not_received() {
    let to_only = Op::Signal { from: 0, to: To::Empty, numbering: Numbering::Next };
    let to_id = Op::Signal { from: 0, to: To::Member(1), numbering: Numbering::Next };
    for send in [to_only, to_id, Op::DataToAll { from: 0 }] {
        let seen = observe(&[JOIN, JOIN, send.clone(), Op::Leave { member: 1 }, READ]);
        assert!(matches!(&seen[..], [joined, left] if is_joined(joined) && is_left(left)), "{send:?}: {seen:?}");
    }
}

#[test]
fn updates_counted_as_replayed_are_not_merged() {
    let flap = [Op::Drop { member: 1 }, Op::Resume { member: 1, back: 0, ahead: false, lost: false }];
    let [drop, resume] = flap;
    let ops = [JOIN, JOIN, READ, Op::Drop { member: 0 }, drop, RESUME, resume, READ];
    let states: Vec<_> = observe(&ops).into_iter().filter(|entry| matches!(entry, Entry::Updated(..))).collect();
    let [Entry::Updated(_, first), Entry::Updated(_, second)] = &states[..] else { panic!("{states:?}") };
    assert_eq!([first, second], [&MemberState::Suspended, &MemberState::Connected]);
}

#[test]
fn unseen_join_and_leave_cancel_out() {
    assert_eq!(observe(&[JOIN, JOIN, Op::Leave { member: 1 }, READ]), []);
}

/// The announcement of a resume may overflow a slow member's mailbox and end its session. The snapshot must omit the
/// slow member, and the replay must contain its leave.
#[test]
fn snapshot_is_as_new_as_the_replay() {
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
    let read_all = |room: &mut Room, id, generation| {
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
    assert_eq!(read_all(&mut room, observer, 1).len(), 11);
    let after = 12;
    room.stream_lost(now, observer, 1);
    // A signal marks all earlier entries as known to its sender, so the observer's updates do not replace each other in
    // the sender's mailbox.
    let data = ClientBody::Data(Data { text: "known".to_owned(), ..Data::default() });
    let message = ClientMessage { to: observer.to_string(), body: Some(data), ..ClientMessage::default() };
    assert!(room.handle(now, slow, Via::Unary, message).unwrap().undelivered.is_empty());
    // The slow member reads nothing. Ten joins and an update wait for it, and further joins fill its mailbox.
    for _ in 0..257 - 11 {
        join(&mut room);
    }
    assert!(room.member(slow).is_some(), "the mailbox is exactly full");

    let start = room.resume(now, observer, &secret, after, StreamKind::Subscribe).unwrap();
    assert!(room.member(slow).is_none(), "the update does not fit");
    assert!(start.members.iter().all(|member| member.member_id != slow.to_string()), "snapshot");
    let entries = read_all(&mut room, observer, start.generation);
    assert_eq!(start.replayed as usize, entries.len());
    let Some(Body::MemberLeft(left)) = entries.last() else { panic!("{entries:?}") };
    assert_eq!((&left.member_id, left.reason()), (&slow.to_string(), LeaveReason::SlowConsumer));
}
