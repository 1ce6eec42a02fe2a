//! How much memory this process holds, in MB.

/// The most that it has held so far.
pub fn peak_memory() -> u64 {
    of_status("VmHWM:")
}

/// What it holds now.
pub fn resident_memory() -> u64 {
    of_status("VmRSS:")
}

fn of_status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}
