//! Signature lines of notes, checked by an implementation that is not ours.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics says what is wrong"
)]

#[path = "notes/cosigner.rs"]
mod cosigner;

use std::collections::BTreeSet;

use cosigner::{Cosigner, plain};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use quipu_merge::{
    AuthorKey, BlockId, Checkpoint, CheckpointId, CheckpointNote, CheckpointSignature, Codec,
    EventId, Height, Micros, NoteKey, SignedNote, ValidatorsBlock,
};
use signed_note::{Note, StandardVerifier, Verifier, VerifierList};

const SECONDS: u64 = 1_790_000_000;
const VALIDATORS: u8 = 4;

fn keys() -> Vec<SigningKey> {
    (1..=VALIDATORS).map(|number| SigningKey::from_bytes(&[number; 32])).collect()
}

fn public(key: &SigningKey) -> [u8; 32] {
    key.verifying_key().to_bytes()
}

fn checkpoint() -> Checkpoint {
    let mut validators: Vec<_> = keys().iter().map(|key| AuthorKey(public(key))).collect();
    validators.sort();
    Checkpoint {
        ledger: EventId([1; 32]),
        height: Height(7),
        prev: Some(CheckpointId([6; 32])),
        cut: BlockId { codec: Codec::DagCbor, digest: [2; 32] },
        size: 20_852_163,
        root: [3; 32],
        state: [4; 32],
        validators: ValidatorsBlock::new(validators).unwrap().seal().0,
        time: Micros(5),
    }
}

/// The note of a checkpoint with the lines of all its validators.
fn signed() -> SignedNote {
    let checkpoint = checkpoint();
    let note = CheckpointNote::of(&checkpoint, checkpoint.seal().unwrap().0);
    let sign = |key| CheckpointSignature::sign(&note, key, SECONDS).unwrap();
    note.signed(&keys().iter().map(sign).collect::<Vec<_>>())
}

/// Whose lines hold to us and to the other, each as a name and an id; nothing where it is refused.
fn read(note: &[u8], known: &[SigningKey]) -> [Option<BTreeSet<(String, u32)>>; 2] {
    let ledger = checkpoint().ledger;
    let validators = || known.iter().map(|key| AuthorKey(public(key)));
    let ours: Vec<_> =
        validators().flat_map(|key| [NoteKey::log(ledger, key), NoteKey::cosigner(key)]).collect();
    let ours = SignedNote::parse(note).and_then(|note| note.verify(&ours)).ok();
    let ours = ours.map(|lines| {
        let line = |line: &quipu_merge::VerifiedLine| {
            (line.key.name().to_owned(), u32::from_be_bytes(line.key.id()))
        };
        lines.iter().map(line).collect()
    });
    let origin = format!("quipu/ledger/{ledger}");
    let theirs = validators().flat_map(|key| {
        [Box::new(plain(&origin, key)) as Box<dyn Verifier>, Box::new(Cosigner::new(key))]
    });
    let theirs = VerifierList::new(theirs.collect());
    let lines = Note::from_bytes(note).and_then(|note| note.verify(&theirs)).ok();
    let theirs = lines
        .map(|(lines, _)| lines.iter().map(|line| (line.name().to_owned(), line.id())).collect());
    [ours, theirs]
}

#[test]
fn every_line_of_every_validator_holds_to_others() {
    let note = signed().to_string().into_bytes();
    let [ours, theirs] = read(&note, &keys());
    assert_eq!(theirs.as_ref().unwrap().len(), 2 * usize::from(VALIDATORS));
    assert_eq!(ours, theirs);
    // Those who know some of them are told of these.
    let [ours, theirs] = read(&note, &keys()[..1]);
    assert_eq!(theirs.as_ref().unwrap().len(), 2);
    assert_eq!(ours, theirs);
    assert_eq!(read(&note, &[]), [None, None]);
    // The verifier keys that we print of a log are its.
    let ledger = checkpoint().ledger;
    for key in keys() {
        let printed = NoteKey::log(ledger, AuthorKey(public(&key))).to_string();
        let theirs = StandardVerifier::new(&printed).unwrap();
        assert_eq!(theirs.key_id(), plain(theirs.name(), AuthorKey(public(&key))).key_id());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Of any changed note, both take the same lines or refuse it.
    #[test]
    fn what_is_changed_holds_to_nobody_or_to_both(
        line in 0..2 * usize::from(VALIDATORS),
        place in 0..72_usize,
        flip in 0..8_u32,
        digit in any::<prop::sample::Index>(),
        in_text in any::<bool>(),
        known in 0..=usize::from(VALIDATORS),
    ) {
        let mut note = signed();
        if in_text {
            let digits: Vec<_> = note.text.match_indices(|c: char| c.is_ascii_digit()).collect();
            let (place, was) = *digit.get(&digits);
            let other = if was == "9" { "8" } else { "9" };
            note.text.replace_range(place..=place, other);
        } else {
            let signature = &mut note.signatures[line].signature;
            let place = place % signature.len();
            signature[place] ^= 1 << flip;
        }
        let [ours, theirs] = read(note.to_string().as_bytes(), &keys()[..known]);
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(ours.is_some(), !in_text && line / 2 >= known && known > 0);
    }
}
