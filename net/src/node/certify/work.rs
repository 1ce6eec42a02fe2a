//! The threads that do what certification asks of the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use quipu_merge::{CheckpointSignature, Height};
use quipu_proto::{Certified, CertifyAnswer, CertifyTask, Divergence, Evidence, Mark, Ticket};
use quipu_store::{Ledger, ReadError, StorageError, VoteLog};

use super::{log, tasks};
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
    /// So many pieces of evidence are kept.
    Evidence(usize),
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
    tasks: Sender<Doing>,
    logging: Sender<Logging>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts them.
    pub fn start(
        ledger: Arc<Ledger>,
        votes: VoteLog,
        evidence: usize,
        reports: Reports,
    ) -> Result<Self, ReadError> {
        let shared = Arc::new(Shared {
            ledger,
            reports,
            stopping: AtomicBool::new(false),
            log_len: AtomicU64::new(votes.len()),
        });
        let (tasks, doing) = channel();
        let (logging, entries) = channel();
        let run = |name: &str, body: Box<dyn FnOnce(&Shared) + Send>| {
            let shared = shared.clone();
            std::thread::Builder::new().name(name.to_owned()).spawn(move || body(&shared))
        };
        let threads = [
            run("quipu-certify", Box::new(move |shared| tasks::run(shared, &doing, evidence))),
            run("quipu-votes", Box::new(move |shared| log::run(shared, votes, &entries))),
        ];
        let mut started = Self { shared, tasks, logging, threads: Vec::new() };
        for thread in threads {
            let failed = |source| StorageError::File {
                path: started.shared.ledger.dir().to_owned(),
                source,
            };
            started.threads.push(thread.map_err(failed)?);
        }
        Ok(started)
    }

    pub fn start_task(&self, doing: Doing) {
        let _ = self.tasks.send(doing);
    }

    pub fn log(&self, logging: Logging) {
        let _ = self.logging.send(logging);
    }

    /// Ends the threads after what they are doing, and waits for them. Whoever takes their reports has to
    /// have stopped for good.
    pub fn stop(self) {
        let Self { shared, tasks, logging, threads } = self;
        shared.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
        drop((tasks, logging));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of certification panicked");
            }
        }
    }
}
