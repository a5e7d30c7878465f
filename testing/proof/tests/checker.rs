//! The checker passes what is right and names what is wrong.

#[path = "checker/cases.rs"]
mod cases;
#[path = "checker/dice.rs"]
mod dice;
#[path = "checker/generate.rs"]
mod generate;
#[path = "checker/plant.rs"]
mod plant;

use std::collections::BTreeSet;

use dice::Dice;
use generate::history;
use plant::Defect;
use proptest::prelude::*;
use signalbox_proof::checker::{Check, Checker, KEPT, Report, Verdict};
use signalbox_proof::history::{Note, What};

const EACH: usize = 200;

#[test]
fn clean_histories_pass() {
    let (mut sent, mut unknown, mut undelivered, mut resumes, mut ends, mut losses) = (0, 0, 0, 0, 0, 0);
    let (mut to_all, mut ended) = (0, 0);
    for seed in 0..1_000 {
        let notes = history(seed);
        let mut checker = Checker::new();
        for note in &notes {
            checker.note(note);
            to_all += u64::from(matches!(&note.what, What::Sent { to, .. } if to.is_empty()));
            ended += u64::from(matches!(&note.what, What::Ended { .. }));
        }
        assert!(checker.breach().is_none(), "seed {seed}: {:?}", checker.breach());
        let report = checker.finish();
        assert!(report.passed(), "seed {seed}: {report}");
        assert_eq!(report.counts.lost, 0, "seed {seed}");
        sent += report.counts.sent;
        unknown += report.counts.unknown;
        undelivered += report.counts.undelivered;
        resumes += report.counts.resumes;
        ends += report.counts.ends;
        losses += report.counts.server_losses;
    }
    // They are not clean for want of anything happening.
    assert!(sent > 200_000, "{sent}");
    for (count, least) in [(unknown, 1_000), (undelivered, 10_000), (resumes, 10_000), (ends, 5_000), (losses, 500)] {
        assert!(count > least, "{count} of {least}");
    }
    assert!(to_all > 5_000 && ended > 2_000, "{to_all} to all, {ended} ended");
}

/// Plants one defect in each of many histories: each must be found, and named rightly.
fn planted(defect: Defect, check: Check) {
    let (mut found, mut seed) = (0, 0);
    while found < EACH {
        assert!(seed < 40 * EACH as u64, "{defect:?} fits into too few histories");
        let mut notes = history(seed);
        let fits = plant::plant(&mut notes, defect, &mut Dice(!seed));
        seed += 1;
        if !fits {
            continue;
        }
        let report = Checker::check(&notes);
        assert!(matches!(report.verdict, Verdict::Failed(_)), "{defect:?}, seed {}: {report}", report.seed);
        // And nothing else is blamed.
        let checks: Vec<Check> = report.violations.keys().copied().collect();
        assert_eq!(checks, [check], "{defect:?}, seed {}: {report}", report.seed);
        let Verdict::Failed(violations) = &report.verdict else { unreachable!() };
        assert!(violations.iter().all(|violation| violation.check == check));
        assert!(report.to_string().starts_with("FAILED"));
        found += 1;
    }
}

macro_rules! planted {
    ($($name:ident: $defect:ident => $check:ident,)*) => {
        $(#[test] fn $name() { planted(Defect::$defect, Check::$check); })*
    };
}

planted! {
    a_duplicate_is_found: Duplicate => Unique,
    a_late_duplicate_is_found: LateDuplicate => Unique,
    a_loss_is_found: Loss => Complete,
    a_swap_is_found: Swap => Ordered,
    a_forged_stamp_is_found: ForgedStamp => NoGhost,
    a_signal_from_another_room_is_found: ForeignSender => RoomWall,
    an_altered_payload_is_found: Altered => NoGhost,
    a_made_up_signal_is_found: MadeUp => NoGhost,
    a_delivery_of_what_was_undelivered_is_found: DeliveredUndelivered => NoGhost,
    a_late_leave_is_found: LateLeave => Roster,
    a_missed_join_is_found: MissedJoin => Roster,
    a_member_missing_at_the_end_is_found: MissingAtTheEnd => Roster,
    a_silent_end_is_found: SilentEnd => LoudLoss,
    an_end_told_late_is_found: LateTold => LoudLoss,
    a_gauge_over_its_limit_is_found: Gauge => Bounded,
    a_signal_without_an_answer_is_found: Unanswered => Definite,
    an_unfounded_unknown_is_found: UnfoundedUnknown => Definite,
    two_answers_are_found: TwoAnswers => Definite,
    a_loss_of_what_was_for_all_is_found: LossToAll => Complete,
    a_duplicate_for_one_who_was_not_known_is_found: DuplicateAside => Unique,
    a_swap_for_one_who_was_not_known_is_found: SwapAside => Ordered,
    a_delivery_of_what_was_for_all_but_one_is_found: ToAllDenied => NoGhost,
}

/// Some defects break more than one rule, by their nature.
fn planted_with(defect: Defect, named: Check, also: &[Check]) {
    let (mut found, mut seed) = (0, 0);
    while found < EACH {
        assert!(seed < 40 * EACH as u64, "{defect:?} fits into too few histories");
        let mut notes = history(seed);
        let fits = plant::plant(&mut notes, defect, &mut Dice(!seed));
        seed += 1;
        if fits {
            let report = Checker::check(&notes);
            assert!(report.violations.contains_key(&named), "{defect:?}, seed {}: {report}", report.seed);
            let others: Vec<_> = report.violations.keys().filter(|c| **c != named && !also.contains(c)).collect();
            assert!(others.is_empty(), "{defect:?}, seed {}: {report}", report.seed);
            found += 1;
        }
    }
}

#[test]
fn a_gap_is_found() {
    planted_with(Defect::Gap, Check::GapFree, &[Check::Complete]);
}

#[test]
fn a_gap_in_what_was_for_all_is_found() {
    planted_with(Defect::GapToAll, Check::GapFree, &[Check::Complete]);
}

#[test]
fn a_member_that_was_removed_and_stays_is_found() {
    planted_with(Defect::Unremoved, Check::LoudLoss, &[Check::Roster]);
}

#[test]
fn a_forged_sender_in_another_room_is_found() {
    planted_with(Defect::ForeignForged, Check::RoomWall, &[Check::NoGhost]);
}

#[test]
fn a_delivery_before_it_was_sent_is_found() {
    planted_with(Defect::TooEarly, Check::NoGhost, &[Check::Complete, Check::GapFree]);
}

#[test]
fn an_ended_member_in_a_roster_is_found() {
    planted_with(Defect::StaleAtTheEnd, Check::Roster, &[]);
}

#[test]
fn an_end_that_its_own_client_never_learns_is_found() {
    planted_with(Defect::FalseLeave, Check::LoudLoss, &[Check::Roster]);
}

fn void(report: &Report, reason: &str) {
    match &report.verdict {
        Verdict::Void(reasons) => assert!(reasons.iter().any(|r| r.contains(reason)), "{report}"),
        _ => panic!("not void: {report}"),
    }
    assert!(report.to_string().starts_with("VOID"));
}

#[test]
fn a_run_that_shows_nothing_is_void() {
    for seed in 0..EACH as u64 {
        let clean = history(seed);
        let edited = |edit: &dyn Fn(&mut What)| {
            let mut notes = clean.clone();
            notes.iter_mut().for_each(|note| edit(&mut note.what));
            Checker::check(&notes)
        };
        let report = edited(&|what| {
            if let What::Run { planned_signals, .. } = what {
                *planned_signals = *planned_signals * 2 + 1;
            }
        });
        void(&report, "signals were sent");
        let report = edited(&|what| match what {
            What::Run { planned_faults, .. } => *planned_faults = (*planned_faults).max(1),
            What::Fault { effect, .. } => *effect = 0,
            _ => {}
        });
        void(&report, "faults had an effect");
        let report = Checker::check(clean.iter().filter(|note| !matches!(note.what, What::Run { .. })));
        void(&report, "no note of what the run is about");
        let report = Checker::check(clean.iter().filter(|note| !matches!(note.what, What::Opened { .. })));
        assert!(!report.passed());
    }
    let run = What::Run {
        seed: 1,
        versions: String::new(),
        planned_signals: 0,
        planned_faults: 1,
        resume_window: generate::WINDOW,
    };
    let report = Checker::check(&[Note { at: 0, what: run }]);
    void(&report, "signals were sent");
    void(&report, "no client ever lost its stream");
    void(&Checker::check(&[]), "no note of what the run is about");
}

#[test]
fn a_breach_in_a_thin_run_is_a_breach() {
    let mut notes = history(7);
    assert!(plant::plant(&mut notes, Defect::Duplicate, &mut Dice(7)));
    if let What::Run { planned_signals, .. } = &mut notes[0].what {
        *planned_signals *= 10;
    }
    let report = Checker::check(&notes);
    assert!(matches!(report.verdict, Verdict::Failed(_)), "{report}");
    assert_eq!(report.doubts.len(), 1);
}

#[test]
fn all_violations_are_counted_and_the_first_are_kept() {
    let clean = history(3);
    let twice = clean.iter().flat_map(|note| {
        let times = if matches!(note.what, What::Delivered { .. }) { 2 } else { 1 };
        std::iter::repeat_n(note, times)
    });
    let report = Checker::check(twice);
    assert!(report.bad() > KEPT as u64);
    assert_eq!(report.bad(), report.counts.duplicated);
    let Verdict::Failed(violations) = &report.verdict else { panic!("{report}") };
    assert_eq!(violations.len(), KEPT);
}

#[test]
fn the_report_is_for_people() {
    let report = Checker::check(&history(5));
    let text = report.to_string();
    for part in [
        "PASSED  seed 5  server 0.1.0",
        "signals sent",
        "reset",
        "mailbox_entries",
        "signals bounds the rate at 3/n",
        "faults bounds the rate at 3/n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut notes = history(5);
    assert!(plant::plant(&mut notes, Defect::Duplicate, &mut Dice(5)));
    let text = Checker::check(&notes).to_string();
    assert!(text.contains("C1 unique at ") && text.contains(" -> ") && text.contains("1 bad of "), "{text}");
}

/// Whom a note is about; `None`: everybody.
fn about(what: &What) -> Option<BTreeSet<String>> {
    let (one, more): (&[&String], &[String]) = match what {
        What::Run { .. } | What::ServerLost => return None,
        What::Fault { .. } | What::Gauge { .. } => (&[], &[]),
        What::Opened { session, roster, .. }
        | What::SawRoster { session, roster }
        | What::Final { session, roster } => (&[session], roster),
        What::Over { session, .. }
        | What::Ended { session, .. }
        | What::Suspended { session }
        | What::Resumed { session } => (&[session], &[]),
        What::Sent { session, to, .. } | What::Settled { session, to, .. } => (&[session, to], &[]),
        What::Delivered { session, from, claimed, .. } => (&[session, from, claimed], &[]),
        What::SawJoin { session, member } | What::SawLeave { session, member, .. } => (&[session, member], &[]),
    };
    Some(one.iter().map(|name| (*name).clone()).chain(more.iter().cloned()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// In which order unrelated notes of one tick of the clock are written down does not matter.
    #[test]
    fn the_order_within_a_tick_does_not_matter(seed in 0u64..100_000, defect in 0..=Defect::ALL.len(), dice: u64) {
        let mut notes = history(seed);
        if let Some(&defect) = Defect::ALL.get(defect) {
            plant::plant(&mut notes, defect, &mut Dice(!seed));
        }
        for note in &mut notes {
            note.at -= note.at % 20_000;
        }
        let before = Checker::check(&notes);
        let abouts: Vec<_> = notes.iter().map(|note| about(&note.what)).collect();
        let mut order: Vec<usize> = (0..notes.len()).collect();
        let mut dice = Dice(dice);
        for _ in 0..4 * notes.len() {
            let i = dice.below(order.len() - 1);
            let (a, b) = (order[i], order[i + 1]);
            let unrelated = matches!((&abouts[a], &abouts[b]), (Some(x), Some(y)) if x.is_disjoint(y));
            if notes[a].at == notes[b].at && unrelated {
                order.swap(i, i + 1);
            }
        }
        let after = Checker::check(order.iter().map(|&index| &notes[index]));
        prop_assert_eq!(before.violations, after.violations);
        prop_assert_eq!(before.counts, after.counts);
        prop_assert_eq!(before.doubts, after.doubts);
    }
}
