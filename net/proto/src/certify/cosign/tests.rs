use ed25519_dalek::SigningKey;
use quipu_merge::{CheckpointId, EventId};

use super::gathering::{MAX_ASKS, MAX_ASKS_FOR_REST};
use super::*;

fn key(seed: u8) -> (SigningKey, AuthorKey) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let author = AuthorKey(key.verifying_key().to_bytes());
    (key, author)
}

fn note(height: u64) -> CheckpointNote {
    CheckpointNote {
        ledger: EventId([1; 32]),
        size: height,
        root: [2; 32],
        height: Height(height),
        checkpoint: CheckpointId([3; 32]),
    }
}

fn validators() -> Vec<AuthorKey> {
    let mut all: Vec<_> = (1..=4).map(|seed| key(seed).1).collect();
    all.sort_unstable();
    all
}

fn lines(height: u64, seed: u8) -> Cosigned {
    let signature = CheckpointSignature::sign(&note(height), &key(seed).0, 7).unwrap();
    Cosigned { height: Height(height), lines: vec![Lines::from(&signature)] }
}

fn outputs(cosigning: &mut Cosigning) -> Vec<CosignOutput> {
    std::iter::from_fn(|| cosigning.output()).collect()
}

#[test]
fn lines_are_signed_gathered_and_passed_on_once() {
    let (me, peer) = (key(1).1, AuthorKey([9; 32]));
    let mut cosigning = Cosigning::new(me);
    cosigning.connected(peer);
    // What comes early is looked at when its checkpoint counts.
    cosigning.cosigned(peer, lines(1, 2), Moment(0));
    assert_eq!(outputs(&mut cosigning), []);
    cosigning.certified(note(1), validators(), [], Moment(0));
    let [CosignOutput::Sign(of), CosignOutput::Keep(Height(1), kept)] =
        &outputs(&mut cosigning)[..]
    else {
        panic!("to be signed, and kept");
    };
    assert_eq!((of, kept.len()), (&note(1), 1));
    let own = CheckpointSignature::sign(&note(1), &key(1).0, 8).unwrap();
    cosigning.signed(Height(1), own, Moment(0));
    cosigning.cosigned(peer, lines(1, 2), Moment(0));
    outputs(&mut cosigning);
    let due = cosigning.next().unwrap();
    cosigning.tick(due);
    let [CosignOutput::Send(to, CertifyMessage::Cosigned(sent))] = &outputs(&mut cosigning)[..]
    else {
        panic!("passed on in one message");
    };
    assert_eq!((to.as_slice(), sent.lines.len()), (&[peer][..], 2));
    // Two are missing: somebody is asked, a few times.
    let mut asks = 0;
    while let Some(due) = cosigning.next() {
        cosigning.tick(due);
        asks += outputs(&mut cosigning).len();
    }
    assert_eq!(asks, MAX_ASKS as usize);
}

#[test]
fn strangers_do_not_count_and_bogus_lines_are_blamed() {
    let (me, peer) = (AuthorKey([8; 32]), AuthorKey([9; 32]));
    let mut cosigning = Cosigning::new(me);
    cosigning.connected(peer);
    cosigning.certified(note(1), validators(), [], Moment(0));
    cosigning.cosigned(peer, lines(1, 7), Moment(0));
    assert_eq!(outputs(&mut cosigning), [], "not a validator");
    let mut bogus = lines(1, 3);
    bogus.lines[0].seconds += 1;
    cosigning.cosigned(peer, bogus, Moment(0));
    let blamed = CosignOutput::Misbehaved(peer, Misbehaviour::Bogus);
    assert_eq!(outputs(&mut cosigning), [blamed]);
    cosigning.asked(peer, 1, Moment(0));
    assert_eq!(outputs(&mut cosigning), [], "nothing is known");
}

/// A node that has had the checkpoints up to a height, one after the other, and a peer.
fn having(last: u64) -> (Cosigning, AuthorKey) {
    let (mut cosigning, peer) = (Cosigning::new(AuthorKey([8; 32])), AuthorKey([9; 32]));
    cosigning.connected(peer);
    (1..=last).for_each(|height| {
        cosigning.certified(note(height), validators(), [], Moment(0));
    });
    (cosigning, peer)
}

#[test]
fn late_lines_are_taken_of_the_last_heights() {
    let last = COSIGNED_HEIGHTS + 1;
    let (mut cosigning, peer) = having(last);
    for height in 1..=last {
        cosigning.cosigned(peer, lines(height, 2), Moment(0));
    }
    let kept = outputs(&mut cosigning).into_iter().map(|output| match output {
        CosignOutput::Keep(height, kept) if kept.len() == 1 => height.0,
        other => panic!("{other:?}"),
    });
    assert_eq!(kept.collect::<Vec<_>>(), (2..=last).collect::<Vec<_>>());
    // They are passed on, each under its height.
    let due = cosigning.next().unwrap();
    cosigning.tick(due);
    let told = outputs(&mut cosigning).into_iter().map(|output| match output {
        CosignOutput::Send(to, CertifyMessage::Cosigned(sent)) if to == [peer] => sent,
        other => panic!("{other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), (2..=last).map(|at| lines(at, 2)).collect::<Vec<_>>());
    // Whoever asks is told of them again, as long as that is not too often.
    let later = Moment(1 << 40);
    cosigning.asked(peer, 1, later);
    assert_eq!(outputs(&mut cosigning), [], "this one is past");
    for height in 2..=last {
        cosigning.asked(peer, height, later);
    }
    assert_eq!(outputs(&mut cosigning).len(), ASK_RATE.burst as usize);
    cosigning.asked(peer, last, later);
    assert_eq!(outputs(&mut cosigning), []);
}

#[test]
fn lines_are_by_validators_of_their_height() {
    let (mut cosigning, peer) = having(1);
    let three: Vec<_> = validators().into_iter().filter(|by| *by != key(4).1).collect();
    cosigning.certified(note(2), three, [], Moment(0));
    cosigning.cosigned(peer, lines(2, 4), Moment(0));
    assert_eq!(outputs(&mut cosigning), []);
    cosigning.cosigned(peer, lines(1, 4), Moment(0));
    assert!(matches!(outputs(&mut cosigning)[..], [CosignOutput::Keep(Height(1), _)]));
    // A line of another height is no line of this one.
    let moved = Cosigned { height: Height(2), ..lines(1, 2) };
    cosigning.cosigned(peer, moved, Moment(0));
    let blamed = CosignOutput::Misbehaved(peer, Misbehaviour::Bogus);
    assert_eq!(outputs(&mut cosigning), [blamed]);
}

#[test]
fn what_another_follows_is_gathered_and_not_signed() {
    let (me, other) = (key(1).1, key(2).1);
    let mut cosigning = Cosigning::new(me);
    let line = |height, seed| CheckpointSignature::from(&lines(height, seed).lines[0]);
    cosigning.followed(note(1), validators(), [line(1, 2)], Moment(0));
    cosigning.followed(note(2), validators(), [], Moment(0));
    cosigning.certified(note(3), validators(), [], Moment(0));
    assert_eq!(outputs(&mut cosigning), [CosignOutput::Sign(note(3))]);
    // Who comes is asked for what it has signed and is not known.
    cosigning.connected(AuthorKey([9; 32]));
    assert_eq!(outputs(&mut cosigning), []);
    cosigning.connected(other);
    let ask = |height| CosignOutput::Send(vec![other], CertifyMessage::AskCosigned(height));
    assert_eq!(outputs(&mut cosigning), [ask(2), ask(3)]);
}

#[test]
fn peers_take_turns_to_be_asked_and_the_rest_is_not_asked_for_long() {
    let (mut cosigning, peer) = having(2);
    let other = AuthorKey([10; 32]);
    cosigning.connected(other);
    for seed in 1..=3 {
        cosigning.cosigned(peer, lines(1, seed), Moment(0));
    }
    outputs(&mut cosigning);
    let (mut asked, mut first) = (BTreeMap::new(), Vec::new());
    while let Some(due) = cosigning.next() {
        cosigning.tick(due);
        for output in outputs(&mut cosigning) {
            let CosignOutput::Send(to, CertifyMessage::AskCosigned(height)) = output else {
                continue;
            };
            *asked.entry(height).or_insert(0) += 1;
            first.extend(to);
        }
    }
    assert_eq!(asked, BTreeMap::from([(1, MAX_ASKS_FOR_REST), (2, MAX_ASKS)]));
    assert_eq!(first[..2], [other, peer]);
}

#[test]
fn no_more_lines_of_a_peer_are_checked_than_its_rate_allows() {
    let count = u8::try_from(u64::from(LINES_RATE.burst) / COSIGNED_HEIGHTS + 1).unwrap();
    let keys: Vec<_> = (0..count).map(|seed| SigningKey::from_bytes(&[seed; 32])).collect();
    let mut all: Vec<_> =
        keys.iter().map(|key| AuthorKey(key.verifying_key().to_bytes())).collect();
    all.sort_unstable();
    let (mut cosigning, peer) = (Cosigning::new(AuthorKey([8; 32])), AuthorKey([9; 32]));
    cosigning.connected(peer);
    for height in 1..=COSIGNED_HEIGHTS {
        cosigning.certified(note(height), all.clone(), [], Moment(0));
        let sign = |key| Lines::from(&CheckpointSignature::sign(&note(height), key, 7).unwrap());
        let lines = keys.iter().map(sign).collect();
        cosigning.cosigned(peer, Cosigned { height: Height(height), lines }, Moment(0));
    }
    let kept = outputs(&mut cosigning).into_iter().map(|output| match output {
        CosignOutput::Keep(_, kept) => kept.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(kept.sum::<usize>(), LINES_RATE.burst as usize);
}
