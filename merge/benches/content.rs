//! What cutting long content costs, and what it saves.
//!
//! `cargo bench -p quipu-merge --bench content` tells how fast content is cut and named, beside
//! hashing alone. With the directories of two versions of something, as in
//! `cargo bench -p quipu-merge --bench content -- OLD NEW`, it tells how many bytes both need
//! together for several lengths of chunks.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark that panics says what is wrong"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark needs a clock")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fastcdc::v2020::{FastCDC, Normalization};
use quipu_merge::{
    AVERAGE_CHUNK_LEN, BlockId, Codec, ContentWriter, Link, MAX_CHUNK_LEN, MAX_CHUNKS,
    MIN_CHUNK_LEN, Manifest,
};

const GIB: usize = 1 << 30;

fn main() {
    let dirs: Vec<PathBuf> =
        std::env::args_os().skip(1).filter(|arg| arg != "--bench").map(PathBuf::from).collect();
    if dirs.is_empty() { speed() } else { saving(&dirs) }
}

fn speed() {
    println!("| 1 GiB of | portions | cut and named | only cut | hashed in one piece |");
    println!("| --- | --- | --- | --- | --- |");
    let mut content = vec![0; GIB];
    speed_of("zeros", &content);
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    speed_of("random bytes", &content);
}

fn speed_of(what: &str, content: &[u8]) {
    let hashed = rate(|| _ = black_box(blake3::hash(content)));
    let cutter = || FastCDC::new(content, MIN_CHUNK_LEN, AVERAGE_CHUNK_LEN, MAX_CHUNK_LEN);
    let cut = rate(|| _ = black_box(cutter().count()));
    for portion in [16 << 10, 256 << 10, 1 << 20, 4 << 20] {
        let named = rate(|| _ = black_box(written(content, portion)));
        println!(
            "| {what} | {} KiB | {named:.2} GB/s | {cut:.2} GB/s | {hashed:.2} GB/s |",
            portion >> 10
        );
    }
}

/// Gigabytes a second over a GiB: the best of three.
fn rate(run: impl Fn()) -> f64 {
    let seconds = |()| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    let best = [(); 3].map(seconds).into_iter().fold(f64::INFINITY, f64::min);
    GIB as f64 / best / 1e9
}

fn written(content: &[u8], portion: usize) -> Link {
    let mut writer = ContentWriter::new(|_, _: &[u8]| Ok::<_, Infallible>(()));
    content.chunks(portion).for_each(|portion| writer.write(portion).unwrap());
    writer.finish().unwrap()
}

/// What the versions need together, with every file a content of its own, and with each version
/// one content of all its files in order, as an archive would be.
fn saving(dirs: &[PathBuf]) {
    let versions: Vec<Vec<Vec<u8>>> = dirs.iter().map(|dir| files(dir)).collect();
    let archives: Vec<_> = versions.iter().map(|files| vec![files.concat()]).collect();
    println!("| content | average | level | stored | of copies | new | blocks | manifests |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (what, versions) in [("files", &versions), ("archive", &archives)] {
        for average in [4, 8, 16, 32, 64, 128] {
            saving_of(what, versions, average << 10, Normalization::Level1);
        }
        for level in [Normalization::Level0, Normalization::Level2] {
            saving_of(what, versions, AVERAGE_CHUNK_LEN, level);
        }
    }
}

fn saving_of(what: &str, versions: &[Vec<Vec<u8>>], average: usize, level: Normalization) {
    let mut blocks = Blocks::default();
    let mut before = 0;
    for files in versions {
        before = blocks.bytes();
        files.iter().filter(|file| !file.is_empty()).for_each(|file| {
            blocks.add(file, average, level);
        });
    }
    let plain: usize = versions.iter().flatten().map(Vec::len).sum();
    let stored = blocks.bytes();
    println!(
        "| {what} | {} KiB | {level} | {:.2} MB | {:.1} % | {:.2} MB | {} | {:.2} % |",
        average >> 10,
        stored as f64 / 1e6,
        100.0 * stored as f64 / plain as f64,
        (stored - before) as f64 / 1e6,
        blocks.raw.len(),
        100.0 * blocks.manifest_bytes() as f64 / stored as f64,
    );
}

/// Distinct blocks and their lengths.
#[derive(Default)]
struct Blocks {
    raw: BTreeMap<BlockId, usize>,
    manifests: BTreeMap<BlockId, usize>,
}

impl Blocks {
    fn add(&mut self, content: &[u8], average: usize, level: Normalization) {
        let mut chunks = Vec::new();
        for chunk in FastCDC::with_level(content, average / 4, average, average * 4, level) {
            let bytes = &content[chunk.offset..chunk.offset + chunk.length];
            let block = BlockId::of(Codec::Raw, bytes);
            self.raw.insert(block, bytes.len());
            chunks.push(Link { block, size: bytes.len() as u64 });
        }
        if chunks.len() > 1 {
            for chunks in chunks.chunks(MAX_CHUNKS) {
                let bytes = Manifest { chunks: chunks.to_vec() }.encode().unwrap();
                self.manifests.insert(BlockId::of(Codec::DagCbor, &bytes), bytes.len());
            }
        }
    }

    fn manifest_bytes(&self) -> usize {
        self.manifests.values().sum()
    }

    fn bytes(&self) -> usize {
        self.raw.values().sum::<usize>() + self.manifest_bytes()
    }
}

/// The files below a directory, by path.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .flat_map(|path| if path.is_dir() { files(path) } else { vec![fs::read(path).unwrap()] })
        .collect()
}
