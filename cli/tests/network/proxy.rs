//! A UDP proxy in the hub that delays, reorders and duplicates what it passes on.
//!
//! Rules in the namespaces of the nodes turn packets from one node to another aside to it, and give
//! those that come from it the address of the node that sent them. So connections go on that there
//! were before, and no node knows of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::namespaces::{HUB, PORT, Rules, address};
use crate::random::Random;

/// The child is told what to do by these.
const MANNER: &str = "QUIPU_PROXY";
const LONGEST: usize = 1 << 16;

/// What becomes of packets.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How long every packet takes.
    pub delay: Duration,
    /// So many of a hundred take longer, by up to `longer`.
    pub late: u64,
    pub longer: Duration,
    /// So many of a hundred come twice.
    pub twice: u64,
}

/// A proxy between all nodes of a cluster.
pub struct Proxy {
    child: Child,
    rules: Vec<Rules>,
}

/// The port of the hub at which `from` finds `to`.
fn port(from: usize, to: usize) -> usize {
    9000 + from * 100 + to
}

impl Proxy {
    pub fn start(cluster: &Cluster, manner: Manner, seed: u64) -> Self {
        let count = cluster.nodes.len();
        let Manner { delay, late, longer, twice } = manner;
        let (delay, longer) = (delay.as_millis(), longer.as_millis());
        let mut child = Command::new("ip")
            .args(["netns", "exec", &cluster.namespaces.hub])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "proxy::child", "--ignored", "--nocapture"])
            .env(MANNER, format!("{count} {delay} {late} {longer} {twice} {seed}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(
            lines.any(|line| line.unwrap().ends_with("passing on")),
            "the proxy does not start"
        );
        let rules =
            (0..count).map(|node| cluster.namespaces.rules(node, &turned_aside(node, count)));
        Self { child, rules: rules.collect() }
    }

    /// How many packets were turned aside to it so far.
    pub fn packets(&self) -> u64 {
        self.rules.iter().map(Rules::packets).sum()
    }

    pub fn stop(mut self) {
        for rules in self.rules.drain(..) {
            rules.remove();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Before anything else looks at the addresses of packets.
fn turned_aside(node: usize, count: usize) -> String {
    let (mut out, mut back) = (String::new(), String::new());
    for other in (0..count).filter(|other| *other != node) {
        let (place, port) = (address(other), port(node, other));
        out += &format!(
            "ip daddr {place} udp dport {PORT} counter ip daddr set {HUB} udp dport set {port}\n"
        );
        back +=
            &format!("ip saddr {HUB} udp sport {port} ip saddr set {place} udp sport set {PORT}\n");
    }
    format!(
        "chain out {{ type route hook output priority raw; {out} }}\n\
         chain back {{ type filter hook prerouting priority raw; {back} }}"
    )
}

/// A packet on its way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: Instant,
    /// Packets that are due together go in the order in which they came.
    number: u64,
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

/// Not a test: what [`Proxy::start`] starts as a process in the hub. It ends with its stdin.
#[test]
#[ignore = "runs as a child of the other tests"]
fn child() {
    let Ok(manner) = std::env::var(MANNER) else { return };
    let given: Vec<u64> = manner.split(' ').map(|number| number.parse().unwrap()).collect();
    let [count, delay, late, longer, twice, seed] = given[..] else { panic!("{manner}") };
    let [delay, longer] = [delay, longer].map(Duration::from_millis);
    let (manner, count) = (Manner { delay, late, longer, twice }, usize::try_from(count).unwrap());
    let (sender, receiver) = channel();
    // What `to` sends back to `from` leaves through the socket at which `to` finds `from`.
    let sockets: Vec<Vec<Arc<UdpSocket>>> = (0..count)
        .map(|from| {
            let bind = |to| UdpSocket::bind((HUB, u16::try_from(port(from, to)).unwrap())).unwrap();
            (0..count).map(bind).map(Arc::new).collect()
        })
        .collect();
    for (from, row) in sockets.iter().enumerate() {
        for (to, socket) in row.iter().enumerate().filter(|(to, _)| *to != from) {
            let (socket, sender) = (socket.clone(), sender.clone());
            thread::spawn(move || listen(&socket, from, to, &sender));
        }
    }
    thread::spawn(move || pass_on(&sockets, &receiver, manner, Random::from_seed(seed)));
    println!("\npassing on");
    let _ = std::io::stdin().read(&mut [0]);
}

fn listen(socket: &UdpSocket, from: usize, to: usize, packets: &Sender<(usize, usize, Vec<u8>)>) {
    let mut buffer = vec![0; LONGEST];
    // An error tells of a packet that could not be delivered.
    loop {
        if let Ok(len) = socket.recv(&mut buffer)
            && packets.send((from, to, buffer[..len].to_vec())).is_err()
        {
            return;
        }
    }
}

fn pass_on(
    sockets: &[Vec<Arc<UdpSocket>>],
    packets: &Receiver<(usize, usize, Vec<u8>)>,
    manner: Manner,
    mut random: Random,
) {
    let mut waiting = BinaryHeap::<Reverse<Packet>>::new();
    let mut number = 0;
    loop {
        let patience = waiting.peek().map_or(Duration::from_secs(1), |Reverse(packet)| {
            packet.due.saturating_duration_since(Instant::now())
        });
        match packets.recv_timeout(patience) {
            Ok((from, to, bytes)) => {
                let copies = if random.below(100) < manner.twice { 2 } else { 1 };
                for _ in 0..copies {
                    let due = Instant::now() + manner.takes(&mut random);
                    number += 1;
                    waiting.push(Reverse(Packet { due, number, from, to, bytes: bytes.clone() }));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.peek().is_some_and(|Reverse(packet)| packet.due <= Instant::now()) {
            let Some(Reverse(Packet { from, to, bytes, .. })) = waiting.pop() else { break };
            // A node that is not there is like a network that loses the packet.
            let _ = sockets[to][from].send_to(&bytes, (address(to), PORT));
        }
    }
}

impl Manner {
    fn takes(&self, random: &mut Random) -> Duration {
        if random.below(100) < self.late {
            self.delay + self.longer.mul_f64(random.below(1000) as f64 / 1000.0)
        } else {
            self.delay
        }
    }
}
