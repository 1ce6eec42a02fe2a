//! Control groups, of either version.

use std::fs;
use std::path::{Path, PathBuf};

use crate::namespaces::PREFIX;

const ROOT: &str = "/sys/fs/cgroup";

/// What a group limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Cpu,
    Memory,
}

/// A group for one daemon.
pub struct Group {
    pub dir: PathBuf,
}

/// Whether groups can be made here.
pub fn can_make() -> bool {
    let made = |controller| Group::new(controller, usize::MAX).map(Group::remove).is_some();
    made(Controller::Cpu) && made(Controller::Memory)
}

impl Group {
    /// The group of a node; `None` where it cannot be made. In version 2 a process is in one group.
    pub fn new(controller: Controller, node: usize) -> Option<Self> {
        let root = Path::new(ROOT);
        let parent = if is_second() {
            fs::write(root.join("cgroup.subtree_control"), "+cpu +memory").ok()?;
            root.to_owned()
        } else {
            root.join(match controller {
                Controller::Cpu => "cpu",
                Controller::Memory => "memory",
            })
        };
        let dir = parent.join(format!("{PREFIX}{}-node{node}", std::process::id()));
        let _ = fs::create_dir(&dir);
        let file = if controller == Controller::Cpu { "cpu.stat" } else { "memory.stat" };
        dir.join(file).exists().then_some(Self { dir })
    }

    /// Limits the CPU to a part of one, in percent.
    pub fn limit_cpu(&self, percent: u64) {
        let (quota, period) = (percent * 1000, 100_000);
        if is_second() {
            self.write("cpu.max", &format!("{quota} {period}"));
        } else {
            self.write("cpu.cfs_period_us", &period.to_string());
            self.write("cpu.cfs_quota_us", &quota.to_string());
        }
    }

    pub fn limit_memory(&self, bytes: u64) {
        let file = if is_second() { "memory.max" } else { "memory.limit_in_bytes" };
        self.write(file, &bytes.to_string());
    }

    /// How often the daemon had to wait for the CPU.
    pub fn throttled(&self) -> u64 {
        let stat = fs::read_to_string(self.dir.join("cpu.stat")).unwrap();
        let count = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        count.unwrap().parse().unwrap()
    }

    /// How much memory it takes up.
    pub fn memory(&self) -> u64 {
        let file = if is_second() { "memory.current" } else { "memory.usage_in_bytes" };
        fs::read_to_string(self.dir.join(file)).unwrap().trim().parse().unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.join(file), text).unwrap();
    }

    /// Removes it, when no process is in it any more.
    pub fn remove(self) {
        // Where both kinds are one group, it has been removed already.
        let _ = fs::remove_dir(&self.dir);
    }
}

fn is_second() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}
