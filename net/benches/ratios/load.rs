//! Operations offered to a node through its API, with two peers following.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quipu_net::{Api, ApiConfig, ApiLimits, Listen, Tokens};
use quipu_store::Ledger;

use crate::figure::Figure;
use crate::stores::{address, members, node, runtime};

/// Offered each second.
const EVENTS: u32 = 100;
const OPERATIONS: usize = 100;
/// For so long, unless QUIPU_LOAD_SECONDS says otherwise.
const SECONDS: u32 = 60;

pub fn offered() -> Vec<Figure> {
    let seconds = std::env::var("QUIPU_LOAD_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let ledgers = members(dir.path(), 3);
    let runtime = runtime();
    let (late, lag, end) = runtime.block_on(async {
        let serving = node(&ledgers[0], &[]).await;
        let join = [address(&serving)];
        let following = [node(&ledgers[1], &join).await, node(&ledgers[2], &join).await];
        let socket = dir.path().join("api");
        let api = Api::start(
            ledgers[0].clone(),
            Some(Arc::new(serving.watch_status())),
            Arc::new(Tokens::open(ledgers[0].dir()).unwrap()),
            ApiConfig {
                listen: Listen::Unix(UnixListener::bind(&socket).unwrap()),
                limits: ApiLimits::default(),
            },
        )
        .unwrap();
        // Until all are equal before the first.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let measured = {
            let ledgers = ledgers.clone();
            tokio::task::spawn_blocking(move || offer(&socket, &ledgers, seconds)).await.unwrap()
        };
        api.shutdown().await;
        for node in following {
            node.stop().await;
        }
        serving.stop().await;
        measured
    });
    let rate = f64::from(EVENTS * seconds) * OPERATIONS as f64 / end.as_secs_f64();
    let detail = format!(
        "{EVENTS} transactions of {OPERATIONS} puts offered each second for {seconds} s, durable; the slowest answer {:.0} ms, \
         both peers at most {lag} events behind",
        late.as_secs_f64() * 1e3
    );
    vec![
        Figure::at_least("operations a second through the API", 9_900.0, rate, detail.clone()),
        Figure::at_most(
            "events that a following peer is behind, at most",
            200.0,
            lag as f64,
            detail,
        ),
    ]
}

/// Offers so many transactions each second, each at its time. Tells the slowest answer, how many events a
/// peer was behind at most, and when the last was answered.
fn offer(socket: &Path, ledgers: &[Arc<Ledger>], seconds: u32) -> (Duration, u64, Duration) {
    let mut stream = BufReader::new(UnixStream::connect(socket).unwrap());
    let len = |ledger: &Ledger| ledger.snapshot().unwrap().len().unwrap();
    let (mut late, mut behind) = (Duration::ZERO, 0);
    let start = Instant::now();
    for number in 0..EVENTS * seconds {
        let due = Duration::from_secs(1) * number / EVENTS;
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        post(&mut stream, &transaction(number));
        late = late.max(start.elapsed().saturating_sub(due));
        if number % EVENTS == EVENTS - 1 {
            let held = len(&ledgers[0]);
            let least = ledgers[1..].iter().map(|ledger| len(ledger)).min().unwrap();
            behind = behind.max(held.saturating_sub(least));
        }
    }
    (late, behind, start.elapsed())
}

fn transaction(number: u32) -> String {
    let puts = (0..OPERATIONS).map(|operation| {
        // A hundred thousand keys, each written every ten seconds.
        let key = (number as usize * OPERATIONS + operation) % 100_000;
        format!(r#"{{"op":"put","key":"sensor/{key:05}","value":"{number:016}"}}"#)
    });
    format!(r#"{{"operations":[{}]}}"#, puts.collect::<Vec<_>>().join(","))
}

/// Sends a request on a connection that stays open, and reads its answer.
fn post(stream: &mut BufReader<UnixStream>, body: &str) {
    let head = format!(
        "POST /v1/transactions HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all((head + body).as_bytes()).unwrap();
    let (mut line, mut len) = (String::new(), 0);
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 201"), "{line}");
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            len = value.trim().parse().unwrap();
        }
    }
    stream.read_exact(&mut vec![0; len]).unwrap();
}
