//! Small histories, written by hand.

use signalbox_proof::checker::{Check, Checker, Report};
use signalbox_proof::history::{Note, Outcome, What};

use super::generate;

/// A history of two members, `a` and `b`, who are there from the start until the last of the notes.
fn two(notes: &[(u64, What)]) -> Report {
    let opened = |session: &str, roster: &[&str]| What::Opened {
        session: session.to_owned(),
        room: "room".to_owned(),
        roster: roster.iter().map(|name| (*name).to_owned()).collect(),
    };
    let run = What::Run {
        seed: 0,
        versions: String::new(),
        planned_signals: 0,
        planned_faults: 0,
        resume_window: generate::WINDOW,
    };
    let start = [run, opened("a", &[]), opened("b", &["a"]), saw("a", "b", true)];
    let all = start.into_iter().map(|what| (0, what)).chain(notes.iter().cloned());
    Checker::check(&all.map(|(at, what)| Note { at: at * 1_000_000, what }).collect::<Vec<_>>())
}

fn saw(session: &str, member: &str, joined: bool) -> What {
    let (session, member) = (session.to_owned(), member.to_owned());
    if joined {
        What::SawJoin { session, member }
    } else {
        What::SawLeave { session, member, reason: "LEFT".to_owned() }
    }
}

fn over(session: &str, reason: &str) -> What {
    What::Over { session: session.to_owned(), reason: reason.to_owned() }
}

fn last(session: &str, roster: &[&str]) -> What {
    What::Final { session: session.to_owned(), roster: roster.iter().map(|name| (*name).to_owned()).collect() }
}

fn sent(number: u64) -> What {
    What::Sent { session: "a".to_owned(), to: "b".to_owned(), number, hash: number }
}

fn settled(number: u64, outcome: Outcome) -> What {
    What::Settled { session: "a".to_owned(), to: "b".to_owned(), number, outcome }
}

fn arrived(number: u64) -> What {
    let (from, claimed) = ("a".to_owned(), "a".to_owned());
    What::Delivered { session: "b".to_owned(), from, claimed, number, hash: number }
}

fn found(report: &Report) -> Vec<Check> {
    report.violations.keys().copied().collect()
}

#[test]
fn a_skipped_signal_is_judged_by_its_outcome() {
    let skipped = |outcome, end: &[(u64, What)]| {
        let notes =
            [(1, sent(1)), (1, sent(2)), (1, arrived(2)), (1, settled(2, Outcome::Accepted)), (2, settled(1, outcome))];
        found(&two(&[&notes, end].concat()))
    };
    let stay = [(20, last("a", &["b"])), (20, last("b", &["a"]))];
    let end = [(3, over("a", "SESSION_GONE")), (3, saw("b", "a", false)), (20, last("b", &[]))];
    assert_eq!(skipped(Outcome::Undelivered("RATE_LIMITED".to_owned()), &stay), []);
    assert_eq!(skipped(Outcome::Unknown, &end), []);
    assert_eq!(skipped(Outcome::Unknown, &stay), [Check::GapFree, Check::Definite]);
    assert_eq!(skipped(Outcome::Accepted, &stay), [Check::GapFree, Check::Complete]);
    assert_eq!(skipped(Outcome::Accepted, &end), [Check::GapFree, Check::Complete]);
    // That all left afterwards excuses nothing.
    let left = [(21, over("a", "LEFT")), (21, over("b", "LEFT"))];
    assert_eq!(skipped(Outcome::Accepted, &[&stay[..], &left].concat()), [Check::GapFree, Check::Complete]);
}

#[test]
fn what_is_accepted_for_one_who_is_known_to_be_gone_is_lost() {
    let gone = [(1, over("b", "LEFT")), (1, saw("a", "b", false)), (2, sent(1))];
    let answered = |outcome| found(&two(&[&gone[..], &[(2, settled(1, outcome)), (20, last("a", &[]))]].concat()));
    assert_eq!(answered(Outcome::Accepted), [Check::Complete]);
    assert_eq!(answered(Outcome::Undelivered("NO_SUCH_MEMBER".to_owned())), []);
}

#[test]
fn who_is_cut_off_is_told_when_it_is_back() {
    let cut = |back: u64, told: u64| {
        let (suspended, resumed) =
            (What::Suspended { session: "a".to_owned() }, What::Resumed { session: "a".to_owned() });
        let end = [(2, suspended), (3, over("b", "LEFT")), (back, resumed), (told, saw("a", "b", false))];
        found(&two(&[&end[..], &[(30, last("a", &[]))]].concat()))
    };
    assert_eq!(cut(8, 9), []);
    assert_eq!(cut(8, 11), [Check::LoudLoss]);
}

#[test]
fn who_vanishes_is_timed_out_within_the_bound() {
    let vanishes = |told: u64| {
        let leave = What::SawLeave { session: "a".to_owned(), member: "b".to_owned(), reason: "TIMED_OUT".to_owned() };
        found(&two(&[(1, What::Suspended { session: "b".to_owned() }), (told, leave), (30, last("a", &[]))]))
    };
    let elsewhere = What::Opened { session: "c".to_owned(), room: "elsewhere".to_owned(), roster: Vec::new() };
    // Nobody was there to be told, and nobody stayed who still believes in it.
    assert_eq!(
        found(&two(&[
            (1, sent(1)),
            (1, settled(1, Outcome::Accepted)),
            (2, over("a", "LEFT")),
            (3, elsewhere),
            (30, last("c", &[]))
        ])),
        []
    );
    // Everybody still believes in it.
    assert_eq!(
        found(&two(&[(1, sent(1)), (1, settled(1, Outcome::Accepted)), (30, last("a", &["b"]))])),
        [Check::LoudLoss, Check::Roster]
    );
    // Two windows of 5 s, and 2 s.
    assert_eq!(vanishes(13), []);
    assert_eq!(vanishes(14), [Check::LoudLoss]);
}

#[test]
fn notes_that_cannot_be_prove_nothing() {
    let stay = [(20, last("a", &["b"])), (20, last("b", &["a"]))];
    let odd =
        |what: What| two(&[&[(1, sent(1)), (1, settled(1, Outcome::Unknown)), (1, what)][..], &stay].concat()).doubts;
    for what in [sent(3), settled(2, Outcome::Accepted), over("nobody", "LEFT")] {
        assert!(odd(what).iter().any(|doubt| doubt.contains("1 notes cannot be")));
    }
}
