//! The threads that do what certification asks of the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use quipu_merge::{Certificate, CheckpointSignature, Height};
use quipu_proto::{Certified, CertifyAnswer, CertifyTask, Divergence, Evidence, Mark, Ticket};
use quipu_store::{Ledger, ReadError, StorageError, VoteLog};

use super::{derive, log, tasks};
use crate::node::work::{Report, Reports};

/// What comes of what certification has asked of the store.
#[derive(Debug)]
pub enum CertifyReport {
    /// A task is done.
    Done(Ticket, CertifyAnswer),
    /// The log is on the disk up to this entry.
    Durable(u64),
    /// What has been signed cannot be logged any more.
    Broken(String),
    /// A checkpoint counts, whoever has brought it.
    Counted(Box<Certified>),
    /// No checkpoint can be proposed, and why; or one can again.
    Hindered(Option<String>),
    /// So many pieces of evidence are known.
    Evidence(usize),
    /// The store has learnt that the ledger has two histories from this height on, and by which
    /// certificates, where it was by two.
    Diverged(Height, Option<Box<(Certificate, Certificate)>>),
}

/// Something to be done about checkpoints.
pub enum Doing {
    Task(CertifyTask),
    /// Tell of the checkpoint of this height if it counts.
    Look(Height),
    Evidence(Box<Evidence>),
    Diverged(Box<Divergence>),
    Cosigned(Height, Vec<CheckpointSignature>),
}

/// Something to be done about the log.
pub enum Logging {
    Append { entry: u64, height: Height, bytes: Vec<u8>, mark: Option<Mark> },
    Trim(Height),
}

/// What both threads share.
pub struct Shared {
    pub ledger: Arc<Ledger>,
    reports: Reports,
    pub stopping: AtomicBool,
    /// Length of the log, in bytes.
    pub log_len: AtomicU64,
}

impl Shared {
    /// Tells the node. Where it is gone, nobody waits for it.
    pub fn report(&self, report: CertifyReport) {
        let _ = self.reports.blocking_send(Report::Certify(report));
    }
}

/// The threads.
pub struct Threads {
    pub shared: Arc<Shared>,
    deriving: Sender<CertifyTask>,
    keeping: Sender<Doing>,
    reading: Sender<Doing>,
    /// Where it votes.
    logging: Option<Sender<Logging>>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts them: one that derives, one that keeps, one that reads for peers, who then hold up nobody, and
    /// where there are votes to log, one for that.
    pub fn start(
        ledger: Arc<Ledger>,
        votes: Option<VoteLog>,
        evidence: usize,
        reports: Reports,
    ) -> Result<Self, ReadError> {
        let shared = Arc::new(Shared {
            ledger,
            reports,
            stopping: AtomicBool::new(false),
            log_len: AtomicU64::new(votes.as_ref().map_or(0, VoteLog::len)),
        });
        let (deriving, to_derive) = channel();
        let (keeping, to_keep) = channel();
        let (reading, to_read) = channel();
        let threads = Vec::new();
        let derived = keeping.clone();
        let mut started = Self { shared, deriving, keeping, reading, logging: None, threads };
        started.run("quipu-derive", move |shared| derive::run(shared, &to_derive, &derived))?;
        started.run("quipu-certify", move |shared| tasks::run(shared, &to_keep, evidence))?;
        started.run("quipu-chain", move |shared| tasks::run(shared, &to_read, evidence))?;
        if let Some(votes) = votes {
            let (logging, entries) = channel();
            started.logging = Some(logging);
            started.run("quipu-votes", move |shared| log::run(shared, votes, &entries))?;
        }
        Ok(started)
    }

    fn run(
        &mut self,
        name: &str,
        body: impl FnOnce(&Shared) + Send + 'static,
    ) -> Result<(), ReadError> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || body(&shared));
        let dir = || self.shared.ledger.dir().to_owned();
        self.threads.push(thread.map_err(|source| StorageError::File { path: dir(), source })?);
        Ok(())
    }

    pub fn start_task(&self, doing: Doing) {
        // Once they have ended, nobody waits for it.
        let _ = match doing {
            Doing::Task(CertifyTask::Read { .. }) => self.reading.send(doing).is_ok(),
            Doing::Task(task) => self.deriving.send(task).is_ok(),
            _ => self.keeping.send(doing).is_ok(),
        };
    }

    pub fn log(&self, logging: Logging) {
        if let Some(threads) = &self.logging {
            let _ = threads.send(logging);
        }
    }

    /// Ends the threads after what they are doing, and waits for them. Whoever takes their reports has to
    /// have stopped for good.
    pub fn stop(self) {
        let Self { shared, deriving, keeping, reading, logging, threads } = self;
        shared.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
        drop((deriving, keeping, reading, logging));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of certification panicked");
            }
        }
    }
}
