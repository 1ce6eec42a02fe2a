//! Faults, alone and in pairs, while writers run.

use std::thread;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::faults::{Kind, choose};
use crate::machine::{can_make_networks, skipped, turn};
use crate::random::Random;
use crate::writers::{Writers, assert_all_there};

/// How long writers write before faults, under them, and after them.
const BEFORE: Duration = Duration::from_millis(500);
const UNDER: Duration = Duration::from_secs(4);
const AFTER: Duration = Duration::from_secs(1);

/// Lets faults happen together, and looks whether all comes right again.
fn suffer(kinds: &[Kind], random: &mut Random) {
    let name = format!("{kinds:?}");
    if !can_make_networks(&name) {
        return;
    }
    if let Some(why) = kinds.iter().find_map(|kind| kind.missing()) {
        return skipped(&name, why);
    }
    let count = 3 + random.index(3);
    let cluster = Cluster::start(count);
    let mut faults = choose(kinds, count, random);
    let stopped: Vec<_> = faults.iter().filter_map(|fault| fault.stops()).collect();

    let writers = Writers::start(&cluster.nodes);
    thread::sleep(BEFORE);
    faults.iter_mut().for_each(|fault| fault.begin(&cluster));
    thread::sleep(UNDER);
    if kinds.len() == 1 {
        assert!(faults.iter().all(|fault| fault.shows(&cluster)), "{name} does not show");
    }
    faults.iter_mut().rev().for_each(|fault| fault.end(&cluster));
    thread::sleep(AFTER);
    let told = writers.stop();

    for (node, told) in told.iter().enumerate() {
        assert!(!told.acknowledged.is_empty(), "nothing is acknowledged at node {node}");
        let may_refuse = stopped.contains(&node);
        assert!(may_refuse || told.refused.is_empty(), "node {node} refuses: {:?}", told.refused);
    }
    let took = cluster.hold_the_same();
    let waiting = cluster.waiting();
    assert_eq!(waiting > 0, kinds.contains(&Kind::ClockAhead), "{waiting} events wait");
    if waiting > 0 {
        cluster.an_hour_later();
    }
    let state = cluster.one_state();
    assert_all_there(&state, &told);
    for node in &cluster.nodes {
        node.json(&["verify"]);
    }
    let acknowledged: usize = told.iter().map(|told| told.acknowledged.len()).sum();
    let refused: usize = told.iter().map(|told| told.refused.len()).sum();
    println!(
        "{name}: {count} nodes, {acknowledged} writes acknowledged and {refused} refused, {waiting} \
         events early, equal after {took:?}"
    );
}

macro_rules! alone {
    ($($test:ident: $kind:ident,)*) => {
        $(#[test]
        fn $test() {
            let _turn = turn();
            suffer(&[Kind::$kind], &mut Random::new());
        })*
    };
}

alone! {
    packets_are_lost: Loss,
    packets_are_lost_in_one_direction: OneWayCut,
    the_network_is_parted: Partition,
    packets_take_long: Delay,
    packets_overtake_each_other: Reordering,
    packets_come_twice: Duplication,
    a_clock_is_an_hour_ahead: ClockAhead,
    a_clock_is_an_hour_behind: ClockBehind,
    a_node_has_little_of_the_cpu: LittleCpu,
    a_node_has_little_memory: LittleMemory,
    a_node_is_killed: Killed,
    a_disk_is_full: FullDisk,
}

#[test]
fn faults_come_in_pairs() {
    if std::env::var("QUIPU_FAULT_PAIRS").as_deref() != Ok("all") {
        return;
    }
    let _turn = turn();
    let mut random = Random::new();
    for (at, first) in Kind::ALL.iter().enumerate() {
        for second in &Kind::ALL[at + 1..] {
            suffer(&[*first, *second], &mut random.fork());
        }
    }
}
