//! What somebody may do to a start file who knows what every byte of it is for.

use ed25519_dalek::SigningKey;

use super::{Field, Frame, Record, StartFile, reseal};
use crate::dice::Dice;

/// Most changes to one file; a single one shows most, and many hide each other.
const MAX_CHANGES: usize = 5;

/// What a forger has besides the file.
#[derive(Clone, Debug)]
pub struct Means {
    /// Other files: of other checkpoints, and of other ledgers.
    pub files: Vec<StartFile>,
    /// Blocks of events, certified or not.
    pub events: Vec<Vec<u8>>,
    /// The keys that it signs with: of authors, and of as many validators as may lie.
    pub keys: Vec<SigningKey>,
}

impl StartFile {
    /// A file made of this one: the same one while the dice have nothing to say.
    pub fn forged(&self, dice: &mut Dice, means: &Means) -> Vec<u8> {
        let mut file = self.clone();
        for number in 0..MAX_CHANGES {
            if dice.is_spent() || (number > 0 && dice.chance(60)) {
                break;
            }
            file.change(dice, means);
        }
        // Who lies does not forget what is counted.
        if !dice.chance(10) {
            file.count_again();
        }
        if dice.chance(3) {
            return file.stretched(dice);
        }
        damaged(file.seal(), dice)
    }

    /// A file with a frame that claims to be long: as long as there is room for, or longer.
    fn stretched(mut self, dice: &mut Dice) -> Vec<u8> {
        let frame = self.frames.split_off(dice.below(self.frames.len())).into_iter().next();
        let mut file = self.seal();
        file.truncate(file.len() - super::HASH_LEN);
        file.extend(frame.map(|frame| frame.letter));
        let len: &[u8] = match dice.below(3) {
            0 => &[0xff, 0xff, 0xff, 0x07],
            1 => &[0xff, 0xff, 0xff, 0x0f],
            _ => &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        };
        file.extend_from_slice(len);
        reseal(file)
    }

    fn change(&mut self, dice: &mut Dice, means: &Means) {
        match dice.below(16) {
            1 => self.change_frames(dice, means),
            2..5 => self.change_records(dice, means),
            5..9 => self.change_field(dice, means),
            9 => self.take_part(dice, means),
            10 | 11 => self.forge_event(dice, means),
            12 | 13 => self.forge_step(dice, means),
            14 => self.turn_value(dice),
            15 => self.split_chapter(dice),
            _ => {}
        }
    }

    /// Takes frames out, doubles or moves them, or takes them from another file.
    fn change_frames(&mut self, dice: &mut Dice, means: &Means) {
        let (at, to) = (dice.below(self.frames.len()), dice.below(self.frames.len()));
        let Some(frame) = self.frames.get(at).cloned() else { return };
        match dice.below(6) {
            0 => drop(self.frames.remove(at)),
            1 => self.frames.insert(at, frame),
            2 => self.frames.insert(to, frame),
            3 => self.frames.swap(at, to),
            kind => {
                let Some(other) = dice.pick(&means.files) else { return };
                let alike = |of: &&Frame| of.letter == frame.letter;
                let alike = other.frames.iter().filter(alike).collect::<Vec<&Frame>>();
                let Some(&other) = dice.pick(&alike) else { return };
                if kind == 4 {
                    self.frames[at] = other.clone();
                } else {
                    self.frames.insert(at, other.clone());
                }
            }
        }
    }

    /// Does the same with events of a chapter, items, places and hashes.
    fn change_records(&mut self, dice: &mut Dice, means: &Means) {
        let frame = self.frame(dice);
        let of_events = !frame.events.is_empty() && dice.below(3) == 0;
        let letter = frame.letter;
        let records = if of_events { &mut frame.events } else { &mut frame.records };
        if records.is_empty() {
            return;
        }
        let (at, to) = (dice.below(records.len()), dice.below(records.len()));
        let kind = dice.below(6);
        let mut shift = None;
        match kind {
            0 => {
                records.remove(at);
                shift = Some(-1);
            }
            1 => {
                records.insert(at, records[at].clone());
                shift = Some(1);
            }
            2 => records.insert(to, records[at].clone()),
            3 => records.swap(at, to),
            4 => records[at] = records[to].clone(),
            _ => {
                let frames = means.files.iter().flat_map(|file| &file.frames);
                let alike = frames.filter(|of| of.letter == letter);
                let others = alike.flat_map(|of| if of_events { &of.events } else { &of.records });
                let others = others.collect::<Vec<&Record>>();
                let Some(&other) = dice.pick(&others) else { return };
                records.insert(at, other.clone());
                shift = Some(1);
            }
        }
        // Items go on naming the events that they named.
        if let Some(shift) = shift.filter(|_| of_events && !dice.chance(20)) {
            rename(&mut frame.records, at as u64, shift);
        }
    }

    fn change_field(&mut self, dice: &mut Dice, means: &Means) {
        let numbers = |file: &Self| file.fields().filter_map(number_of).collect::<Vec<u64>>();
        let known = numbers(self);
        let frame = self.frame(dice);
        let count = frame.events.iter().chain(&frame.records).flatten().count();
        let mut fields = frame.events.iter_mut().chain(&mut frame.records).flatten();
        let Some(field) = fields.nth(dice.below(count)) else { return };
        match field {
            Field::Number(number) | Field::Said(number) => {
                *number = match dice.below(8) {
                    0 => number.wrapping_add(1),
                    1 => number.wrapping_sub(1),
                    2 => 0,
                    3 => dice.below(256) as u64,
                    4 => u64::MAX >> dice.below(64),
                    5 => 1 << dice.below(64),
                    _ => dice.pick(&known).copied().unwrap_or_default(),
                };
            }
            Field::Part(bytes) => change_bytes(bytes, dice, &means.events, true),
            Field::Bytes(bytes) => change_bytes(bytes, dice, &means.events, false),
        }
    }

    /// Puts something in the place of something else, of which other files have the like.
    fn take_part(&mut self, dice: &mut Dice, means: &Means) {
        let Some(donor) = dice.pick(&means.files) else { return };
        let letter = self.frame(dice).letter;
        let parts = |file: &Self| {
            let frames = file.frames.iter().filter(|of| of.letter == letter);
            let fields = frames.flat_map(|of| of.events.iter().chain(&of.records)).flatten();
            fields.filter(|field| matches!(field, Field::Part(_))).cloned().collect::<Vec<Field>>()
        };
        let (own, others) = (parts(self), parts(donor));
        let at = dice.below(own.len());
        let Some(other) = dice.pick(&others).cloned() else { return };
        let frames = self.frames.iter_mut().filter(|of| of.letter == letter);
        let fields = frames.flat_map(|of| of.events.iter_mut().chain(&mut of.records)).flatten();
        let mut parts = fields.filter(|field| matches!(field, Field::Part(_)));
        if let Some(part) = parts.nth(at) {
            *part = other;
        }
    }

    /// Goes on with a chapter in another one, as a writer does whose chapters are shorter.
    fn split_chapter(&mut self, dice: &mut Dice) {
        let chapters = (0..self.frames.len()).filter(|at| self.frames[*at].letter == b'k');
        let chapters = chapters.collect::<Vec<usize>>();
        let Some(&at) = dice.pick(&chapters) else { return };
        let chapter = self.frames.remove(at);
        let (first, second) = chapter.records.split_at(dice.below(chapter.records.len()));
        let halves = [first, second].map(|records| {
            let mut half = Frame { records: records.to_vec(), ..chapter.clone() };
            for event in (0..half.events.len()).rev() {
                if !half.records.iter().flatten().any(|f| *f == Field::Number(event as u64)) {
                    half.events.remove(event);
                    rename(&mut half.records, event as u64, -1);
                }
            }
            half
        });
        self.frames.splice(at..at, halves);
    }

    /// A frame; each kind as often as others, however many there are of each.
    pub(super) fn frame(&mut self, dice: &mut Dice) -> &mut Frame {
        let mut letters = self.frames.iter().map(|frame| frame.letter).collect::<Vec<u8>>();
        letters.dedup();
        let letter = dice.pick(&letters).copied().unwrap_or_default();
        let count = self.frames.iter().filter(|frame| frame.letter == letter).count();
        let nth = dice.below(count);
        let mut alike = self.frames.iter_mut().filter(|frame| frame.letter == letter);
        alike.nth(nth).expect("a file has frames")
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.frames.iter().flat_map(|frame| frame.events.iter().chain(&frame.records)).flatten()
    }
}

const fn number_of(field: &Field) -> Option<u64> {
    match field {
        Field::Number(number) | Field::Said(number) => Some(*number),
        Field::Part(_) | Field::Bytes(_) => None,
    }
}

/// Has items name the events from a place on by other numbers.
fn rename(items: &mut [Record], from: u64, shift: i64) {
    for field in items.iter_mut().flatten() {
        if let Field::Number(event) = field
            && *event >= from
        {
            *event = event.wrapping_add_signed(shift);
        }
    }
}

fn change_bytes(bytes: &mut Vec<u8>, dice: &mut Dice, events: &[Vec<u8>], any_length: bool) {
    let at = dice.below(bytes.len());
    match dice.below(if any_length { 7 } else { 3 }) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = dice.below(256) as u8;
            }
        }
        3 => bytes.truncate(at),
        4 => bytes.push(dice.below(256) as u8),
        5 => bytes.clear(),
        _ => bytes.clone_from(dice.pick(events).unwrap_or(&Vec::new())),
    }
}

/// Damages a whole file: with the right hash, or with the old one.
fn damaged(mut file: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    let kind = dice.below(16);
    let at = dice.below(file.len());
    match kind {
        11 => file.truncate(at),
        12 => file.push(dice.below(256) as u8),
        13 => file[at] ^= 1 << dice.below(8),
        14 => {
            file.truncate(file.len().saturating_sub(super::HASH_LEN));
            if let Some(byte) = file.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
            file = reseal(file);
        }
        _ => {}
    }
    file
}
