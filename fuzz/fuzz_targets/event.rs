//! Events: whatever is read is the one encoding of what it says, and no signature check panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quipu_merge::ParsedEvent;

fuzz_target!(|bytes: &[u8]| {
    let Ok(parsed) = ParsedEvent::decode(bytes) else { return };
    let event = parsed.event().clone();
    if let Ok(signed) = parsed.verify() {
        assert_eq!(signed.bytes(), bytes);
        assert_eq!(signed.event(), &event);
    }
});
