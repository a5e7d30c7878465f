use std::{task::Waker, time::Duration};

use prost::Message;
use signalbox_proto::v1::{
    ClientMessage, Heartbeat, Member, ServerMessage, client_message::Body as ClientBody, server_message::Body,
};

use super::*;
use crate::{
    id::{MemberId, Secret},
    inbound::Via,
    limits::Limits,
    permit::Permit,
    policy::Policy,
    room::Newcomer,
    stream::Next,
};

const HEARTBEAT: Duration = Duration::from_secs(15);
/// `Limits::silence_timeout`: two heartbeats and 5 s.
const SILENCE: Duration = Duration::from_secs(35);
const MOMENT: Duration = Duration::from_millis(1);

struct Clocked {
    room: Room,
    id: MemberId,
    start: Instant,
}

impl Clocked {
    /// Creates a room with one member whose mailbox is empty.
    fn new(kind: StreamKind) -> Self {
        let limits = Limits { heartbeat_interval: HEARTBEAT, ..Limits::default() };
        let (mut room, id, start) = (Room::new(Policy::default(), limits), MemberId::new([1; 12]), Instant::now());
        let newcomer =
            Newcomer { id, secret: Secret::new([1; 32]), member: Member::default(), permit: Permit::default() };
        room.join(start, newcomer, None, kind).expect("the room is empty");
        Self { room, id, start }
    }

    fn poll(&mut self, after: Duration) -> Next {
        self.room.poll(self.start + after, self.id, 1, Waker::noop())
    }

    fn assert_waits_until(&mut self, after: Duration, deadline: Duration) {
        let deadline = self.start + deadline;
        match self.poll(after) {
            Next::Wait(until) => assert_eq!(until, deadline),
            _ => panic!("there is something to send after {after:?}"),
        }
    }

    fn assert_heartbeat(&mut self, after: Duration) {
        let Next::Frame(frame) = self.poll(after) else { panic!("nothing is sent after {after:?}") };
        let message = ServerMessage::decode(frame.bytes).expect("a message");
        assert!(matches!(message.body, Some(Body::Heartbeat(_))), "{message:?}");
    }
}

#[test]
fn an_idle_stream_gets_a_heartbeat_in_each_interval() {
    let mut clocked = Clocked::new(StreamKind::Exchange);
    clocked.assert_waits_until(Duration::ZERO, HEARTBEAT);
    clocked.assert_waits_until(HEARTBEAT - MOMENT, HEARTBEAT);
    clocked.assert_heartbeat(HEARTBEAT);
    clocked.assert_waits_until(HEARTBEAT, 2 * HEARTBEAT);
    clocked.assert_heartbeat(2 * HEARTBEAT);
}

#[test]
fn a_silent_page_loses_its_stream_after_the_timeout_and_a_native_client_does_not() {
    for (kind, is_lost) in [(StreamKind::Subscribe, true), (StreamKind::Exchange, false)] {
        let mut clocked = Clocked::new(kind);
        // The timeout starts at the client's last message.
        let sent_at = Duration::from_secs(10);
        let heartbeat = Some(ClientBody::Heartbeat(Heartbeat {}));
        let heartbeat = ClientMessage { body: heartbeat, ..ClientMessage::default() };
        clocked.room.handle(clocked.start + sent_at, clocked.id, Via::Unary, heartbeat).expect("a heartbeat");
        let due = sent_at + SILENCE;
        clocked.room.tick(clocked.start + due);
        clocked.assert_heartbeat(due);
        clocked.room.tick(clocked.start + due + MOMENT);
        match clocked.poll(due + MOMENT) {
            Next::End(end) => assert!(is_lost && end == End::Fault(Error::HeartbeatTimeout), "{end:?}"),
            Next::Wait(_) => assert!(!is_lost, "the stream is still there"),
            Next::Frame(_) => panic!("there is nothing to send"),
        }
    }
}
