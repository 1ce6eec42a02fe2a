//! Finding out in which entries two frontiers of some thousand authors differ, by short marks.
//!
//! Authors are divided by their keys into buckets of a few. The leader tells the sum of each bucket, the
//! other the marks of its entries in those that differ, and from these the leader knows all. Marks are of
//! eight bytes and differ from comparison to comparison: what one does not show, by chance or by
//! somebody's work, the next does.

use std::collections::BTreeSet;

use quipu_merge::AuthorKey;

use crate::exchange::Nonsense;
use crate::frontier::Frontier;
use crate::limits::MAX_MARKED;
use crate::message::{AskMarked, Compare, Marks, Sums};

/// Authors in a bucket, where their keys are spread evenly.
const BUCKET: u64 = 8;
/// Length of a mark and of a sum, in bytes.
const LEN: usize = 8;

type Mark = [u8; LEN];

/// A comparison of frontiers by marks.
#[derive(Debug)]
pub struct Marking {
    round: u64,
    buckets: Vec<Vec<(Mark, AuthorKey)>>,
}

/// What the leader finds out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Authors of whom only the own frontier has such an entry.
    pub have: Vec<AuthorKey>,
    /// Where, among the marks that the other has told, those are that only its frontier has.
    pub need: Vec<u16>,
}

impl Marking {
    /// Of the own frontier, as both have told of theirs.
    pub fn new(own: &Frontier, lead: &Compare, follow: &Compare) -> Self {
        let count = (lead.lanes.max(follow.lanes).min(MAX_MARKED as u64) / BUCKET).max(1);
        let mut buckets = vec![Vec::new(); usize::try_from(count.next_power_of_two()).unwrap_or(1)];
        let count = buckets.len();
        for entry in own.since(None) {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&lead.round.to_be_bytes());
            hasher.update(&lead.frontier.0).update(&follow.frontier.0).update(&entry.digest());
            let [high, low, ..] = entry.author.0;
            let at = (usize::from(u16::from_be_bytes([high, low])) * count) >> 16;
            if let Some(bucket) = buckets.get_mut(at) {
                bucket.push((short(&hasher), entry.author));
            }
        }
        Self { round: lead.round, buckets }
    }

    /// What the leader says first.
    pub fn sums(&self) -> Sums {
        let sums = self.buckets.iter().flat_map(|bucket| sum(bucket));
        Sums { round: self.round, sums: sums.collect() }
    }

    /// What the other says to that, and whose entries it has marked, in their order.
    pub fn answer(&self, sums: &Sums) -> Result<(Marks, Vec<AuthorKey>), Nonsense> {
        if sums.sums.len() != self.buckets.len() * LEN {
            return Err(Nonsense);
        }
        let mut differ = vec![0; self.buckets.len().div_ceil(8)];
        let (mut marks, mut authors) = (Vec::new(), Vec::new());
        for (at, (theirs, bucket)) in sums.sums.chunks(LEN).zip(&self.buckets).enumerate() {
            if *theirs == sum(bucket) {
                continue;
            }
            if let Some(byte) = differ.get_mut(at / 8) {
                *byte |= 1 << (at % 8);
            }
            let told: Vec<_> = bucket.iter().flat_map(|(mark, _)| *mark).collect();
            marks.push(told.into());
            authors.extend(bucket.iter().map(|(_, author)| *author));
        }
        Ok((Marks { round: self.round, differ, marks }, authors))
    }

    /// What the leader makes of the answer.
    pub fn find(&self, answer: &Marks) -> Result<Found, Nonsense> {
        let len: usize = answer.marks.iter().map(|marks| marks.len()).sum();
        if answer.differ.len() != self.buckets.len().div_ceil(8) || len > MAX_MARKED * LEN {
            return Err(Nonsense);
        }
        let differs =
            |at: &usize| answer.differ.get(at / 8).is_some_and(|byte| byte & (1 << (at % 8)) != 0);
        let differing = (0..answer.differ.len() * 8).filter(differs);
        if differing.clone().count() != answer.marks.len() {
            return Err(Nonsense);
        }
        let (mut found, mut place) = (Found::default(), 0);
        for (at, marks) in differing.zip(&answer.marks) {
            let bucket = self.buckets.get(at).ok_or(Nonsense)?;
            let (theirs, rest) = marks.as_chunks::<LEN>();
            if !rest.is_empty() {
                return Err(Nonsense);
            }
            let own: BTreeSet<_> = bucket.iter().map(|(mark, _)| mark).collect();
            let told: BTreeSet<_> = theirs.iter().collect();
            let only = bucket.iter().filter(|(mark, _)| !told.contains(mark));
            found.have.extend(only.map(|(_, author)| *author));
            for mark in theirs {
                if !own.contains(mark) {
                    found.need.push(place);
                }
                place += 1;
            }
        }
        Ok(found)
    }
}

/// Whose entries are asked for: each may be asked for once.
pub fn take(marked: &mut [Option<AuthorKey>], ask: &AskMarked) -> Option<Vec<AuthorKey>> {
    let mut take = |place: &u16| marked.get_mut(usize::from(*place))?.take();
    let authors: Option<Vec<_>> = ask.places.iter().map(&mut take).collect();
    authors.filter(|authors| !authors.is_empty())
}

fn short(hasher: &blake3::Hasher) -> Mark {
    let mut short = [0; LEN];
    hasher.finalize_xof().fill(&mut short);
    short
}

fn sum(bucket: &[(Mark, AuthorKey)]) -> Mark {
    let mut hasher = blake3::Hasher::new();
    for (mark, _) in bucket {
        hasher.update(mark);
    }
    short(&hasher)
}

#[cfg(test)]
mod tests {
    use minicbor::bytes::ByteVec;
    use quipu_merge::{EventId, Seq};

    use super::*;
    use crate::frontier::{LaneTips, Tip};

    fn frontier(authors: std::ops::Range<u64>, seq: u64) -> Frontier {
        let id = |number: u64| *blake3::hash(&number.to_be_bytes()).as_bytes();
        let lane = |number| LaneTips {
            author: AuthorKey(id(number)),
            tips: vec![Tip { seq: Seq(seq), id: EventId(id(number + seq)) }],
        };
        Frontier::new(authors.map(lane))
    }

    fn compare(round: u64, own: &Frontier) -> Compare {
        let (frontier, lanes) = (own.digest(), own.len() as u64);
        Compare { round, frontier, lanes, known: Vec::new() }
    }

    fn markings(round: u64, one: &Frontier, other: &Frontier) -> [Marking; 2] {
        let (lead, follow) = (compare(round, one), compare(round, other));
        [one, other].map(|own| Marking::new(own, &lead, &follow))
    }

    #[test]
    fn differences_are_found() {
        for (one, other) in [(0..70, 0..71), (0..1_000, 500..3_000), (0..0, 0..4_096), (0..9, 0..0)]
        {
            let expected = (other.start - one.start, other.end - one.end.min(other.end));
            let (one, other) = (frontier(one, 1), frontier(other, 1));
            let [leader, follower] = markings(1, &one, &other);
            let (marks, authors) = follower.answer(&leader.sums()).unwrap();
            let found = leader.find(&marks).unwrap();
            let have = if other.is_empty() { one.len() as u64 } else { expected.0 };
            assert_eq!((found.have.len() as u64, found.need.len() as u64), (have, expected.1));
            assert!(found.have.iter().all(|author| other.tips(*author).is_empty()));
            let mut marked: Vec<_> = authors.into_iter().map(Some).collect();
            let ask = AskMarked { round: 1, places: found.need };
            let needed = take(&mut marked, &ask).unwrap_or_default();
            assert!(needed.iter().all(|author| one.tips(*author).is_empty()));
            // Each is told once.
            assert_eq!(take(&mut marked, &ask), None);
        }
        // Another event of the same author is another entry.
        let (one, other) = (frontier(0..500, 1), frontier(0..500, 2));
        let [leader, follower] = markings(1, &one, &other);
        let found = leader.find(&follower.answer(&leader.sums()).unwrap().0).unwrap();
        assert_eq!((found.have.len(), found.need.len()), (500, 500));
    }

    #[test]
    fn marks_change_from_comparison_to_comparison() {
        let (one, other) = (frontier(0..100, 1), frontier(0..101, 1));
        let [first, second] = [1, 2].map(|round| markings(round, &one, &other));
        let told = |marking: &Marking| marking.buckets.concat().into_iter().map(|(mark, _)| mark);
        let all: BTreeSet<_> = told(&first[0]).chain(told(&second[0])).collect();
        assert_eq!(all.len(), 200);
    }

    #[test]
    fn what_does_not_fit_is_nonsense() {
        let [leader, follower] = markings(1, &frontier(0..200, 1), &frontier(0..100, 1));
        let mut sums = leader.sums();
        let (marks, _) = follower.answer(&sums).unwrap();
        sums.sums.pop();
        assert!(follower.answer(&sums).is_err());
        let twisted = |twist: &dyn Fn(&mut Marks)| {
            let mut marks = marks.clone();
            twist(&mut marks);
            leader.find(&marks)
        };
        assert!(twisted(&|_| {}).is_ok());
        assert!(twisted(&|marks| drop(marks.marks.pop())).is_err());
        assert!(twisted(&|marks| marks.differ.push(1)).is_err());
        assert!(twisted(&|marks| marks.marks[0] = ByteVec::from(vec![0; 9])).is_err());
        let long = LEN * (MAX_MARKED + 1);
        assert!(twisted(&|marks| marks.marks[0] = ByteVec::from(vec![0; long])).is_err());
    }
}
