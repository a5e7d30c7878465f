//! Runs random operations on a room and compares it with a simple model.
//!
//! For each session, the model lists all entries that must reach the client. The client has always received a prefix of
//! this list, without gaps or duplicates, over any number of resumes. Once its stream is idle, it has received the
//! whole list.
//!
//! `PROPTEST_CASES=100000` runs more sequences. The fuzz target `session` runs this model with the fuzzer's sequences.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod client;
mod known;
mod model;
mod policy;
mod signals;
mod streams;
mod world;

use proptest::prelude::*;
use signalbox_proto::v1::DuplicateIdentity;

use crate::world::{Numbering, Op, To, World};

fn op() -> impl Strategy<Value = Op> {
    let member = || 0usize..8;
    let to = prop_oneof![8 => member().prop_map(To::Member), 1 => Just(To::Empty), 1 => Just(To::Unknown)];
    let numbering = prop_oneof![
        6 => Just(Numbering::Next), 1 => Just(Numbering::Again), 1 => Just(Numbering::Gap), 2 => Just(Numbering::None)
    ];
    let duplicate = prop_oneof![
        3 => Just(DuplicateIdentity::Replace), 1 => Just(DuplicateIdentity::Reject), 1 => Just(DuplicateIdentity::Allow)
    ];
    prop_oneof![
        6 => (0u8..4, prop_oneof![9 => Just(None), 1 => (0u8..3).prop_map(Some)])
            .prop_map(|(identity, passcode)| Op::Join { identity, passcode }),
        20 => (member(), to, numbering).prop_map(|(from, to, numbering)| Op::Signal { from, to, numbering }),
        3 => member().prop_map(|from| Op::DataToAll { from }),
        10 => (member(), 0usize..6).prop_map(|(member, limit)| Op::Read { member, limit }),
        3 => (member(), -3i64..4).prop_map(|(member, offset)| Op::Ack { member, offset }),
        4 => member().prop_map(|member| Op::Drop { member }),
        1 => member().prop_map(|member| Op::LateDrop { member }),
        5 => (member(), 0u64..4, prop::bool::weighted(0.1), prop::bool::weighted(0.2))
            .prop_map(|(member, back, ahead, lost)| Op::Resume { member, back, ahead, lost }),
        1 => member().prop_map(|member| Op::ForeignResume { member }),
        1 => member().prop_map(|member| Op::Leave { member }),
        1 => member().prop_map(|member| Op::Kick { member }),
        3 => prop_oneof![0u64..40, 60u64..120].prop_map(|seconds| Op::Advance { seconds }),
        1 => Just(Op::Close),
        2 => (1u32..7, prop::bool::weighted(0.2), duplicate, prop_oneof![2 => Just(0u8), 1 => 1u8..3]).prop_map(
            |(max_members, locked, duplicate, passcode)| Op::SetPolicy { max_members, locked, duplicate, passcode }
        ),
        1 => (0u8..4, 0u64..90).prop_map(|(identity, seconds)| Op::Ban { identity, seconds }),
        3 => (member(), member()).prop_map(|(member, peer)| Op::Report { member, peer }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn room_agrees_with_the_model(ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
        world.finish();
    }
}
