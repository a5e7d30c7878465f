//! Defects, each planted once into a correct history.

use std::collections::{HashMap, HashSet};

use signalbox_proof::history::{Event, Note, Outcome};

use super::rng::Rng;

macro_rules! defects {
    ($($name:ident),* $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Defect { $($name),* }

        impl Defect {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

defects! {
    Duplicate, LateDuplicate, Loss, Swap, Gap, ForgedStamp, ForeignSender, ForeignForged, Altered, Invented, TooEarly,
    DeliveredUndelivered, LateLeave, MissedJoin, MissingAtTheEnd, StaleAtTheEnd, UnreportedEnd, LateReport, FalseLeave, Gauge,
    Unsettled, UnfoundedUnknown, TwoOutcomes, LossToAll, GapToAll, DuplicateExtra, SwapExtra, ToAllRefused, Unremoved,
}

/// Sender, receiver, number.
type Key = (String, String, u64);

/// The indices of the notes of a history.
#[derive(Default)]
struct Map {
    rooms: HashMap<String, String>,
    opened: HashMap<String, usize>,
    over: HashMap<String, usize>,
    finals: HashMap<String, usize>,
    sent: HashMap<Key, usize>,
    accepted: HashMap<Key, usize>,
    delivered: HashMap<Key, usize>,
    /// The members that the sender of a signal to all knew.
    known: HashMap<(String, u64), HashSet<String>>,
    /// Of each pair, in order.
    deliveries: HashMap<(String, String), Vec<usize>>,
    /// By client and member.
    joins: HashMap<(String, String), usize>,
    leaves: HashMap<(String, String), usize>,
    /// By client: whole rosters, and lost streams.
    rosters: HashMap<String, Vec<usize>>,
    suspended: HashMap<String, Vec<usize>>,
}

fn map(notes: &[Note]) -> Map {
    let mut map = Map::default();
    let mut present: HashMap<String, HashSet<String>> = HashMap::new();
    for (index, note) in notes.iter().enumerate() {
        match note.what.clone() {
            Event::Opened { session, roster, .. } | Event::SawRoster { session, roster } => {
                present.insert(session, roster.into_iter().collect());
            }
            Event::SawJoin { session, member } => drop(present.entry(session).or_default().insert(member)),
            Event::SawLeave { session, member, .. } => drop(present.entry(session).or_default().remove(&member)),
            Event::Sent { session, to, number, .. } if to.is_empty() => {
                map.known.insert((session.clone(), number), present.get(&session).cloned().unwrap_or_default());
            }
            _ => {}
        }
        match note.what.clone() {
            Event::Opened { session, room, .. } => {
                map.rooms.insert(session.clone(), room);
                map.opened.insert(session, index);
            }
            Event::Over { session, .. } => drop(map.over.insert(session, index)),
            Event::Final { session, .. } => drop(map.finals.insert(session, index)),
            Event::Sent { session, to, number, .. } => drop(map.sent.insert((session, to, number), index)),
            Event::Settled { session, to, number, outcome: Outcome::Accepted } => {
                map.accepted.insert((session, to, number), index);
            }
            Event::Delivered { session, from, number, .. } => {
                map.delivered.insert((from.clone(), session.clone(), number), index);
                map.deliveries.entry((from, session)).or_default().push(index);
            }
            Event::SawJoin { session, member } => drop(map.joins.insert((session, member), index)),
            Event::SawLeave { session, member, .. } => drop(map.leaves.insert((session, member), index)),
            Event::SawRoster { session, .. } => map.rosters.entry(session).or_default().push(index),
            Event::Suspended { session } => map.suspended.entry(session).or_default().push(index),
            _ => {}
        }
    }
    map
}

fn within(inrngs: Option<&Vec<usize>>, from: usize, to: usize) -> bool {
    inrngs.is_some_and(|inrngs| inrngs.iter().any(|index| (from..to).contains(index)))
}

/// Moves a note to another place, with the time there.
fn shift(notes: &mut Vec<Note>, from: usize, to: usize) {
    let at = notes[to].at;
    let note = Note { at, ..notes.remove(from) };
    notes.insert(if from < to { to - 1 } else { to }, note);
}

/// Plants a defect; false when the history has no place for it.
#[allow(clippy::too_many_lines)]
pub(crate) fn plant(notes: &mut Vec<Note>, defect: Defect, rng: &mut Rng) -> bool {
    let m = map(notes);
    let mut pick = |mut places: Vec<usize>| {
        places.sort_unstable();
        places.dedup();
        (!places.is_empty()).then(|| places[rng.below(places.len())])
    };
    let to_all = |(from, _, number): &Key| (from.clone(), String::new(), *number);
    // Signals whose sender knew the receiver, and signals to all whose sender did not.
    let known = |key: &Key| {
        m.sent.contains_key(key) || m.known.get(&(key.0.clone(), key.2)).is_some_and(|known| known.contains(&key.1))
    };
    let extra = |key: &Key| m.sent.contains_key(&to_all(key)) && !known(key);
    let sent = |key: &Key| m.sent.get(key).or_else(|| m.sent.get(&to_all(key))).copied();
    let accepted = |key: &&Key| known(key) && (m.accepted.contains_key(*key) || m.accepted.contains_key(&to_all(key)));
    let delivered = |fit: &dyn Fn(&Key, usize) -> bool| -> Vec<usize> {
        m.delivered.iter().filter(|(key, index)| fit(key, **index)).map(|(_, index)| *index).collect()
    };
    let settled = |fit: &dyn Fn(&Key) -> bool| -> Vec<usize> {
        m.accepted.iter().filter(|(key, _)| m.delivered.contains_key(*key) && fit(key)).map(|(_, i)| *i).collect()
    };
    let last = |key: &Key| *m.deliveries[&(key.0.clone(), key.1.clone())].last().expect("it is one of them");
    let next = |key: &Key, index: usize| {
        m.deliveries[&(key.0.clone(), key.1.clone())].iter().copied().find(|later| *later > index)
    };
    // Leaves that only one note shows to a client that stayed to the end: without a lost stream or a roster since.
    let only_leaves = || -> Vec<usize> {
        let fits = |(client, member): &(String, String)| {
            let (Some(&end), Some(&over)) = (m.finals.get(client), m.over.get(member)) else { return false };
            let since = notes.partition_point(|note| note.at + 3_000_000 < notes[over].at);
            let leave = m.leaves[&(client.clone(), member.clone())];
            let since = since.min(leave);
            let again = within(m.suspended.get(client), since, end)
                || m.rosters.get(client).is_some_and(|rosters| {
                    let lacks = |index: &usize| !matches!(&notes[*index].what, Event::SawRoster { roster, .. } if roster.contains(member));
                    rosters.iter().any(|index| (m.opened[member]..end).contains(index) && lacks(index))
                });
            over < end && leave < end && !again
        };
        m.leaves.iter().filter(|(key, _)| fits(key)).map(|(_, index)| *index).collect()
    };
    let place = match defect {
        Defect::Loss => delivered(&|key, index| accepted(&key) && last(key) == index && m.finals.contains_key(&key.1)),
        Defect::Gap => delivered(&|key, index| accepted(&key) && last(key) > index),
        Defect::Swap => delivered(&|key, index| {
            let Some(later) = next(key, index) else { return false };
            let Event::Delivered { number, .. } = notes[later].what else { return false };
            sent(&(key.0.clone(), key.1.clone(), number)).is_some_and(|sent| sent < index)
        }),
        Defect::LossToAll => delivered(&|key, index| {
            !m.sent.contains_key(key) && accepted(&key) && last(key) == index && m.finals.contains_key(&key.1)
        }),
        Defect::GapToAll => delivered(&|key, index| !m.sent.contains_key(key) && accepted(&key) && last(key) > index),
        Defect::DuplicateExtra => delivered(&|key, _| extra(key)),
        Defect::SwapExtra => delivered(&|key, index| {
            let Some(later) = next(key, index) else { return false };
            let Event::Delivered { number, .. } = notes[later].what else { return false };
            extra(key) && sent(&(key.0.clone(), key.1.clone(), number)).is_some_and(|sent| sent < index)
        }),
        Defect::ToAllRefused => delivered(&|key, _| !m.sent.contains_key(key) && m.accepted.contains_key(&to_all(key))),
        // Sessions that live long enough.
        Defect::Unremoved => {
            let lives = |session: &String, end: usize| notes[m.opened[session]].at + 14_000_000 < notes[end].at;
            m.finals
                .iter()
                .filter(|(session, end)| lives(session, **end))
                .map(|(session, _)| m.opened[session])
                .collect()
        }
        Defect::LateDuplicate => delivered(&|key, index| last(key) > index),
        Defect::TooEarly => delivered(&|key, index| {
            let (from, to, number) = key.clone();
            let later = |index_of: Option<&usize>| index_of.is_none_or(|other| *other > index);
            m.sent.contains_key(key)
                && later(m.sent.get(&(from, to, number + 1)))
                && m.accepted.get(key).is_some_and(|settled| *settled > index)
        }),
        Defect::Duplicate
        | Defect::ForgedStamp
        | Defect::ForeignSender
        | Defect::ForeignForged
        | Defect::Altered
        | Defect::Invented => delivered(&|_, _| true),
        Defect::DeliveredUndelivered | Defect::TwoOutcomes => settled(&|_| true),
        Defect::Unsettled | Defect::UnfoundedUnknown => settled(&|key| m.finals.contains_key(&key.0)),
        Defect::LateLeave => {
            // Clients that leave after the quiet end were alive at it.
            let quiet = m.finals.values().copied().min().unwrap_or(usize::MAX);
            let fits = |(client, member): &(String, String), leave: usize| {
                let deliveries = m.deliveries.get(&(member.clone(), client.clone()))?;
                let before = deliveries.iter().copied().rfind(|index| *index < leave)?;
                let spoke = m
                    .sent
                    .iter()
                    .any(|((from, to, _), index)| from == client && to == member && (before..leave).contains(index));
                (m.over.contains_key(member)
                    && leave < quiet
                    && !spoke
                    && !within(m.rosters.get(client), before, leave))
                .then_some(leave)
            };
            m.leaves.iter().filter_map(|(key, leave)| fits(key, *leave)).collect()
        }
        Defect::MissedJoin => {
            let fits = |(client, member): &(String, String), join: usize| {
                let deliveries = m.deliveries.get(&(member.clone(), client.clone()))?;
                let after = deliveries.iter().copied().find(|index| *index > join)?;
                (!within(m.rosters.get(client), 0, after)).then_some(join)
            };
            m.joins.iter().filter_map(|(key, join)| fits(key, *join)).collect()
        }
        Defect::UnreportedEnd | Defect::LateReport => only_leaves(),
        Defect::MissingAtTheEnd | Defect::StaleAtTheEnd | Defect::FalseLeave => {
            let roomy =
                |index: &&usize| matches!(&notes[**index].what, Event::Final { roster, .. } if !roster.is_empty());
            m.finals.values().filter(roomy).copied().collect()
        }
        Defect::Gauge => (1..notes.len()).collect(),
    };
    let Some(index) = pick(place) else { return false };
    let at = notes[index].at;
    let what = notes[index].what.clone();
    let insert =
        |notes: &mut Vec<Note>, place: usize, what: Event| notes.insert(place, Note { at: notes[place - 1].at, what });
    match (defect, what) {
        (Defect::Duplicate | Defect::DuplicateExtra, what) => insert(notes, index + 1, what),
        (Defect::LateDuplicate, Event::Delivered { ref session, ref from, number, .. }) => {
            let last = last(&(from.clone(), session.clone(), number));
            let what = notes[index].what.clone();
            insert(notes, last + 1, what);
        }
        (Defect::Loss | Defect::Gap | Defect::LossToAll | Defect::GapToAll, _)
        | (Defect::Unsettled | Defect::MissedJoin, _) => drop(notes.remove(index)),
        (Defect::ToAllRefused, Event::Delivered { session: to, from: session, number, .. }) => {
            let place = m.accepted[&(session.clone(), String::new(), number)];
            let outcome = Outcome::Undelivered("MAILBOX_FULL".to_owned());
            insert(notes, place, Event::Settled { session, to, number, outcome });
        }
        (Defect::Unremoved, Event::Opened { session, .. }) => {
            insert(notes, index + 1, Event::Ended { session, reason: "REMOVED".to_owned() });
        }
        (Defect::Swap | Defect::SwapExtra, Event::Delivered { session, from, number, .. }) => {
            let later = next(&(from, session, number), index).expect("chosen so");
            let what = notes[later].what.clone();
            notes[later].what = std::mem::replace(&mut notes[index].what, what);
        }
        (Defect::ForgedStamp, Event::Delivered { session, claimed, number, hash, .. }) => {
            let room = &m.rooms[&session];
            let fits = |name: &&String| m.rooms[*name] == *room && **name != session && **name != claimed;
            let mut others: Vec<&String> = m.rooms.keys().filter(fits).collect();
            others.sort();
            let Some(from) = others.first().map(|name| (*name).clone()) else { return false };
            notes[index].what = Event::Delivered { session, from, claimed, number, hash };
        }
        (Defect::ForeignSender | Defect::ForeignForged, Event::Delivered { session: to, hash, .. }) => {
            let spoke: HashSet<&String> = m.sent.keys().filter(|key| key.1 == to).map(|key| &key.0).collect();
            let fits = |name: &&String| {
                // Not a killed one, whose end is known by its last note only.
                let ends = m.over.get(*name).or(m.finals.get(*name));
                let live = m.opened[*name] < index && ends.is_some_and(|end| *end > index);
                let free = !spoke.contains(name) && !m.known.contains_key(&((*name).clone(), 1));
                live && m.rooms[*name] != m.rooms[&to] && free
            };
            let mut others: Vec<&String> = m.rooms.keys().filter(fits).collect();
            others.sort();
            let Some(from) = others.first().map(|name| (*name).clone()) else { return false };
            let (session, number, claimed) = (from.clone(), 1, from.clone());
            insert(notes, index + 1, Event::Delivered { session: to.clone(), from, claimed, number, hash });
            if defect == Defect::ForeignSender {
                let outcome = Outcome::Accepted;
                insert(notes, index + 1, Event::Settled { session: session.clone(), to: to.clone(), number, outcome });
                insert(notes, index + 1, Event::Sent { session, to, number, hash });
            }
        }
        (Defect::Altered, Event::Delivered { session, from, claimed, number, hash }) => {
            notes[index].what = Event::Delivered { session, from, claimed, number, hash: hash ^ 1 };
        }
        (Defect::Invented, Event::Delivered { session, from, claimed, hash, .. }) => {
            insert(notes, index + 1, Event::Delivered { session, from, claimed, number: 1_000_000, hash });
        }
        (Defect::TooEarly, Event::Delivered { session, from, number, .. }) => {
            shift(notes, m.sent[&(from, session, number)], index + 1);
        }
        (Defect::DeliveredUndelivered, Event::Settled { session, to, number, .. }) => {
            let outcome = Outcome::Undelivered("MAILBOX_FULL".to_owned());
            notes[index].what = Event::Settled { session, to, number, outcome };
        }
        (Defect::UnfoundedUnknown, Event::Settled { session, to, number, .. }) => {
            notes[index].what = Event::Settled { session, to, number, outcome: Outcome::Unknown };
        }
        (Defect::TwoOutcomes, Event::Settled { session, to, number, .. }) => {
            let outcome = Outcome::Undelivered("MAILBOX_FULL".to_owned());
            insert(notes, index + 1, Event::Settled { session, to, number, outcome });
        }
        (Defect::LateLeave, Event::SawLeave { session, member, .. }) => {
            let deliveries = &m.deliveries[&(member, session)];
            shift(notes, index, deliveries.iter().copied().rfind(|delivery| *delivery < index).expect("chosen so"));
        }
        (Defect::UnreportedEnd, Event::SawLeave { member, .. }) => {
            notes.retain(|note| !matches!(&note.what, Event::SawLeave { member: other, .. } if *other == member));
        }
        (Defect::LateReport, Event::SawLeave { session, .. }) => shift(notes, index, m.finals[&session]),
        (Defect::MissingAtTheEnd, Event::Final { session, mut roster }) => {
            roster.pop();
            notes[index].what = Event::Final { session, roster };
        }
        (Defect::StaleAtTheEnd, Event::Final { session, mut roster }) => {
            let fits =
                |name: &&String| m.rooms[*name] == m.rooms[&session] && m.over.get(*name).is_some_and(|o| *o < index);
            let mut over: Vec<&String> = m.rooms.keys().filter(fits).collect();
            over.sort();
            let Some(member) = over.last() else { return false };
            roster.push((*member).clone());
            notes[index].what = Event::Final { session, roster };
        }
        (Defect::FalseLeave, Event::Final { session, roster }) => {
            let member = roster[0].clone();
            if m.over.contains_key(&member) {
                return false;
            }
            insert(notes, index, Event::SawLeave { session, member, reason: "TIMED_OUT".to_owned() });
        }
        (Defect::Gauge, _) => {
            let gauge = Event::Gauge { name: "mailbox_entries".to_owned(), value: 1_025, limit: 1_024 };
            notes.insert(index, Note { at, what: gauge });
        }
        (defect, what) => unreachable!("{defect:?} at {what:?}"),
    }
    true
}
