use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;

const SECONDS: u64 = 1_679_315_147;

/// The example of the specification of signed notes, whose line is by one of two keys.
const EXAMPLE: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
/// Those of checkpoints and cosignatures.
const COSIGNED: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

/// The seeds of [`twins`].
const TWINS: [u32; 2] = [77_533, 81_492];

fn note() -> CheckpointNote {
    CheckpointNote {
        ledger: EventId([1; 32]),
        size: 20_852_163,
        root: [3; 32],
        height: Height(7),
        checkpoint: CheckpointId([4; 32]),
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn author(key: &SigningKey) -> AuthorKey {
    AuthorKey(key.verifying_key().to_bytes())
}

fn signed() -> (SignedNote, Vec<NoteKey>) {
    let signatures: Vec<_> = (1..=4)
        .map(|n| CheckpointSignature::sign(&note(), &key(n), SECONDS + u64::from(n)).unwrap())
        .collect();
    signatures.iter().for_each(|signature| assert_eq!(signature.verify(&note()), Ok(())));
    let keys = (1..=4).flat_map(|n| {
        [NoteKey::log(note().ledger, author(&key(n))), NoteKey::cosigner(author(&key(n)))]
    });
    (note().signed(&signatures), keys.collect())
}

#[test]
fn texts_say_what_they_are_made_of() {
    let text = note().to_string();
    let expected = "quipu/ledger/bafyr4iabaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibae\n\
        20852163\nAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n\
        quipu checkpoint 7 bafyr4iaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq\n";
    assert_eq!(text, expected);
    assert_eq!(CheckpointNote::parse(&text), Ok(note()));
    let others = [
        text.replace("\n2085", "\n02085"),
        text.replace("quipu/ledger/", "quipu/log/"),
        text.replace("point 7", "point 0"),
        text.replace("point 7", "point +7"),
        text.replace("AwM=", "AwN="),
        text.replace('\n', "\r\n"),
        format!("{text}more\n"),
        text.trim_end().to_owned(),
        String::new(),
    ];
    for other in others {
        let parsed = CheckpointNote::parse(&other);
        assert!(matches!(parsed, Err(NoteError::NotCheckpoint(_))), "{other}");
    }
}

#[test]
fn the_lines_of_validators_hold() {
    let (note, keys) = signed();
    let read = SignedNote::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(read, note);
    let lines = read.verify(&keys).unwrap();
    let seconds = |n: u64| [None, Some(SECONDS + n)];
    let expected: Vec<_> = (1..=4).flat_map(seconds).collect();
    assert_eq!(lines.iter().map(|line| line.seconds).collect::<Vec<_>>(), expected);
    assert_eq!(lines.into_iter().map(|line| line.key).collect::<Vec<_>>(), keys);
    // No key counts twice.
    let mut twice = read.clone();
    twice.signatures.extend(read.signatures.clone());
    assert_eq!(twice.verify(&keys), read.verify(&keys));
    // Some known keys are enough, and only theirs are told of.
    assert_eq!(read.verify(&keys[3..4]).unwrap().len(), 1);
    let stranger = NoteKey::cosigner(author(&key(9)));
    assert_eq!(read.verify(&[stranger]), Err(NoteError::Unknown));
    assert_eq!(read.verify(&[]), Err(NoteError::Unknown));
}

/// Two keys whose ids as the log of [`note`] are the same, which takes a few seconds to find; who
/// makes one up for the key of another needs some 2^32 tries.
fn twins() -> [SigningKey; 2] {
    TWINS.map(|number| {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        SigningKey::from_bytes(&seed)
    })
}

#[test]
fn every_known_key_that_a_line_names_is_tried() {
    let twins = twins();
    let known = twins.each_ref().map(|key| NoteKey::log(note().ledger, author(key)));
    let [first, second] = known.clone();
    assert_eq!(first.id(), second.id());
    let lines = twins.each_ref().map(|key| {
        CheckpointSignature::sign(&note(), key, SECONDS).unwrap().lines(note().ledger)[0].clone()
    });
    let told = |signatures: &[&NoteSignature], known: &[NoteKey]| {
        let signatures = signatures.iter().copied().cloned().collect();
        let signed = SignedNote { text: note().to_string(), signatures };
        let lines = signed.verify(known)?;
        Ok::<_, NoteError>(lines.into_iter().map(|line| line.key).collect::<Vec<_>>())
    };
    let [one, two] = &lines;
    let backwards = [second.clone(), first.clone()];
    for known in [&known, &backwards] {
        assert_eq!(told(&[one], known), Ok(vec![first.clone()]));
        assert_eq!(told(&[two], known), Ok(vec![second.clone()]));
        assert_eq!(told(&[one, two], known), Ok(known_in(&[&first, &second])));
        // Nobody counts twice, nor stands in the way of the other.
        assert_eq!(told(&[two, two, one, two], known), Ok(known_in(&[&second, &first])));
        let mut broken = one.clone();
        broken.signature[0] ^= 1;
        for lines in [&[&broken][..], &[one, &broken], &[two, &broken], &[&broken, one, two]] {
            assert!(matches!(told(lines, known), Err(NoteError::Signature(_))));
        }
    }
    // Known twice is known once; and a line by the one says nothing of the other.
    assert_eq!(told(&[one, one], &[first.clone(), first.clone()]), Ok(vec![first.clone()]));
    assert!(matches!(told(&[two], &[first]), Err(NoteError::Signature(_))));
}

fn known_in(order: &[&NoteKey]) -> Vec<NoteKey> {
    order.iter().copied().cloned().collect()
}

#[test]
fn a_broken_line_of_a_known_key_breaks_the_note() {
    let time = CheckpointSignature::sign(&note(), &key(1), 1 << 63);
    assert_eq!(time, Err(NoteError::Time));
    let (note, keys) = signed();
    for line in 0..note.signatures.len() {
        for place in 0..note.signatures[line].signature.len() {
            let mut broken = note.clone();
            broken.signatures[line].signature[place] ^= 1;
            assert!(broken.verify(&keys).is_err());
        }
        let mut short = note.clone();
        short.signatures[line].signature.truncate(5);
        assert!(matches!(short.verify(&keys), Err(NoteError::Signature(_))));
    }
    let mut other = note.clone();
    other.text = other.text.replace("20852163", "20852164");
    assert!(matches!(other.verify(&keys), Err(NoteError::Signature(_))));
    let mut late = note;
    late.signatures[1].signature[0] = 0x80;
    assert_eq!(late.verify(&keys), Err(NoteError::Time));
}

#[test]
fn lines_are_no_votes_and_votes_are_no_lines() {
    use crate::certificate::{Round, Vote, VoteType};
    let note = note();
    let vote = Vote {
        ledger: note.ledger,
        height: note.height,
        round: Round(0),
        vote_type: VoteType::Precommit,
        value: Some(note.checkpoint),
    };
    let signature = CheckpointSignature::sign(&note, &key(1), SECONDS).unwrap();
    for other in [signature.log, signature.cosignature] {
        assert!(vote.verify(&author(&key(1)), &other).is_err());
    }
    let voted = vote.sign(&key(1)).unwrap();
    assert!(CheckpointSignature { log: voted, ..signature }.verify(&note).is_err());
    let swapped = CheckpointSignature { log: signature.cosignature, ..signature };
    assert!(swapped.verify(&note).is_err());
}

#[test]
fn examples_of_the_specifications_are_read() {
    for example in [EXAMPLE, COSIGNED] {
        let note = SignedNote::parse(example.as_bytes()).unwrap();
        assert_eq!(note.to_string(), example);
    }
    let note = SignedNote::parse(COSIGNED.as_bytes()).unwrap();
    assert_eq!(note.signatures[1].id, [0x8d, 0x66, 0xcf, 0x3f]);
    assert_eq!(note.signatures[1].signature[..8], SECONDS.to_be_bytes());
    assert!(SignedNote::parse(EXAMPLE.as_bytes()).unwrap().text.ends_with("sera.\n"));
    // The example of verifier keys, from the documentation of Go's package.
    let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key: NoteKey = text.parse().unwrap();
    assert_eq!((key.name(), key.kind()), ("PeterNeumann", NoteKeyKind::Log));
    assert_eq!((key.id(), key.to_string().as_str()), ([0xc7, 0x4f, 0x20, 0xa3], text));
    let signed = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    assert_eq!(SignedNote::parse(signed.as_bytes()).unwrap().verify(&[key]).unwrap().len(), 1);
}

#[test]
fn malformed_notes_and_keys_are_refused() {
    let (note, keys) = signed();
    let good = note.to_string();
    let line = good.lines().last().unwrap();
    let many = (0..=MAX_NOTE_SIGNATURES).map(|_| format!("{line}\n")).collect::<String>();
    let text = &note.text;
    let bad = [
        String::new(),
        text.clone(),
        format!("{text}\n"),
        good.trim_end().to_owned(),
        good.replace('\u{2014}', "-"),
        good.replace("20852163", "2085\t2163"),
        good.replace("quipu/validator/", "quipu+validator/"),
        good.replace("quipu/validator/", "quipu\u{2003}validator/"),
        good.replace('=', ""),
        format!("{text}\n\u{2014} name AAAAAA==\n"),
        format!("{text}\n\u{2014} name AAAAAA==AAAAAA==\n"),
        format!("{text}\n\u{2014} name\n"),
        format!("{good}\n"),
        format!("{text}\n{many}"),
        "x".repeat(MAX_NOTE_LEN) + &good,
    ];
    for bad in bad {
        let parsed = SignedNote::parse(bad.as_bytes());
        assert!(matches!(parsed, Err(NoteError::Malformed(_))), "{parsed:?}");
    }
    let most = many.split_inclusive('\n').skip(1).collect::<String>();
    let parsed = SignedNote::parse(format!("{text}\n{most}").as_bytes()).unwrap();
    assert_eq!(parsed.signatures.len(), MAX_NOTE_SIGNATURES);
    for key in keys {
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        for bad in
            [text.replacen('+', "", 1), text.replacen("+", "+0", 1), text + "A", "a+b+c".to_owned()]
        {
            assert!(matches!(bad.parse::<NoteKey>(), Err(NoteError::Key(_))), "{bad}");
        }
    }
    for name in ["", "a b", "a+b", "a\n"] {
        assert!(NoteKey::new(name, NoteKeyKind::Log, AuthorKey([1; 32])).is_err());
    }
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
    ) {
        let good = signed().0.to_string();
        let mut mixed = good.clone().into_bytes();
        let place = place.index(mixed.len());
        mixed.splice(place..place, bytes.clone());
        for bytes in [bytes, mixed] {
            if let Ok(note) = SignedNote::parse(&bytes) {
                prop_assert_eq!(note.to_string().into_bytes(), bytes);
            }
        }
    }
}
