//! What the node asks of its store, done on threads of their own: nothing waits for the disk where
//! peers are answered.
//!
//! One thread checks what peers send, on all cores, while another admits what was checked before; one
//! reads events, one reads and takes in values, and one hears what is new, whoever wrote it. One reads what
//! others start from, and what precedes that; one takes the latter in, where it is to come.

mod admit;
mod backing;
mod fill;
mod follow;
mod gate;
mod read;
mod starts;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use quipu_merge::BlockId;
use quipu_proto::{Answer, LaneTips, Packet, Placed, Task, Ticket};
use quipu_store::{Ledger, ReadError};
use tokio::sync::mpsc;

use admit::Admission;
use backing::Backing;
use fill::Taking;
use gate::Gate;
use read::Reading;
use values::Valuing;

pub use fill::Fill;

use super::certify::CertifyReport;

/// What comes of it.
#[derive(Debug)]
pub enum Report {
    /// A task is done.
    Done(Ticket, Answer),
    /// Events were written here, and are to be told of.
    Written(Vec<(Placed, Packet)>),
    /// Events are held from now on; peers will find them.
    Held(Vec<Placed>),
    /// So much had happened that what is held was read anew.
    Frontier(Vec<LaneTips>),
    /// Something has been done for certification.
    Certify(CertifyReport),
    /// All that precedes the checkpoint from which the store starts has come.
    Filled,
}

impl Report {
    /// Whether more events are held than before.
    pub fn brings_events(&self) -> bool {
        match self {
            Self::Written(_) | Self::Held(_) | Self::Frontier(_) => true,
            Self::Done(_, Answer::Admitted { new, .. }) => !new.is_empty(),
            Self::Done(..) | Self::Certify(_) | Self::Filled => false,
        }
    }
}

/// Takes reports of the threads.
pub type Reports = mpsc::Sender<Report>;

/// What has become of what peers sent, since the node started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Those that were admitted.
    pub admitted: AtomicU64,
    /// Those that were held before.
    pub known: AtomicU64,
    /// Those that break a rule.
    pub refused: AtomicU64,
    /// Openings and blocks that were taken in.
    pub values: AtomicU64,
    /// Times that the store failed.
    pub failed: AtomicU64,
    /// Values that are missing and not wanted, when they were last counted.
    pub left_out: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// What all threads share.
pub struct Shared {
    pub ledger: Arc<Ledger>,
    pub reports: Reports,
    pub gate: Gate,
    pub counts: Counts,
    /// The node is stopping.
    pub stopping: AtomicBool,
}

impl Shared {
    /// Answers a task. Where the node is gone, nobody waits for it.
    fn answer(&self, ticket: Ticket, answer: Answer) {
        self.report(Report::Done(ticket, answer));
    }

    fn report(&self, report: Report) {
        let _ = self.reports.blocking_send(report);
    }

    /// Tells the operator that the store failed; the node goes on with what can be had.
    fn failed(&self, what: &'static str, error: &dyn std::fmt::Display) {
        Counts::add(&self.counts.failed, 1);
        tracing::error!(%error, "the store failed to {what}");
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// What a thread does.
type Body = Box<dyn FnOnce(&Arc<Shared>) + Send>;

/// The threads.
pub struct Work {
    shared: Arc<Shared>,
    admitting: Sender<Admission>,
    reading: Sender<Reading>,
    valuing: Sender<Valuing>,
    backing: Sender<Backing>,
    filling: Option<Sender<Taking>>,
    threads: Vec<JoinHandle<()>>,
    stopping: Stopping,
}

/// Has the threads end, also where the node ends otherwise than it should.
struct Stopping(Arc<Shared>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }
}

impl Work {
    /// Starts the threads. Tells what is held; what comes later is reported. What precedes the store's
    /// checkpoint is taken in where it is to be filled.
    pub fn start(
        ledger: Arc<Ledger>,
        reports: Reports,
        only: Option<Vec<String>>,
        fill: Option<Fill>,
    ) -> Result<(Self, Vec<LaneTips>), ReadError> {
        let (follower, frontier) = ledger.follow_from_frontier(follow::MAX_QUEUED)?;
        let shared = Arc::new(Shared {
            ledger,
            reports,
            gate: Gate::default(),
            counts: Counts::default(),
            stopping: AtomicBool::new(false),
        });
        let (admitting, admissions) = channel();
        let (reading, readings) = channel();
        let (valuing, valuings) = channel();
        let (backing, backings) = channel();
        let (filling, takings) = channel();
        let (checked, to_admit) = std::sync::mpsc::sync_channel(1);
        let run = |name: &str, body: Body| {
            let shared = shared.clone();
            std::thread::Builder::new().name(name.to_owned()).spawn(move || body(&shared))
        };
        let filling = fill.is_some().then_some(filling);
        let mut threads = vec![
            run("quipu-check", Box::new(move |shared| admit::check(shared, &admissions, &checked))),
            run("quipu-admit", Box::new(move |shared| admit::admit(shared, &to_admit))),
            run("quipu-read", Box::new(move |shared| read::run(shared, &readings))),
            run("quipu-values", Box::new(move |shared| values::run(shared, &valuings, only))),
            run("quipu-follow", Box::new(move |shared| follow::run(shared, follower))),
            run("quipu-back", Box::new(move |shared| backing::run(shared, &backings))),
        ];
        if let Some(fill) = fill {
            let body = move |shared: &Arc<Shared>| fill::run(shared, &takings, fill);
            threads.push(run("quipu-fill", Box::new(body)));
        }
        let frontier = frontier.into_iter().map(super::convert::lane_tips).collect();
        let stopping = Stopping(shared.clone());
        let started = Vec::new();
        let mut work = Self {
            shared,
            admitting,
            reading,
            valuing,
            backing,
            filling,
            threads: started,
            stopping,
        };
        for thread in threads {
            let failed = |error| quipu_store::StorageError::File {
                path: work.shared.ledger.dir().to_owned(),
                source: error,
            };
            work.threads.push(thread.map_err(failed)?);
        }
        Ok((work, frontier))
    }

    /// What has become of events that peers sent.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Hands a task to the thread that does it.
    pub fn start_task(&self, task: Task) {
        // The threads end after this is dropped.
        match task {
            Task::Admit { ticket, packets } => {
                let _ = self.admitting.send(Admission { ticket, packets });
            }
            Task::Plan { ticket, offered } => self.read(Reading::Plan(ticket, offered)),
            Task::Open { feed, wants } => self.read(Reading::Open(feed, wants)),
            Task::Read { ticket, feed, max_len } => self.read(Reading::Next(ticket, feed, max_len)),
            Task::Close { feed } => self.read(Reading::Close(feed)),
            Task::Missing { ticket, events } => self.read(Reading::Missing(ticket, events)),
            Task::Fetch { ticket, events, max_len } => {
                self.read(Reading::Fetch(ticket, events, max_len));
            }
            Task::Lacking { ticket, after, limit } => {
                self.value(Valuing::Lacking(ticket, after, limit));
            }
            Task::Provide { ticket, item } => self.value(Valuing::Provide(ticket, item)),
            Task::Take { ticket, item, bytes } => self.value(Valuing::Take(ticket, item, bytes)),
            Task::Start { ticket } => self.back(Backing::Start(ticket)),
            Task::ReadStart { ticket, file, offset, max_len } => {
                self.back(Backing::Part(ticket, file, offset, max_len));
            }
            Task::ReadHistory { ticket, from, up_to, max_len } => {
                self.back(Backing::History(ticket, from, up_to, max_len));
            }
            Task::TakeHistory { ticket, from, entries } => {
                if let Some(filling) = &self.filling {
                    let _ = filling.send(Taking { ticket, from, entries });
                }
            }
        }
    }

    /// Blocks that somebody reads, and that are to be fetched whatever the node is to have.
    pub fn want(&self, blocks: Vec<BlockId>) {
        self.value(Valuing::Want(blocks));
    }

    fn read(&self, reading: Reading) {
        let _ = self.reading.send(reading);
    }

    fn value(&self, valuing: Valuing) {
        let _ = self.valuing.send(valuing);
    }

    fn back(&self, backing: Backing) {
        let _ = self.backing.send(backing);
    }

    /// Ends the threads after what they are doing, and waits for them. Whoever takes their reports has to
    /// go on taking them, or to have stopped for good, meanwhile.
    pub fn stop(self) {
        let Self { admitting, reading, valuing, backing, filling, threads, stopping, .. } = self;
        drop((stopping, admitting, reading, valuing, backing, filling));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the node panicked");
            }
        }
    }
}
