//! Small histories, written by hand.

use signalbox_proof::checker::{Check, Checker, Report};
use signalbox_proof::history::{Note, Outcome, What};

use super::generate;

/// A history of two members, `a` and `b`, who are there from the start until the last of the notes.
fn two(notes: &[(u64, What)]) -> Report {
    Checker::check(&begun(false, notes))
}

/// The same, where `a` may be a page.
fn begun(page: bool, notes: &[(u64, What)]) -> Vec<Note> {
    let opened = |session: &str, roster: &[&str]| What::Opened {
        session: session.to_owned(),
        room: "room".to_owned(),
        roster: roster.iter().map(|name| (*name).to_owned()).collect(),
        page: page && session == "a",
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
    all.map(|(at, what)| Note { at: at * 1_000_000, what }).collect()
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
    sent_to("b", number)
}

/// From `a`; to all when `to` is empty.
fn sent_to(to: &str, number: u64) -> What {
    What::Sent { session: "a".to_owned(), to: to.to_owned(), number, hash: number }
}

fn settled(number: u64, outcome: Outcome) -> What {
    settled_for("b", number, outcome)
}

fn settled_for(to: &str, number: u64, outcome: Outcome) -> What {
    What::Settled { session: "a".to_owned(), to: to.to_owned(), number, outcome }
}

fn arrived(number: u64) -> What {
    arrived_at("b", number)
}

fn arrived_at(session: &str, number: u64) -> What {
    let (from, claimed) = ("a".to_owned(), "a".to_owned());
    What::Delivered { session: session.to_owned(), from, claimed, number, hash: number }
}

fn full() -> Outcome {
    Outcome::Undelivered("MAILBOX_FULL".to_owned())
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
    let elsewhere =
        What::Opened { session: "c".to_owned(), room: "elsewhere".to_owned(), roster: Vec::new(), page: false };
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
    for what in [sent(1), sent(0), settled(2, Outcome::Accepted), over("nobody", "LEFT")] {
        assert!(odd(what).iter().any(|doubt| doubt.contains("1 notes cannot be")));
    }
}

#[test]
fn answers_on_another_connection_are_no_sign_that_a_page_hears() {
    let stream = |noted: u64, back: u64| {
        let session = || "a".to_owned();
        [(noted, What::Suspended { session: session() }), (back, What::Resumed { session: session() })]
    };
    let told = |page| {
        let before = [(1, sent(1)), (3, over("b", "LEFT")), (10, settled(1, Outcome::Accepted))];
        let after = [(14, saw("a", "b", false)), (30, last("a", &[]))];
        found(&Checker::check(&begun(page, &[&before[..], &stream(12, 13), &after].concat())))
    };
    // Its stream was dead since the start, and that was found out late.
    assert_eq!(told(true), []);
    // It had the answer by that very stream, and should have had the leave before.
    assert_eq!(told(false), [Check::LoudLoss]);
}

#[test]
fn a_signal_to_all_is_one_for_each_whom_its_sender_knows() {
    // `c` is there before `a` knows.
    let opened = What::Opened {
        session: "c".to_owned(),
        room: "room".to_owned(),
        roster: vec!["a".to_owned(), "b".to_owned()],
        page: false,
    };
    let start = [(1, opened), (1, saw("b", "c", true)), (1, sent_to("", 1)), (1, arrived(1))];
    let stay = [(20, last("a", &["b", "c"])), (20, last("b", &["a", "c"])), (20, last("c", &["a", "b"]))];
    let accepted = (2, settled_for("", 1, Outcome::Accepted));
    let seen = (2, saw("a", "c", true));
    let check = |notes: &[(u64, What)]| found(&two(&[&start[..], notes, &stay].concat()));
    // It may have it or not.
    assert_eq!(check(&[accepted.clone(), seen.clone()]), []);
    assert_eq!(check(&[(2, arrived_at("c", 1)), accepted.clone(), seen.clone()]), []);
    assert_eq!(check(&[(2, settled_for("c", 1, full())), accepted.clone(), seen.clone()]), []);
    // But once, unaltered, in its place, and not if that was denied.
    let twice = [(2, arrived_at("c", 1)), (2, arrived_at("c", 1)), accepted.clone(), seen.clone()];
    assert_eq!(check(&twice), [Check::Unique]);
    let denied = [(2, settled_for("c", 1, full())), (2, arrived_at("c", 1)), accepted.clone(), seen.clone()];
    assert_eq!(check(&denied), [Check::NoGhost]);
    let denied = [(2, arrived_at("c", 1)), (2, settled_for("c", 1, full())), accepted.clone(), seen.clone()];
    assert_eq!(check(&denied), [Check::NoGhost]);
    let settled_two = (4, settled_for("c", 2, Outcome::Accepted));
    let late = [accepted.clone(), seen.clone(), (3, sent_to("c", 2)), (3, arrived_at("c", 2)), (4, arrived_at("c", 1))];
    assert_eq!(check(&[&late[..], std::slice::from_ref(&settled_two)].concat()), [Check::Ordered]);
    // Once it is known, it is one like the others.
    let known = |number, more: &[(u64, What)]| {
        let said = [(3, sent_to("", number)), (3, arrived(number)), (4, settled_for("", number, Outcome::Accepted))];
        check(&[&[accepted.clone(), seen.clone()], &said[..], more].concat())
    };
    assert_eq!(known(2, &[(4, arrived_at("c", 2))]), []);
    assert_eq!(known(2, &[]), [Check::Complete]);
    // Answered for some is answered for some.
    let some = [(3, sent_to("", 2)), (3, arrived(2)), (4, settled_for("c", 2, full()))];
    let rest = (4, settled_for("", 2, Outcome::Accepted));
    assert_eq!(check(&[&[accepted.clone(), seen.clone()], &some[..], std::slice::from_ref(&rest)].concat()), []);
    let open = [&[accepted.clone(), seen.clone()], &some[..]].concat();
    assert_eq!(check(&open), [Check::Definite]);
}

#[test]
fn a_removal_counts_from_when_the_server_says_that_it_is_done() {
    let ended = (2, What::Ended { session: "b".to_owned(), reason: "REMOVED".to_owned() });
    let told =
        |at, end: (u64, What)| found(&two(&[ended.clone(), (at, saw("a", "b", false)), end, (30, last("a", &[]))]));
    // Its own client is cut off, and learns it later than the others.
    assert_eq!(told(4, (9, over("b", "SESSION_GONE"))), []);
    assert_eq!(told(5, (9, over("b", "SESSION_GONE"))), [Check::LoudLoss]);
    // It never does, and goes on.
    assert_eq!(told(4, (29, last("b", &["a"]))), [Check::LoudLoss]);
}

#[test]
fn a_breach_shows_before_the_end_and_ends_the_run() {
    let notes = begun(false, &[(1, sent(1)), (1, sent(2)), (1, settled(1, Outcome::Accepted)), (2, arrived(2))]);
    let mut checker = Checker::new();
    for (index, note) in notes.iter().enumerate() {
        assert!(checker.breach().is_none(), "before note {index}");
        checker.note(note);
    }
    assert_eq!(checker.breach().map(|breach| (breach.check, breach.number)), Some((Check::GapFree, Some(1))));
    // That the second was not answered yet is not held against it.
    let report = checker.stop();
    assert_eq!(found(&report), [Check::GapFree]);
    assert!(report.to_string().starts_with("FAILED"), "{report}");
}

/// `b` leaves at 3 s; what follows is up to the notes. Two windows of 5 s, and 2 s: 15 s.
fn leaves(notes: &[(u64, What)]) -> Vec<Check> {
    found(&two(&[&[(3, over("b", "LEFT"))], notes].concat()))
}

fn told(reason: &str) -> What {
    What::SawLeave { session: "a".to_owned(), member: "b".to_owned(), reason: format!("LEAVE_REASON_{reason}") }
}

#[test]
fn whose_goodbye_is_lost_is_found_out_within_the_bound() {
    let at = |at, reason| leaves(&[(at, told(reason)), (30, last("a", &[]))]);
    for reason in ["TIMED_OUT", "SLOW_CONSUMER"] {
        assert_eq!(at(15, reason), [], "{reason}");
        assert_eq!(at(16, reason), [Check::LoudLoss], "{reason}");
    }
    // The server had its goodbye.
    assert_eq!(at(5, "LEFT"), []);
    assert_eq!(at(6, "LEFT"), [Check::LoudLoss]);
    // Nobody is ever told.
    assert_eq!(leaves(&[(30, last("a", &["b"]))]), [Check::LoudLoss, Check::Roster]);
}

#[test]
fn whose_goodbye_is_lost_may_be_ended_otherwise_before_that_is_found_out() {
    let ended = |session: &str, reason: &str| What::Ended { session: session.to_owned(), reason: reason.to_owned() };
    // Together with all others.
    assert_eq!(leaves(&[(9, What::ServerLost), (10, over("a", "SESSION_GONE"))]), []);
    let closed = [ended("a", "ROOM_CLOSED"), ended("b", "ROOM_CLOSED"), over("a", "ROOM_CLOSED")];
    assert_eq!(leaves(&closed.map(|what| (9, what))), []);
    // Too late for that: it had to be found out before.
    let alive = What::SawRoster { session: "a".to_owned(), roster: vec!["b".to_owned()] };
    assert_eq!(leaves(&[(16, alive), (20, What::ServerLost), (20, over("a", "SESSION_GONE"))]), [Check::LoudLoss]);
    // Alone.
    let removed = |at| leaves(&[(8, ended("b", "REMOVED")), (at, told("REMOVED")), (30, last("a", &[]))]);
    assert_eq!(removed(10), []);
    assert_eq!(removed(11), [Check::LoudLoss]);
}

#[test]
fn when_one_is_told_that_somebody_is_gone_all_are() {
    let c = What::Opened {
        session: "c".to_owned(),
        room: "room".to_owned(),
        roster: vec!["a".into(), "b".into()],
        page: false,
    };
    let late = |at| {
        let other = What::SawLeave { session: "c".to_owned(), member: "b".to_owned(), reason: "TIMED_OUT".to_owned() };
        let joined = [(1, c.clone()), (1, saw("a", "c", true)), (1, saw("b", "c", true)), (3, over("b", "LEFT"))];
        let told = [(7, told("TIMED_OUT")), (at, other), (30, last("a", &["c"])), (30, last("c", &["a"]))];
        found(&two(&[&joined[..], &told].concat()))
    };
    assert_eq!(late(9), []);
    assert_eq!(late(10), [Check::LoudLoss]);
}
