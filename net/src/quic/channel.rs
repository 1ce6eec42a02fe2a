//! The channels of a connection, each a stream of its own in either direction.

use quipu_proto::Channel;

use super::limits::FrameLimits;

/// How many streams there are in either direction.
pub(crate) const CHANNELS: u32 = 4;

/// QUIC sends what has the highest priority first.
pub(crate) const fn priority(channel: Channel) -> i32 {
    match channel {
        Channel::Control => 3,
        Channel::Gossip => 2,
        Channel::Sync => 1,
        Channel::Blocks => 0,
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
