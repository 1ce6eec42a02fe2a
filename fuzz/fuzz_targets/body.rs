//! Bodies and the other blocks: whatever is read encodes to the same bytes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quipu_merge::{Body, Certificate, Checkpoint, CutBlock, Manifest, Opening, ValidatorsBlock};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = Body::decode(bytes) {
        assert_eq!(body.encode().as_deref(), Ok(bytes));
    }
    if let Ok(opening) = Opening::decode(bytes) {
        assert_eq!(opening.encode(), bytes);
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode().as_deref(), Ok(bytes));
    }
    let _ = Checkpoint::decode(bytes);
    let _ = Certificate::decode(bytes);
    let _ = CutBlock::decode(bytes);
    let _ = ValidatorsBlock::decode(bytes);
});
