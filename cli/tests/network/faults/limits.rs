//! A daemon that has little of the CPU, or little memory.

use super::Fault;
use super::groups::{Controller, Group};
use crate::cluster::Cluster;

/// Of one CPU, in percent.
const CPU: u64 = 10;
/// In bytes.
const MEMORY: u64 = 300 << 20;

pub struct Limit {
    node: usize,
    controller: Controller,
    group: Option<Group>,
}

impl Limit {
    pub const fn cpu(node: usize) -> Self {
        Self { node, controller: Controller::Cpu, group: None }
    }

    pub const fn memory(node: usize) -> Self {
        Self { node, controller: Controller::Memory, group: None }
    }
}

impl Fault for Limit {
    fn begin(&mut self, cluster: &Cluster) {
        let group = Group::new(self.controller, self.node).unwrap();
        match self.controller {
            Controller::Cpu => group.limit_cpu(CPU),
            Controller::Memory => group.limit_memory(MEMORY),
        }
        let node = &cluster.nodes[self.node];
        node.enter(&group.dir);
        node.restart();
        self.group = Some(group);
    }

    fn shows(&self, _: &Cluster) -> bool {
        let group = self.group.as_ref().unwrap();
        match self.controller {
            Controller::Cpu => group.throttled() > 0,
            Controller::Memory => (1..=MEMORY).contains(&group.memory()),
        }
    }

    fn end(&mut self, cluster: &Cluster) {
        let Some(group) = self.group.take() else { return };
        let node = &cluster.nodes[self.node];
        node.leave(&group.dir);
        node.restart();
        group.remove();
    }
}
