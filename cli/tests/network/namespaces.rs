//! Network namespaces: one for each node, and a hub with a bridge that they are all plugged into.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::machine::{feed, must, works};

/// What the names of everything begin with that outlives a run that is killed; the id of the process
/// that made it follows.
pub const PREFIX: &str = "quipu-network-";
/// The hub's address, and all others.
pub const HUB: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
/// Where every node listens.
pub const PORT: u16 = 7420;

static MADE: AtomicUsize = AtomicUsize::new(0);

/// A name that nobody else uses.
pub fn unique(what: &str) -> String {
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{number}-{what}", std::process::id())
}

/// The namespaces of a few nodes, which are removed at last.
pub struct Namespaces {
    pub hub: String,
    pub nodes: Vec<String>,
}

impl Namespaces {
    pub fn new(count: usize) -> Self {
        let nodes = (0..count).map(|node| unique(&format!("node{node}"))).collect();
        let namespaces = Self { hub: unique("hub"), nodes };
        let hub = namespaces.hub.as_str();
        ip(&["netns", "add", hub]);
        ip(&["-n", hub, "link", "set", "lo", "up"]);
        ip(&["-n", hub, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", hub, "link", "set", "bridge", "up"]);
        ip(&["-n", hub, "addr", "add", &format!("{HUB}/24"), "dev", "bridge"]);
        for (node, name) in namespaces.nodes.iter().enumerate() {
            let (plug, address) = (format!("node{node}"), format!("{}/24", address(node)));
            ip(&["netns", "add", name]);
            ip(&["-n", hub, "link", "add", &plug, "type", "veth", "peer", "eth0", "netns", name]);
            ip(&["-n", hub, "link", "set", &plug, "master", "bridge", "up"]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
            ip(&["-n", name, "addr", "add", &address, "dev", "eth0"]);
            ip(&["-n", name, "link", "set", "eth0", "up"]);
        }
        namespaces
    }

    /// Adds rules to the namespace of a node.
    pub fn rules(&self, node: usize, chains: &str) -> Rules {
        let (namespace, table) = (self.nodes[node].clone(), unique("table").replace('-', "_"));
        let args = ["netns", "exec", &namespace, "nft", "-f", "-"];
        feed("ip", &args, &format!("table ip {table} {{\n{chains}\n}}\n"));
        Rules { namespace, table }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in self.nodes.iter().chain([&self.hub]) {
            works("ip", &["netns", "delete", name]);
        }
    }
}

/// The address of a node.
pub fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(node + 1).unwrap())
}

/// Rules of nftables in a namespace.
pub struct Rules {
    namespace: String,
    table: String,
}

impl Rules {
    /// How many packets the rules that count have met.
    pub fn packets(&self) -> u64 {
        let listed = self.nft(&["list", "table", "ip", &self.table]);
        let words: Vec<&str> = listed.split_whitespace().collect();
        let counts = words.windows(2).filter(|pair| pair[0] == "packets");
        counts.map(|pair| pair[1].parse::<u64>().unwrap()).sum()
    }

    pub fn remove(self) {
        self.nft(&["delete", "table", "ip", &self.table]);
    }

    fn nft(&self, args: &[&str]) -> String {
        must("ip", &[&["netns", "exec", &self.namespace, "nft"], args].concat())
    }
}

fn ip(args: &[&str]) {
    must("ip", args);
}
