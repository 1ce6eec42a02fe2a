//! Which fields the records of each frame have, as the page lists them.

use super::{Field, Frame, Record};

/// What is left to be read.
type Left<'l, 'b> = &'l mut &'b [u8];

/// Reads a number: LEB128 in its shortest form.
fn number(left: Left<'_, '_>) -> Option<u64> {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let (byte, rest) = left.split_first()?;
        *left = rest;
        let bits = u64::from(byte & 0x7f);
        if shift > 63 || bits << shift >> shift != bits || (shift > 0 && *byte == 0) {
            return None;
        }
        number |= bits << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
}

/// Writes one.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads bytes after their length.
pub fn part<'b>(left: Left<'_, 'b>) -> Option<&'b [u8]> {
    let len = usize::try_from(number(left)?).ok()?;
    bytes(left, len)
}

fn bytes<'b>(left: Left<'_, 'b>, len: usize) -> Option<&'b [u8]> {
    let (taken, rest) = left.split_at_checked(len)?;
    *left = rest;
    Some(taken)
}

/// Writes bytes after their length.
pub fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    put_number(out, part.len() as u64);
    out.extend_from_slice(part);
}

/// Takes the fields of one record after the other.
struct Taken<'b> {
    left: &'b [u8],
    record: Record,
}

impl<'b> Taken<'b> {
    /// Ends a record.
    fn record(&mut self) -> Record {
        std::mem::take(&mut self.record)
    }

    fn number(&mut self) -> Option<u64> {
        let number = number(&mut self.left)?;
        self.record.push(Field::Number(number));
        Some(number)
    }

    fn said(&mut self, count: usize) -> Option<u64> {
        let mut last = 0;
        for _ in 0..count {
            last = number(&mut self.left)?;
            self.record.push(Field::Said(last));
        }
        Some(last)
    }

    fn part(&mut self) -> Option<&'b [u8]> {
        let part = part(&mut self.left)?;
        self.record.push(Field::Part(part.to_vec()));
        Some(part)
    }

    fn bytes(&mut self, len: usize) -> Option<&'b [u8]> {
        let bytes = bytes(&mut self.left, len)?;
        self.record.push(Field::Bytes(bytes.to_vec()));
        Some(bytes)
    }

    /// Block, number, void, index, inclusion path.
    fn event(&mut self) -> Option<()> {
        self.part()?;
        self.said(2)?;
        self.number()?;
        let hashes = usize::try_from(self.number()?).ok()?;
        self.bytes(hashes.checked_mul(32)?)?;
        Some(())
    }

    fn branch(&mut self) -> Option<()> {
        let leaves = self.said(1)? == 1;
        self.said(if leaves { 2 } else { 0 })?;
        let forks = self.said(1)? == 1;
        self.said(if forks { 1 + usize::from(leaves) } else { 0 })?;
        self.event()
    }

    fn item(&mut self) -> Option<()> {
        let letter = *self.bytes(1)?.first()?;
        match letter {
            b'c' => {
                self.part()?;
                self.bytes(16)?;
            }
            b'l' | b'r' => drop(self.part()?),
            b'm' => {
                self.part()?;
                self.part()?;
            }
            b'a' => drop(self.number()?),
            b'e' | b'p' => {
                self.said(usize::from(letter == b'e'))?;
                self.number()?;
                self.said(1)?;
                if self.part()?.is_empty() {
                    self.bytes(32)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

/// Takes the content of a frame apart.
pub fn frame(letter: u8, content: &[u8]) -> Option<Frame> {
    let (mut events, mut records) = (Vec::new(), Vec::new());
    let mut r = Taken { left: content, record: Record::new() };
    match letter {
        b'g' => (0..2).try_for_each(|_| r.part().map(drop))?,
        b's' => (0..5).try_for_each(|_| r.part().map(drop))?,
        b'l' => r.branch()?,
        b'c' | b'r' => {
            r.said(2)?;
            r.event()?;
            r.part()?;
            while !r.left.is_empty() {
                records.push(r.record());
                r.said(2)?;
            }
        }
        b'p' => {
            r.bytes(32)?;
            while !r.left.is_empty() {
                records.push(r.record());
                r.bytes(32)?;
            }
        }
        b'k' => {
            for _ in 0..number(&mut r.left)? {
                r.said(3)?;
                r.part()?;
                events.push(r.record());
            }
            while !r.left.is_empty() {
                r.item()?;
                records.push(r.record());
            }
        }
        b'e' => (0..2).try_for_each(|_| r.number().map(drop))?,
        _ => return None,
    }
    records.extend(Some(r.record()).filter(|record| !record.is_empty()));
    r.left.is_empty().then_some(Frame { letter, events, records })
}

/// Puts the content of a frame together.
pub fn content(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    if frame.letter == b'k' {
        put_number(&mut out, frame.events.len() as u64);
    }
    for field in frame.events.iter().chain(&frame.records).flatten() {
        match field {
            Field::Number(number) | Field::Said(number) => put_number(&mut out, *number),
            Field::Part(part) => put_part(&mut out, part),
            Field::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }
    out
}
