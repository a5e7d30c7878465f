use super::*;
use crate::id::MemberId;

const CAPACITY: Capacity = Capacity { entries: 4, bytes: 100 };

fn entry(seq: u64, size: usize) -> Entry {
    Entry { seq, subject: Subject::SignalFrom(MemberId::new([0; 12])), bytes: vec![0; size].into() }
}

#[test]
fn waiting_entries_are_never_dropped_but_taken_ones_are() {
    let now = Instant::now();
    let mut mailbox = Mailbox::default();
    for seq in 1..=4 {
        assert_eq!(mailbox.push(now, entry(seq, 10), CAPACITY), Ok(()));
    }
    assert_eq!(mailbox.push(now, entry(5, 10), CAPACITY), Err(Full));
    assert_eq!(mailbox.take(now).map(|e| e.seq), Some(1));
    assert_eq!(mailbox.push(now, entry(5, 10), CAPACITY), Ok(()));
    assert_eq!(mailbox.rewind(0), Err(Incomplete), "entry 1 was dropped for entry 5");
    assert_eq!(mailbox.rewind(1), Ok(4));
    assert_eq!((0..4).filter_map(|_| mailbox.take(now)).map(|e| e.seq).collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert!(mailbox.take(now).is_none());
}

#[test]
fn bytes_are_limited() {
    let now = Instant::now();
    let mut mailbox = Mailbox::default();
    assert_eq!(mailbox.push(now, entry(1, 100), CAPACITY), Ok(()));
    assert_eq!(mailbox.push(now, entry(2, 1), CAPACITY), Err(Full));
    mailbox.take(now);
    assert_eq!(mailbox.push(now, entry(2, 1), CAPACITY), Ok(()));
    assert_eq!(mailbox.held_bytes(), 1);
}

#[test]
fn acknowledging_never_drops_an_entry_that_no_stream_took() {
    let now = Instant::now();
    let mut mailbox = Mailbox::default();
    mailbox.push(now, entry(3, 1), CAPACITY).expect("there is space");
    mailbox.push(now, entry(4, 1), CAPACITY).expect("there is space");
    mailbox.take(now);
    mailbox.acknowledge(4);
    assert_eq!(mailbox.waiting(), 1);
    assert_eq!(mailbox.take(now).map(|e| e.seq), Some(4));
    assert_eq!(mailbox.rewind(3), Ok(1));
    assert_eq!(mailbox.rewind(2), Err(Incomplete));
}

#[test]
fn updates_and_visits_of_a_member_do_not_fill_mailboxes() {
    let now = Instant::now();
    let mut mailbox = Mailbox::default();
    let id = MemberId::new([0; 12]);
    let mut seq = 0;
    let mut push = |mailbox: &mut Mailbox, subject| {
        seq += 1;
        mailbox.push(now, Entry { seq, subject, bytes: vec![0; 10].into() }, CAPACITY)
    };
    let read =
        |mailbox: &mut Mailbox| -> Vec<_> { std::iter::from_fn(|| mailbox.take(now)).map(|e| e.subject).collect() };
    // A newer update replaces an older one, and an unread join and leave cancel out.
    for subject in
        [Subject::Joined(id), Subject::Updated(id), Subject::Updated(id), Subject::Updated(id), Subject::Updated(id)]
    {
        assert_eq!(push(&mut mailbox, subject), Ok(()));
    }
    assert_eq!(mailbox.waiting(), 2);
    assert_eq!(push(&mut mailbox, Subject::Left(id)), Ok(()));
    assert_eq!((mailbox.waiting(), mailbox.held_bytes()), (0, 0));
    // The mailbox keeps a leave if the member sent a signal or the client has read the join.
    for subject in [Subject::Joined(id), Subject::SignalFrom(id), Subject::Left(id)] {
        assert_eq!(push(&mut mailbox, subject), Ok(()));
    }
    assert_eq!(read(&mut mailbox), [Subject::Joined(id), Subject::SignalFrom(id), Subject::Left(id)]);
    assert_eq!(push(&mut mailbox, Subject::Joined(id)), Ok(()));
    assert_eq!(read(&mut mailbox), [Subject::Joined(id)]);
    assert_eq!(push(&mut mailbox, Subject::Left(id)), Ok(()));
    assert_eq!(read(&mut mailbox), [Subject::Left(id)]);
}

#[test]
fn taken_entries_are_kept_for_the_retention_only() {
    let now = Instant::now();
    let mut mailbox = Mailbox::default();
    mailbox.push(now, entry(1, 1), CAPACITY).expect("there is space");
    mailbox.push(now, entry(2, 1), CAPACITY).expect("there is space");
    mailbox.take(now);
    let second = Duration::from_secs(1);
    mailbox.expire(now + second, second);
    assert_eq!(mailbox.rewind(0), Ok(2));
    mailbox.take(now);
    mailbox.expire(now + 2 * second, second);
    assert_eq!(mailbox.rewind(0), Err(Incomplete));
    assert_eq!(mailbox.rewind(1), Ok(1), "waiting entries do not age");
}
