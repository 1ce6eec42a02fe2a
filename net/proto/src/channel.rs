//! The channels between two nodes.

use crate::limits::{MAX_BLOCKS_FRAME, MAX_CONTROL_FRAME, MAX_GOSSIP_FRAME, MAX_SYNC_FRAME};

/// What a message is about. Messages on one channel arrive in order; channels do not wait for each
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Channel {
    /// What keeps two peers in step. Goes first.
    Control = 0,
    /// New events, passed on as they come.
    Gossip = 1,
    /// Finding out what the other side lacks, and filling it in.
    Sync = 2,
    /// Bulk. Goes when nothing else has anything to send.
    Blocks = 3,
}

impl Channel {
    /// Every channel, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::Gossip, Self::Sync, Self::Blocks];

    /// Names the channel in a byte.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The channel that a byte names.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.byte() == byte)
    }

    /// The longest message on it, in bytes.
    pub const fn max_frame(self) -> u32 {
        match self {
            Self::Control => MAX_CONTROL_FRAME,
            Self::Gossip => MAX_GOSSIP_FRAME,
            Self::Sync => MAX_SYNC_FRAME,
            Self::Blocks => MAX_BLOCKS_FRAME,
        }
    }
}
