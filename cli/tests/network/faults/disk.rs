//! A disk that somebody else fills to the last byte.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use super::Fault;
use crate::cluster::Cluster;
use crate::node::{Node, Ran};
use crate::random::Random;

/// The store has some megabytes in reserve, which values of half a megabyte use up.
const WORDS: usize = 32_768;
const MOST: u64 = 60;

pub struct FullDisk(pub usize);

impl FullDisk {
    fn ballast(&self, cluster: &Cluster) -> PathBuf {
        cluster.nodes[self.0].store.with_file_name("ballast")
    }
}

impl Fault for FullDisk {
    fn begin(&mut self, cluster: &Cluster) {
        let mut file = File::create(self.ballast(cluster)).unwrap();
        let portion = vec![1; 4096];
        let error = loop {
            if let Err(error) = file.write_all(&portion) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let node = &cluster.nodes[self.0];
        assert!((0..MOST).any(|value| !write(node, value).done), "a full disk takes everything");
    }

    /// Writing fails and says why, and reading goes on.
    fn shows(&self, cluster: &Cluster) -> bool {
        let node = &cluster.nodes[self.0];
        let refused = write(node, MOST);
        !refused.done && refused.stderr.contains("make room") && node.json(&["dump"]).len() == 1
    }

    fn end(&mut self, cluster: &Cluster) {
        fs::remove_file(self.ballast(cluster)).unwrap();
    }

    fn stops(&self) -> Option<usize> {
        Some(self.0)
    }
}

/// Writes a value that is like no other.
fn write(node: &Node, value: u64) -> Ran {
    let mut random = Random::from_seed(value);
    let text: String = (0..WORDS).map(|_| format!("{:016x}", random.next())).collect();
    node.run(&["put", &format!("large/{value}"), "-"], &text)
}
