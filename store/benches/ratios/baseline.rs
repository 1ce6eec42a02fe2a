//! What the figures are compared with: the library underneath, used directly.

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, Options, WriteBatch, WriteOptions};

/// A plain database of `families` column families, with RocksDB's defaults and LZ4.
pub fn raw(dir: &Path, families: usize) -> DB {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let names = (0..families).map(|n| {
        let mut options = Options::default();
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        ColumnFamilyDescriptor::new(format!("f{n}"), options)
    });
    DB::open_cf_descriptors(&options, dir, names).unwrap()
}

/// Writes a batch of one entry to each family.
pub fn write(db: &DB, entries: &[(Vec<u8>, Vec<u8>)], sync: bool) {
    let mut batch = WriteBatch::default();
    for (n, (key, value)) in entries.iter().enumerate() {
        batch.put_cf(db.cf_handle(&format!("f{n}")).unwrap(), key, value);
    }
    let mut options = WriteOptions::default();
    options.set_sync(sync);
    db.write_opt(batch, &options).unwrap();
}

/// Bytes that repeat in no pattern, from a seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}
