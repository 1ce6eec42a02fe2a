//! Cuts, ids and keys as people write them: nothing panics, and what is read means what was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quipu_merge::{AuthorKey, BlockId, CutExpression};

fuzz_target!(|text: &str| {
    if let Ok(CutExpression::Clock(entries)) = text.parse() {
        let again: Vec<_> = entries.iter().map(|(name, seq)| format!("{name}:{seq}")).collect();
        let again = again.join(",").parse();
        // A rewritten number may spell a time or a checkpoint only if the first did.
        assert_eq!(again, Ok(CutExpression::Clock(entries)));
    }
    if let Ok(id) = text.parse::<BlockId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(key) = text.parse::<AuthorKey>() {
        assert_eq!(key.to_string(), text.to_ascii_lowercase());
    }
});
