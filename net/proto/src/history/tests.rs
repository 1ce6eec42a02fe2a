use proptest::prelude::*;
use quipu_merge::{Certificate, Checkpoint, CutBlock, EventId, Micros, Round, ValidatorsBlock};

use super::*;
use crate::certify::{Certified, Parts};
use crate::message::Packet;

const TOTAL: u64 = 100;
/// From this one on, peers are strangers.
const STRANGERS: u8 = 10;

fn key(number: u8) -> AuthorKey {
    AuthorKey([number; 32])
}

fn event() -> HistoryItem {
    HistoryItem::Event(Packet { event: vec![1], body: vec![2], openings: Vec::new() })
}

fn checkpoint(size: u64) -> HistoryItem {
    let cut = CutBlock::new(vec![EventId([1; 32])]).unwrap();
    let validators = ValidatorsBlock::new(vec![key(1)]).unwrap();
    let checkpoint = Checkpoint {
        ledger: EventId([2; 32]),
        height: Height(1),
        prev: None,
        cut: cut.seal().0,
        size,
        root: [3; 32],
        state: [4; 32],
        validators: validators.seal().0,
        time: Micros(5),
    };
    let parts = Parts::new(checkpoint, cut, validators).unwrap();
    let certificate = Certificate {
        checkpoint: parts.id(),
        height: Height(1),
        round: Round(0),
        signatures: vec![(key(1), [6; 64])],
    };
    HistoryItem::Checkpoint(Certified { parts, certificate }.encode())
}

fn part(from: u64, events: u64, checked: bool) -> HistoryPart {
    let mut items = vec![event(); usize::try_from(events).unwrap()];
    items.extend(checked.then(|| checkpoint(from + events)));
    HistoryPart { from, items: Some(items) }
}

fn wanting() -> History {
    let mut history = History::default();
    history.want(Height(7), 0, TOTAL);
    history
}

/// Whom it asks, and from where on.
fn asks(history: &mut History, peers: &[u8], now: Moment) -> Option<(u8, u64)> {
    match history.ask(peers.iter().map(|peer| (key(*peer), *peer >= STRANGERS)), now)? {
        (peer, Message::AskHistory(AskHistory { from, up_to: Height(7) })) => {
            Some((peer.0[0], from))
        }
        other => panic!("{other:?}"),
    }
}

fn takes(history: &mut History, ticket: u64) -> Option<u64> {
    match history.take(|| Ticket(ticket))? {
        Task::TakeHistory { from, .. } => Some(from),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_next_part_is_asked_for_while_one_is_taken() {
    let (mut history, now) = (wanting(), Moment(0));
    assert_eq!(asks(&mut history, &[3, 2], now), Some((2, 0)));
    assert_eq!(asks(&mut history, &[3, 2], now), None);
    history.came(key(2), part(0, 40, true), now).unwrap();
    assert_eq!(asks(&mut history, &[3, 2], now), None);
    assert_eq!(takes(&mut history, 1), Some(0));
    assert_eq!(asks(&mut history, &[3, 2], now), Some((2, 40)));
    history.came(key(2), part(40, 60, true), now).unwrap();
    assert_eq!(takes(&mut history, 2), None);
    assert_eq!(asks(&mut history, &[3, 2], now), None);
    assert_eq!(history.taken(Ticket(1), 40, true, now), None);
    assert_eq!(history.progress(), Some((40, TOTAL)));
    assert_eq!(takes(&mut history, 2), Some(40));
    assert_eq!(history.taken(Ticket(2), 100, true, now), None);
    assert_eq!((history.progress(), history.next()), (Some((TOTAL, TOTAL)), None));
    assert_eq!(asks(&mut history, &[3, 2], now), None);
}

#[test]
fn who_cannot_give_it_or_is_silent_is_left_alone_for_a_while() {
    let (mut history, now) = (wanting(), Moment(0));
    assert_eq!(asks(&mut history, &[1, 2], now), Some((1, 0)));
    history.came(key(1), HistoryPart { from: 0, items: None }, now).unwrap();
    assert_eq!(asks(&mut history, &[1, 2], now), Some((2, 0)));
    let late = now.after(PATIENCE);
    assert_eq!(history.next(), Some(late));
    history.give_up(late);
    assert_eq!(asks(&mut history, &[1, 2], late), None);
    // What comes late is no fault, once.
    assert_eq!(history.came(key(2), part(0, 1, false), late), Ok(()));
    let unasked = Err(Misbehaviour::Unasked);
    assert_eq!(history.came(key(2), part(0, 1, false), late), unasked);
    let again = history.next().unwrap();
    assert_eq!(again, now.after(ASK_HISTORY_AGAIN));
    history.give_up(again);
    assert_eq!(asks(&mut history, &[1, 2], again), Some((1, 0)));
    history.leave(key(1));
    assert_eq!(asks(&mut history, &[2], again), None);
    let again = late.after(PEACE);
    history.give_up(again);
    assert_eq!(asks(&mut history, &[2], again), Some((2, 0)));
}

#[test]
fn who_alone_has_sent_what_is_false_is_found_out() {
    let (mut history, now) = (wanting(), Moment(0));
    // What the first has sent is confirmed.
    asks(&mut history, &[1], now).unwrap();
    history.came(key(1), part(0, 10, true), now).unwrap();
    takes(&mut history, 1).unwrap();
    history.taken(Ticket(1), 10, true, now);
    asks(&mut history, &[2], now).unwrap();
    history.came(key(2), part(10, 10, false), now).unwrap();
    takes(&mut history, 2).unwrap();
    assert_eq!(asks(&mut history, &[2], now), Some((2, 20)));
    assert_eq!(history.taken(Ticket(2), 0, false, now), Some(key(2)));
    // It begins anew, and the liar is not asked again, however long it takes.
    assert_eq!(history.progress(), Some((0, TOTAL)));
    let later = now.after(PEACE * 10);
    history.give_up(later);
    assert_eq!(asks(&mut history, &[2], later), None);
    assert_eq!(asks(&mut history, &[1, 2], later), Some((1, 0)));
}

#[test]
fn nobody_is_blamed_for_what_another_may_have_sent() {
    let (mut history, now) = (wanting(), Moment(0));
    for (peer, from) in [(1, 0), (2, 10)] {
        assert_eq!(asks(&mut history, &[peer], now), Some((peer, from)));
        history.came(key(peer), part(from, 10, peer == 2), now).unwrap();
        takes(&mut history, from).unwrap();
        // What comes after the last checkpoint is dropped.
        let next = if peer == 1 { 10 } else { 0 };
        assert_eq!(history.taken(Ticket(from), next, peer == 1, now), None);
    }
    assert_eq!(asks(&mut history, &[1, 2], now), None);
    assert_eq!(asks(&mut history, &[3], now), Some((3, 0)));
}

/// Whose cut a checkpoint of the same part has confirmed is out of it.
#[test]
fn only_who_has_sent_something_of_the_cut_is_suspected() {
    let (mut history, now) = (wanting(), Moment(0));
    asks(&mut history, &[1], now).unwrap();
    history.came(key(1), part(0, 10, false), now).unwrap();
    takes(&mut history, 1).unwrap();
    history.taken(Ticket(1), 10, true, now);
    asks(&mut history, &[2], now).unwrap();
    let mut two = part(10, 10, true);
    two.items.as_mut().unwrap().extend(part(20, 10, true).items.unwrap());
    history.came(key(2), two, now).unwrap();
    takes(&mut history, 2).unwrap();
    assert_eq!(history.taken(Ticket(2), 20, false, now), Some(key(2)));
    assert_eq!(asks(&mut history, &[1, 2], now), Some((1, 20)));
}

/// What a failure has cost the store is of no account any more.
#[test]
fn what_the_store_has_dropped_makes_nobody_suspect() {
    let (mut history, now) = (wanting(), Moment(0));
    for (peer, from) in [(1, 0), (2, 10)] {
        asks(&mut history, &[peer], now).unwrap();
        history.came(key(peer), part(from, 10, false), now).unwrap();
        takes(&mut history, from).unwrap();
        if peer == 1 {
            history.taken(Ticket(from), 10, true, now);
        }
    }
    history.pause(Ticket(10), now);
    let again = history.next().unwrap();
    history.give_up(again);
    // The next one is asked.
    assert_eq!(asks(&mut history, &[2, 3], again), Some((3, 10)));
    history.came(key(3), part(10, 10, true), again).unwrap();
    takes(&mut history, 3).unwrap();
    assert_eq!(history.taken(Ticket(3), 0, true, again), None);
    asks(&mut history, &[4], again).unwrap();
    history.came(key(4), part(0, 10, true), again).unwrap();
    takes(&mut history, 4).unwrap();
    assert_eq!(history.taken(Ticket(4), 0, false, again), Some(key(4)));
}

#[test]
fn strangers_are_asked_last() {
    let (mut history, now) = (wanting(), Moment(0));
    let all = [STRANGERS, STRANGERS + 1, 7, 8];
    assert_eq!(asks(&mut history, &all, now), Some((7, 0)));
    history.came(key(7), HistoryPart { from: 0, items: None }, now).unwrap();
    assert_eq!(asks(&mut history, &all, now), Some((8, 0)));
    history.came(key(8), HistoryPart { from: 0, items: None }, now).unwrap();
    assert_eq!(asks(&mut history, &all, now), Some((STRANGERS, 0)));
}

#[test]
fn what_breaks_the_form_is_bad() {
    let begin = || {
        let mut history = wanting();
        asks(&mut history, &[1], Moment(0)).unwrap();
        history
    };
    let bad = Err(Misbehaviour::BadHistory);
    let too_many = part(0, 101, false);
    let checkpoint_alone = HistoryPart { from: 0, items: Some(vec![checkpoint(1)]) };
    let misplaced = HistoryPart { from: 0, items: Some(vec![event(), checkpoint(2)]) };
    let mut garbled = part(0, 1, true);
    if let Some([_, HistoryItem::Checkpoint(bytes)]) = garbled.items.as_deref_mut() {
        bytes.certificate.pop();
    }
    for wrong in [too_many, part(0, 0, false), checkpoint_alone, misplaced, garbled] {
        let mut history = begin();
        assert_eq!(history.came(key(1), wrong, Moment(0)), bad);
        assert_eq!(asks(&mut history, &[1], Moment(0)), None);
    }
    let elsewhere = begin().came(key(1), part(1, 1, false), Moment(0));
    assert_eq!(elsewhere, Err(Misbehaviour::Unasked));
}

#[test]
fn what_the_store_cannot_take_is_asked_for_again() {
    let (mut history, now) = (wanting(), Moment(0));
    asks(&mut history, &[1], now).unwrap();
    history.came(key(1), part(0, 10, true), now).unwrap();
    takes(&mut history, 1).unwrap();
    assert_eq!(asks(&mut history, &[1], now), Some((1, 10)));
    history.pause(Ticket(1), now);
    assert_eq!(asks(&mut history, &[1], now), None);
    assert_eq!(history.came(key(1), part(10, 10, true), now), Ok(()));
    let again = history.next().unwrap();
    assert_eq!(again, now.after(RETRY_EVERY));
    history.give_up(again);
    assert_eq!(asks(&mut history, &[1], again), Some((1, 0)));
    // Where it turns out to be farther back, it goes on there.
    history.came(key(1), part(0, 20, false), again).unwrap();
    takes(&mut history, 2).unwrap();
    assert_eq!(asks(&mut history, &[1], again), Some((1, 20)));
    assert_eq!(history.taken(Ticket(2), 5, true, again), None);
    assert_eq!(asks(&mut history, &[1], again), Some((1, 5)));
}

/// What happens to the asking side.
#[derive(Clone, Debug)]
enum Happening {
    Answers { events: u64, checked: bool },
    Cannot,
    Silent,
    Leaves,
    Takes(bool),
    Fails,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (1..30_u64, any::<bool>())
            .prop_map(|(events, checked)| Happening::Answers { events, checked }),
        1 => Just(Happening::Cannot),
        1 => Just(Happening::Silent),
        1 => Just(Happening::Leaves),
        6 => any::<u8>().prop_map(|number| Happening::Takes(number > 20)),
        1 => Just(Happening::Fails),
    ]
}

proptest! {
    /// Whatever happens: the store gets each place once it has all before it, one peer is asked at a time, and
    /// as soon as peers behave it comes to an end.
    #[test]
    fn it_goes_on_where_the_store_is(happenings in prop::collection::vec(happening(), 0..80)) {
        let (mut history, mut now, mut tickets) = (wanting(), Moment(0), 0_u64);
        // The peer that is being asked, what the store is at, and where it is.
        let (mut asked, mut taking, mut next) = (None, None, 0_u64);
        let good = (0..TOTAL).map(|_| Happening::Answers { events: 9, checked: true });
        let good = good.flat_map(|answer| [answer, Happening::Takes(true)]);
        let random = happenings.len();
        for (at, happening) in happenings.into_iter().chain(good).enumerate() {
            let pause = if at < random { 1 } else { 2_000 };
            now = now.after(std::time::Duration::from_millis(pause));
            history.give_up(now);
            if let Some((peer, message)) = history.ask([1, 2, 3].map(|peer| (key(peer), peer == 3)).into_iter(), now) {
                prop_assert!(asked.is_none());
                let Message::AskHistory(ask) = message else { panic!("{message:?}") };
                asked = Some((peer, ask.from));
            }
            if let Some(task) = history.take(|| { tickets += 1; Ticket(tickets) }) {
                prop_assert!(taking.is_none());
                let Task::TakeHistory { ticket, from, entries } = task else { panic!("{task:?}") };
                prop_assert_eq!(from, next);
                let events = |entry: &&HistoryEntry| matches!(entry, HistoryEntry::Event(_));
                let count = entries.iter().filter(events).count() as u64;
                taking = Some((ticket, count));
            }
            match happening {
                Happening::Answers { events, checked } => {
                    let Some((peer, from)) = asked.take() else { continue };
                    let events = events.min(TOTAL - from);
                    prop_assert_eq!(history.came(peer, part(from, events, checked), now), Ok(()));
                }
                Happening::Cannot => {
                    let Some((peer, from)) = asked.take() else { continue };
                    let none = HistoryPart { from, items: None };
                    prop_assert_eq!(history.came(peer, none, now), Ok(()));
                }
                Happening::Silent => {
                    asked = None;
                    now = now.after(PEACE * 2);
                    history.give_up(now);
                }
                Happening::Leaves => {
                    if let Some((peer, _)) = asked.take() {
                        history.leave(peer);
                    }
                }
                Happening::Takes(good) => {
                    let Some((ticket, count)) = taking.take() else { continue };
                    next = if good { next + count } else { 0 };
                    history.taken(ticket, next, good, now);
                    if !good {
                        asked = None;
                        // The liars are gone, and somebody else is there.
                        (history.shunned, history.left_alone) = Default::default();
                    }
                }
                Happening::Fails => {
                    let Some((ticket, _)) = taking.take() else { continue };
                    history.pause(ticket, now);
                    asked = None;
                    now = now.after(RETRY_EVERY);
                }
            }
            prop_assert_eq!(history.progress(), Some((next, TOTAL)), "at {}", at);
        }
        prop_assert_eq!(next, TOTAL);
    }
}
