//! Random bodies: few keys and few values, so that they collide.

use std::num::NonZeroI64;

use quipu_merge::{
    AuthorKey, BlockId, Body, Codec, Content, Control, EventId, ForkPolicy, Genesis, Key, Link,
    Member, Opening, OpeningId, Operation, Policy, Role,
};

use super::History;
use crate::dice::Dice;
use crate::model::{Index, Set};

/// The keys that all operations share.
const KEYS: [&str; 4] = ["a", "b", "k/0", "ключ"];
/// The members of all sets.
const MEMBERS: [&[u8]; 5] = [b"", b"x", b"y", b"\xff\x00", "é".as_bytes()];
/// The contents of all values.
const CONTENTS: [&[u8]; 5] = [b"", b"one", b"two", b"\xc3\x28", b"{\"/\":\"x\"}"];
/// Steps of counters: small ones, and those that leave 64 bits.
const STEPS: [i64; 6] = [1, -1, 7, -300, i64::MAX, i64::MIN];
/// Salts per author; few, so that one opening is the value of several events.
const SALTS: usize = 6;
/// Most operations in one body.
const MAX_OPERATIONS: usize = 5;

/// The openings that come with an event.
type Openings = Vec<(OpeningId, Vec<u8>)>;

/// Who wants to write, and after what.
pub struct Wish<'a> {
    /// The author.
    pub author: AuthorKey,
    /// What it has seen.
    pub past: &'a Set,
    /// Whether it keeps to data.
    pub data_only: bool,
}

/// A random first operation.
pub fn genesis(dice: &mut Dice, authors: &[AuthorKey]) -> Genesis {
    let policy = if dice.chance(50) { Policy::Members } else { Policy::Open };
    let forks = if dice.chance(50) { ForkPolicy::Exclude } else { ForkPolicy::Keep };
    let mut some = |percent| {
        let chosen = authors.iter().copied().filter(|_| dice.chance(percent));
        let mut chosen = chosen.collect::<Vec<AuthorKey>>();
        chosen.sort();
        chosen
    };
    let (admins, validators) = (some(45), some(40));
    Genesis { name: "a random ledger".to_owned(), policy, forks, admins, validators }
}

impl History {
    /// A random body, with the openings that come along.
    pub(super) fn body(&self, dice: &mut Dice, wish: &Wish<'_>) -> (Body, Openings) {
        let kind = if wish.data_only { 0 } else { dice.below(20) };
        let (body, openings) = match kind {
            0..14 => self.data(dice, wish.author),
            14..19 => (Body::Control(self.control(dice, wish)), Vec::new()),
            _ => (Body::Merge, Vec::new()),
        };
        match body {
            Body::Control(operations) if operations.is_empty() => (Body::Merge, Vec::new()),
            body => (body, openings),
        }
    }

    fn data(&self, dice: &mut Dice, author: AuthorKey) -> (Body, Openings) {
        let mut openings = Openings::new();
        let count = 1 + dice.below(MAX_OPERATIONS);
        let operations = (0..count).filter_map(|_| self.operation(dice, author, &mut openings));
        (Body::Data(operations.collect()), openings)
    }

    fn operation(
        &self,
        dice: &mut Dice,
        author: AuthorKey,
        openings: &mut Openings,
    ) -> Option<Operation> {
        let key = Key::new(dice.pick(&KEYS)?).ok()?;
        Some(match dice.below(10) {
            0..3 => Operation::Put { key, value: self.value(dice, author, openings) },
            3 => Operation::Del { key },
            4 => Operation::Inc { key, by: NonZeroI64::new(*dice.pick(&STEPS)?)? },
            5..7 => Operation::Add { key, member: Member::new(dice.pick(&MEMBERS)?).ok()? },
            7 => Operation::Rem { key, member: Member::new(dice.pick(&MEMBERS)?).ok()? },
            _ => Operation::Append { key, value: self.value(dice, author, openings) },
        })
    }

    /// A value; some cannot be read: another author's, malformed ones, and ones that never come.
    fn value(&self, dice: &mut Dice, author: AuthorKey, openings: &mut Openings) -> OpeningId {
        let kind = dice.below(20);
        let content = dice.pick(&CONTENTS).map_or_else(Vec::new, |content| content.to_vec());
        let salt = [dice.below(SALTS) as u8; 16];
        let other = dice.pick(&self.authors).copied().unwrap_or(author);
        let (author, content) = match kind {
            17 => (other, Content::Inline(content)),
            18 => (author, Content::Linked(link(&content))),
            _ => (author, Content::Inline(content)),
        };
        let (id, mut bytes) = Opening { author, salt, content }.seal();
        match kind {
            16 => {
                bytes.push(0);
                let malformed = OpeningId::of(&bytes);
                openings.push((malformed, bytes));
                return malformed;
            }
            19 => {}
            _ => openings.push((id, bytes)),
        }
        id
    }

    fn control(&self, dice: &mut Dice, wish: &Wish<'_>) -> Vec<Control> {
        let mut operations = Vec::new();
        for _ in 0..=dice.below(3) {
            let Some(operation) = self.control_operation(dice, wish) else { continue };
            if !operations.iter().any(|other| contradict(other, &operation)) {
                operations.push(operation);
            }
        }
        operations
    }

    fn control_operation(&self, dice: &mut Dice, wish: &Wish<'_>) -> Option<Control> {
        let author = *dice.pick(&self.authors)?;
        if dice.chance(12 * self.strife) {
            return Some(Control::Revoke { author });
        }
        Some(match dice.below(3) {
            0 | 1 => {
                let role = *dice.pick(&[Role::Writer, Role::Admin, Role::Validator])?;
                Control::Grant { author, role }
            }
            _ => Control::Redact { event: self.target(dice, wish)? },
        })
    }

    /// An event to erase, mostly the author's own.
    fn target(&self, dice: &mut Dice, wish: &Wish<'_>) -> Option<EventId> {
        let own = dice.chance(60);
        let held = self.model.held();
        let fits = |&&e: &&Index| !own || held[e].event.author == wish.author;
        let targets = wish.past.iter().filter(fits).copied().collect::<Vec<Index>>();
        dice.pick(&targets).map(|&e| held[e].id)
    }
}

fn link(content: &[u8]) -> Link {
    Link { block: BlockId::of(Codec::Raw, content), size: content.len().max(1) as u64 }
}

/// Whether one grants to whom the other revokes.
fn contradict(a: &Control, b: &Control) -> bool {
    match (a, b) {
        (Control::Grant { author: to, .. }, Control::Revoke { author: from })
        | (Control::Revoke { author: from }, Control::Grant { author: to, .. }) => to == from,
        _ => false,
    }
}
