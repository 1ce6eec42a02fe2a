//! A kind that a proof does not tell of is never shown to be absent.

use std::iter;

use proptest::prelude::*;
use quipu_merge::{Claim, Fact, KeyEntry, Leaf, LeafKind, Proof, ProofError, ProvedKey, Trust};

use super::world::World;
use super::{SETS, claim_of_k, key};

const HEIGHT: u64 = 3;
const NAMES: [&str; 3] = ["k", "long", "nothing"];

/// A whole proof of a key that holds everything, a register alone, or nothing.
fn whole(world: &World, name: &str) -> (Proof, Trust) {
    let claim = match name {
        "k" => claim_of_k(world, HEIGHT),
        "long" => {
            let write = world.write_of(HEIGHT, 2);
            let ProvedKey::Key(name) = key(name) else { panic!() };
            let leaf = Leaf::register(&name, &[write]);
            world.key_claim(key("long"), HEIGHT, &[leaf], &vec![write])
        }
        _ => world.key_claim(key(name), HEIGHT, &[], &vec![]),
    };
    world.proof(0, HEIGHT, &[], claim)
}

fn entries_of(proof: &Proof) -> Vec<KeyEntry> {
    let Claim::Key { entries, .. } = &proof.claim else { panic!() };
    entries.clone()
}

/// The proof with other entries, and its file, which it cannot be made to write itself.
fn with_entries(proof: &Proof, entries: &[KeyEntry]) -> (Proof, Vec<u8>) {
    let (file, before) = (proof.encode().unwrap(), written(&entries_of(proof)));
    let place = file.windows(before.len()).position(|bytes| bytes == before).unwrap();
    let mut changed = file;
    changed.splice(place..place + before.len(), written(entries));
    let Claim::Key { key, .. } = proof.claim.clone() else { panic!() };
    let claim = Claim::Key { key, entries: entries.to_vec() };
    (Proof { claim, ..proof.clone() }, changed)
}

/// Entries as the format says.
fn written(entries: &[KeyEntry]) -> Vec<u8> {
    let mut bytes = head(4, entries.len());
    for entry in entries {
        let letter = match entry.kind {
            LeafKind::Register => "r",
            LeafKind::Counter => "c",
            LeafKind::Set => "s",
            LeafKind::List => "l",
            LeafKind::Member => "m",
        };
        bytes.extend([head(4, 5), head(3, 1), letter.into()].concat());
        bytes.extend(entry.value.as_deref().map_or(vec![0xf6], string));
        let other = entry.path.other.map(|(key_hash, value_hash)| [key_hash, value_hash].concat());
        bytes.extend(other.as_deref().map_or(vec![0xf6], string));
        bytes.extend(string(entry.path.siblings.as_flattened()));
        bytes.extend(head(4, entry.writes.len()));
        for write in &entry.writes {
            let write = write.as_ref().unwrap();
            bytes.extend([head(4, 2), string(&write.event), string(&write.opening)].concat());
        }
    }
    bytes
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len()), bytes.to_vec()].concat()
}

/// The head of an item of CBOR, of less than 64 KiB.
fn head(major: u8, count: usize) -> Vec<u8> {
    let count = u16::try_from(count).unwrap();
    match (count, count.to_be_bytes()) {
        (0..24, [_, low]) => vec![major << 5 | low],
        (24..256, [_, low]) => vec![major << 5 | 24, low],
        (_, [high, low]) => vec![major << 5 | 25, high, low],
    }
}

/// Whether anything exists under the key, if that is shown: by the proof and by its file alike.
fn present(proof: &Proof, entries: &[KeyEntry], trust: Trust) -> Option<bool> {
    let (proof, file) = with_entries(proof, entries);
    let shown = proof.check(trust);
    let read = Proof::decode(&file);
    assert_eq!(proof.encode().is_ok(), read.is_ok());
    match read {
        Ok(read) => assert_eq!(read.check(trust), shown),
        Err(error) => {
            assert!(matches!(error, ProofError::Malformed(_)), "{error}");
            assert_eq!(shown, Err(ProofError::Kinds));
        }
    }
    let Fact::Key(facts) = shown.ok()?.fact else { panic!() };
    assert_eq!(facts.kinds, key("k").kinds());
    Some(!facts.present.is_empty())
}

#[test]
fn no_kind_can_be_taken_out() {
    let world = World::new(SETS);
    for name in NAMES {
        let (proof, trust) = whole(&world, name);
        let all = entries_of(&proof);
        assert_eq!(present(&proof, &all, trust), Some(name != "nothing"));
        for mask in 0..15_u8 {
            let told = all.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
            let told: Vec<_> = told.map(|(_, entry)| entry.clone()).collect();
            assert_eq!(present(&proof, &told, trust), None, "{name} {mask:04b}");
        }
    }
    // The register is hidden: what is left is true, and says nothing of the key.
    let (proof, trust) = whole(&world, "long");
    let (hidden, file) = with_entries(&proof, &entries_of(&proof)[1..]);
    assert_eq!(hidden.check(trust), Err(ProofError::Kinds));
    assert!(Proof::decode(&file).is_err());
    // Nor can another kind's absence, or an author's, stand in its place.
    let mut twice = entries_of(&proof);
    twice[0] = twice[1].clone();
    assert_eq!(present(&proof, &twice, trust), None);
    let author = ProvedKey::Author(super::author(&world.keys[1]));
    let claim = world.key_claim(author, HEIGHT, &[], &vec![]);
    let (member, trust) = world.proof(0, HEIGHT, &[], claim);
    assert!(member.check(trust).is_ok());
    assert_eq!(present(&proof, &entries_of(&member), trust), None);
    let author = with_entries(&member, &[]);
    assert_eq!(author.0.check(trust), Err(ProofError::Kinds));
    assert!(Proof::decode(&author.1).is_err());
}

proptest! {
    #[test]
    fn only_all_kinds_in_their_order_show_anything(
        name in prop::sample::select(&NAMES[..]),
        told in prop::collection::vec((0..4_usize, 0..3_usize), 0..6),
        all in any::<bool>(),
    ) {
        let world = World::new(SETS);
        let (proof, trust) = whole(&world, name);
        let sources = NAMES.map(|name| entries_of(&whole(&world, name).0));
        let own = NAMES.iter().position(|other| *other == name).unwrap();
        // Of any keys and kinds, or of all kinds and any keys.
        let kinds: Vec<_> = if all {
            iter::zip(0..4, told.iter().map(|(_, from)| *from).chain(iter::repeat(own))).collect()
        } else {
            told
        };
        let entries: Vec<_> = kinds.iter().map(|(kind, from)| sources[*from][*kind].clone()).collect();
        let shown = present(&proof, &entries, trust);
        let whole = kinds.iter().map(|(kind, _)| *kind).eq(0..4);
        let truth = Some(name != "nothing");
        prop_assert!(shown.is_none() || (whole && shown == truth), "{shown:?}");
        if entries == sources[own] {
            prop_assert_eq!(shown, truth);
        }
    }
}
