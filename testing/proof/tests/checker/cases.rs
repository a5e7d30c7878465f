//! Small histories for single rules.

use signalbox_proof::checker::{Check, Checker, Report};
use signalbox_proof::history::{Event, Note, Outcome};

use super::generate;

/// A history of two members, `a` and `b`, that join at the start.
fn two(notes: &[(u64, Event)]) -> Report {
    Checker::check(&history_of_two(false, notes))
}

/// Its notes, where `a` may be a page.
fn history_of_two(page: bool, notes: &[(u64, Event)]) -> Vec<Note> {
    let opened = |session: &str, roster: &[&str]| Event::Opened {
        session: session.to_owned(),
        room: "room".to_owned(),
        roster: roster.iter().map(|name| (*name).to_owned()).collect(),
        page: page && session == "a",
    };
    let run = Event::Run {
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

fn saw(session: &str, member: &str, joined: bool) -> Event {
    let (session, member) = (session.to_owned(), member.to_owned());
    if joined {
        Event::SawJoin { session, member }
    } else {
        Event::SawLeave { session, member, reason: "LEFT".to_owned() }
    }
}

fn over(session: &str, reason: &str) -> Event {
    Event::Over { session: session.to_owned(), reason: reason.to_owned() }
}

fn last(session: &str, roster: &[&str]) -> Event {
    Event::Final { session: session.to_owned(), roster: roster.iter().map(|name| (*name).to_owned()).collect() }
}

fn sent(number: u64) -> Event {
    sent_to("b", number)
}

/// From `a`; to all when `to` is empty.
fn sent_to(to: &str, number: u64) -> Event {
    Event::Sent { session: "a".to_owned(), to: to.to_owned(), number, hash: number }
}

fn settled(number: u64, outcome: Outcome) -> Event {
    settled_for("b", number, outcome)
}

fn settled_for(to: &str, number: u64, outcome: Outcome) -> Event {
    Event::Settled { session: "a".to_owned(), to: to.to_owned(), number, outcome }
}

fn arrived(number: u64) -> Event {
    arrived_at("b", number)
}

fn arrived_at(session: &str, number: u64) -> Event {
    let (from, claimed) = ("a".to_owned(), "a".to_owned());
    Event::Delivered { session: session.to_owned(), from, claimed, number, hash: number }
}

fn full() -> Outcome {
    Outcome::Undelivered("MAILBOX_FULL".to_owned())
}

fn found(report: &Report) -> Vec<Check> {
    report.violations.keys().copied().collect()
}

#[test]
fn a_skipped_signal_is_judged_by_its_outcome() {
    let skipped = |outcome, end: &[(u64, Event)]| {
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
    // A leave after the quiet end is no excuse.
    let left = [(21, over("a", "LEFT")), (21, over("b", "LEFT"))];
    assert_eq!(skipped(Outcome::Accepted, &[&stay[..], &left].concat()), [Check::GapFree, Check::Complete]);
}

#[test]
fn a_signal_accepted_after_the_leave_of_its_addressee_is_lost() {
    let gone = [(1, over("b", "LEFT")), (1, saw("a", "b", false)), (2, sent(1))];
    let settled_as = |outcome| found(&two(&[&gone[..], &[(2, settled(1, outcome)), (20, last("a", &[]))]].concat()));
    assert_eq!(settled_as(Outcome::Accepted), [Check::Complete]);
    assert_eq!(settled_as(Outcome::Undelivered("NO_SUCH_MEMBER".to_owned())), []);
}

#[test]
fn a_disconnected_client_gets_the_report_when_it_reconnects() {
    let check = |back: u64, reported: u64| {
        let (suspended, resumed) =
            (Event::Suspended { session: "a".to_owned() }, Event::Resumed { session: "a".to_owned() });
        let end = [(2, suspended), (3, over("b", "LEFT")), (back, resumed), (reported, saw("a", "b", false))];
        found(&two(&[&end[..], &[(30, last("a", &[]))]].concat()))
    };
    assert_eq!(check(8, 9), []);
    assert_eq!(check(8, 11), [Check::LoudLoss]);
}

#[test]
fn a_vanished_client_times_out_within_the_bound() {
    let vanishes = |reported: u64| {
        let leave = Event::SawLeave { session: "a".to_owned(), member: "b".to_owned(), reason: "TIMED_OUT".to_owned() };
        found(&two(&[(1, Event::Suspended { session: "b".to_owned() }), (reported, leave), (30, last("a", &[]))]))
    };
    let elsewhere =
        Event::Opened { session: "c".to_owned(), room: "elsewhere".to_owned(), roster: Vec::new(), page: false };
    // There was no client to report it to.
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
    // All still have it in their roster.
    assert_eq!(
        found(&two(&[(1, sent(1)), (1, settled(1, Outcome::Accepted)), (30, last("a", &["b"]))])),
        [Check::LoudLoss, Check::Roster]
    );
    // Two windows of 5 s, and 2 s.
    assert_eq!(vanishes(13), []);
    assert_eq!(vanishes(14), [Check::LoudLoss]);
}

#[test]
fn inconsistent_notes_prove_nothing() {
    let stay = [(20, last("a", &["b"])), (20, last("b", &["a"]))];
    let doubts =
        |what: Event| two(&[&[(1, sent(1)), (1, settled(1, Outcome::Unknown)), (1, what)][..], &stay].concat()).doubts;
    for what in [sent(1), sent(0), settled(2, Outcome::Accepted), over("nobody", "LEFT")] {
        assert!(doubts(what).iter().any(|doubt| doubt.contains("1 inconsistent notes")));
    }
}

#[test]
fn responses_to_a_page_do_not_show_that_its_stream_works() {
    let stream = |noted: u64, back: u64| {
        let session = || "a".to_owned();
        [(noted, Event::Suspended { session: session() }), (back, Event::Resumed { session: session() })]
    };
    let check = |page| {
        let before = [(1, sent(1)), (3, over("b", "LEFT")), (10, settled(1, Outcome::Accepted))];
        let after = [(14, saw("a", "b", false)), (30, last("a", &[]))];
        found(&Checker::check(&history_of_two(page, &[&before[..], &stream(12, 13), &after].concat())))
    };
    // Its stream was dead from the start, which was noticed late.
    assert_eq!(check(true), []);
    // The response was on the same stream, after the leave.
    assert_eq!(check(false), [Check::LoudLoss]);
}

#[test]
fn a_signal_to_all_is_one_for_each_member_that_its_sender_knows() {
    // `c` has joined, which `a` does not know yet.
    let opened = Event::Opened {
        session: "c".to_owned(),
        room: "room".to_owned(),
        roster: vec!["a".to_owned(), "b".to_owned()],
        page: false,
    };
    let start = [(1, opened), (1, saw("b", "c", true)), (1, sent_to("", 1)), (1, arrived(1))];
    let stay = [(20, last("a", &["b", "c"])), (20, last("b", &["a", "c"])), (20, last("c", &["a", "b"]))];
    let accepted = (2, settled_for("", 1, Outcome::Accepted));
    let seen = (2, saw("a", "c", true));
    let check = |notes: &[(u64, Event)]| found(&two(&[&start[..], notes, &stay].concat()));
    // It may receive the signal or not.
    assert_eq!(check(&[accepted.clone(), seen.clone()]), []);
    assert_eq!(check(&[(2, arrived_at("c", 1)), accepted.clone(), seen.clone()]), []);
    assert_eq!(check(&[(2, settled_for("c", 1, full())), accepted.clone(), seen.clone()]), []);
    // But once, unaltered, in order, and not if it was reported as undelivered.
    let twice = [(2, arrived_at("c", 1)), (2, arrived_at("c", 1)), accepted.clone(), seen.clone()];
    assert_eq!(check(&twice), [Check::Unique]);
    let refused = [(2, settled_for("c", 1, full())), (2, arrived_at("c", 1)), accepted.clone(), seen.clone()];
    assert_eq!(check(&refused), [Check::NoGhost]);
    let refused = [(2, arrived_at("c", 1)), (2, settled_for("c", 1, full())), accepted.clone(), seen.clone()];
    assert_eq!(check(&refused), [Check::NoGhost]);
    let settled_two = (4, settled_for("c", 2, Outcome::Accepted));
    let late = [accepted.clone(), seen.clone(), (3, sent_to("c", 2)), (3, arrived_at("c", 2)), (4, arrived_at("c", 1))];
    assert_eq!(check(&[&late[..], std::slice::from_ref(&settled_two)].concat()), [Check::Ordered]);
    // Once it is known, it counts like the others.
    let known = |number, more: &[(u64, Event)]| {
        let sent = [(3, sent_to("", number)), (3, arrived(number)), (4, settled_for("", number, Outcome::Accepted))];
        check(&[&[accepted.clone(), seen.clone()], &sent[..], more].concat())
    };
    assert_eq!(known(2, &[(4, arrived_at("c", 2))]), []);
    assert_eq!(known(2, &[]), [Check::Complete]);
    // An outcome for some members leaves the others open.
    let some = [(3, sent_to("", 2)), (3, arrived(2)), (4, settled_for("c", 2, full()))];
    let rest = (4, settled_for("", 2, Outcome::Accepted));
    assert_eq!(check(&[&[accepted.clone(), seen.clone()], &some[..], std::slice::from_ref(&rest)].concat()), []);
    let open = [&[accepted.clone(), seen.clone()], &some[..]].concat();
    assert_eq!(check(&open), [Check::Definite]);
}

#[test]
fn a_removal_counts_from_its_confirmation() {
    let ended = (2, Event::Ended { session: "b".to_owned(), reason: "REMOVED".to_owned() });
    let check =
        |at, end: (u64, Event)| found(&two(&[ended.clone(), (at, saw("a", "b", false)), end, (30, last("a", &[]))]));
    // Its own client is disconnected, and learns it later.
    assert_eq!(check(4, (9, over("b", "SESSION_GONE"))), []);
    assert_eq!(check(5, (9, over("b", "SESSION_GONE"))), [Check::LoudLoss]);
    // Its client never learns it, and continues.
    assert_eq!(check(4, (29, last("b", &["a"]))), [Check::LoudLoss]);
}

#[test]
fn a_breach_is_found_before_the_end_of_the_run() {
    let notes =
        history_of_two(false, &[(1, sent(1)), (1, sent(2)), (1, settled(1, Outcome::Accepted)), (2, arrived(2))]);
    let mut checker = Checker::new();
    for (index, note) in notes.iter().enumerate() {
        assert!(checker.breach().is_none(), "before note {index}");
        checker.note(note);
    }
    assert_eq!(checker.breach().map(|breach| (breach.check, breach.number)), Some((Check::GapFree, Some(1))));
    // The open outcome of the second signal is not judged.
    let report = checker.stop();
    assert_eq!(found(&report), [Check::GapFree]);
    assert!(report.to_string().starts_with("FAILED"), "{report}");
}

/// `b` leaves at 3 s, and the records follow. The bound is 15 s: two windows of 5 s, and 2 s.
fn leaves(notes: &[(u64, Event)]) -> Vec<Check> {
    found(&two(&[&[(3, over("b", "LEFT"))], notes].concat()))
}

fn left_with(reason: &str) -> Event {
    Event::SawLeave { session: "a".to_owned(), member: "b".to_owned(), reason: format!("LEAVE_REASON_{reason}") }
}

#[test]
fn a_lost_leave_is_detected_within_the_bound() {
    let at = |at, reason| leaves(&[(at, left_with(reason)), (30, last("a", &[]))]);
    for reason in ["TIMED_OUT", "SLOW_CONSUMER"] {
        assert_eq!(at(15, reason), [], "{reason}");
        assert_eq!(at(16, reason), [Check::LoudLoss], "{reason}");
    }
    // The server received the leave.
    assert_eq!(at(5, "LEFT"), []);
    assert_eq!(at(6, "LEFT"), [Check::LoudLoss]);
    // No client is ever notified.
    assert_eq!(leaves(&[(30, last("a", &["b"]))]), [Check::LoudLoss, Check::Roster]);
}

#[test]
fn a_lost_leave_may_end_for_another_reason_before_it_is_detected() {
    let ended = |session: &str, reason: &str| Event::Ended { session: session.to_owned(), reason: reason.to_owned() };
    // Together with all others.
    assert_eq!(leaves(&[(9, Event::ServerLost), (10, over("a", "SESSION_GONE"))]), []);
    let closed = [ended("a", "ROOM_CLOSED"), ended("b", "ROOM_CLOSED"), over("a", "ROOM_CLOSED")];
    assert_eq!(leaves(&closed.map(|what| (9, what))), []);
    // Too late: the server had to detect it before.
    let alive = Event::SawRoster { session: "a".to_owned(), roster: vec!["b".to_owned()] };
    assert_eq!(leaves(&[(16, alive), (20, Event::ServerLost), (20, over("a", "SESSION_GONE"))]), [Check::LoudLoss]);
    // Alone.
    let removed = |at| leaves(&[(8, ended("b", "REMOVED")), (at, left_with("REMOVED")), (30, last("a", &[]))]);
    assert_eq!(removed(10), []);
    assert_eq!(removed(11), [Check::LoudLoss]);
}

#[test]
fn when_one_client_is_notified_of_an_end_all_are() {
    let c = Event::Opened {
        session: "c".to_owned(),
        room: "room".to_owned(),
        roster: vec!["a".into(), "b".into()],
        page: false,
    };
    let late = |at| {
        let other = Event::SawLeave { session: "c".to_owned(), member: "b".to_owned(), reason: "TIMED_OUT".to_owned() };
        let joined = [(1, c.clone()), (1, saw("a", "c", true)), (1, saw("b", "c", true)), (3, over("b", "LEFT"))];
        let told = [(7, left_with("TIMED_OUT")), (at, other), (30, last("a", &["c"])), (30, last("c", &["a"]))];
        found(&two(&[&joined[..], &told].concat()))
    };
    assert_eq!(late(9), []);
    assert_eq!(late(10), [Check::LoudLoss]);
}
