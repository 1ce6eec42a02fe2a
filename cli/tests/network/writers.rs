//! Writers: one beside each node, which note what has been acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::node::Node;

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(25);
/// How many registers all write to.
const SHARED: usize = 5;
/// The counter of all writers.
pub const COUNTER: &str = "count";

/// A write that was acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub key: String,
    pub value: String,
    pub event: String,
}

/// What a writer has been told.
#[derive(Debug, Default)]
pub struct Told {
    pub acknowledged: Vec<Acknowledged>,
    /// Why others were refused. They may have been written all the same.
    pub refused: Vec<String>,
}

/// One write of a writer: a register of its own, a shared one, and a counter, in one event.
pub fn write(node: &Node, writer: usize, number: usize) -> Result<Acknowledged, String> {
    let (key, value) = (format!("w{writer}/{number}"), format!("{writer}-{number}"));
    let shared = format!("shared/{}", number % SHARED);
    let operations = [
        serde_json::json!({"op": "put", "key": key, "value": value}),
        serde_json::json!({"op": "put", "key": shared, "value": value}),
        serde_json::json!({"op": "inc", "key": COUNTER, "by": 1}),
    ];
    let input: String = operations.iter().map(|operation| format!("{operation}\n")).collect();
    let ran = node.run(&["put", "--batch", "-", "--json"], &input);
    if !ran.done {
        return Err(ran.stderr);
    }
    let event: Value = serde_json::from_str(&ran.stdout).unwrap();
    Ok(Acknowledged { key, value, event: event["event"].as_str().unwrap().to_owned() })
}

/// Writers that run.
pub struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Told>>,
}

impl Writers {
    /// Has one write to each node.
    pub fn start(nodes: &[Arc<Node>]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = nodes.iter().map(|node| {
            let (node, stop) = (node.clone(), stop.clone());
            thread::spawn(move || write_on(&node, &stop))
        });
        Self { threads: threads.collect(), stop }
    }

    /// Ends them, and gives what each has been told.
    pub fn stop(mut self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).map(|thread| thread.join().unwrap()).collect()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn write_on(node: &Node, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match write(node, node.number, number) {
            Ok(acknowledged) => told.acknowledged.push(acknowledged),
            Err(why) => told.refused.push(why),
        }
        thread::sleep(PAUSE);
    }
    told
}

/// Everything that was acknowledged is in a state, once, and nothing went wrong for good.
pub fn assert_all_there(state: &Value, told: &[Told]) {
    assert_eq!(state["forks"], serde_json::json!({}), "an author uses a number twice");
    assert_eq!(state["void"], serde_json::json!([]), "events are void");
    let mut acknowledged = 0_usize;
    for write in told.iter().flat_map(|told| &told.acknowledged) {
        let expected = serde_json::json!([{"event": write.event, "value": write.value}]);
        assert_eq!(state["registers"][&write.key], expected, "lost: {write:?}");
        acknowledged += 1;
    }
    let refused: usize = told.iter().map(|told| told.refused.len()).sum();
    let count: usize = state["counters"][COUNTER].as_str().unwrap().parse().unwrap();
    let possible = acknowledged..=acknowledged + refused;
    assert!(possible.contains(&count), "{count} of {possible:?} increments");
}
