//! What happens to nodes and their disks.

use quipu_proto::CertifyInput;

use super::keys;
use super::member::{Disk, LogState, Member};
use super::world::{Event, World};

impl World {
    /// A node stops, loses what was not durable, and starts again after a while.
    pub fn crash(&mut self, at: usize, pause: u64) {
        if self.members[at].certifier.take().is_none() {
            return;
        }
        let survive = usize::try_from(self.random.below(4)).unwrap();
        self.members[at].disk.crash(survive);
        self.members[at].life += 1;
        for other in 0..self.members.len() {
            self.input(other, CertifyInput::Disconnected(keys::key(self.members[at].key)));
        }
        self.later(pause, Event::Starts { at });
    }

    /// Crashes, and comes back with an empty disk and its key.
    pub fn lose_disk(&mut self, at: usize, pause: u64) {
        self.crash(at, pause);
        let genesis = self.ledger.past(self.ledger.id()).unwrap().clone();
        self.members[at].disk = Disk { state: LogState::Lost, ..Disk::new(genesis) };
    }

    /// Remembers the disk as it is.
    pub fn copy_disk(&mut self, at: usize) {
        let mut copy = self.members[at].disk.clone();
        copy.crash(0);
        self.members[at].copy = Some(copy);
    }

    /// Crashes, and comes back with the copy, and with the mark that is kept elsewhere.
    pub fn restore_copy(&mut self, at: usize, pause: u64) {
        self.crash(at, pause);
        if let Some(copy) = self.members[at].copy.clone() {
            let mark = self.members[at].disk.mark;
            self.members[at].disk = Disk { mark, ..copy };
        }
    }

    /// Crashes, and comes back with the copy and the mark that was in it: a machine was set back as a whole.
    pub fn set_back(&mut self, at: usize, pause: u64) {
        self.crash(at, pause);
        if let Some(copy) = self.members[at].copy.clone() {
            self.members[at].disk = copy;
            self.were_set_back.insert(at);
        }
    }

    /// Somebody says that a validator has signed nothing but what its log holds.
    pub fn vouch(&mut self, at: usize) {
        self.input(at, CertifyInput::Vouched);
    }

    /// A second node with the key of another: a validator with two lives, both of them dishonest.
    pub fn add_twin(&mut self, of: usize) {
        let key = self.members[of].key;
        let disk = self.members[of].disk.clone();
        self.members.push(Member::new(key, disk));
        self.twins.insert(key);
        self.start(self.members.len() - 1);
    }
}
