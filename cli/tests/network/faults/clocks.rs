//! A node whose clock is an hour off. Its monotonic clock is right, as on a machine that has been set
//! to a wrong time.

use super::Fault;
use crate::cluster::Cluster;

/// In seconds.
const HOUR: i64 = 3600;

pub struct Skew {
    node: usize,
    seconds: i64,
}

impl Skew {
    pub const fn ahead(node: usize) -> Self {
        Self { node, seconds: HOUR }
    }

    pub const fn behind(node: usize) -> Self {
        Self { node, seconds: -HOUR }
    }

    fn set(&self, cluster: &Cluster, seconds: i64) {
        let node = &cluster.nodes[self.node];
        node.set_clock(seconds);
        node.restart();
    }
}

impl Fault for Skew {
    fn begin(&mut self, cluster: &Cluster) {
        self.set(cluster, self.seconds);
    }

    /// What it writes waits at the others, or what they write waits there.
    fn shows(&self, cluster: &Cluster) -> bool {
        cluster.nodes.iter().all(|node| {
            let is_early = (node.number == self.node) == (self.seconds < 0);
            let waiting = node.waiting();
            waiting.iter().any(|event| event["reason"] == "time") == is_early
        })
    }

    fn end(&mut self, cluster: &Cluster) {
        self.set(cluster, 0);
    }
}
