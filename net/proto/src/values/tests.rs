use quipu_merge::EventId;

use super::*;

const PEER: AuthorKey = AuthorKey([1; 32]);

#[test]
fn late_answers_are_dropped_and_those_to_nothing_are_noticed() {
    let items = [1, 2].map(|at| Item::Opening { event: EventId([at; 32]), slot: 0 });
    let mut values = Values::default();
    values.listed(items.to_vec(), None);
    assert_eq!(values.ask([PEER].into_iter(), Moment(0)).len(), 1);
    let late = Moment(0).after(PATIENCE);
    values.give_up(late);
    let mut answer = || {
        let given = Given { request: 1, bytes: Some(vec![0; 9].into()) };
        values.given(PEER, given, late)
    };
    assert_eq!([answer(), answer()], [Ok(None), Ok(None)]);
    assert_eq!(answer(), Err(Misbehaviour::Unasked));
    // It has answered after all, and is asked again.
    values.listed(items.to_vec(), None);
    values.retry_at = Some(late);
    values.give_up(late);
    values.listed(items.to_vec(), None);
    assert_eq!(values.ask([PEER].into_iter(), late).len(), 1);
    // Nothing has changed: nobody is looked at.
    let looked = std::iter::from_fn(|| -> Option<AuthorKey> { panic!("looks at a peer") });
    assert!(values.ask(looked, late).is_empty());
}

/// Blocks of a mebibyte, from many peers at once, that the store does not get round to taking.
#[test]
fn what_waits_for_the_store_is_bounded() {
    let block = |number: u64| {
        let mut bytes = vec![0; MAX_VALUE_LEN];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    let item = |bytes: &[u8]| Item::Block(BlockId::of(quipu_merge::Codec::Raw, bytes));
    let blocks: BTreeMap<_, _> = (0..200).map(block).map(|block| (item(&block), block)).collect();
    let peers: Vec<_> = (1..=20).map(|peer| AuthorKey([peer; 32])).collect();
    let mut values = Values::default();
    values.listed(blocks.keys().copied().collect(), None);
    let (mut waits, mut taken) = (Vec::new(), 0);
    loop {
        for (peer, message) in values.ask(peers.iter().copied(), Moment(0)) {
            let Message::Ask(Ask { request, items }) = message else { panic!("{message:?}") };
            for item in items {
                let bytes = Some(blocks[&item].clone().into());
                let given = values.given(peer, Given { request, bytes }, Moment(0));
                waits.push(given.unwrap().unwrap().0);
            }
        }
        assert!(waits.len() <= MAX_TAKING_LEN / MAX_VALUE_LEN, "{}", waits.len());
        // The store takes one after the other.
        let Some(item) = waits.pop() else { break };
        values.taken(item, true);
        taken += 1;
    }
    assert_eq!((taken, values.lacking(), values.len), (200, 0, 0));
}

#[test]
fn who_does_not_answer_or_is_gone_takes_no_room() {
    let item = |number: u8| Item::Opening { event: EventId([number; 32]), slot: 0 };
    let mut values = Values::default();
    values.listed((0..20).map(item).collect(), None);
    let peers = [1, 2].map(|peer| AuthorKey([peer; 32]));
    assert_eq!(values.ask(peers.into_iter(), Moment(0)).len(), 2);
    assert!(values.len > 0);
    values.leave(peers[0]);
    values.give_up(Moment(0).after(PATIENCE));
    assert_eq!(values.len, 0);
    // What is longer than it can be is no opening.
    values.listed((0..20).map(item).collect(), None);
    values.ask([AuthorKey([3; 32])].into_iter(), Moment(0));
    let bytes = Some(vec![0; crate::limits::MAX_OPENING_LEN + 1].into());
    let given = values.given(AuthorKey([3; 32]), Given { request: 3, bytes }, Moment(0));
    assert_eq!(given, Err(Misbehaviour::Bogus));
}

#[test]
fn what_nobody_here_has_is_settled_and_lacking() {
    let item = Item::Opening { event: EventId([1; 32]), slot: 0 };
    let mut values = Values::default();
    values.listed(vec![item], None);
    assert!(!values.are_settled([PEER].into_iter()));
    values.ask([PEER].into_iter(), Moment(0));
    let given = Given { request: 1, bytes: None };
    assert_eq!(values.given(PEER, given, Moment(0)), Ok(None));
    assert_eq!((values.lacking(), values.are_settled([PEER].into_iter())), (1, true));
    assert!(!values.are_settled([PEER, AuthorKey([2; 32])].into_iter()));
    values.look();
    assert!(!values.are_settled([PEER].into_iter()));
}

const PEERS: [AuthorKey; 3] = [AuthorKey([1; 32]), AuthorKey([2; 32]), AuthorKey([3; 32])];

/// One value that nobody here has.
fn wanting() -> Values {
    let mut values = Values::default();
    values.listed(vec![Item::Opening { event: EventId([1; 32]), slot: 0 }], None);
    values
}

/// Asks peers, of whom one at most has not been asked. Tells who is.
fn asked(values: &mut Values, peers: &[AuthorKey], now: Moment) -> Option<AuthorKey> {
    let asks = values.ask(peers.iter().copied(), now);
    assert!(asks.len() <= 1, "{asks:?}");
    asks.first().map(|(peer, _)| *peer)
}

fn has_not(values: &mut Values, peer: AuthorKey, now: Moment) {
    let given = Given { request: values.requests, bytes: None };
    assert_eq!(values.given(peer, given, now), Ok(None));
}

/// Whoever owes word of what it gets since forgets that with the connection.
#[test]
fn who_is_back_is_asked_for_what_it_did_not_have() {
    let (mut values, now) = (wanting(), Moment(0));
    assert_eq!(asked(&mut values, &PEERS[..1], now), Some(PEERS[0]));
    has_not(&mut values, PEERS[0], now);
    values.join(PEERS[1]);
    assert_eq!(asked(&mut values, &PEERS[..2], now), Some(PEERS[1]));
    values.leave(PEERS[0]);
    values.join(PEERS[0]);
    assert_eq!(asked(&mut values, &PEERS[..2], now), None);
    values.leave(PEERS[1]);
    assert_eq!(asked(&mut values, &PEERS[..1], now), Some(PEERS[0]));
}

#[test]
fn nobody_keeps_a_value_from_being_asked_for_by_coming_and_going() {
    let (mut values, now) = (wanting(), Moment(0));
    for peer in [PEERS[0], PEERS[1], PEERS[2]] {
        assert_eq!(asked(&mut values, &PEERS, now), Some(peer));
        if peer != PEERS[2] {
            values.leave(peer);
            values.join(peer);
        }
    }
    // Who has gone may have it, and is asked when others have been.
    has_not(&mut values, PEERS[2], now);
    assert_eq!(asked(&mut values, &PEERS, now), None);
    assert!(!values.are_settled(PEERS.into_iter()));
    let later = now.after(RETRY_EVERY);
    values.give_up(later);
    values.listed(vec![Item::Opening { event: EventId([1; 32]), slot: 0 }], None);
    assert_eq!(asked(&mut values, &PEERS, later), Some(PEERS[0]));
    values.leave(PEERS[0]);
    // So many are remembered.
    for number in 0..10_000_u64 {
        let peer = AuthorKey(*blake3::hash(&number.to_be_bytes()).as_bytes());
        values.ask([peer].into_iter(), later);
        values.leave(peer);
    }
    assert!(values.wanted.values().all(|wanted| wanted.silent.len() <= MAX_SILENT));
}

/// Its link was down, say.
#[test]
fn who_is_back_is_not_left_in_peace() {
    let (mut values, now) = (wanting(), Moment(0));
    assert_eq!(asked(&mut values, &PEERS[..1], now), Some(PEERS[0]));
    let late = now.after(PATIENCE);
    values.give_up(late);
    values.listed(vec![Item::Opening { event: EventId([1; 32]), slot: 0 }], None);
    assert_eq!(asked(&mut values, &PEERS[..1], late), None);
    values.leave(PEERS[0]);
    values.join(PEERS[0]);
    assert_eq!(asked(&mut values, &PEERS[..1], late), Some(PEERS[0]));
}

/// An opening that comes with its event is nothing that others are told of.
#[test]
fn what_is_being_asked_for_is_asked_of_all_once_more() {
    let (mut values, now) = (wanting(), Moment(0));
    assert_eq!(asked(&mut values, &PEERS[1..2], now), Some(PEERS[1]));
    has_not(&mut values, PEERS[1], now);
    values.join(PEERS[0]);
    assert_eq!(asked(&mut values, &PEERS[..2], now), Some(PEERS[0]));
    values.give_up(now.after(RETRY_EVERY));
    let late = now.after(PATIENCE);
    values.give_up(late);
    assert_eq!(asked(&mut values, &PEERS[..2], late), Some(PEERS[1]));
}
