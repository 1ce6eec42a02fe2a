//! Places where a crash leaves something half done.

/// The names of all places where tests end the process, to see what becomes of the store. They do
/// nothing unless the `fail` crate is built with its feature `failpoints`.
pub const CRASH_POINTS: [&str; 27] = [
    "before-write",
    "after-write",
    "after-key-saved",
    "after-database-made",
    "after-genesis",
    "before-finished",
    "before-blocks-taken-over",
    "after-blocks-taken-over",
    "before-blocks-known",
    "between-collected",
    "between-pruned",
    "between-pruned-bodies",
    "between-refilled",
    "between-merge-batches",
    "after-rehearsal",
    "between-import-batches",
    "after-grant",
    "before-key-replaced",
    "after-key-replaced",
    "after-backup-copied",
    "after-seals-removed",
    "after-files-restored",
    "between-repaired-batches",
    "before-repair-ready",
    "after-repair-ready",
    "after-database-set-aside",
    "after-database-replaced",
];
