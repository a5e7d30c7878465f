//! A room with three members in it, whose limits are so low that short inputs reach them.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use prost::{Message, encoding};
use signalbox_core::{
    Error, Handled, Limits, Newcomer, Next, Permit, Policy, Room, StreamKind, Via,
    id::{MemberId, Secret},
};
use signalbox_proto::v1::{ClientMessage, Member, ServerMessage};

/// What a mailbox holds for joins, updates and leaves beyond what it holds for signals.
const RESERVE: usize = 256 * 1024;

/// Limits within reach.
pub fn limits() -> Limits {
    Limits {
        message_bytes: 1024,
        sdp_bytes: 512,
        candidate_bytes: 128,
        attributes_bytes: 64,
        attributes: 4,
        name_bytes: 16,
        topic_bytes: 8,
        mailbox_bytes: 4096,
        mailbox_entries: 8,
        ..Limits::default()
    }
}

/// The id of the member of that number.
pub fn id(number: u8) -> MemberId {
    MemberId::new([number; 12])
}

/// The room, and the time in it.
pub struct Stage {
    room: Room,
    now: Instant,
}

impl Stage {
    /// Members 0 and 1 on `Exchange`, 2 on `Subscribe`; each has read everything.
    pub fn new(relay_only: bool) -> Self {
        let mut room = Room::new(Policy { relay_only, ..Policy::default() }, limits());
        let now = Instant::now();
        for (number, kind) in [(0, StreamKind::Exchange), (1, StreamKind::Exchange), (2, StreamKind::Subscribe)] {
            let newcomer = Newcomer {
                id: id(number),
                secret: Secret::new([number; 32]),
                member: Member::default(),
                permit: Permit::default(),
            };
            room.join(now, newcomer, None, kind).expect("the room has space");
        }
        let mut stage = Self { room, now };
        for number in 0..3 {
            stage.hear(number);
        }
        stage
    }

    /// Member 0 says something. Whatever it is, mailboxes keep to their bounds.
    pub fn say(&mut self, message: ClientMessage) -> Result<Handled, Error> {
        let handled = self.room.handle(self.now, id(0), Via::Stream(1), message);
        for number in 0..3 {
            let kept = self.room.held_bytes_of(id(number)).unwrap_or_default();
            assert!(kept <= limits().mailbox_bytes + RESERVE, "{kept} bytes are kept");
        }
        handled
    }

    /// What a member's stream has for it now.
    pub fn hear(&mut self, number: u8) -> Vec<ServerMessage> {
        // Acks are due after a while.
        self.now += Duration::from_secs(1);
        let mut heard = Vec::new();
        while let Next::Frame(frame) = self.room.poll(self.now, id(number), 1, Waker::noop()) {
            let mut bytes = BytesMut::from(&frame.bytes[..]);
            if frame.ack > 0 {
                encoding::uint64::encode(2, &frame.ack, &mut bytes);
            }
            heard.push(ServerMessage::decode(bytes).expect("the server's messages can be read"));
            assert!(heard.len() < 100, "a stream comes to an end");
        }
        heard
    }
}
