//! Four validators.

use quipu_net::CertifyState;

use super::support::{Stores, agree, is_final, put, start_all, until};

#[tokio::test(flavor = "multi_thread")]
async fn four_validators_certify_what_each_of_them_writes() {
    let stores = Stores::new();
    let ledgers = stores.validators(4);
    let nodes = start_all(&ledgers).await;
    until(|| nodes.iter().all(|node| node.status().certification.validators.len() == 4)).await;
    for (at, ledger) in ledgers.iter().enumerate() {
        let event = put(ledger, &format!("k{at}"), b"v");
        for node in &nodes {
            is_final(node, event).await;
        }
    }
    agree(&ledgers);
    for (node, ledger) in nodes.iter().zip(&ledgers) {
        node.stop().await;
        let status = node.status().certification;
        assert_ne!(status.state, CertifyState::NoValidators);
        assert!(
            status.is_validator && status.evidence == 0 && ledger.evidence().unwrap().is_empty()
        );
    }
}
