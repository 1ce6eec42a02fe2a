//! The golden checkpoints, proved.

use std::path::Path;

use quipu_merge::{
    Body, CarReader, Certificate, Certified, Checkpoint, Claim, EventId, Height, LogTree,
    ParsedEvent, Proof, ProofStart, Trust, ValidatorsBlock, event_leaf_hash, proof_steps,
    prove_consistency, prove_inclusion,
};
use serde_json::Value;

fn vector(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    std::fs::read(dir.join(name)).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn chain(json: &Value) -> Vec<Certified> {
    let link = |link: &Value| Certified {
        checkpoint: Checkpoint::decode(&hex(&link["checkpoint"])).unwrap(),
        certificate: Certificate::decode(&hex(&link["certificate"])).unwrap(),
        validators: ValidatorsBlock::decode(&hex(&link["next_validators"])).unwrap(),
    };
    json["chain"].as_array().unwrap().iter().map(link).collect()
}

#[test]
fn certified_events_of_the_vectors_are_shown() {
    let json: Value = serde_json::from_slice(&vector("checkpoints.json")).unwrap();
    let ledger: EventId = json["cases"][0]["dump"]["ledger"].as_str().unwrap().parse().unwrap();
    let file = vector("checkpoints.car");
    let blocks: Vec<Vec<u8>> =
        CarReader::new(file.as_slice()).unwrap().map(|block| block.unwrap().bytes).collect();
    let block = |id: EventId| blocks.iter().find(|bytes| EventId::of(bytes) == id).unwrap().clone();
    let body = blocks.iter().find(|bytes| matches!(Body::decode(bytes), Ok(Body::Genesis(_))));
    let start = ProofStart::Genesis { event: block(ledger), body: body.unwrap().clone() };
    let chain = chain(&json);
    let order = json["certified_order"].as_array().unwrap();
    let order: Vec<EventId> =
        order.iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect();
    let mut tree = LogTree::new();
    let stored: Vec<_> =
        order.iter().flat_map(|&event| tree.append(event_leaf_hash(event))).collect();
    let prove = |upto: usize, claim: Claim| {
        let read = |height: Height| {
            Ok::<_, ()>(chain[usize::try_from(height.0).unwrap() - 1].checkpoint.clone())
        };
        let steps = proof_steps(&start, chain[..upto].iter().cloned(), read).unwrap();
        let bytes = Proof { start: start.clone(), steps, claim }.encode().unwrap();
        Proof::decode(&bytes).unwrap().check(Trust::Genesis(ledger)).unwrap()
    };
    // The cut of height 2 has another size than its log (see the tests of checkpoints).
    for upto in [1, 3] {
        let checkpoint = &chain[upto - 1].checkpoint;
        for index in 0..checkpoint.size {
            let event = order[usize::try_from(index).unwrap()];
            let path = prove_inclusion(checkpoint.size, index, &stored).unwrap();
            let proven = prove(upto, Claim::Event { event: block(event), index, path });
            assert_eq!((proven.ledger, proven.at.height), (ledger, checkpoint.height));
            assert!(ParsedEvent::decode(&block(event)).is_ok());
        }
    }
    let (old, new) = (chain[0].checkpoint.size, chain[2].checkpoint.size);
    let path = prove_consistency(new, old, &stored).unwrap();
    let proven = prove(3, Claim::Extends { from: Height(1), path });
    assert_eq!(proven.at.size, new);
}
