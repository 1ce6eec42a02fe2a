//! Validators that have signed what they must not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::path::Path;

use ed25519_dalek::{Signer, SigningKey};
use quipu_merge::{AuthorKey, CheckpointId, Height};
use quipu_proto::{Evidence, SignedProposal};
use quipu_store::{KeptEvidence, Ledger, MAX_EVIDENCE_AGAINST};
use serde_json::json;
use support::Scratch;

/// Evidence that a validator has signed two proposals, kept as a node keeps it.
fn keep_evidence(store: &Path, height: u64) -> (AuthorKey, KeptEvidence) {
    let ledger = Ledger::open(store).unwrap();
    let key = SigningKey::from_bytes(&[1; 32]);
    let by = AuthorKey(key.verifying_key().to_bytes());
    let [one, other] = [1, 2].map(|number| {
        let value = CheckpointId([number; 32]);
        let (height, round, signature) = (Height(height), 3, [0; 64]);
        let proposal = SignedProposal { height, round, pol_round: None, value, by, signature };
        let signature = key.sign(&proposal.signing_bytes(ledger.id())).to_bytes();
        SignedProposal { signature, ..proposal }
    });
    let evidence = Evidence::proposals(ledger.id(), one, other).encode();
    (by, ledger.keep_evidence(by, &height.to_be_bytes(), &evidence).unwrap())
}

#[test]
fn evidence_against_a_validator_is_shown() {
    let s = Scratch::certified();
    let (liar, kept) = keep_evidence(&s.path("a"), 7);
    assert_eq!(kept, KeptEvidence::New);
    let told = || {
        let lines = s.a(&["validators", "--json"]).lines();
        assert_eq!(lines.len(), 4);
        let (guilty, others): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line["author"] == liar.to_string());
        assert!(others.iter().all(|other| other["evidence"] == json!([])));
        guilty[0].clone()
    };
    let piece = json!({"height": 7, "round": 3, "kind": "proposal"});
    assert_eq!((&told()["evidence"], &told()["evidence_full"]), (&json!([piece]), &json!(false)));
    let people = s.a(&["validators"]).ok();
    let said = format!("{liar} certifies\n    has signed two proposals in round 3 of height 7\n");
    assert!(people.contains(&said), "{people}");
    assert!(!people.contains("and maybe more"), "{people}");

    let room = 8..7 + MAX_EVIDENCE_AGAINST as u64;
    for height in room {
        assert_eq!(keep_evidence(&s.path("a"), height).1, KeptEvidence::New);
    }
    assert_eq!(keep_evidence(&s.path("a"), 1000).1, KeptEvidence::NoRoom);
    assert_eq!(told()["evidence"].as_array().unwrap().len(), MAX_EVIDENCE_AGAINST);
    assert_eq!(told()["evidence_full"], true);
    let people = s.a(&["validators"]).ok();
    assert!(people.contains("\n    and maybe more: "), "{people}");
    // Nobody who no longer certifies is forgotten.
    s.event(&["member", "revoke", &liar.to_string()]);
    s.certify("a");
    let people = s.a(&["validators"]).ok();
    assert!(people.contains(&format!("{liar} certifies no longer\n    has signed")), "{people}");
}
