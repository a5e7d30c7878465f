//! A room and the model of the test `room_model`, driven by the operations that the bytes encode: no gap, no duplicate, in
//! order, bounded queues, nothing for fenced streams.
#![no_main]
#![allow(clippy::unwrap_used, reason = "a panic is how a fuzz target fails")]

#[path = "../../../services/signal/core/tests/room_model/client.rs"]
mod client;
#[path = "../../../services/signal/core/tests/room_model/model.rs"]
mod model;
#[path = "../../../services/signal/core/tests/room_model/policy.rs"]
mod policy;
#[path = "../../../services/signal/core/tests/room_model/signals.rs"]
mod signals;
#[path = "../../../services/signal/core/tests/room_model/streams.rs"]
mod streams;
#[path = "../../../services/signal/core/tests/room_model/world.rs"]
mod world;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use signalbox_proto::v1::DuplicateIdentity;

use crate::world::{Numbering, Op, To, World};

/// So few that the news of them cannot fill what mailboxes hold in reserve, which the model does not know.
const MOST: usize = 100;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let mut world = World::new();
    for _ in 0..MOST {
        let Ok(op) = op(&mut bytes) else { break };
        world.apply(&op);
        world.check();
    }
    world.finish();
});

/// The next operation: a byte says which, as often as it helps; one or two more say of whom.
fn op(bytes: &mut Unstructured<'_>) -> Result<Op> {
    if bytes.is_empty() {
        return Err(arbitrary::Error::NotEnoughData);
    }
    let kind = bytes.arbitrary::<u8>()?;
    let [low, high] = {
        let byte = bytes.arbitrary::<u8>()?;
        [byte & 15, byte >> 4]
    };
    let (member, other) = (usize::from(low), usize::from(high));
    Ok(match kind % 24 {
        0..3 => Op::Join { identity: low % 4, passcode: (high > 12).then_some(high % 3) },
        3..9 => {
            let more = bytes.arbitrary::<u8>()?;
            let numbering =
                [Numbering::Next, Numbering::Again, Numbering::Gap, Numbering::None][usize::from(more >> 4 & 3)];
            let to = match more & 15 {
                0..8 => To::Member(other),
                8..12 => To::Empty,
                12 => To::Unknown,
                _ => To::Member(other % 2),
            };
            Op::Signal { from: member, to, numbering }
        }
        9 => Op::DataToAll { from: member },
        10..13 => Op::Read { member, limit: other },
        13 => Op::Ack { member, offset: i64::from(high % 8) - 3 },
        14 => Op::Drop { member },
        15 => Op::LateDrop { member },
        16 | 17 => Op::Resume { member, back: u64::from(high % 8), ahead: high == 15, lost: (11..15).contains(&high) },
        18 => {
            if high > 7 {
                Op::ForeignResume { member }
            } else {
                Op::Leave { member }
            }
        }
        19 => {
            if high > 3 {
                Op::Kick { member }
            } else {
                Op::Close
            }
        }
        20 => Op::Advance { seconds: bytes.arbitrary::<u8>()?.into() },
        21 => {
            let all = [DuplicateIdentity::Replace, DuplicateIdentity::Reject, DuplicateIdentity::Allow];
            let passcode = high.saturating_sub(12);
            Op::SetPolicy {
                max_members: u32::from(low % 6) + 1,
                locked: high == 7,
                duplicate: all[other % 3],
                passcode,
            }
        }
        22 => Op::Ban { identity: low % 4, seconds: u64::from(high) * 6 },
        _ => Op::Report { member, peer: other },
    })
}
