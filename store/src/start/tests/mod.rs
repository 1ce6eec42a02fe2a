//! Lies: each is told by a file that is put together as it should be. And how long pieces of one may be.

mod certified;
mod lies;
mod state;
mod world;

use quipu_merge::Key;

use self::world::{OPTIONS, World, file_of};
use super::StartError;
use super::chapter::{Chapter, Item, MAX_CHAPTER_ITEMS};
use super::frames::{FrameWriter, MAX_FRAME_LEN, Tag};

#[test]
fn frames_come_in_their_order_and_are_not_long() {
    let world = World::new();
    let swapped = |a: usize, b: usize| {
        let mut frames = world.frames.clone();
        frames.swap(a, b);
        world.start(&frames).map(drop)
    };
    for (a, b) in [(0, 1), (2, 4), (3, 8)] {
        assert!(swapped(a, b).is_err());
    }
    let mut frames = world.frames.clone();
    let peaks = frames.iter().position(|(tag, _)| *tag == Tag::Peaks).unwrap();
    frames.insert(peaks, frames[peaks].clone());
    assert!(matches!(world.start(&frames), Err(StartError::Corrupt(_))));
    let mut out = Vec::new();
    let mut writer = FrameWriter::begin(&mut out).unwrap();
    writer.frame(Tag::Genesis, &vec![0; MAX_FRAME_LEN]).unwrap();
    let long = writer.frame(Tag::Genesis, &vec![0; MAX_FRAME_LEN + 1]);
    assert!(matches!(long, Err(StartError::TooMuch { limit: MAX_FRAME_LEN, .. })));
    let mut file = file_of(&world.frames);
    // The length of the first frame, which nothing comes after.
    file.splice(13.., [0xff, 0xff, 0xff, 0x7f]);
    let tuning = crate::db::Tuning { cache: 1 << 20, write_buffer: 1 << 20, min_free: Some(0) };
    let db = crate::db::Db::open(&world.dir.path().join("long"), true, tuning).unwrap();
    let long = super::build(&db, &mut file.as_slice(), &OPTIONS, &mut |_, _| {});
    assert!(matches!(long, Err(StartError::TooMuch { limit: MAX_FRAME_LEN, .. })));
}

#[test]
fn chapters_have_so_many_items() {
    let key = |n: usize| Key::new(&format!("{n:05}")).unwrap();
    let items = |count: usize| Chapter {
        events: Vec::new(),
        items: (0..count).map(|n| Item::Counter { key: key(n), sum: 1 }).collect(),
    };
    let full = items(MAX_CHAPTER_ITEMS);
    assert_eq!(Chapter::decode(&full.encode()).unwrap(), full);
    assert!(Chapter::decode(&items(MAX_CHAPTER_ITEMS + 1).encode()).is_err());
}
