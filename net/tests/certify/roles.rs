//! What is certified about roles and redacts takes effect.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use quipu_merge::{AuthorKey, Control, Height, MAX_VALIDATORS, Role};
use quipu_store::{GcOptions, Ledger, Value};

use super::support::{Stores, agree, all_ready, is_final, put, start, start_all, until};

fn validators(ledger: &Ledger, height: Height) -> Vec<AuthorKey> {
    ledger.snapshot().unwrap().validators_of(height).unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_change_with_the_next_height() {
    let stores = Stores::new();
    let mut ledgers = stores.validators(3);
    ledgers.push(stores.replica("3", &ledgers[0], Role::Writer));
    let nodes = start_all(&ledgers).await;
    all_ready(&nodes[..3], 3).await;

    let granted = ledgers[0].grant(ledgers[3].author(), Role::Validator).unwrap().event;
    let height = is_final(&nodes[3], granted).await;
    let of = |height| validators(&ledgers[3], height);
    assert!(!of(height).contains(&ledgers[3].author()));
    assert_eq!(of(height.next().unwrap()).len(), 4);
    all_ready(&nodes, 4).await;
    is_final(&nodes[0], put(&ledgers[3], "k", b"v")).await;

    // With one of four out, all others are needed.
    let revoked = ledgers[0].revoke(ledgers[1].author()).unwrap().event;
    let height = is_final(&nodes[0], revoked).await;
    assert_eq!(validators(&ledgers[0], height.next().unwrap()).len(), 3);
    until(|| !nodes[0].status().certification.validators.contains(&ledgers[1].author())).await;
    nodes[1].stop().await;
    is_final(&nodes[0], put(&ledgers[2], "k", b"w")).await;
    ledgers.remove(1);
    agree(&ledgers);
}

/// With more validators than a checkpoint may name, there is none until some lose the role.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_validators_hinder_until_some_are_revoked() {
    let stores = Stores::new();
    let ledger = stores.validators(1).remove(0);
    let many: Vec<_> = (1..=MAX_VALIDATORS as u64).map(a_key).collect();
    let grant = |author: &AuthorKey| Control::Grant { author: *author, role: Role::Validator };
    ledger.control(many.iter().map(grant).collect()).unwrap();
    let node = start(&ledger, &[]).await;
    let told = || node.status().certification.advice().unwrap_or_default();
    until(|| told().contains("1025 validators are granted")).await;
    let revoke = |author: &AuthorKey| Control::Revoke { author: *author };
    let revoked = ledger.control(many.iter().map(revoke).collect()).unwrap().event;
    is_final(&node, revoked).await;
    until(|| told().is_empty()).await;
    node.stop().await;
}

/// A key that can sign.
fn a_key(number: u64) -> AuthorKey {
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    AuthorKey(SigningKey::from_bytes(&secret).verifying_key().to_bytes())
}

fn has_whole(ledger: &Ledger, key: &str) -> bool {
    let snapshot = ledger.snapshot().unwrap();
    let Some(Value::Long(link)) = snapshot.get(key).unwrap() else { return false };
    snapshot.missing_blocks(link, &(0..link.size)).unwrap().is_empty()
}

/// An admin's redact of somebody else's value drops its bytes when it is certified, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_certified_redact_drops_bytes() {
    let stores = Stores::new();
    let ledgers = stores.validators(2);
    let (first, other) = (&ledgers[0], &ledgers[1]);
    let at_once = GcOptions { grace: Duration::ZERO, ..GcOptions::default() };
    let collected = |ledger: &Ledger| ledger.gc(at_once, &mut |_, _| {}).unwrap().blocks;

    let event = put(other, "long", &[7; 100_000]);
    let node = start(first, &[]).await;
    let second = start(other, &[&node]).await;
    is_final(&node, event).await;
    until(|| has_whole(first, "long")).await;
    second.stop().await;
    // One of two is no quorum.
    let redact = first.redact(event).unwrap().event;
    assert_eq!(collected(first), 0);
    let second = start(other, &[&node]).await;
    is_final(&node, redact).await;
    // Whoever has taken the value in may be using it for a while.
    until(|| collected(first) > 0).await;
    is_final(&second, redact).await;
    until(|| collected(other) > 0).await;
}
