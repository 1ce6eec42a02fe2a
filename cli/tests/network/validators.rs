//! Four validators of which the network cuts two off: neither half is a quorum, both go on writing, and
//! nobody has to start anything again.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::faults::{Fault, cut_off};
use crate::machine::{can_make_networks, turn};
use crate::node::Node;
use crate::writers::{Writers, assert_all_there};

const VALIDATORS: usize = 4;
/// One side of the cut; 0 and 1 are the other.
const CUT_OFF: [usize; 2] = [2, 3];

#[test]
fn two_of_four_validators_are_cut_off() {
    let _turn = turn();
    if !can_make_networks("two of four validators are cut off") {
        return;
    }
    let cluster = Cluster::start(VALIDATORS);
    all_certify(&cluster);
    let daemons: Vec<_> = cluster.nodes.iter().map(|node| node.pid()).collect();
    let writers = Writers::start(&cluster.nodes);
    becomes_final(&cluster.nodes[0]);

    let mut cut = cut_off(VALIDATORS, &CUT_OFF);
    cut.begin(&cluster);
    let stuck = cluster.wait("say that there is no quorum", || {
        cluster.nodes.iter().all(|node| certification(node)["node"]["state"] == "no-quorum")
    });
    cluster.wait("hold what those beside them hold", || {
        let heights = heights(&cluster);
        heights[0] == heights[1] && heights[2] == heights[3]
    });
    let before = heights(&cluster);
    for (here, beside, there) in [(0, 1, 2), (2, 3, 0)] {
        goes_on_without_a_quorum(&cluster, [here, beside, there]);
    }
    assert_eq!(heights(&cluster), before, "something is certified without a quorum");
    assert!(cut.shows(&cluster), "the cut does not show");
    cut.end(&cluster);

    let healed = cluster.wait("certify again", || {
        cluster.nodes.iter().all(|node| {
            node.run(&["get", "side/0", "--final"], "").stdout == "yes"
                && node.run(&["get", "side/2", "--final"], "").stdout == "yes"
        })
    });
    let told = writers.stop();
    cluster.nodes.iter().for_each(|node| becomes_final(node));
    all_agree(&cluster);
    let state = cluster.one_state();
    assert_all_there(&state, &told);
    for (node, told) in told.iter().enumerate() {
        assert!(!told.acknowledged.is_empty(), "nothing is acknowledged at node {node}");
        assert!(told.refused.is_empty(), "node {node} refuses: {:?}", told.refused);
    }
    let same: Vec<_> = cluster.nodes.iter().map(|node| node.pid()).collect();
    assert_eq!(same, daemons, "a daemon was started again");
    println!("no quorum is said after {stuck:?}, certified again {healed:?} after the cut");
}

fn certification(node: &Node) -> Value {
    node.json(&["status"])[0]["certification"].clone()
}

fn heights(cluster: &Cluster) -> Vec<Value> {
    cluster.nodes.iter().map(|node| certification(node)["height"].clone()).collect()
}

/// Makes all of them validators.
fn all_certify(cluster: &Cluster) {
    for node in &cluster.nodes[1..] {
        let key = node.json(&["identity", "show"])[0]["key"].as_str().unwrap().to_owned();
        cluster.nodes[0].json(&["member", "grant", &key, "validator"]);
    }
    cluster.wait("are validators", || {
        let known = |node: &Node| certification(node)["validators"].as_array().unwrap().len();
        cluster.nodes.iter().all(|node| known(node) == VALIDATORS)
    });
}

fn becomes_final(node: &Node) {
    let ran = node.run(&["put", "final", "yes", "--wait", "final", "--timeout", "60s"], "");
    assert!(ran.done, "node {}: {}\n{}", node.number, ran.stderr, node.told());
}

/// What one writes is read beside it, is not there on the other side, and does not become final.
fn goes_on_without_a_quorum(cluster: &Cluster, [here, beside, there]: [usize; 3]) {
    let node = |number: usize| &cluster.nodes[number];
    let key = format!("side/{here}");
    let late = node(here).run(&["put", &key, "yes", "--wait", "final", "--timeout", "1s"], "");
    assert_eq!(late.code, Some(5), "{}", late.stderr);
    assert!(late.stderr.contains("is written, and is not certified yet"), "{}", late.stderr);
    let get = |number: usize| node(number).run(&["get", &key], "");
    cluster.wait("read what is written beside them", || get(beside).stdout == "yes");
    assert_eq!(get(there).code, Some(3), "it has passed the cut");
    for number in [here, beside] {
        let told = certification(node(number));
        let (certifies, advice) = (&told["node"], &told["node"]["advice"]);
        assert_eq!((&certifies["state"], &certifies["quorum"]), (&json!("no-quorum"), &json!(3)));
        let advice = advice.as_str().unwrap();
        assert!(advice.starts_with("2 of 4 validators can be reached"), "{advice}");
        let people = node(number).run(&["status"], "").stdout;
        assert!(people.contains("no quorum"), "{people}");
    }
}

/// All hold the same certified checkpoints over everything, sound, and nobody has signed twice.
fn all_agree(cluster: &Cluster) {
    cluster.wait("have certified everything", || {
        let whole = |node: &Node| {
            let status = node.json(&["status"]).remove(0);
            status["certification"]["events"] == status["events"]
        };
        let heights = heights(cluster);
        heights.iter().all(|height| *height == heights[0])
            && cluster.nodes.iter().all(|node| whole(node))
    });
    let list = |node: &Node| node.json(&["checkpoint", "list", "-n", "100000"]);
    let first = list(&cluster.nodes[0]);
    for node in &cluster.nodes {
        assert_eq!(list(node), first, "node {}", node.number);
        let checked = node.json(&["checkpoint", "verify"]).remove(0);
        assert_eq!((&checked["height"], &checked["findings"]), (&first[0]["height"], &json!([])));
        node.json(&["verify"]);
        let told = certification(node);
        assert_eq!((&told["diverged"], &told["node"]["evidence"]), (&json!([]), &json!(0)));
    }
}
