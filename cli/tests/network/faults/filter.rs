//! Packets that do not arrive, by rules of nftables.

use super::Fault;
use crate::cluster::Cluster;
use crate::namespaces::{Rules, address};
use crate::random::Random;

/// So many packets of a hundred are lost.
const LOST: u64 = 20;

/// Which packets that come to whom are dropped.
pub struct Filter {
    rules: Vec<(usize, String)>,
    placed: Vec<Rules>,
}

/// Of all packets some are lost.
pub fn loss(count: usize) -> Filter {
    let rule = format!("ip protocol udp numgen random mod 100 < {LOST} counter drop");
    Filter::new((0..count).map(|node| (node, rule.clone())).collect())
}

/// What the first sends does not come to the second.
pub fn one_way_cut((from, to): (usize, usize)) -> Filter {
    Filter::new(vec![(to, from_one(from))])
}

/// Nothing passes between some nodes and the others.
pub fn partition(count: usize, random: &mut Random) -> Filter {
    let first = random.index(count);
    cut(count, |node| (node + count - first) % count < count / 2)
}

/// Nothing passes between those that are here and the others.
pub fn cut(count: usize, here: impl Fn(usize) -> bool) -> Filter {
    let rules = (0..count).map(|node| {
        let there = (0..count).filter(|other| here(*other) != here(node));
        (node, there.map(from_one).collect())
    });
    Filter::new(rules.collect())
}

fn from_one(node: usize) -> String {
    format!("ip saddr {} counter drop\n", address(node))
}

impl Filter {
    const fn new(rules: Vec<(usize, String)>) -> Self {
        Self { rules, placed: Vec::new() }
    }
}

impl Fault for Filter {
    fn begin(&mut self, cluster: &Cluster) {
        for (node, rules) in &self.rules {
            let chain = format!("chain dropped {{ type filter hook input priority 0; {rules}\n}}");
            self.placed.push(cluster.namespaces.rules(*node, &chain));
        }
    }

    fn shows(&self, _: &Cluster) -> bool {
        self.placed.iter().all(|rules| rules.packets() > 0)
    }

    fn end(&mut self, _: &Cluster) {
        self.placed.drain(..).for_each(Rules::remove);
    }
}
