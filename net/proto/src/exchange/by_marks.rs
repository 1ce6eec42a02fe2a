//! The steps of a comparison by marks.

use super::{Exchange, Nonsense, State, Step};
use crate::frontier::Frontier;
use crate::marks::{self, Found, Marking};
use crate::message::{AskMarked, Marks, Message, Sums};
use crate::score::Misbehaviour;

impl Exchange {
    /// The leader tells the sums of its entries.
    pub fn summed(&mut self, sums: &Sums) -> Result<Step, Nonsense> {
        let Some(marking) = self.take_marking(sums.round, false)? else {
            return Ok(Step::default());
        };
        let (marks, authors) = marking.answer(sums)?;
        self.marked = authors.into_iter().map(Some).collect();
        self.state = State::Listening(1);
        Ok(Step { send: vec![Message::Marks(marks)], offered: Vec::new() })
    }

    /// The other has marked its entries.
    pub fn found(&mut self, marks: &Marks, own: &Frontier) -> Result<Step, Nonsense> {
        let Some(marking) = self.take_marking(marks.round, true)? else {
            return Ok(Step::default());
        };
        let Found { have, need } = marking.find(marks)?;
        // The other is to have told its own when it hears of these: so it can name them by less.
        let mut send = Vec::new();
        if need.is_empty() {
            self.end();
        } else {
            self.state = State::Listening(1);
            send.push(Message::AskMarked(AskMarked { round: self.round, places: need }));
        }
        send.extend(self.tell_entries(have.into_iter().map(|author| own.entry(author)), true, own));
        Ok(Step { send, offered: Vec::new() })
    }

    /// The marks of a comparison that is at them, where this side has that part in it. Nothing where it was
    /// given up.
    fn take_marking(&mut self, round: u64, leads: bool) -> Result<Option<Marking>, Nonsense> {
        if round != self.round || matches!(self.state, State::Idle) {
            return Ok(None);
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Marking(marking) if self.leads == leads => Ok(Some(marking)),
            _ => Err(Nonsense),
        }
    }

    /// The other asks for entries that have been marked.
    pub fn asked_marked(
        &mut self,
        ask: &AskMarked,
        own: &Frontier,
    ) -> Result<Vec<Message>, Misbehaviour> {
        if ask.round != self.round {
            return Ok(Vec::new());
        }
        let authors = marks::take(&mut self.marked, ask).ok_or(Misbehaviour::Flood)?;
        Ok(self.answer(authors, own))
    }
}
