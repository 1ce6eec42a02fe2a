//! What runs that were killed have left behind: it is removed where the process that made it is gone.

use std::fs;
use std::path::Path;

use crate::machine::{must, works};
use crate::namespaces::PREFIX;

/// Removes what is left of others.
pub fn remove() {
    for name in entries("/run/netns") {
        if is_left(&name) {
            let pids = must("ip", &["netns", "pids", &name]);
            for pid in pids.split_whitespace() {
                works("kill", &["-9", pid]);
            }
            works("ip", &["netns", "delete", &name]);
        }
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    for place in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(place).iter().any(|part| is_left(part.to_str().unwrap_or_default())) {
            works("umount", &[place]);
        }
    }
    for dir in ["/dev/shm", "/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"] {
        for name in entries(dir).into_iter().filter(|name| is_left(name)) {
            let path = Path::new(dir).join(name);
            // A group of processes goes as it is, and its files with it.
            let _ = if dir == "/dev/shm" { fs::remove_dir_all(path) } else { fs::remove_dir(path) };
        }
    }
}

fn entries(dir: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Whether this is the name of something whose maker has ended.
fn is_left(name: &str) -> bool {
    let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
}
