//! No changed file is ever accepted, and none makes anything panic.

use proptest::prelude::*;
use quipu_merge::{
    Claim, LeafKind, MAX_PROOF_FILE_LEN, MAX_PROOF_LEN, MAX_STATE_PROOF_LEN, Proof, ProofError,
    ProvedWrite, Trust,
};

use super::world::World;
use super::{SETS, claim_of_k, key};

fn proofs(world: &World) -> Vec<(Vec<u8>, Trust)> {
    let absent = world.key_claim(key("nothing"), 5, &[], &vec![]);
    let proofs = [
        world.proof(0, 5, &[], world.event_claim(7, 5)),
        world.proof(0, 5, &[], claim_of_k(world, 5)),
        world.proof(3, 5, &[], absent),
        world.proof(0, 5, &[2], world.extends_claim(2, 5)),
    ];
    proofs.map(|(proof, trust)| (proof.encode().unwrap(), trust)).into()
}

#[test]
fn every_byte_matters() {
    let world = World::new(SETS);
    for (bytes, trust) in proofs(&world) {
        assert!(Proof::decode(&bytes).unwrap().check(trust).is_ok());
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            let shown = Proof::decode(&changed).and_then(|proof| proof.check(trust));
            assert!(shown.is_err(), "byte {place}: {shown:?}");
            let cut = Proof::decode(&bytes[..place]);
            assert!(matches!(cut, Err(ProofError::Malformed(_))));
        }
        let longer = Proof::decode(&[&bytes[..], &[0]].concat());
        assert!(matches!(longer, Err(ProofError::Malformed(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changed_files_show_nothing(
        which in 0..4_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        len in 0..64_usize,
    ) {
        let world = World::new(SETS);
        let (bytes, trust) = proofs(&world).swap_remove(which);
        let mut changed = bytes.clone();
        for (place, byte) in changes {
            changed[place.index(bytes.len())] = byte;
        }
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        let moved = changed[from..(from + len).min(bytes.len())].to_vec();
        changed.splice(to..(to + len).min(bytes.len()), moved);
        let shown = Proof::decode(&changed).and_then(|proof| proof.check(trust));
        prop_assert!(shown.is_err() || changed == bytes);
    }
}

#[test]
fn the_blocks_of_a_write_must_be_its_own() {
    let world = World::new(SETS);
    let check = |change: &dyn Fn(&mut Vec<Option<ProvedWrite>>)| {
        let (mut proof, trust) = world.proof(0, 3, &[], claim_of_k(&world, 3));
        if let Claim::Key { entries, .. } = &mut proof.claim {
            change(&mut entries[0].writes);
        }
        proof.check(trust)
    };
    assert!(check(&|_| ()).is_ok());
    let errors = [
        check(&|writes| writes.swap(0, 1)),
        check(&|writes| _ = writes.pop()),
        check(&|writes| writes[0].as_mut().unwrap().opening[40] ^= 1),
        check(&|writes| writes[0].as_mut().unwrap().event = world.events[1].bytes().to_vec()),
    ];
    for error in errors {
        let Err(ProofError::Value { kind: LeafKind::Register, .. }) = error else {
            panic!("{error:?}")
        };
    }
}

#[test]
fn limits_hold() {
    let world = World::new(SETS);
    let (proof, _) = world.proof(0, 3, &[], world.event_claim(1, 3));
    let refused = |claim: Claim| {
        let proof = Proof { claim, ..proof.clone() };
        assert!(proof.encode().is_err());
    };
    refused(Claim::Event { event: vec![], index: 0, path: vec![[0; 32]; MAX_PROOF_LEN + 1] });
    refused(Claim::Extends {
        from: quipu_merge::Height(1),
        path: vec![[0; 32]; MAX_PROOF_LEN + 1],
    });
    refused(Claim::Event { event: vec![0; MAX_PROOF_FILE_LEN], index: 0, path: vec![] });
    let keyed = |change: &dyn Fn(&mut Vec<quipu_merge::KeyEntry>)| {
        let Claim::Key { key, mut entries } = claim_of_k(&world, 3) else { panic!() };
        change(&mut entries);
        refused(Claim::Key { key, entries });
    };
    keyed(&|entries| entries.clear());
    keyed(&|entries| _ = entries.remove(0));
    keyed(&|entries| entries.swap(0, 1));
    keyed(&|entries| entries[1] = entries[0].clone());
    keyed(&|entries| entries[0].kind = LeafKind::Member);
    keyed(&|entries| entries[0].value = None);
    keyed(&|entries| entries[0].writes.push(None));
    keyed(&|entries| entries[1].writes = entries[0].writes.clone());
    keyed(&|entries| entries[0].path.siblings = vec![[0; 32]; MAX_STATE_PROOF_LEN + 1]);
    assert!(matches!(
        Proof::decode(&vec![0; MAX_PROOF_FILE_LEN + 1]),
        Err(ProofError::Malformed(_))
    ));
    // What is wrong is said in a line, however much of it there is.
    let long = [&[0xa5, 0x7a, 0, 0x0f, 0x42, 0x40][..], &vec![1; 1_000_000]].concat();
    let error = Proof::decode(&long).unwrap_err().to_string();
    assert!(error.contains("\"…") && error.len() < 500, "{error:.500}");
}
