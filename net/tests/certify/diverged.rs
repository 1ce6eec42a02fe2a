//! A running validator whose store learns of a second certificate.

use std::time::Duration;

use quipu_merge::{Certificate, Checkpoint, Height, Round, Vote, VoteType};
use quipu_proto::{CertifyState, Stopped};
use quipu_store::{Acceptance, CertifiedCheckpoint, Ledger};

use super::support::{Stores, is_final, put, start, until};

/// Another checkpoint of the height of one that is kept, with a certificate of the same round.
fn another(ledger: &Ledger, height: Height) -> CertifiedCheckpoint {
    let kept = ledger.snapshot().unwrap().checkpoint(height).unwrap().unwrap();
    let checkpoint = Checkpoint { state: [9; 32], ..kept.checkpoint };
    let (id, round) = (checkpoint.seal().unwrap().0, kept.certificate.round);
    let vote = Vote {
        ledger: ledger.id(),
        height,
        round: Round(round.0),
        vote_type: VoteType::Precommit,
        value: Some(id),
    };
    let key = ledger.voting_key().unwrap();
    let signature = key.sign(&vote.signing_bytes().unwrap()).unwrap();
    let signatures = vec![(key.author(), signature)];
    let certificate = Certificate { checkpoint: id, height, round, signatures };
    CertifiedCheckpoint { checkpoint, certificate, ..kept }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_certifies_no_more_and_shows_who_has_signed_twice() {
    let stores = Stores::new();
    let ledger = stores.validators(1).remove(0);
    let node = start(&ledger, &[]).await;
    is_final(&node, put(&ledger, "k", b"1")).await;
    let height = is_final(&node, put(&ledger, "k", b"2")).await;
    let other = another(&ledger, height);
    assert_eq!(ledger.accept(other).unwrap(), Acceptance::Diverged);
    let stopped = || {
        let status = node.status().certification;
        status.state == CertifyState::Stopped(Stopped::Diverged(height)) && status.evidence == 1
    };
    until(stopped).await;
    put(&ledger, "k", b"3");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ledger.snapshot().unwrap().certified_height(), Some(height));
    assert_eq!(ledger.evidence().unwrap().len(), 1);
    node.stop().await;
}
