//! The checker accepts correct histories and names the violated check of others.

#[path = "checker/cases.rs"]
mod cases;
#[path = "checker/generate.rs"]
mod generate;
#[path = "checker/plant.rs"]
mod plant;
#[path = "checker/rng.rs"]
mod rng;

use std::collections::BTreeSet;

use generate::history;
use plant::Defect;
use proptest::prelude::*;
use rng::Rng;
use signalbox_proof::checker::{Check, Checker, KEPT, Report, Verdict};
use signalbox_proof::history::{Event, Note};

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
            to_all += u64::from(matches!(&note.what, Event::Sent { to, .. } if to.is_empty()));
            ended += u64::from(matches!(&note.what, Event::Ended { .. }));
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
    // Enough happens in them.
    assert!(sent > 200_000, "{sent}");
    for (count, least) in [(unknown, 1_000), (undelivered, 10_000), (resumes, 10_000), (ends, 5_000), (losses, 500)] {
        assert!(count > least, "{count} of {least}");
    }
    assert!(to_all > 5_000 && ended > 2_000, "{to_all} to all, {ended} ended");
}

/// Plants a defect in many histories, each of which must be found as a violation of that check.
fn planted(defect: Defect, check: Check) {
    let (mut found, mut seed) = (0, 0);
    while found < EACH {
        assert!(seed < 40 * EACH as u64, "{defect:?} fits into too few histories");
        let mut notes = history(seed);
        let fits = plant::plant(&mut notes, defect, &mut Rng(!seed));
        seed += 1;
        if !fits {
            continue;
        }
        let report = Checker::check(&notes);
        assert!(matches!(report.verdict, Verdict::Failed(_)), "{defect:?}, seed {}: {report}", report.seed);
        // No other check is violated.
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
    an_invented_signal_is_found: Invented => NoGhost,
    a_delivery_of_an_undelivered_signal_is_found: DeliveredUndelivered => NoGhost,
    a_late_leave_is_found: LateLeave => Roster,
    a_missed_join_is_found: MissedJoin => Roster,
    a_member_missing_at_the_end_is_found: MissingAtTheEnd => Roster,
    an_unreported_end_is_found: UnreportedEnd => LoudLoss,
    an_end_reported_late_is_found: LateReport => LoudLoss,
    a_gauge_over_its_limit_is_found: Gauge => Bounded,
    a_signal_without_an_outcome_is_found: Unsettled => Definite,
    an_unfounded_unknown_is_found: UnfoundedUnknown => Definite,
    two_outcomes_are_found: TwoOutcomes => Definite,
    a_loss_of_a_signal_to_all_is_found: LossToAll => Complete,
    a_duplicate_for_an_unknown_receiver_is_found: DuplicateExtra => Unique,
    a_swap_for_an_unknown_receiver_is_found: SwapExtra => Ordered,
    a_delivery_to_a_refused_receiver_is_found: ToAllRefused => NoGhost,
}

/// Some defects violate more than one check.
fn planted_with(defect: Defect, named: Check, also: &[Check]) {
    let (mut found, mut seed) = (0, 0);
    while found < EACH {
        assert!(seed < 40 * EACH as u64, "{defect:?} fits into too few histories");
        let mut notes = history(seed);
        let fits = plant::plant(&mut notes, defect, &mut Rng(!seed));
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
fn a_gap_in_signals_to_all_is_found() {
    planted_with(Defect::GapToAll, Check::GapFree, &[Check::Complete]);
}

#[test]
fn a_removed_member_that_stays_is_found() {
    planted_with(Defect::Unremoved, Check::LoudLoss, &[Check::Roster]);
}

#[test]
fn a_forged_sender_in_another_room_is_found() {
    planted_with(Defect::ForeignForged, Check::RoomWall, &[Check::NoGhost]);
}

#[test]
fn a_delivery_before_sending_is_found() {
    planted_with(Defect::TooEarly, Check::NoGhost, &[Check::Complete, Check::GapFree]);
}

#[test]
fn an_ended_member_in_a_roster_is_found() {
    planted_with(Defect::StaleAtTheEnd, Check::Roster, &[]);
}

#[test]
fn an_end_unknown_to_its_client_is_found() {
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
fn a_run_that_proves_nothing_is_void() {
    for seed in 0..EACH as u64 {
        let clean = history(seed);
        let edited = |edit: &dyn Fn(&mut Event)| {
            let mut notes = clean.clone();
            notes.iter_mut().for_each(|note| edit(&mut note.what));
            Checker::check(&notes)
        };
        let report = edited(&|what| {
            if let Event::Run { planned_signals, .. } = what {
                *planned_signals = *planned_signals * 2 + 1;
            }
        });
        void(&report, "signals were sent");
        let report = edited(&|what| match what {
            Event::Run { planned_faults, .. } => *planned_faults = (*planned_faults).max(1),
            Event::Fault { effect, .. } => *effect = 0,
            _ => {}
        });
        void(&report, "faults had an effect");
        let report = Checker::check(clean.iter().filter(|note| !matches!(note.what, Event::Run { .. })));
        void(&report, "no Run note");
        let report = Checker::check(clean.iter().filter(|note| !matches!(note.what, Event::Opened { .. })));
        assert!(!report.passed());
    }
    let run = Event::Run {
        seed: 1,
        versions: String::new(),
        planned_signals: 0,
        planned_faults: 1,
        resume_window: generate::WINDOW,
    };
    let report = Checker::check(&[Note { at: 0, what: run }]);
    void(&report, "signals were sent");
    void(&report, "no client ever lost its stream");
    void(&Checker::check(&[]), "no Run note");
}

#[test]
fn a_breach_in_a_void_run_is_a_breach() {
    let mut notes = history(7);
    assert!(plant::plant(&mut notes, Defect::Duplicate, &mut Rng(7)));
    if let Event::Run { planned_signals, .. } = &mut notes[0].what {
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
        let times = if matches!(note.what, Event::Delivered { .. }) { 2 } else { 1 };
        std::iter::repeat_n(note, times)
    });
    let report = Checker::check(twice);
    assert!(report.bad() > KEPT as u64);
    assert_eq!(report.bad(), report.counts.duplicated);
    let Verdict::Failed(violations) = &report.verdict else { panic!("{report}") };
    assert_eq!(violations.len(), KEPT);
}

#[test]
fn the_report_has_verdict_counts_and_violations() {
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
    assert!(plant::plant(&mut notes, Defect::Duplicate, &mut Rng(5)));
    let text = Checker::check(&notes).to_string();
    assert!(text.contains("C1 unique at ") && text.contains(" -> ") && text.contains("1 bad of "), "{text}");
}

/// The sessions that a note is about; `None`: all.
fn sessions_of(what: &Event) -> Option<BTreeSet<String>> {
    let (one, more): (&[&String], &[String]) = match what {
        Event::Run { .. } | Event::ServerLost => return None,
        Event::Fault { .. } | Event::Gauge { .. } => (&[], &[]),
        Event::Opened { session, roster, .. }
        | Event::SawRoster { session, roster }
        | Event::Final { session, roster } => (&[session], roster),
        Event::Over { session, .. }
        | Event::Ended { session, .. }
        | Event::Suspended { session }
        | Event::Resumed { session } => (&[session], &[]),
        Event::Sent { session, to, .. } | Event::Settled { session, to, .. } => (&[session, to], &[]),
        Event::Delivered { session, from, claimed, .. } => (&[session, from, claimed], &[]),
        Event::SawJoin { session, member } | Event::SawLeave { session, member, .. } => (&[session, member], &[]),
    };
    Some(one.iter().map(|name| (*name).clone()).chain(more.iter().cloned()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Unrelated notes with the same time may be in any order.
    #[test]
    fn the_order_within_a_tick_does_not_matter(seed in 0u64..100_000, defect in 0..=Defect::ALL.len(), rng: u64) {
        let mut notes = history(seed);
        if let Some(&defect) = Defect::ALL.get(defect) {
            plant::plant(&mut notes, defect, &mut Rng(!seed));
        }
        for note in &mut notes {
            note.at -= note.at % 20_000;
        }
        let before = Checker::check(&notes);
        let sessions: Vec<_> = notes.iter().map(|note| sessions_of(&note.what)).collect();
        let mut order: Vec<usize> = (0..notes.len()).collect();
        let mut rng = Rng(rng);
        for _ in 0..4 * notes.len() {
            let i = rng.below(order.len() - 1);
            let (a, b) = (order[i], order[i + 1]);
            let unrelated = matches!((&sessions[a], &sessions[b]), (Some(x), Some(y)) if x.is_disjoint(y));
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
