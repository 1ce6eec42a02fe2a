//! A daemon that is killed, comes back, and is killed again.

use std::thread;
use std::time::Duration;

use super::Fault;
use crate::cluster::Cluster;

pub struct Killed(pub usize);

impl Fault for Killed {
    fn begin(&mut self, cluster: &Cluster) {
        let node = &cluster.nodes[self.0];
        node.kill();
        node.start();
        thread::sleep(Duration::from_millis(500));
        node.kill();
    }

    fn shows(&self, cluster: &Cluster) -> bool {
        cluster.nodes[self.0].pid().is_none()
    }

    fn end(&mut self, cluster: &Cluster) {
        cluster.nodes[self.0].restart();
    }

    fn stops(&self) -> Option<usize> {
        Some(self.0)
    }
}
