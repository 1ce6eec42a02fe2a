//! What goes over links, and how long it takes.

use quipu_proto::Channel;

/// From whom, at whom, and what.
pub type Arrival = (usize, usize, Channel, Vec<u8>);

/// A message, with the generation of its link.
pub type Held = (u64, Channel, Vec<u8>);

/// What the network is like.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// What a message takes, in microseconds.
    pub delay: (u64, u64),
    /// One message of so many takes a second longer.
    pub lost_of: u64,
}

/// Both ends of a link, the lesser first.
pub fn ends(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}
