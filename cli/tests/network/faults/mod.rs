//! What can go wrong, each of which begins and ends while the cluster runs.

mod clocks;
mod detour;
mod disk;
mod filter;
mod groups;
mod killed;
mod limits;

use crate::cluster::Cluster;
use crate::machine::libfaketime;
use crate::proxy::Manner;
use crate::random::Random;

/// Something that goes wrong, with those that it hits.
pub trait Fault {
    fn begin(&mut self, cluster: &Cluster);

    /// Whether it has shown so far. Looked at before it ends, where it is alone.
    fn shows(&self, cluster: &Cluster) -> bool;

    fn end(&mut self, cluster: &Cluster);

    /// The node that may refuse to write meanwhile.
    fn stops(&self) -> Option<usize> {
        None
    }
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Loss,
    OneWayCut,
    Partition,
    Delay,
    Reordering,
    Duplication,
    ClockAhead,
    ClockBehind,
    LittleCpu,
    LittleMemory,
    Killed,
    FullDisk,
}

impl Kind {
    /// All of them, those first that need the node to start again: a full disk hinders that.
    pub const ALL: [Self; 12] = [
        Self::Loss,
        Self::OneWayCut,
        Self::Partition,
        Self::Delay,
        Self::Reordering,
        Self::Duplication,
        Self::ClockAhead,
        Self::ClockBehind,
        Self::LittleCpu,
        Self::LittleMemory,
        Self::Killed,
        Self::FullDisk,
    ];

    /// Why it cannot be made on this machine, if it cannot.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Self::ClockAhead | Self::ClockBehind if libfaketime().is_none() => {
                Some("there is no libfaketime")
            }
            Self::LittleCpu | Self::LittleMemory if !groups::can_make() => {
                Some("control groups cannot be made")
            }
            _ => None,
        }
    }

    /// What it makes of packets on their way.
    const fn manner(self) -> Option<Manner> {
        match self {
            Self::Delay => Some(detour::DELAY),
            Self::Reordering => Some(detour::REORDERING),
            Self::Duplication => Some(detour::DUPLICATION),
            _ => None,
        }
    }

    /// Chooses whom it hits among so many nodes.
    fn choose(self, count: usize, random: &mut Random) -> Option<Box<dyn Fault>> {
        let node = random.index(count);
        Some(match self {
            Self::Loss => Box::new(filter::loss(count)),
            Self::OneWayCut => Box::new(filter::one_way_cut(random.two(count))),
            Self::Partition => Box::new(filter::partition(count, random)),
            Self::Delay | Self::Reordering | Self::Duplication => return None,
            Self::ClockAhead => Box::new(clocks::Skew::ahead(node)),
            Self::ClockBehind => Box::new(clocks::Skew::behind(node)),
            Self::LittleCpu => Box::new(limits::Limit::cpu(node)),
            Self::LittleMemory => Box::new(limits::Limit::memory(node)),
            Self::Killed => Box::new(killed::Killed(node)),
            Self::FullDisk => Box::new(disk::FullDisk(node)),
        })
    }
}

/// Cuts some nodes off from the others.
pub fn cut_off(count: usize, nodes: &[usize]) -> impl Fault {
    filter::cut(count, |node| nodes.contains(&node))
}

/// Chooses whom these faults hit among so many nodes. There is one proxy, whatever it does to packets.
pub fn choose(kinds: &[Kind], count: usize, random: &mut Random) -> Vec<Box<dyn Fault>> {
    let manners: Vec<_> = kinds.iter().filter_map(|kind| kind.manner()).collect();
    let mut faults: Vec<Box<dyn Fault>> = Vec::new();
    if !manners.is_empty() {
        faults.push(Box::new(detour::detour(&manners, random.next())));
    }
    faults.extend(kinds.iter().filter_map(|kind| kind.choose(count, random)));
    faults
}
