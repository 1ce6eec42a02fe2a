#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use sha2::{Digest, Sha256};

use super::*;

const MAX: u64 = 70;

fn leaves(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("leaf {i}").into_bytes()).collect()
}

fn sha(parts: &[&[u8]]) -> LogHash {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// Largest power of two below `n`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// MTH of RFC 6962, section 2.1, word by word.
fn root(leaves: &[Vec<u8>]) -> LogHash {
    match leaves {
        [] => sha(&[]),
        [leaf] => sha(&[&[0], leaf]),
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            sha(&[&[1], &root(left), &root(right)])
        }
    }
}

/// PATH of section 2.1.1.
fn path(m: usize, leaves: &[Vec<u8>]) -> Vec<LogHash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) =
        if m < k { (path(m, left), root(right)) } else { (path(m - k, right), root(left)) };
    proof.push(other);
    proof
}

/// SUBPROOF of section 2.1.2.
fn subproof(m: usize, leaves: &[Vec<u8>], whole: bool) -> Vec<LogHash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if m <= k {
        (subproof(m, left, whole), root(right))
    } else {
        (subproof(m - k, right, false), root(left))
    };
    proof.push(other);
    proof
}

fn grown() -> (Vec<LogHash>, Vec<LogTree>) {
    let mut tree = LogTree::new();
    let (mut stored, mut trees) = (Vec::new(), vec![tree.clone()]);
    for leaf in leaves(MAX) {
        stored.extend(tree.append(leaf_hash(&leaf)));
        trees.push(tree.clone());
    }
    (stored, trees)
}

#[test]
fn roots_are_those_of_the_rfc() {
    let (stored, trees) = grown();
    let leaves = leaves(MAX);
    for (size, tree) in trees.iter().enumerate() {
        assert_eq!(tree.size(), size as u64);
        assert_eq!(tree.root(), root(&leaves[..size]), "size {size}");
        assert_eq!(LogTree::resume(size as u64, &stored).unwrap(), *tree);
        assert_eq!(tree.peaks.len(), size.count_ones() as usize);
    }
    assert_eq!(stored.len() as u64, tlog_tiles::stored_hash_count(MAX));
}

#[test]
fn every_inclusion_is_proven_and_nothing_else() {
    let (stored, trees) = grown();
    let leaves = leaves(MAX);
    for size in 1..=MAX {
        let log = (size, trees[size as usize].root());
        for leaf in 0..size {
            let hash = leaf_hash(&leaves[leaf as usize]);
            let proof = prove_inclusion(size, leaf, &stored).unwrap();
            assert_eq!(proof, path(leaf as usize, &leaves[..size as usize]));
            assert_eq!(check_inclusion(&proof, log, (leaf, hash)), Ok(()));
            refuse_tampering(&proof, |proof| check_inclusion(proof, log, (leaf, hash)));
            let other = leaf_hash(b"another");
            assert!(check_inclusion(&proof, log, (leaf, other)).is_err());
            assert!(check_inclusion(&proof, (size, other), (leaf, hash)).is_err());
            for wrong in (0..=size).filter(|&wrong| wrong != leaf) {
                assert!(check_inclusion(&proof, log, (wrong, hash)).is_err());
            }
        }
    }
}

#[test]
fn every_continuation_is_proven_and_nothing_else() {
    let (stored, trees) = grown();
    let leaves = leaves(MAX);
    for size in 1..=MAX {
        let log = (size, trees[size as usize].root());
        for old_size in 1..=size {
            let old = (old_size, trees[old_size as usize].root());
            let proof = prove_consistency(size, old_size, &stored).unwrap();
            assert_eq!(proof, subproof(old_size as usize, &leaves[..size as usize], true));
            assert_eq!(check_consistency(&proof, log, old), Ok(()));
            refuse_tampering(&proof, |proof| check_consistency(proof, log, old));
            let other = leaf_hash(b"another");
            assert!(check_consistency(&proof, (size, other), old).is_err());
            assert!(check_consistency(&proof, log, (old_size, other)).is_err());
        }
    }
}

fn refuse_tampering(proof: &[LogHash], check: impl Fn(&[LogHash]) -> Result<(), InvalidProof>) {
    for place in 0..proof.len() {
        let mut changed = proof.to_vec();
        changed[place][7] ^= 1;
        assert!(check(&changed).is_err());
        let mut shorter = proof.to_vec();
        shorter.remove(place);
        assert!(check(&shorter).is_err());
    }
    let mut longer = proof.to_vec();
    longer.push([0; 32]);
    assert!(check(&longer).is_err());
}

#[test]
fn hostile_sizes_and_lengths_fail_closed() {
    let hash = [1; 32];
    for size in [0, 1, LOG_SIZE_LIMIT - 1, LOG_SIZE_LIMIT, u64::MAX] {
        for leaf in [0, 1, size.wrapping_sub(1), size, u64::MAX] {
            for len in [0, 1, 53, MAX_PROOF_LEN, MAX_PROOF_LEN + 1, 10_000] {
                let proof = vec![hash; len];
                if (size, len) != (1, 0) {
                    assert!(check_inclusion(&proof, (size, hash), (leaf, hash)).is_err());
                    assert!(check_consistency(&proof, (size, [2; 32]), (leaf, hash)).is_err());
                }
            }
        }
    }
}

#[test]
fn what_is_not_stored_is_named() {
    let (mut stored, _) = grown();
    stored.truncate(20);
    assert_eq!(prove_inclusion(5, 5, &stored), Err(LogProofError::OutOfRange { leaf: 5, size: 5 }));
    assert_eq!(
        prove_consistency(5, 0, &stored),
        Err(LogProofError::OutOfRange { leaf: 0, size: 5 })
    );
    assert!(matches!(prove_inclusion(70, 3, &stored), Err(LogProofError::Missing(20..))));
    assert!(matches!(LogTree::resume(70, &stored), Err(LogProofError::Missing(20..))));
}

#[test]
fn longest_proofs_are_within_the_limit() {
    // Only the length matters, so every stored hash may be the same.
    struct Everything;
    impl StoredHashes for Everything {
        type Error = std::convert::Infallible;
        fn read(&self, _: u64) -> Result<Option<LogHash>, Self::Error> {
            Ok(Some([0; 32]))
        }
    }
    let size = LOG_SIZE_LIMIT - 1;
    for n in [1, 2, 3, size / 2, size - 1] {
        assert!(prove_inclusion(size, n, &Everything).unwrap().len() <= MAX_PROOF_LEN);
        assert!(prove_consistency(size, n, &Everything).unwrap().len() <= MAX_PROOF_LEN);
    }
}
