//! A node of the simulation: what it runs, and what its disk holds.

use std::collections::BTreeMap;

use quipu_proto::{Certified, Certifier, CertifyMessage, Log, Mark, Moment};

use super::byzantine::Byzantine;
use super::ledger::Set;

pub struct Member {
    /// Which key it has.
    pub key: usize,
    pub certifier: Option<Certifier>,
    /// Grows with every start: what was under way before does not count.
    pub life: u64,
    pub started: u64,
    pub disk: Disk,
    /// An old copy of the disk, with or without the mark.
    pub copy: Option<Disk>,
    pub byzantine: Option<Byzantine>,
    /// By how much its wall clock is ahead.
    pub skew: i64,
    /// The most that its wall clock has shown before it was set right.
    pub shown: u64,
    pub wake: Option<u64>,
}

/// What outlives a crash.
#[derive(Clone)]
pub struct Disk {
    pub held: Set,
    /// What has come, whether it is due or not.
    pub come: Set,
    pub kept: Vec<Certified>,
    pub log: Vec<Logged>,
    /// So many entries are durable.
    pub durable: usize,
    /// The mark that is durable, which a copy of the disk does not hold.
    pub mark: Option<Mark>,
    /// Whether the log is known to be whole.
    pub state: LogState,
}

#[derive(Clone)]
pub struct Logged {
    /// Its number in this life.
    pub entry: u64,
    pub height: u64,
    pub bytes: Vec<u8>,
    pub mark: Option<Mark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogState {
    New,
    Kept,
    Lost,
}

impl Disk {
    pub fn new(genesis: Set) -> Self {
        Self {
            come: genesis.clone(),
            held: genesis,
            kept: Vec::new(),
            log: Vec::new(),
            durable: 0,
            mark: None,
            state: LogState::New,
        }
    }

    pub fn log(&self) -> Log {
        match self.state {
            LogState::New if self.log.is_empty() => Log::New,
            LogState::Lost => Log::Lost,
            _ => Log::Kept(self.log.iter().map(|logged| logged.bytes.clone()).collect()),
        }
    }

    /// An entry is durable, by its number since the start.
    pub fn sync(&mut self, entry: u64) {
        let synced = self.log.iter().take_while(|logged| logged.entry <= entry).count();
        self.durable = self.durable.max(synced);
        let marks = self.log[..self.durable].iter().filter_map(|logged| logged.mark);
        self.mark = marks.max().max(self.mark);
        if self.state != LogState::Kept && self.durable > 0 {
            self.state = LogState::Kept;
        }
    }

    pub fn trim(&mut self, height: u64) {
        let gone = self.log.iter().take_while(|logged| logged.height < height).count();
        let gone = gone.min(self.durable);
        self.log.drain(..gone);
        self.durable -= gone;
    }

    /// What is not durable is lost, from some entry on.
    pub fn crash(&mut self, survive: usize) {
        let len = self.log.len().min(self.durable + survive);
        self.log.truncate(len);
        self.durable = len;
    }

    pub fn restart(&mut self) {
        self.log.iter_mut().for_each(|logged| logged.entry = 0);
        self.durable = self.log.len();
    }
}

impl Member {
    pub const fn new(key: usize, disk: Disk) -> Self {
        Self {
            key,
            certifier: None,
            life: 0,
            started: 0,
            disk,
            copy: None,
            byzantine: None,
            skew: 0,
            shown: 0,
            wake: None,
        }
    }

    pub fn height(&self) -> u64 {
        self.disk.kept.len() as u64
    }

    pub fn now(&self, now: u64) -> Moment {
        Moment(now - self.started)
    }
}

/// What honest nodes have signed, by node, height, round and step: one thing each.
pub type SignedThings = BTreeMap<(usize, u64, u32, u8), Vec<u8>>;

/// What a message says that its sender has signed.
pub fn signed(message: &CertifyMessage) -> Option<(u64, u32, u8, Vec<u8>, quipu_merge::AuthorKey)> {
    match message {
        CertifyMessage::Vote(vote) => {
            let value = vote.value.map(|id| id.0.0.to_vec()).unwrap_or_default();
            Some((vote.height.0, vote.round, 1 + u8::from(vote.precommit), value, vote.by))
        }
        CertifyMessage::Proposal(proposed) => {
            let proposal = &proposed.proposal;
            let pol_round = format!("{:?}", proposal.pol_round);
            let content = [&proposal.value.0[..], pol_round.as_bytes()].concat();
            Some((proposal.height.0, proposal.round, 0, content, proposal.by))
        }
        _ => None,
    }
}
