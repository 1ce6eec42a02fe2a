//! What a peer has done that an honest one does not do.

use std::time::Duration;

use crate::time::Moment;

/// A peer with so many points is sent away.
pub const MOST: u32 = 100;
/// After so long, a point is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(6);

/// What an honest peer does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misbehaviour {
    /// It speaks of another ledger.
    OtherLedger,
    /// It speaks another major version.
    OtherVersion,
    /// Its first message is not a greeting, or it greets twice.
    NoGreeting,
    /// It sent what cannot be read.
    Malformed,
    /// It sent an event that no replica may hold.
    BadEvent,
    /// It sent a block or a value that is not what it was asked for.
    Bogus,
    /// It sent history that does not lead to what is certified.
    BadHistory,
    /// It sent what was not asked for, or more of it.
    Unasked,
    /// It named events as its own and did not deliver them.
    Lie,
    /// It asks for more than it may at once.
    Flood,
}

impl Misbehaviour {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtherLedger => "another ledger",
            Self::OtherVersion => "another version",
            Self::NoGreeting => "no greeting",
            Self::Malformed => "malformed message",
            Self::BadEvent => "bad event",
            Self::Bogus => "bogus value",
            Self::BadHistory => "bad history",
            Self::Unasked => "unasked message",
            Self::Lie => "lie about its frontier",
            Self::Flood => "flood",
        }
    }

    /// How many points it costs.
    pub const fn points(self) -> u32 {
        match self {
            Self::OtherLedger | Self::OtherVersion | Self::NoGreeting => MOST,
            Self::Malformed | Self::BadEvent | Self::Bogus | Self::BadHistory => MOST,
            Self::Unasked => 10,
            Self::Lie => 25,
            Self::Flood => 5,
        }
    }
}

/// The points of a peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    points: u32,
    since: Moment,
}

impl Score {
    /// Adds to the points. Tells whether it was too much.
    pub fn add(&mut self, misbehaviour: Misbehaviour, now: Moment) -> bool {
        let step = FORGET_EVERY.as_micros().try_into().unwrap_or(u64::MAX);
        let forgotten = now.0.saturating_sub(self.since.0) / step;
        self.points = self.points.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
        self.since = now;
        self.points = self.points.saturating_add(misbehaviour.points());
        self.points >= MOST
    }
}
