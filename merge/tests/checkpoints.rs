//! The certified chain of the vectors: what it certifies holds, what it forges is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that panics says what is wrong"
)]

use std::fs;

use ed25519_dalek::SigningKey;
use quipu_merge::{
    AuthorKey, BlockId, Body, CarReader, Certificate, CertificateError, Chain, ChainError,
    Checkpoint, CheckpointId, Codec, CutBlock, EventId, Genesis, Height, InvalidProof, LogTree,
    MAX_ROUND, Micros, Round, ValidatorsBlock, Vote, VoteError, VoteType, check_consistency,
    check_inclusion, event_leaf_hash, prove_consistency, prove_inclusion,
};
use serde_json::Value;

fn vector(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn checkpoints() -> Value {
    serde_json::from_slice(&vector("checkpoints.json")).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap().as_bytes();
    let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
    text.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn list<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> Vec<T> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().parse().unwrap()).collect()
}

/// One height of the vectors, decoded.
struct Link {
    id: CheckpointId,
    checkpoint: Checkpoint,
    certificate: Certificate,
    cut: CutBlock,
    next: ValidatorsBlock,
    forged: Vec<(&'static str, Certificate)>,
}

fn links() -> Vec<Link> {
    let json = checkpoints();
    let links = json["chain"].as_array().unwrap();
    links
        .iter()
        .map(|link| {
            let forged = ["bad_extra", "too_few", "wrong_signer"];
            Link {
                id: link["cid"].as_str().unwrap().parse().unwrap(),
                checkpoint: Checkpoint::decode(&hex(&link["checkpoint"])).unwrap(),
                certificate: Certificate::decode(&hex(&link["certificate"])).unwrap(),
                cut: CutBlock::decode(&hex(&link["cut"])).unwrap(),
                next: ValidatorsBlock::decode(&hex(&link["next_validators"])).unwrap(),
                forged: forged
                    .map(|name| (name, Certificate::decode(&hex(&link[name])).unwrap()))
                    .to_vec(),
            }
        })
        .collect()
}

/// The genesis event's id and operation, found among the blocks of the vector's CAR.
fn genesis() -> (EventId, Genesis) {
    let ledger: EventId =
        checkpoints()["cases"][0]["dump"]["ledger"].as_str().unwrap().parse().unwrap();
    let file = vector("checkpoints.car");
    let blocks = CarReader::new(file.as_slice()).unwrap();
    let genesis = blocks.map(Result::unwrap).find_map(|block| match Body::decode(&block.bytes) {
        Ok(Body::Genesis(genesis)) => Some(genesis),
        _ => None,
    });
    (ledger, genesis.unwrap())
}

#[test]
fn the_order_of_validators_in_genesis_means_nothing() {
    let (ledger, genesis) = genesis();
    let mut other = genesis.clone();
    other.validators.reverse();
    assert_ne!(other.validators, genesis.validators);
    let (one, other) = (Chain::new(ledger, &genesis), Chain::new(ledger, &other));
    assert_eq!(one.validators(), other.validators());
    assert!(ValidatorsBlock::new(one.validators().to_vec()).is_ok());
}

#[test]
fn encodings_are_those_of_the_vectors() {
    let json = checkpoints();
    for (link, raw) in links().iter().zip(json["chain"].as_array().unwrap()) {
        assert_eq!(link.checkpoint.seal().unwrap(), (link.id, hex(&raw["checkpoint"])));
        assert_eq!(link.certificate.encode().unwrap(), hex(&raw["certificate"]));
        assert_eq!(link.cut.seal(), (link.checkpoint.cut, hex(&raw["cut"])));
        assert_eq!(link.cut.heads(), list::<EventId>(&raw["heads"]));
        assert_eq!(link.next.seal(), (link.checkpoint.validators, hex(&raw["next_validators"])));
    }
}

#[test]
fn certificates_certify_and_forgeries_do_not() {
    let json = checkpoints();
    for (link, raw) in links().iter().zip(json["chain"].as_array().unwrap()) {
        let validators = list::<AuthorKey>(&raw["validators"]);
        let check = |certificate: &Certificate| {
            certificate.check(&link.checkpoint, link.checkpoint.ledger, &validators)
        };
        assert_eq!(check(&link.certificate), Ok(()));
        for (name, forged) in &link.forged {
            let error = check(forged).unwrap_err();
            match *name {
                "too_few" => assert!(matches!(error, CertificateError::TooFew { .. }), "{error}"),
                _ => assert!(
                    matches!(
                        error,
                        CertificateError::NotValidator(_) | CertificateError::Signature(_)
                    ),
                    "{name}: {error}"
                ),
            }
        }
    }
}

#[test]
fn every_byte_of_a_certificate_matters() {
    let links = links();
    let (_, genesis) = genesis();
    let link = &links[0];
    let bytes = link.certificate.encode().unwrap();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let holds = Certificate::decode(&changed).is_ok_and(|certificate| {
            let ledger = link.checkpoint.ledger;
            certificate.check(&link.checkpoint, ledger, &genesis.validators).is_ok()
        });
        assert!(!holds, "byte {place}");
    }
}

#[test]
fn the_chain_follows_changes_of_validators() {
    let json = checkpoints();
    let (ledger, genesis) = genesis();
    let mut chain = Chain::new(ledger, &genesis);
    assert_eq!((chain.tip(), chain.height()), (None, None));
    for (link, raw) in links().iter().zip(json["chain"].as_array().unwrap()) {
        assert_eq!(chain.validators(), list::<AuthorKey>(&raw["validators"]));
        for (_, forged) in &link.forged {
            let before = chain.clone();
            let error = chain.accept(&link.checkpoint, forged, &link.next).unwrap_err();
            assert!(matches!(error, ChainError::Certificate(_)), "{error}");
            assert_eq!(chain, before);
        }
        let accepted = chain.accept(&link.checkpoint, &link.certificate, &link.next);
        assert_eq!(accepted, Ok(link.id));
        assert_eq!(chain.tip(), Some(link.id));
        assert_eq!(Chain::trusting(&link.checkpoint, &link.next).unwrap(), chain);
    }
    assert_eq!(chain.validators(), list::<AuthorKey>(&json["validators"]));
}

#[test]
fn what_does_not_continue_the_chain_is_refused() {
    let links = links();
    let (ledger, genesis) = genesis();
    let mut chain = Chain::new(ledger, &genesis);
    let [first, second, third] = links.as_slice() else { panic!("not three heights") };
    let mut refused = |checkpoint: &Checkpoint, link: &Link, next: &Link| {
        chain.accept(checkpoint, &link.certificate, &next.next).unwrap_err()
    };
    let skipped = refused(&second.checkpoint, second, second);
    assert_eq!(skipped, ChainError::Height { expected: Height(1), found: Height(2) });
    let other = refused(&first.checkpoint, first, second);
    assert_eq!(other, ChainError::Validators(first.checkpoint.validators));
    let foreign = Checkpoint { ledger: EventId([7; 32]), ..first.checkpoint.clone() };
    let foreign_error = CertificateError::ForeignLedger(EventId([7; 32]));
    assert_eq!(refused(&foreign, first, first), ChainError::Certificate(foreign_error));
    let other = Checkpoint { size: 5, ..first.checkpoint.clone() };
    let other_error = CertificateError::OtherCheckpoint(first.id);
    assert_eq!(refused(&other, first, first), ChainError::Certificate(other_error));

    let mut chain = Chain::trusting(&second.checkpoint, &second.next).unwrap();
    let mut refused = |checkpoint: &Checkpoint| {
        chain.accept(checkpoint, &third.certificate, &third.next).unwrap_err()
    };
    let astray = Checkpoint { prev: Some(first.id), ..third.checkpoint.clone() };
    assert_eq!(refused(&astray), ChainError::Prev);
    let smaller = Checkpoint { size: second.checkpoint.size, ..third.checkpoint.clone() };
    assert_eq!(refused(&smaller), ChainError::Shrinks);
    let earlier =
        Checkpoint { time: Micros(second.checkpoint.time.0 - 1), ..third.checkpoint.clone() };
    assert_eq!(refused(&earlier), ChainError::Shrinks);
    assert_eq!(chain.accept(&third.checkpoint, &third.certificate, &third.next), Ok(third.id));
    let untrusted = Chain::trusting(&first.checkpoint, &second.next).unwrap_err();
    assert_eq!(untrusted, ChainError::Validators(first.checkpoint.validators));
}

#[test]
fn more_than_two_thirds_are_needed() {
    let mut keys: Vec<_> = (1..=7).map(|i| SigningKey::from_bytes(&[i; 32])).collect();
    keys.sort_by_key(|key| key.verifying_key().to_bytes());
    let author = |key: &SigningKey| AuthorKey(key.verifying_key().to_bytes());
    let block = BlockId { codec: Codec::DagCbor, digest: [1; 32] };
    let ledger = EventId([2; 32]);
    let checkpoint = Checkpoint {
        ledger,
        height: Height::FIRST,
        prev: None,
        cut: block,
        size: 1,
        root: [3; 32],
        state: [4; 32],
        validators: block,
        time: Micros(5),
    };
    let (id, _) = checkpoint.seal().unwrap();
    let vote = Vote {
        ledger,
        height: Height::FIRST,
        round: Round(3),
        vote_type: VoteType::Precommit,
        value: Some(id),
    };
    for count in 0..=keys.len() {
        let validators: Vec<_> = keys[..count].iter().map(author).collect();
        for signed in 0..=count {
            let sign = |key: &SigningKey| (author(key), vote.sign(key).unwrap());
            let signatures = keys[..signed].iter().map(sign).collect();
            let certificate =
                Certificate { checkpoint: id, height: vote.height, round: vote.round, signatures };
            let checked = certificate.check(&checkpoint, ledger, &validators);
            match 3 * signed > 2 * count {
                true => assert_eq!(checked, Ok(())),
                false => {
                    assert_eq!(checked, Err(CertificateError::TooFew { signed, validators: count }))
                }
            }
            let later = Certificate { round: Round(4), ..certificate.clone() };
            assert!(later.check(&checkpoint, ledger, &validators).is_err());
            let mut twice = certificate.clone();
            twice.signatures.extend(certificate.signatures.last().copied());
            if signed > 0 {
                let checked = twice.check(&checkpoint, ledger, &validators);
                assert!(matches!(checked, Err(CertificateError::Malformed(_))));
                assert!(twice.encode().is_err());
            }
        }
    }
    let prevote = Vote { vote_type: VoteType::Prevote, ..vote };
    let signature = prevote.sign(&keys[0]).unwrap();
    assert_eq!(prevote.verify(&author(&keys[0]), &signature), Ok(()));
    assert_eq!(vote.verify(&author(&keys[0]), &signature), Err(VoteError::Signature));
    assert_eq!(prevote.verify(&author(&keys[1]), &signature), Err(VoteError::Signature));
    let late = Vote { round: Round(MAX_ROUND + 1), ..vote };
    assert_eq!(late.sign(&keys[0]), Err(VoteError::OutOfRange));
}

#[test]
fn the_certified_log_is_that_of_the_vectors() {
    let json = checkpoints();
    let mut tree = LogTree::new();
    let mut stored = Vec::new();
    let mut roots = vec![tree.root()];
    let order = list::<EventId>(&json["certified_order"]);
    for &event in &order {
        stored.extend(tree.append(event_leaf_hash(event)));
        roots.push(tree.root());
    }
    let logs = json["log"]["sizes"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap());
    let named = json["log"]["roots"].as_array().unwrap();
    for (size, root) in logs.zip(named) {
        assert_eq!(roots[size as usize].as_slice(), hex(root));
    }
    for (link, root) in links().iter().zip(named) {
        assert_eq!(link.checkpoint.root.as_slice(), hex(root));
    }
    let last = (tree.size(), tree.root());
    for (leaf, &event) in (0..).zip(&order) {
        let proof = prove_inclusion(last.0, leaf, &stored).unwrap();
        assert_eq!(check_inclusion(&proof, last, (leaf, event_leaf_hash(event))), Ok(()));
        let other = event_leaf_hash(EventId([0; 32]));
        assert_eq!(check_inclusion(&proof, last, (leaf, other)), Err(InvalidProof));
    }
    for link in links().iter().filter(|link| link.checkpoint.height != OFF_BY_ONE) {
        let old = (link.checkpoint.size, link.checkpoint.root);
        let proof = prove_consistency(last.0, old.0, &stored).unwrap();
        assert_eq!(check_consistency(&proof, last, old), Ok(()));
    }
}

/// The cut of this height in the vectors leaves out an event that the cut before holds, against
/// section 7: its `size` counts the 5 events of the cut, its `root` covers the 6 of the log. The
/// chain alone cannot see that, but whoever uses both together can.
const OFF_BY_ONE: Height = Height(2);

#[test]
fn a_size_that_is_not_the_logs_proves_nothing() {
    let json = checkpoints();
    let mut tree = LogTree::new();
    let order = list::<EventId>(&json["certified_order"]);
    let stored: Vec<_> =
        order.iter().flat_map(|&event| tree.append(event_leaf_hash(event))).collect();
    let odd = &links()[1].checkpoint;
    assert_eq!((odd.height, odd.size, &json["log"]["sizes"][1]), (OFF_BY_ONE, 5, &6.into()));
    let last = (tree.size(), tree.root());
    let proof = prove_consistency(last.0, odd.size, &stored).unwrap();
    assert_eq!(check_consistency(&proof, last, (odd.size, odd.root)), Err(InvalidProof));
    let proof = prove_consistency(last.0, 6, &stored).unwrap();
    assert_eq!(check_consistency(&proof, last, (6, odd.root)), Ok(()));
}
