//! Stores as files: copying them, and what random damage is done to them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Copies a directory whose files are those of a store.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in all(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
}

/// The files below a directory, in order.
pub fn all(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The files of a store's database whose names end so.
pub fn of_kind(store: &Path, end: &str) -> Vec<PathBuf> {
    all(&store.join("db"))
        .into_iter()
        .filter(|path| path.to_str().unwrap().ends_with(end))
        .collect()
}

/// A directory for stores that are made and thrown away by the thousand: in memory, where the
/// machine has such a place.
pub fn scratch() -> tempfile::TempDir {
    tempfile::TempDir::new_in("/dev/shm").or_else(|_| tempfile::TempDir::new()).unwrap()
}

/// Says, past what the test harness keeps to itself, that a fault cannot be made on this machine.
pub fn skipped(fault: &str, why: &str) {
    let _ = writeln!(std::io::stdout(), "SKIPPED: {fault}: {why}");
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Random numbers that a seed repeats.
pub struct Random(u64);

impl Random {
    /// Starts from `QUIPU_SEED`, or from the clock, and prints which.
    pub fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = number("QUIPU_SEED").unwrap_or(now.as_secs()) | 1;
        println!("QUIPU_SEED={seed}");
        Self(seed)
    }

    /// Another that has nothing to do with this one.
    pub fn fork(&mut self) -> Self {
        Self(self.next() | 1)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of some.
    pub fn of<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[usize::try_from(self.below(some.len() as u64)).unwrap()]
    }

    fn next(&mut self) -> u64 {
        // Xorshift: https://doi.org/10.18637/jss.v008.i14
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
