//! Records that are not in the database yet, in one piece of memory: transactions have thousands
//! of them, and forget them all at once.

use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Memory that is kept for the next records when these are forgotten, in bytes.
const KEPT: usize = 1 << 20;

/// Records by key.
#[derive(Default)]
pub struct Overlay {
    hashes: DefaultHashBuilder,
    places: HashTable<Place>,
    /// Keys and records, one after the other.
    bytes: Vec<u8>,
}

struct Place {
    key: Range<usize>,
    /// `None` where the record has been deleted.
    record: Option<Range<usize>>,
}

impl Overlay {
    /// What was noted of a key last; `Some(None)` where that was that it has no record.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let place = self.places.find(self.hashes.hash_one(key), |place| self.at(&place.key) == key);
        place.map(|place| place.record.as_ref().map(|record| self.at(record)))
    }

    /// Notes the record of a key, or that it has none.
    pub fn insert(&mut self, key: &[u8], record: Option<&[u8]>) {
        let record = record.map(|record| append(&mut self.bytes, record));
        let hash = self.hashes.hash_one(key);
        let bytes = &mut self.bytes;
        if let Some(place) = self.places.find_mut(hash, |place| at(bytes, &place.key) == key) {
            place.record = record;
            return;
        }
        let place = Place { key: append(bytes, key), record };
        self.places.insert_unique(hash, place, |place| self.hashes.hash_one(at(bytes, &place.key)));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.places.clear();
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            self.bytes.shrink_to(KEPT);
            self.places.shrink_to(0, |_| 0);
        }
    }

    fn at(&self, range: &Range<usize>) -> &[u8] {
        at(&self.bytes, range)
    }
}

fn append(bytes: &mut Vec<u8>, part: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(part);
    start..bytes.len()
}

fn at<'b>(bytes: &'b [u8], range: &Range<usize>) -> &'b [u8] {
    bytes.get(range.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_a_map() {
        let mut overlay = Overlay::default();
        for round in 0..3_u32 {
            let mut model = BTreeMap::new();
            for number in 0..5_000_u32 {
                let key = (number.wrapping_mul(0x9e37_79b1) % 700).to_be_bytes();
                let record = (number % 5 != round).then(|| number.to_string().into_bytes());
                overlay.insert(&key, record.as_deref());
                model.insert(key, record);
            }
            for (key, record) in &model {
                assert_eq!(overlay.get(key), Some(record.as_deref()));
            }
            assert_eq!(overlay.get(b"other"), None);
            overlay.clear();
            assert!(model.keys().all(|key| overlay.get(key).is_none()));
        }
    }
}
