//! The strict encodings against an independent codec of DAG-CBOR.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has done its work"
)]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

mod cases;

use cases::{Case, on_each};
use ipld_core::ipld::Ipld;
use quipu_fuzz::Dice;
use quipu_merge::{
    AuthorKey, BlockId, Body, Codec, Content, Link, MAX_CHUNKS, MAX_INLINE_LEN, MAX_RAW_LEN,
    Manifest, Opening, ParsedEvent,
};

/// A kind of block: reads bytes and says what they are written as again.
type Reads = fn(&[u8]) -> Option<Vec<u8>>;

fn event(bytes: &[u8]) -> Option<Vec<u8>> {
    // An event cannot be written again without the key: its signature stays what it was.
    ParsedEvent::decode(bytes).ok().map(|_| oracle(bytes).expect("an event is DAG-CBOR"))
}

fn body(bytes: &[u8]) -> Option<Vec<u8>> {
    Body::decode(bytes).ok().map(|body| body.encode().expect("what was read can be written"))
}

fn opening(bytes: &[u8]) -> Option<Vec<u8>> {
    Opening::decode(bytes).ok().map(|opening| opening.encode())
}

fn manifest(bytes: &[u8]) -> Option<Vec<u8>> {
    let manifest = Manifest::decode(bytes).ok()?;
    Some(manifest.encode().expect("what was read can be written"))
}

/// The bytes that the independent codec writes for what it reads.
fn oracle(bytes: &[u8]) -> Option<Vec<u8>> {
    let value: Ipld = serde_ipld_dagcbor::from_slice(bytes).ok()?;
    Some(write(&value))
}

fn write(value: &Ipld) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).unwrap()
}

fn some_manifest(dice: &mut Dice) -> Manifest {
    let chunks = (0..=dice.below(6)).map(|i| {
        let raw = dice.chance(60);
        let codec = if raw { Codec::Raw } else { Codec::DagCbor };
        let most = if raw { MAX_RAW_LEN } else { 1 << 40 };
        Link { block: BlockId::of(codec, &[i as u8]), size: 1 + dice.below(most) as u64 }
    });
    Manifest { chunks: chunks.collect() }
}

/// Some valid blocks of every kind, and how each is read.
fn blocks(case: &mut Case) -> Vec<(Reads, Vec<u8>)> {
    let mut blocks = Vec::<(Reads, Vec<u8>)>::new();
    for _ in 0..4 {
        let some = case.dice.pick(case.history.events()).unwrap();
        blocks.push((event, some.signed.bytes().to_vec()));
        blocks.push((body, some.body.clone()));
        let openings = some.openings.iter().map(|(_, bytes)| bytes.clone());
        blocks.extend(openings.filter(|o| Opening::decode(o).is_ok()).map(|o| (opening as _, o)));
    }
    blocks.push((body, case.history.events()[0].body.clone()));
    blocks.push((manifest, some_manifest(&mut case.dice).encode().unwrap()));
    let long = Content::Linked(Link { block: BlockId::of(Codec::Raw, b"x"), size: 1 });
    let long = Opening { author: AuthorKey([9; 32]), salt: [3; 16], content: long };
    blocks.push((opening, long.encode()));
    blocks
}

#[test]
fn what_is_written_reads_and_is_dag_cbor() {
    on_each(30_000, 150, |case| {
        for (reads, bytes) in blocks(case) {
            assert_eq!(reads(&bytes).as_ref(), Some(&bytes));
            assert_eq!(oracle(&bytes).as_ref(), Some(&bytes));
        }
        for event in case.history.events() {
            let parsed = ParsedEvent::decode(event.signed.bytes()).unwrap();
            assert_eq!((parsed.event(), parsed.id()), (event.signed.event(), event.signed.id()));
        }
        let manifest = some_manifest(&mut case.dice);
        assert_eq!(Manifest::decode(&manifest.encode().unwrap()), Ok(manifest));
    });
}

/// Whatever a change makes of a block: it is refused, or it is the one encoding of what it says.
fn refused_or_canonical(reads: Reads, bytes: &[u8]) {
    if let Some(again) = reads(bytes) {
        assert_eq!(again, bytes);
        assert_eq!(oracle(bytes).as_deref(), Some(bytes), "the codecs differ on {bytes:02x?}");
    }
}

#[test]
fn changed_bytes_are_refused_or_canonical() {
    on_each(31_000, 60, |case| {
        for (reads, bytes) in blocks(case) {
            for place in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << case.dice.below(8);
                refused_or_canonical(reads, &changed);
                changed[place] = case.dice.below(256) as u8;
                refused_or_canonical(reads, &changed);
                let mut changed = bytes.clone();
                changed.insert(place, case.dice.below(256) as u8);
                refused_or_canonical(reads, &changed);
                changed.remove(place);
                changed.remove(place);
                refused_or_canonical(reads, &changed);
                assert_eq!(reads(&bytes[..place]), None, "cut short at {place}");
            }
            assert_eq!(reads(&[&bytes[..], &[0]].concat()), None, "a byte too many");
            assert_eq!(reads(&[&bytes[..], &bytes[..]].concat()), None, "twice");
        }
    });
}

/// Where each item of a block begins, and how many bytes say what and how long it is.
fn heads(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut heads, mut at) = (Vec::new(), 0);
    while let Some(&first) = bytes.get(at) {
        let extra = match first & 31 {
            info @ 24..28 => 1 << (info - 24),
            _ => 0,
        };
        let argument = &bytes[at + 1..at + 1 + extra];
        let number = argument.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let number = if extra == 0 { usize::from(first & 31) } else { number };
        heads.push((at, 1 + extra));
        at += 1 + extra + if matches!(first >> 5, 2 | 3) { number } else { 0 };
    }
    heads
}

#[test]
fn longer_spellings_are_refused() {
    on_each(32_000, 60, |case| {
        for (reads, bytes) in blocks(case) {
            for (at, len) in heads(&bytes) {
                let (first, argument) = (bytes[at], &bytes[at + 1..at + len]);
                let (kind, number) = (first & 0xe0, &[first & 31][..]);
                let argument = if len == 1 { number } else { argument };
                for wide in [1_usize, 2, 4, 8].into_iter().filter(|&wide| wide >= len) {
                    let head = kind | (24 + wide.ilog2() as u8);
                    let zeros = vec![0; wide - argument.len()];
                    let spelled = [&[head][..], &zeros, argument].concat();
                    let changed = [&bytes[..at], &spelled, &bytes[at + len..]].concat();
                    assert_eq!(reads(&changed), None, "{wide} bytes at {at} of {bytes:02x?}");
                }
                // Indefinite length, where the whole block is one list or map.
                if at == 0 {
                    let changed = [&[kind | 31], &bytes[len..], &[0xff]].concat();
                    assert_eq!(reads(&changed), None);
                }
            }
        }
    });
}

/// Changes that stay DAG-CBOR: other keys, other types, other numbers of entries.
fn reshape(dice: &mut Dice, value: &mut Ipld) {
    match value {
        Ipld::Map(map) if dice.chance(70) && !map.is_empty() => {
            let keys: Vec<_> = map.keys().cloned().collect();
            let key = dice.pick(&keys).unwrap();
            match dice.below(4) {
                0 => drop(map.remove(key)),
                1 => drop(map.insert("zz".to_owned(), Ipld::Null)),
                2 => {
                    let moved = map.remove(key).unwrap();
                    map.insert(format!("{key}x"), moved);
                }
                _ => reshape(dice, map.get_mut(key).unwrap()),
            }
        }
        Ipld::List(list) if dice.chance(70) && !list.is_empty() => {
            let at = dice.below(list.len());
            match dice.below(4) {
                0 => drop(list.remove(at)),
                1 => list.push(list[at].clone()),
                2 => list.reverse(),
                _ => reshape(dice, &mut list[at]),
            }
        }
        Ipld::Integer(number) if dice.chance(60) => {
            let steps = [1, -1, -*number, 1 << 20, 1 << 53, -(1 << 63)];
            *number = (*number + dice.pick(&steps).unwrap()).clamp(-(1 << 63), (1 << 64) - 1);
        }
        Ipld::Bytes(bytes) if dice.chance(60) => bytes.resize(dice.below(5000), 7),
        Ipld::String(text) if dice.chance(60) => *text = "x".repeat(dice.below(1100)),
        other => {
            let kinds = [
                Ipld::Null,
                Ipld::Bool(true),
                Ipld::Float(1.0),
                Ipld::Integer(1),
                Ipld::String("put".to_owned()),
                Ipld::Bytes(vec![7; 32]),
                Ipld::List(Vec::new()),
                Ipld::Map(std::collections::BTreeMap::new()),
            ];
            *other = dice.pick(&kinds).unwrap().clone();
        }
    }
}

#[test]
fn reshaped_blocks_are_refused_or_read_in_full() {
    let read = std::cell::Cell::new(0);
    on_each(33_000, 150, |case| {
        for (reads, bytes) in blocks(case) {
            for _ in 0..30 {
                let mut value: Ipld = serde_ipld_dagcbor::from_slice(&bytes).unwrap();
                reshape(&mut case.dice, &mut value);
                let changed = write(&value);
                refused_or_canonical(reads, &changed);
                read.set(read.get() + usize::from(changed != bytes && reads(&changed).is_some()));
            }
        }
    });
    assert!(read.get() > 100, "only {} reshaped blocks are still valid", read.get());
}

fn map(entries: &[(&str, Ipld)]) -> Ipld {
    Ipld::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

#[test]
fn limits_of_bodies_are_as_written() {
    let text = |text: &str| Ipld::String(text.to_owned());
    let del = |len: usize| map(&[("op", text("del")), ("key", text(&"k".repeat(len)))]);
    let add = |len| {
        let member = Ipld::Bytes(vec![1; len]);
        map(&[("op", text("add")), ("key", text("k")), ("member", member)])
    };
    let inc = |by| map(&[("op", text("inc")), ("key", text("k")), ("by", Ipld::Integer(by))]);
    let genesis = |name: usize, admins: &[u8], validators: &[u8]| {
        let keys = |bytes: &[u8]| bytes.iter().map(|&b| Ipld::Bytes(vec![b; 32])).collect();
        map(&[
            ("op", text("genesis")),
            ("name", text(&"n".repeat(name))),
            ("policy", text("open")),
            ("forks", text("keep")),
            ("admins", Ipld::List(keys(admins))),
            ("validators", Ipld::List(keys(validators))),
        ])
    };
    let merge = || map(&[("op", text("merge"))]);
    for (valid, operations) in [
        (false, vec![]),
        (true, vec![del(1)]),
        (false, vec![del(0)]),
        (true, vec![del(1024)]),
        (false, vec![del(1025)]),
        (true, vec![add(0), add(4096)]),
        (false, vec![add(4097)]),
        (true, vec![inc(1), inc(-(1 << 63)), inc((1 << 63) - 1)]),
        (false, vec![inc(0)]),
        (false, vec![inc(1 << 63)]),
        (false, vec![inc(-(1 << 63) - 1)]),
        (true, vec![del(1); 10_000]),
        (false, vec![del(1); 10_001]),
        (false, vec![del(1000); 1100]),
        (true, vec![genesis(256, &[1, 2], &[2, 1])]),
        (true, vec![genesis(0, &[], &[])]),
        (false, vec![genesis(257, &[], &[])]),
        (false, vec![genesis(1, &[2, 1], &[])]),
        (false, vec![genesis(1, &[1, 1], &[])]),
        (false, vec![genesis(1, &[], &[1, 2, 1])]),
        (false, vec![genesis(1, &[], &[]), genesis(1, &[], &[])]),
        (true, vec![merge()]),
        (false, vec![merge(), merge()]),
        (false, vec![merge(), del(1)]),
    ] {
        let bytes = write(&Ipld::List(operations));
        let head = &bytes[..bytes.len().min(60)];
        assert_eq!(Body::decode(&bytes).is_ok(), valid, "{head:02x?}, {} bytes", bytes.len());
    }
}

#[test]
fn limits_of_openings_and_manifests_are_as_written() {
    let open = |content| Opening { author: AuthorKey([9; 32]), salt: [3; 16], content }.encode();
    let block = BlockId::of(Codec::DagCbor, b"");
    for (valid, content) in [
        (true, Content::Inline(vec![0; MAX_INLINE_LEN])),
        (false, Content::Inline(vec![0; MAX_INLINE_LEN + 1])),
        (true, Content::Linked(Link { block, size: (1 << 53) - 1 })),
        (false, Content::Linked(Link { block, size: 1 << 53 })),
        (false, Content::Linked(Link { block, size: 0 })),
    ] {
        assert_eq!(Opening::decode(&open(content)).is_ok(), valid);
    }
    let chunk = |size| Link { block: BlockId::of(Codec::Raw, b""), size };
    for (valid, chunks) in [
        (false, vec![]),
        (true, vec![chunk(1 << 20)]),
        (false, vec![chunk((1 << 20) + 1)]),
        (false, vec![chunk(0)]),
        (true, vec![chunk(1); MAX_CHUNKS]),
        (false, vec![chunk(1); MAX_CHUNKS + 1]),
        (true, vec![Link { block, size: (1 << 53) - 2 }, chunk(1)]),
        (false, vec![Link { block, size: (1 << 53) - 1 }, chunk(1)]),
    ] {
        assert_eq!(Manifest { chunks }.encode().is_ok(), valid);
    }
}
