//! What certifying costs: writers beside it, and the time of a checkpoint.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quipu_merge::{EventId, Height, Role};
use quipu_net::{Node, NodeOptions};
use quipu_store::{Acceptance, Durability, Ledger, NewLedger, Options};

use crate::figure::{Figure, timed};
use crate::latency::{median_fsync, median_round_trip};
use crate::stores::{address, put, runtime, until};

const NODES: usize = 4;
/// So many rounds of writing: two of them may well differ by a third.
const ROUNDS: usize = 12;
/// How long is written in a round, beside several checkpoints.
const WRITING: Duration = Duration::from_secs(6);
/// Checkpoints that are measured: two of them may well differ by a third, too.
const CHECKPOINTS: usize = 9;
/// New events of a checkpoint.
const EVENTS: usize = 10_000;
/// What one of them adds to the records that a checkpoint writes, in bytes, and no more than that.
const EVENT_LEN: usize = 400;
/// Between two checkpoints that are measured: time enough to bring their events to all.
const INTERVAL: Duration = Duration::from_secs(25);

/// Numbers of keys, so that each is written once.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Replicas of one ledger that may all write; all certify, or nobody does.
fn replicas(dir: &Path, certify: bool) -> Vec<Arc<Ledger>> {
    let validators = (!certify).then(Vec::new);
    let new = NewLedger { validators, ..NewLedger::default() };
    let first = Arc::new(Ledger::create(dir.join("0"), &new).unwrap());
    let others: Vec<_> = (1..NODES)
        .map(|at| {
            let (dir, role) =
                (dir.join(at.to_string()), if certify { Role::Validator } else { Role::Writer });
            let cloned = Options::new().clone_granted(dir, &first, role, &mut |_, _| {});
            let replica = cloned.unwrap().0;
            if certify {
                first.grant(replica.author(), Role::Writer).unwrap();
            }
            Arc::new(replica)
        })
        .collect();
    std::iter::once(first).chain(others).collect()
}

/// Nodes that all join the first, once they know who certifies.
async fn start(ledgers: &[Arc<Ledger>], interval: Duration, validators: usize) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for ledger in ledgers {
        let mut options = NodeOptions::new("127.0.0.1:0".parse().unwrap());
        options.join = nodes.first().map(address).into_iter().collect();
        options.interval = interval;
        nodes.push(Node::start(ledger.clone(), options).await.unwrap());
    }
    let known = |node: &Node| node.status().certification.validators.len() == validators;
    until(|| nodes.iter().all(known)).await;
    nodes
}

async fn stop(nodes: Vec<Node>) {
    for node in nodes {
        node.stop().await;
    }
}

/// Puts at one of four validators, against one of four nodes of a ledger without validators.
pub fn beside() -> Vec<Figure> {
    let dir = tempfile::tempdir().unwrap();
    let with = replicas(&dir.path().join("with"), true);
    let without = replicas(&dir.path().join("without"), false);
    let (rates, heights) = runtime().block_on(async {
        let interval = NodeOptions::new("127.0.0.1:0".parse().unwrap()).interval;
        let certifying = start(&with, interval, NODES).await;
        let plain = start(&without, interval, 0).await;
        until(|| equal(&with) && equal(&without)).await;
        let before = with[0].certification().height.unwrap();
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            // One after the other, and each is at rest while the other is measured.
            let (off, _) = write(&without).await;
            until(|| equal(&without)).await;
            let (on, last) = write(&with).await;
            certifying[0].wait_final(last, None).await.unwrap();
            until(|| equal(&with)).await;
            rates.push((on, off));
        }
        let heights = with[0].certification().height.unwrap().0 - before.0;
        stop(certifying).await;
        stop(plain).await;
        (rates, heights)
    });
    let mean = |of: fn(&(f64, f64)) -> f64| rates.iter().map(of).sum::<f64>() / ROUNDS as f64;
    let (on, off) = (mean(|rates| rates.0), mean(|rates| rates.1));
    let mut ratios: Vec<_> = rates.iter().map(|(on, off)| on / off).collect();
    ratios.sort_by(f64::total_cmp);
    let detail = format!(
        "mean of {ROUNDS} rounds of {} s each, from {:.2} to {:.2}: {on:.0} a second with certification (every two \
         seconds at most, {heights} checkpoints in all), {off:.0} in a ledger without validators",
        WRITING.as_secs(),
        ratios[0],
        ratios[ROUNDS - 1]
    );
    vec![Figure::at_least(
        "durable puts at one of four validators, against the same without validators",
        0.9,
        on / off,
        detail,
    )]
}

fn equal(ledgers: &[Arc<Ledger>]) -> bool {
    let first = ledgers[0].frontier().unwrap();
    ledgers[1..].iter().all(|ledger| ledger.frontier().unwrap() == first)
}

/// Writes at the first for a while. Tells how many a second, and the last event.
async fn write(ledgers: &[Arc<Ledger>]) -> (f64, EventId) {
    let ledger = ledgers[0].clone();
    let writing = move || {
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < WRITING {
            put(&ledger, NEXT.fetch_add(1, Ordering::Relaxed));
            count += 1;
        }
        let rate = f64::from(count) / start.elapsed().as_secs_f64();
        let heads = ledger.snapshot().unwrap().heads().unwrap();
        (rate, heads[0])
    };
    tokio::task::spawn_blocking(writing).await.unwrap()
}

/// The time of a checkpoint of many new events that all hold, against deriving it alone as often as there
/// are validators, on all cores. Three round trips and the fsyncs, measured apart, are not counted.
pub fn checkpoints() -> Vec<Figure> {
    let dir = tempfile::tempdir().unwrap();
    let ledgers = replicas(&dir.path().join("nodes"), true);
    let options = Options::new().durability(Durability::Relaxed);
    // One that writes, and as many as there are validators.
    let outside: Vec<_> = (0..=NODES)
        .map(|at| {
            let place = dir.path().join(format!("outside-{at}"));
            let cloned = options.clone_granted(place, &ledgers[0], Role::Writer, &mut |_, _| {});
            cloned.unwrap().0
        })
        .collect();
    let cores = std::thread::available_parallelism().unwrap().get();
    let (rounds, round_trip) = runtime().block_on(async {
        let nodes = start(&ledgers, INTERVAL, NODES).await;
        let mut rounds = Vec::new();
        for _ in 0..CHECKPOINTS {
            rounds.push(checkpoint(&ledgers, &outside).await);
        }
        let round_trip = median_round_trip(&nodes);
        stop(nodes).await;
        (rounds, round_trip)
    });
    let beside = 3 * round_trip + fsyncs(dir.path());
    let mean = |of: fn(&Checkpoint) -> Duration| {
        rounds.iter().map(of).sum::<Duration>() / u32::try_from(CHECKPOINTS).unwrap()
    };
    let ratio = |took: Duration, alone: Duration| {
        took.saturating_sub(beside).as_secs_f64() * cores as f64
            / (alone * NODES as u32).as_secs_f64()
    };
    let (took, alone) = (mean(|round| round.took), mean(|round| round.alone));
    let at_once = mean(|round| round.at_once);
    let mut ratios: Vec<_> = rounds.iter().map(|round| ratio(round.took, round.alone)).collect();
    ratios.sort_by(f64::total_cmp);
    let detail = format!(
        "mean of {CHECKPOINTS} rounds, from {:.2} to {:.2}: {took:.0?} from when the next may begin until it counts at all \
         {NODES}, of which {beside:.0?} for round trips and fsyncs; deriving takes {alone:.0?} alone, {NODES} at once on \
         {cores} cores {at_once:.0?}",
        ratios[0],
        ratios[CHECKPOINTS - 1]
    );
    vec![Figure::at_most(
        "a checkpoint of 10,000 events by four validators, against validators × deriving ÷ cores",
        1.5,
        ratio(took, alone),
        detail,
    )]
}

/// What one round has measured.
struct Checkpoint {
    /// From when the next may begin until it counts at all validators.
    took: Duration,
    /// Deriving it, while nobody else does.
    alone: Duration,
    /// Deriving it as often as there are validators, at once.
    at_once: Duration,
}

/// One round. Of those that certify nothing, the first writes and derives alone, the others at once.
async fn checkpoint(ledgers: &[Arc<Ledger>], outside: &[Ledger]) -> Checkpoint {
    let [author, others @ ..] = outside else { unreachable!() };
    // What is held now comes first, so that the next checkpoint holds the new events alone.
    let height = |ledger: &Ledger| ledger.certification().height;
    let mark = ledgers[0].snapshot().unwrap().len().unwrap();
    put(&ledgers[0], NEXT.fetch_add(1, Ordering::Relaxed));
    until(|| ledgers.iter().any(|ledger| ledger.certification().events > mark)).await;
    let begins = Instant::now() + INTERVAL;
    until(|| ledgers.iter().all(|ledger| ledger.certification().events > mark)).await;
    let before = height(&ledgers[0]);
    for ledger in outside {
        ledger.merge(&ledgers[0], &mut |_, _| {}).unwrap();
        accept_all(ledger, &ledgers[0]);
    }
    (0..EVENTS).for_each(|_| put(author, NEXT.fetch_add(1, Ordering::Relaxed)));
    for ledger in ledgers.iter().map(|ledger| &**ledger).chain(&outside[1..]) {
        ledger.merge(author, &mut |_, _| {}).unwrap();
    }
    let heads = author.snapshot().unwrap().heads().unwrap();
    let derive = |ledger: &Ledger| drop(ledger.derive(&heads).unwrap());
    let alone = timed(|| derive(author));
    let at_once = timed(|| {
        std::thread::scope(|scope| {
            others.iter().for_each(|ledger| _ = scope.spawn(|| derive(ledger)));
        });
    });
    assert!(Instant::now() + Duration::from_secs(1) < begins, "the events come too late");
    assert_eq!(height(&ledgers[0]), before);
    until(|| ledgers.iter().all(|ledger| height(ledger) > before)).await;
    let took = Instant::now().saturating_duration_since(begins);
    let all = ledgers[0].snapshot().unwrap().len().unwrap();
    assert_eq!(ledgers[0].certification().events, all, "one checkpoint holds them all");
    Checkpoint { took, alone, at_once }
}

/// How long the disk takes for what is synced on the way to a checkpoint: a proposal and two votes, one after
/// the other, and the records of all validators at once.
fn fsyncs(dir: &Path) -> Duration {
    let written = |at: usize| {
        let mut file = File::create(dir.join(format!("fsync-{at}"))).unwrap();
        file.write_all(&vec![7; EVENTS * EVENT_LEN]).unwrap();
        file
    };
    let files: Vec<_> = (0..NODES).map(written).collect();
    let records = timed(|| {
        std::thread::scope(|scope| {
            files.iter().for_each(|file| _ = scope.spawn(|| file.sync_data().unwrap()));
        });
    });
    3 * median_fsync(dir) + records
}

/// Lets the checkpoints count that another store holds.
fn accept_all(ledger: &Ledger, of: &Ledger) {
    let snapshot = of.snapshot().unwrap();
    let next = |height: Option<Height>| height.and_then(Height::next).unwrap_or(Height::FIRST);
    let mut wanted = next(ledger.certification().height);
    while let Some(certified) = snapshot.checkpoint(wanted).unwrap() {
        let _: Acceptance = ledger.accept(certified).unwrap();
        wanted = next(Some(wanted));
    }
}
