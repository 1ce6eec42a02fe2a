//! CAR files: every block that is read is what its id says, and writing them again reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quipu_merge::{BlockId, CarReader, CarWriter};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = CarReader::new(bytes) else { return };
    let roots = reader.roots().to_vec();
    let Ok(blocks) = reader.by_ref().collect::<Result<Vec<_>, _>>() else { return };
    let mut writer =
        CarWriter::new(Vec::new(), &roots).expect("roots that were read can be written");
    for block in &blocks {
        assert_eq!(BlockId::of(block.id.codec, &block.bytes), block.id);
        writer.block(block.id, &block.bytes).expect("a block that was read can be written");
    }
    let written = writer.finish().expect("memory does not fail");
    assert_eq!(written, bytes);
});
