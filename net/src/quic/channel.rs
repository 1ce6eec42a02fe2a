//! The channels of a connection, each a stream of its own in either direction.

use super::limits::FrameLimits;

/// What a message is about. Each channel keeps its order; none waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Channel {
    /// What keeps two peers in step. Goes first.
    Control = 0,
    /// News, passed on as it comes.
    Gossip = 1,
    /// Finding out what the other side lacks, and filling it in.
    Sync = 2,
    /// Bulk. Goes when nothing else has anything to send.
    Blocks = 3,
}

impl Channel {
    /// Every channel, the most urgent first.
    pub const ALL: [Self; Self::COUNT as usize] =
        [Self::Control, Self::Gossip, Self::Sync, Self::Blocks];

    pub(crate) const COUNT: u32 = 4;

    /// The first byte of the channel's stream.
    pub(crate) const fn byte(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.byte() == byte)
    }

    /// QUIC sends what has the highest priority first.
    pub(crate) const fn priority(self) -> i32 {
        match self {
            Self::Control => 3,
            Self::Gossip => 2,
            Self::Sync => 1,
            Self::Blocks => 0,
        }
    }
}

/// One of something for each channel.
#[derive(Clone, Debug)]
pub(crate) struct PerChannel<T> {
    control: T,
    gossip: T,
    sync: T,
    blocks: T,
}

impl<T> PerChannel<T> {
    pub fn of(mut make: impl FnMut(Channel) -> T) -> Self {
        Self {
            control: make(Channel::Control),
            gossip: make(Channel::Gossip),
            sync: make(Channel::Sync),
            blocks: make(Channel::Blocks),
        }
    }

    pub fn map<U>(self, mut change: impl FnMut(Channel, T) -> U) -> PerChannel<U> {
        PerChannel {
            control: change(Channel::Control, self.control),
            gossip: change(Channel::Gossip, self.gossip),
            sync: change(Channel::Sync, self.sync),
            blocks: change(Channel::Blocks, self.blocks),
        }
    }

    pub fn into_tuple(self) -> (T, T, T, T) {
        (self.control, self.gossip, self.sync, self.blocks)
    }

    pub const fn get(&self, channel: Channel) -> &T {
        match channel {
            Channel::Control => &self.control,
            Channel::Gossip => &self.gossip,
            Channel::Sync => &self.sync,
            Channel::Blocks => &self.blocks,
        }
    }

    pub const fn get_mut(&mut self, channel: Channel) -> &mut T {
        match channel {
            Channel::Control => &mut self.control,
            Channel::Gossip => &mut self.gossip,
            Channel::Sync => &mut self.sync,
            Channel::Blocks => &mut self.blocks,
        }
    }
}

impl<A, B> PerChannel<(A, B)> {
    pub fn unzip(self) -> (PerChannel<A>, PerChannel<B>) {
        let (control, gossip, sync, blocks) = (self.control, self.gossip, self.sync, self.blocks);
        (
            PerChannel { control: control.0, gossip: gossip.0, sync: sync.0, blocks: blocks.0 },
            PerChannel { control: control.1, gossip: gossip.1, sync: sync.1, blocks: blocks.1 },
        )
    }
}

impl FrameLimits {
    /// The longest message of a channel, in bytes.
    pub const fn of(&self, channel: Channel) -> u32 {
        match channel {
            Channel::Control => self.control,
            Channel::Gossip => self.gossip,
            Channel::Sync => self.sync,
            Channel::Blocks => self.blocks,
        }
    }
}
