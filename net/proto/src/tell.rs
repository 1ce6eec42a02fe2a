//! Telling entries of the own frontier, in messages of bounded length.

use crate::frontier::{LaneTips, Tip};
use crate::limits::{MAX_LANES, MAX_LANES_LEN, MAX_OFFERED};
use crate::message::{Lanes, Message};

/// Messages with entries; the last one says so, where these are all and all are told. Where there are more
/// branches than one comparison may tell, those that are told change with its number.
pub fn tell(round: u64, entries: impl Iterator<Item = LaneTips>, all: bool) -> Vec<Message> {
    let mut entries: Vec<_> = entries.collect();
    let branches = entries.iter().map(|lane| lane.tips.len()).sum::<usize>();
    let whole = branches <= MAX_OFFERED;
    if !whole {
        keep_some(&mut entries, branches, round);
    }
    let (mut chunks, mut chunk, mut len) = (Vec::new(), Vec::new(), 0);
    for LaneTips { author, tips } in entries {
        for part in tips.chunks(MAX_LANES_LEN / (2 * Tip::MAX_LEN)) {
            let more = LaneTips::MAX_LEN + part.len() * Tip::MAX_LEN;
            if chunk.len() == MAX_LANES || len + more > MAX_LANES_LEN {
                chunks.push(std::mem::take(&mut chunk));
                len = 0;
            }
            len += more;
            chunk.push(LaneTips { author, tips: part.to_vec() });
        }
    }
    chunks.push(chunk);
    let count = chunks.len();
    let message = |(at, lanes)| {
        let last = all && whole && at + 1 == count;
        Message::Lanes(Lanes { round, lanes, last })
    };
    chunks.into_iter().enumerate().map(message).collect()
}

/// Keeps as many branches as one comparison may tell: those after the ones of the comparison before, and
/// the first ones again after the last.
fn keep_some(entries: &mut Vec<LaneTips>, branches: usize, round: u64) {
    let windows = branches.div_ceil(MAX_OFFERED) as u64;
    let from = usize::try_from(round % windows).unwrap_or(0) * MAX_OFFERED;
    let mut at = 0;
    for lane in entries.iter_mut() {
        lane.tips.retain(|_| {
            at += 1;
            (from..from + MAX_OFFERED).contains(&(at - 1))
        });
    }
    entries.retain(|lane| !lane.tips.is_empty());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quipu_merge::{AuthorKey, EventId, Seq};

    use super::*;
    use crate::channel::Channel;

    fn lane(author: u8, tips: usize) -> LaneTips {
        let tip = |number: usize| {
            let id = *blake3::hash(&(number as u64).to_be_bytes()).as_bytes();
            Tip { seq: Seq(u64::MAX - number as u64), id: EventId(id) }
        };
        LaneTips { author: AuthorKey([author; 32]), tips: (0..tips).rev().map(tip).collect() }
    }

    /// What the messages tell, branch by branch, and whether the last one says that it is the last.
    fn told(messages: &[Message]) -> (Vec<(AuthorKey, Tip)>, bool) {
        let mut all = Vec::new();
        let mut ended = false;
        for message in messages {
            assert!(!ended);
            let bytes = message.encode();
            assert!(bytes.len() <= MAX_LANES_LEN + 32, "{} bytes", bytes.len());
            let read = Message::decode(Channel::Sync, &bytes).unwrap().unwrap();
            let Message::Lanes(lanes) = read else { panic!("{read:?}") };
            ended = lanes.last;
            for lane in lanes.lanes {
                all.extend(lane.tips.into_iter().map(|tip| (lane.author, tip)));
            }
        }
        (all, ended)
    }

    #[test]
    fn entries_are_told_in_messages_of_bounded_length() {
        for counts in [vec![], vec![1; 200], vec![60_000], vec![1, 30_000, 2, 30_000, 1]] {
            let lanes: Vec<_> = counts.iter().zip(0..).map(|(tips, at)| lane(at, *tips)).collect();
            let messages = tell(7, lanes.iter().cloned(), true);
            let all = lanes.iter().flat_map(|lane| lane.tips.iter().map(|tip| (lane.author, *tip)));
            assert_eq!(told(&messages), (all.collect(), true));
        }
    }

    #[test]
    fn of_too_many_branches_each_comparison_tells_others() {
        let lanes = [lane(1, MAX_OFFERED), lane(2, MAX_OFFERED), lane(3, 5)];
        let mut all = BTreeSet::new();
        for round in 1..=3 {
            let (some, whole) = told(&tell(round, lanes.iter().cloned(), true));
            assert!(some.len() <= MAX_OFFERED && !whole);
            all.extend(some);
        }
        assert_eq!(all.len(), 2 * MAX_OFFERED + 5);
    }
}
