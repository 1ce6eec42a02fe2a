//! Lies about the state and the events that it names.

use quipu_merge::{AuthorKey, Key, Lane, Member, OpeningId};

use super::super::chapter::{Chapter, ChapterEvent, Item, ShownValue};
use super::super::frames::Tag;
use super::lies::{check, contradiction, corrupt, dot, event, lie, log_event, state};
use super::world::{Frames, World, chapter, key_at, listed};
use crate::lookup::Stored;
use crate::opening;
use crate::schema::{Family, meta};

#[test]
fn about_the_state() {
    let world = World::new();
    let edit = |change: fn(&mut Chapter)| move |frames: &mut Frames| chapter(frames, change);
    fn cut(chapter: &mut Chapter, kind: u8, name: &str, count: usize) {
        let at = key_at(chapter, kind, name);
        chapter.items.drain(at..at + count);
    }
    fn value<'c>(chapter: &'c mut Chapter, name: &str) -> &'c mut ShownValue {
        let at = key_at(chapter, b'r', name);
        let Item::Put { value, .. } = &mut chapter.items[at + 1] else { panic!("no put") };
        value
    }
    let lies = vec![
        lie("a counter less", edit(|c| cut(c, b'c', "count", 1)), state),
        lie(
            "another sum",
            edit(|c| {
                let at = key_at(c, b'c', "count");
                c.items[at] = Item::Counter { key: Key::new("count").unwrap(), sum: 6 };
            }),
            state,
        ),
        lie(
            "another value",
            edit(|c| *value(c, "plain") = ShownValue::Id(OpeningId([0; 32]))),
            state,
        ),
        lie(
            "another opening",
            edit(|c| {
                *value(c, "plain") = ShownValue::Opening(opening::pack_inline(&[0; 16], b"other"));
            }),
            state,
        ),
        lie(
            "an opening of another author",
            edit(|c| {
                let ShownValue::Opening(stored) = value(c, "plain") else { panic!("no opening") };
                let author = AuthorKey([7; 32]);
                let whole = opening::unpack(author, stored).unwrap();
                // As it would be stored if it were another author's.
                *stored = [&[0], whole.as_slice()].concat();
            }),
            state,
        ),
        lie(
            "an opening in another form",
            |frames| {
                let (_, whole) = world.hand.opening(b"d");
                chapter(frames, |c| {
                    let ShownValue::Opening(stored) = value(c, "other") else { panic!("none") };
                    assert_eq!(*stored, opening::pack(world.hand.author(), &whole));
                    *stored = [&[0], whole.as_slice()].concat();
                });
            },
            corrupt,
        ),
        lie(
            "an opening in no form",
            edit(|c| {
                let ShownValue::Opening(stored) = value(c, "plain") else { panic!("no opening") };
                stored[0] = 7;
            }),
            corrupt,
        ),
        lie("a member less", edit(|c| cut(c, b'm', "set", 3)), state),
        lie(
            "an add less",
            edit(|c| {
                let at = key_at(c, b'm', "set");
                c.items.remove(at + 1);
            }),
            state,
        ),
        lie(
            "a member without adds",
            edit(|c| {
                let at = key_at(c, b'm', "set");
                c.items.insert(
                    at,
                    Item::Member {
                        key: Key::new("set").unwrap(),
                        member: Member::new(b"a").unwrap(),
                    },
                );
            }),
            corrupt,
        ),
        lie(
            "an entry less",
            edit(|c| {
                let at = key_at(c, b'l', "list");
                c.items.remove(at + 2);
            }),
            state,
        ),
        lie(
            "entries in another order",
            edit(|c| {
                let at = key_at(c, b'l', "list");
                c.items.swap(at + 1, at + 2);
            }),
            corrupt,
        ),
        lie(
            "an entry beyond the log",
            edit(|c| {
                let at = key_at(c, b'l', "list");
                let Item::Entry { index, .. } = &mut c.items[at + 3] else { panic!("no entry") };
                *index = 1 << 40;
            }),
            corrupt,
        ),
        lie("a write of no key", edit(|c| c.items.insert(0, Item::Add { event: 0 })), corrupt),
        lie(
            "an entry of a register",
            edit(|c| {
                let at = key_at(c, b'l', "list");
                let entry = c.items[at + 1].clone();
                let at = key_at(c, b'r', "plain");
                c.items.insert(at + 1, entry);
            }),
            corrupt,
        ),
        lie(
            "a key twice",
            edit(|c| {
                let at = key_at(c, b'r', "plain");
                let both = c.items[at..at + 2].to_vec();
                c.items.splice(at..at, both);
            }),
            corrupt,
        ),
        lie(
            "one more key",
            edit(|c| {
                let at = key_at(c, b'r', "plain");
                let mut both = c.items[at..at + 2].to_vec();
                both[0] = Item::Register { key: Key::new("zzz").unwrap() };
                let Item::Put { slot, .. } = &mut both[1] else { panic!("no put") };
                *slot = 7;
                c.items.extend(both);
            }),
            state,
        ),
        lie(
            "one write of two keys",
            edit(|c| {
                let at = key_at(c, b'r', "plain");
                let mut both = c.items[at..at + 2].to_vec();
                both[0] = Item::Register { key: Key::new("zzz").unwrap() };
                c.items.extend(both);
            }),
            contradiction,
        ),
        lie(
            "a conflict less",
            edit(|c| {
                let at = key_at(c, b'r', "forked");
                c.items.remove(at + 1);
            }),
            |error| state(error) || corrupt(error),
        ),
        lie(
            "two writes of one branch",
            edit(|c| {
                let at = key_at(c, b'r', "forked");
                let put = c.items[at + 1].clone();
                c.items.insert(at + 1, put);
            }),
            contradiction,
        ),
        lie(
            "a write of no event",
            edit(|c| {
                let at = key_at(c, b'r', "plain");
                let Item::Put { event, .. } = &mut c.items[at + 1] else { panic!("no put") };
                *event = 4000;
            }),
            corrupt,
        ),
        lie(
            "a write of another event",
            edit(|c| {
                let at = key_at(c, b'r', "last");
                let Item::Put { event, .. } = c.items[at + 1] else { panic!("no put") };
                let at = key_at(c, b'r', "plain");
                let Item::Put { event: of, slot, .. } = &mut c.items[at + 1] else {
                    panic!("no put")
                };
                (*of, *slot) = (event, 5);
            }),
            |error| state(error) || corrupt(error),
        ),
    ];
    check(&world, lies);
}

#[test]
fn about_events_of_the_state() {
    let world = World::new();
    let edit = |change: fn(&mut Chapter)| move |frames: &mut Frames| chapter(frames, change);
    fn new_at(chapter: &Chapter) -> usize {
        chapter.events.iter().position(|event| !event.event.is_empty()).unwrap()
    }
    fn special_at(chapter: &Chapter) -> usize {
        chapter.events.iter().position(|event| event.event.is_empty()).unwrap()
    }
    let lies = vec![
        lie(
            "no event",
            edit(|c| {
                let at = new_at(c);
                c.events[at].event.clear();
            }),
            corrupt,
        ),
        lie(
            "a damaged event",
            edit(|c| {
                let at = new_at(c);
                c.events[at].event[20] ^= 1;
            }),
            |error| event(error) || state(error) || contradiction(error),
        ),
        lie(
            "an event again",
            edit(|c| {
                let (at, new) = (special_at(c), new_at(c));
                c.events[at].event = c.events[new].event.clone();
            }),
            contradiction,
        ),
        lie(
            "an event at another place",
            edit(|c| {
                let at = new_at(c);
                c.events[at].dot.seq.0 -= 1;
            }),
            |error| contradiction(error) || corrupt(error),
        ),
        lie(
            "an event beyond the cut",
            edit(|c| c.events.last_mut().unwrap().dot.seq.0 = 99),
            contradiction,
        ),
        lie(
            "an event of no branch",
            edit(|c| c.events.last_mut().unwrap().dot.lane.0 = 99),
            contradiction,
        ),
        lie("events that do not ascend", edit(|c| c.events.swap(0, 1)), corrupt),
        lie(
            "a number that is not certified",
            edit(|c| {
                let at = new_at(c);
                c.events[at].number = 99;
            }),
            contradiction,
        ),
        lie(
            "another number than before",
            edit(|c| {
                let at = special_at(c);
                c.events[at].number = 0;
            }),
            contradiction,
        ),
        lie(
            "numbers that do not ascend",
            edit(|c| {
                let first = c.events.iter_mut().find(|event| !event.event.is_empty()).unwrap();
                assert_eq!(first.dot.lane, Lane(0));
                first.number = 3;
            }),
            contradiction,
        ),
        lie(
            "an event that nothing stands of",
            |frames| {
                let block = log_event(&world, world.by_hand[2]).event;
                chapter(frames, |c| {
                    let at = c.events.iter().position(|event| event.dot == dot(1, 3)).unwrap();
                    // Another in its place: it must be used.
                    c.events[at].event = block.clone();
                    let other = ChapterEvent { dot: dot(2, 3), number: 3, event: Vec::new() };
                    if !c.events.iter().any(|event| event.dot == other.dot) {
                        c.events.push(other);
                    }
                    c.items.retain(|item| !matches!(item, Item::Put { event, .. } | Item::Entry { event, .. } | Item::Add { event } if *event == at));
                });
            },
            |error| corrupt(error) || contradiction(error),
        ),
        lie(
            "an event with control operations",
            |frames| {
                let control = {
                    let mut at = None;
                    listed(frames, Tag::Control, 0, |record| {
                        at = Some((record.dot, record.event.number))
                    });
                    at.unwrap()
                };
                chapter(frames, |c| {
                    let event =
                        ChapterEvent { dot: control.0, number: control.1, event: Vec::new() };
                    c.events.insert(0, event);
                    for item in &mut c.items {
                        if let Item::Put { event, .. }
                        | Item::Entry { event, .. }
                        | Item::Add { event } = item
                        {
                            *event += 1;
                        }
                    }
                });
            },
            contradiction,
        ),
    ];
    check(&world, lies);
}

/// What is erased is not believed to stand, whatever a file has of it.
#[test]
fn about_what_is_erased() {
    let world = World::new();
    let (id, block) = world.hand.opening(b"secret");
    let stored = opening::pack(world.hand.author(), &block);
    let reads = |frames: &Frames| {
        let (db, _) = world.start(frames).unwrap();
        let reader = db.latest();
        let marks: Vec<_> = [0, 1]
            .map(|slot| reader.has(Family::Meta, &meta::erased(dot(1, 2), slot)).unwrap())
            .into();
        let missing = reader.count(Family::Meta, meta::MISSING).unwrap();
        let found = opening::find(reader, dot(1, 2), 0).unwrap();
        let kept = Stored::read(reader, dot(1, 2)).unwrap().kept().unwrap();
        assert_eq!(kept.value(0), Some(id));
        (marks, missing, found)
    };
    // One long value has no blocks yet.
    let expected = (vec![true, true], 1, None);
    assert_eq!(reads(&world.frames), expected);
    // A file that has its opening all the same.
    let mut frames = world.frames.clone();
    chapter(&mut frames, |c| {
        let at = key_at(c, b'r', "secret");
        let Item::Put { value, .. } = &mut c.items[at + 1] else { panic!("no put") };
        assert_eq!(*value, ShownValue::Id(id));
        *value = ShownValue::Opening(stored.clone());
    });
    assert_eq!(reads(&frames), expected);
    // A source whose body is gone: what the event named is known as it comes.
    listed(&mut frames, Tag::Redacted, 0, |record| record.body.clear());
    assert_eq!(reads(&frames), expected);
}
