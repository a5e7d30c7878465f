//! Random operations on a room, checked against a model that is too simple to be wrong.
//!
//! The model keeps, for each session, the whole list of what must reach it. A client reads its streams and must have
//! seen a prefix of that list at any time, and all of it once its stream has nothing more to say: no gap, no
//! duplicate, in order, over any number of resumes. `PROPTEST_CASES=100000` runs more sequences; the fuzz target
//! `session` has the same model, with sequences of its own making.

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
    let who = || 0usize..8;
    let to = prop_oneof![8 => who().prop_map(To::Member), 1 => Just(To::Empty), 1 => Just(To::Nobody)];
    let numbering = prop_oneof![
        6 => Just(Numbering::Next), 1 => Just(Numbering::Again), 1 => Just(Numbering::Gap), 2 => Just(Numbering::None)
    ];
    let duplicate = prop_oneof![
        3 => Just(DuplicateIdentity::Replace), 1 => Just(DuplicateIdentity::Reject), 1 => Just(DuplicateIdentity::Allow)
    ];
    prop_oneof![
        6 => (0u8..4, prop_oneof![9 => Just(None), 1 => (0u8..3).prop_map(Some)])
            .prop_map(|(identity, passcode)| Op::Join { identity, passcode }),
        20 => (who(), to, numbering).prop_map(|(from, to, numbering)| Op::Signal { from, to, numbering }),
        3 => who().prop_map(|from| Op::DataToAll { from }),
        10 => (who(), 0usize..6).prop_map(|(who, most)| Op::Read { who, most }),
        3 => (who(), -3i64..4).prop_map(|(who, offset)| Op::Ack { who, offset }),
        4 => who().prop_map(|who| Op::Drop { who }),
        1 => who().prop_map(|who| Op::LateDrop { who }),
        5 => (who(), 0u64..4, prop::bool::weighted(0.1), prop::bool::weighted(0.2))
            .prop_map(|(who, back, ahead, lost)| Op::Resume { who, back, ahead, lost }),
        1 => who().prop_map(|who| Op::ForeignResume { who }),
        1 => who().prop_map(|who| Op::Leave { who }),
        1 => who().prop_map(|who| Op::Kick { who }),
        3 => prop_oneof![0u64..40, 60u64..120].prop_map(|seconds| Op::Pass { seconds }),
        1 => Just(Op::Close),
        2 => (1u32..7, prop::bool::weighted(0.2), duplicate, prop_oneof![2 => Just(0u8), 1 => 1u8..3]).prop_map(
            |(seats, locked, duplicate, passcode)| Op::SetPolicy { seats, locked, duplicate, passcode }
        ),
        1 => (0u8..4, 0u64..90).prop_map(|(identity, seconds)| Op::Ban { identity, seconds }),
        3 => (who(), who()).prop_map(|(who, peer)| Op::Report { who, peer }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_room_does_what_the_model_says(ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
        world.finish();
    }
}
