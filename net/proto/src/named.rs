//! Naming events by what has been told in a comparison, instead of by their ids.
//!
//! Where both sides have told one branch of an author, whoever is behind asks for the other's last event by
//! its place among what it was told, and the own one that it has told is the one that it holds.
//! Whatever else there is, is named in full.

use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, EventId};

use crate::frontier::{LaneTips, Tip};
use crate::limits::MAX_NAMED;
use crate::message::{Lanes, Message, Pull, PullTold, Want};

/// What has been told of single branches in a comparison.
#[derive(Debug, Default)]
struct Round {
    number: u64,
    /// By this side, in order.
    told: Vec<(AuthorKey, Tip)>,
    /// By the other.
    heard_of: BTreeMap<AuthorKey, Tip>,
}

/// What has been told lately.
#[derive(Debug, Default)]
pub struct Named {
    now: Round,
    /// The comparison before: what the other asks for may have crossed the start of this one.
    before: Round,
    /// What this side has told, by author.
    told_of: BTreeMap<AuthorKey, Tip>,
    /// What the other has told, with the place in its order; how many that were.
    heard: BTreeMap<EventId, (u64, AuthorKey, Tip)>,
    count: usize,
}

/// What a peer asks for, in full.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Spelled {
    /// What it has named in full.
    pub wants: Vec<Want>,
    /// What it has not: only if the event that it holds is held here as well is anything known to be missing
    /// from there on.
    pub guessed: Vec<Want>,
    /// Whether all of it is known.
    pub whole: bool,
}

impl Named {
    /// A comparison starts.
    pub fn start(&mut self, number: u64) {
        let before = std::mem::take(&mut self.now);
        *self = Self { now: Round { number, ..Round::default() }, before, ..Self::default() };
    }

    /// This side tells something.
    pub fn tell(&mut self, messages: &[Message]) {
        for message in messages {
            let Message::Lanes(lanes) = message else { continue };
            for (author, tip) in lanes.lanes.iter().filter_map(single) {
                if self.now.told.len() < MAX_NAMED {
                    self.now.told.push((author, tip));
                    self.told_of.insert(author, tip);
                }
            }
        }
    }

    /// The other tells something.
    pub fn hear(&mut self, lanes: &Lanes) {
        for (author, tip) in lanes.lanes.iter().filter_map(single) {
            if self.count < MAX_NAMED {
                self.heard.insert(tip.id, (self.count as u64, author, tip));
                self.now.heard_of.insert(author, tip);
                self.count += 1;
            }
        }
    }

    /// Asks for the same by fewer bytes.
    pub fn shorten(&self, pull: Pull) -> Message {
        let Pull { pull, wants } = pull;
        let (mut told, mut rest) = (Vec::new(), Vec::new());
        for want in wants {
            match self.place(&want) {
                Some(place) => told.push(place),
                None => rest.push(want),
            }
        }
        if told.is_empty() {
            return Message::Pull(Pull { pull, wants: rest });
        }
        told.sort_unstable();
        Message::PullTold(PullTold { pull, round: self.now.number, told, wants: rest })
    }

    /// Where the other has told what is wanted, if it can tell from what on.
    fn place(&self, want: &Want) -> Option<u64> {
        let [up_to] = want.up_to.as_slice() else { return None };
        let (place, author, tip) = self.heard.get(up_to)?;
        let told = self.told_of.get(author);
        let latest = want.held.iter().max();
        let knows = told == latest && told.is_none_or(|told| told.seq < tip.seq);
        knows.then_some(*place)
    }

    /// What the other asks for.
    pub fn spell(&self, pull: PullTold) -> (u64, Spelled) {
        let mut spelled = Spelled { wants: pull.wants, guessed: Vec::new(), whole: true };
        let mut rounds = [&self.now, &self.before].into_iter();
        let Some(round) = rounds.find(|round| round.number == pull.round) else {
            spelled.whole = false;
            return (pull.pull, spelled);
        };
        for place in pull.told {
            let place = usize::try_from(place).ok();
            let Some((author, tip)) = place.and_then(|place| round.told.get(place)) else {
                spelled.whole = false;
                continue;
            };
            let held: Vec<_> = round.heard_of.get(author).copied().into_iter().collect();
            let want = Want { up_to: vec![tip.id], held };
            let wants =
                if want.held.is_empty() { &mut spelled.wants } else { &mut spelled.guessed };
            wants.push(want);
        }
        (pull.pull, spelled)
    }
}

fn single(lane: &LaneTips) -> Option<(AuthorKey, Tip)> {
    match lane.tips.as_slice() {
        [tip] => Some((lane.author, *tip)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use quipu_merge::Seq;

    use super::*;

    fn tip(author: u8, seq: u64) -> Tip {
        let id = blake3::hash(&[[author; 8], seq.to_be_bytes()].concat());
        Tip { seq: Seq(seq), id: EventId(*id.as_bytes()) }
    }

    fn lanes(tips: &[(u8, &[u64])]) -> Lanes {
        let lane = |(author, seqs): &(u8, &[u64])| LaneTips {
            author: AuthorKey([*author; 32]),
            tips: seqs.iter().map(|seq| tip(*author, *seq)).collect(),
        };
        Lanes { round: 4, lanes: tips.iter().map(lane).collect(), last: true }
    }

    /// Both sides after the same comparison, the one that is ahead first.
    fn compared(ahead: Lanes, behind: Lanes) -> [Named; 2] {
        let [mut one, mut other] = [Named::default(), Named::default()];
        [&mut one, &mut other].into_iter().for_each(|named| named.start(4));
        one.hear(&behind);
        other.hear(&ahead);
        one.tell(&[Message::Lanes(ahead)]);
        other.tell(&[Message::Lanes(behind)]);
        [one, other]
    }

    fn want(author: u8, up_to: u64, held: &[u64]) -> Want {
        let held = held.iter().map(|seq| tip(author, *seq)).collect();
        Want { up_to: vec![tip(author, up_to).id], held }
    }

    #[test]
    fn what_both_have_told_is_named_by_its_place() {
        let ahead = lanes(&[(1, &[9]), (2, &[7, 8]), (3, &[5]), (4, &[6]), (5, &[5])]);
        let behind = lanes(&[(1, &[8]), (2, &[6]), (4, &[6, 7]), (5, &[5])]);
        let [mut one, other] = compared(ahead, behind);
        let full = vec![
            want(1, 9, &[1, 5, 8]),
            want(2, 8, &[6]),
            want(3, 5, &[]),
            want(4, 6, &[6, 7]),
            // An own event has come since, and one that is no farther along.
            want(1, 9, &[9]),
            want(5, 5, &[5]),
            want(3, 5, &[1]),
        ];
        let message = other.shorten(Pull { pull: 3, wants: full.clone() });
        let Message::PullTold(pull) = message else { panic!("{message:?}") };
        let rest = vec![
            full[1].clone(),
            full[3].clone(),
            full[4].clone(),
            full[5].clone(),
            full[6].clone(),
        ];
        assert_eq!((pull.told.as_slice(), &pull.wants), ([0, 1].as_slice(), &rest));
        let (number, spelled) = one.spell(pull.clone());
        let wants = [rest, vec![want(3, 5, &[])]].concat();
        let guessed = vec![want(1, 9, &[8])];
        assert_eq!((number, &spelled), (3, &Spelled { wants, guessed, whole: true }));
        // What has crossed the start of the next comparison is known.
        one.start(5);
        assert_eq!(one.spell(pull.clone()).1, spelled);
        // What is of another comparison, or was never told, is not.
        for (round, told) in [(5, 0), (3, 0), (4, 4), (4, u64::MAX)] {
            let (_, spelled) = one.spell(PullTold { round, told: vec![told], ..pull.clone() });
            assert!(!spelled.whole && spelled.guessed.is_empty());
        }
        // Where nothing can be shortened, it is as it was in earlier versions.
        let pull = Pull { pull: 4, wants: vec![want(2, 8, &[6])] };
        assert_eq!(other.shorten(pull.clone()), Message::Pull(pull));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut named = Named::default();
        for author in 0..100 {
            let lanes = lanes(&[(author, (0..MAX_NAMED as u64).collect::<Vec<_>>().as_slice()); 1]);
            let singles = lanes.lanes[0]
                .tips
                .iter()
                .map(|tip| LaneTips { author: AuthorKey([author; 32]), tips: vec![*tip] });
            let lanes = Lanes { round: 4, lanes: singles.collect(), last: false };
            named.hear(&lanes);
            named.tell(&[Message::Lanes(lanes)]);
        }
        assert_eq!((named.heard.len(), named.now.told.len()), (MAX_NAMED, MAX_NAMED));
    }
}
