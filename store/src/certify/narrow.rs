//! Making a cut smaller that has more heads than a checkpoint may name.

use std::collections::BTreeSet;

use quipu_merge::{Clock, Dot, EventId};

use super::fold::read_between;
use crate::error::ReadError;
use crate::lookup::Stored;
use crate::snapshot::Snapshot;

/// The heads of a cut that contains the last certified one or, where they are more than `limit`, those
/// of a part of it that contains that, too. Of all that the cut has beyond it, in the order of
/// the certified log, the longest beginning is taken that has few enough heads; and of the rest what can
/// be added with no more of them. `None` where nothing can. Memory grows with the new events of a
/// cut that has too many heads.
pub fn heads_that_fit(
    snapshot: &Snapshot<'_>,
    cut: &Clock,
    last: &Clock,
    limit: usize,
) -> Result<Option<Vec<EventId>>, ReadError> {
    let heads = snapshot.heads_within(cut)?;
    if heads.len() <= limit {
        return Ok(Some(heads));
    }
    let events = followers(snapshot, last, cut)?;
    let mut part = Part {
        heads: snapshot.heads_within(last)?.into_iter().collect(),
        clock: last.clone(),
        limit,
    };
    let beginning = part.longest(&events);
    events.iter().take(beginning).for_each(|event| part.add(event));
    let mut left_out = BTreeSet::new();
    for event in events.iter().skip(beginning) {
        if part.has_room_for(event) && event.follows.is_disjoint(&left_out) {
            part.add(event);
        } else {
            left_out.insert(event.id);
        }
    }
    if part.clock.within(last) {
        return Ok(None);
    }
    Ok(Some(part.heads.into_iter().collect()))
}

/// An event and those that it names as followed.
struct Follower {
    dot: Dot,
    id: EventId,
    follows: BTreeSet<EventId>,
}

/// The events between two cuts, in the order of the certified log.
fn followers(
    snapshot: &Snapshot<'_>,
    from: &Clock,
    to: &Clock,
) -> Result<Vec<Follower>, ReadError> {
    let read = |dot: Dot, id: EventId| -> Result<Follower, ReadError> {
        let event = Stored::read(snapshot.reader(), dot)?.event()?;
        let content = event.event();
        let follows = content.prev.iter().chain(&content.parents).copied().collect();
        Ok(Follower { dot, id, follows })
    };
    read_between(snapshot, from, to)?.iter().map(|event| read(event.dot, event.id)).collect()
}

/// A cut that grows event by event, each after what it follows.
struct Part {
    heads: BTreeSet<EventId>,
    clock: Clock,
    limit: usize,
}

impl Part {
    /// With how many of these events it has the limit of heads at most: with as many of the first as
    /// possible. Others before may have more, until one follows them.
    fn longest(&self, events: &[Follower]) -> usize {
        let (mut heads, mut longest) = (self.heads.clone(), 0);
        for (count, event) in (1..).zip(events) {
            follow(&mut heads, event);
            if heads.len() <= self.limit {
                longest = count;
            }
        }
        longest
    }

    fn has_room_for(&self, event: &Follower) -> bool {
        let followed = event.follows.intersection(&self.heads).count();
        self.heads.len() + 1 - followed <= self.limit
    }

    fn add(&mut self, event: &Follower) {
        follow(&mut self.heads, event);
        self.clock.advance(event.dot);
    }
}

fn follow(heads: &mut BTreeSet<EventId>, event: &Follower) {
    for followed in &event.follows {
        heads.remove(followed);
    }
    heads.insert(event.id);
}

#[cfg(test)]
mod tests {
    use quipu_merge::Role;
    use tempfile::TempDir;

    use super::*;
    use crate::ledger::Ledger;
    use crate::options::{NewLedger, Options};

    /// A ledger with what three others have written side by side in turns, twice; the events, by who
    /// wrote them. The last of the three alone has seen that all may write.
    fn branches() -> (TempDir, Ledger, [Vec<EventId>; 3]) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(dir.path().join("l"), &NewLedger::default()).unwrap();
        let others = ["a", "b", "c"].map(|name| {
            let options = Options::new();
            let made =
                options.clone_granted(dir.path().join(name), &ledger, Role::Writer, &mut |_, _| {});
            made.unwrap().0
        });
        let mut events = [const { Vec::new() }; 3];
        for _ in 0..2 {
            for (other, events) in others.iter().zip(&mut events) {
                events.push(put(other));
            }
        }
        for other in &others {
            ledger.merge(other, &mut |_, _| {}).unwrap();
        }
        (dir, ledger, events)
    }

    fn put(ledger: &Ledger) -> EventId {
        let mut transaction = ledger.transaction();
        transaction.put("k", b"v").unwrap();
        transaction.commit().unwrap().event
    }

    fn fitting(ledger: &Ledger, last: &[EventId], limit: usize) -> Option<Vec<EventId>> {
        let snapshot = ledger.snapshot().unwrap();
        let all = snapshot.clock_of_heads(&snapshot.heads().unwrap()).unwrap();
        let last = snapshot.clock_of_heads(last).unwrap();
        let heads = heads_that_fit(&snapshot, &all, &last, limit).unwrap()?;
        // They are the heads of a cut that contains the last.
        let clock = snapshot.clock_of_heads(&heads).unwrap();
        assert_eq!(snapshot.heads_within(&clock).unwrap(), heads);
        assert!(last.within(&clock) && !clock.within(&last));
        Some(heads)
    }

    fn sorted<const N: usize>(mut heads: [EventId; N]) -> Option<Vec<EventId>> {
        heads.sort_unstable();
        Some(heads.to_vec())
    }

    #[test]
    fn branches_that_do_not_fit_are_left_out() {
        let (_dir, ledger, [a, b, c]) = branches();
        assert_eq!(fitting(&ledger, &[], 3), sorted([a[1], b[1], c[1]]));
        assert_eq!(fitting(&ledger, &[], 2), sorted([a[1], c[1]]));
        assert_eq!(fitting(&ledger, &[], 1), sorted([c[1]]));
        // Branches that are in go on, whoever else waits for room.
        assert_eq!(fitting(&ledger, &[a[0], c[0]], 2), sorted([a[1], c[1]]));
        assert_eq!(fitting(&ledger, &[a[1], c[1]], 2), None);
    }

    /// What ties heads together is taken in although those before it are too many.
    #[test]
    fn a_merge_makes_room() {
        let (dir, ledger, [a, _, c]) = branches();
        let tied = put(&ledger);
        let b = Ledger::open(dir.path().join("b")).unwrap();
        let late = put(&b);
        ledger.merge(&b, &mut |_, _| {}).unwrap();
        assert_eq!(fitting(&ledger, &[a[1], c[1]], 2), sorted([tied, late]));
        assert_eq!(fitting(&ledger, &[a[1], c[1]], 1), sorted([tied]));
        assert_eq!(fitting(&ledger, &[c[1]], 1), sorted([tied]));
    }
}
