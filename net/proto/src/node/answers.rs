//! What the store answers.

use std::collections::BTreeSet;

use quipu_merge::{AuthorKey, EventId};

use super::{Node, Output, Purpose};
use crate::frontier::Placed;
use crate::message::{Message, Packet, Want};
use crate::score::Misbehaviour;
use crate::task::{Answer, Outcome, Ticket};
use crate::time::Moment;

/// So many events that came at once, otherwise than one by one, are told of. Of more, others learn by
/// comparing.
pub(super) const FEW: usize = 64;

impl Node {
    /// The store has done a task.
    pub(super) fn done(&mut self, ticket: Ticket, answer: Answer, now: Moment) {
        let Some(purpose) = self.tasks.open.remove(&ticket) else { return };
        match (purpose, answer) {
            (Purpose::Plan(key), Answer::Plan(wants)) => self.planned(key, ticket, wants, now),
            (Purpose::Pulled(key), Answer::Admitted { outcomes, new }) => {
                let peer = self.peers.get(&key);
                let all = peer.is_some_and(|peer| peer.pulling.asks_for_all(ticket));
                self.deferring.admitted(ticket, &outcomes, &new, all.then_some(key), now);
                self.count_in(key, new.len());
                self.hold(&new, Some(key), now);
                self.pull_admitted(key, ticket, &outcomes, now);
            }
            (Purpose::Deferred(from), Answer::Admitted { outcomes, new }) => {
                self.deferring.admitted(ticket, &outcomes, &new, None, now);
                self.deferred_admitted(&from, &outcomes, &new, now);
            }
            (Purpose::Pushed(key, packet), Answer::Admitted { outcomes, new }) => {
                self.deferring.admitted(ticket, &outcomes, &new, None, now);
                self.count_in(key, new.len());
                self.push_admitted(key, &packet, outcomes.first(), &new, now);
            }
            (Purpose::Checked(key), Answer::Missing(missing)) => {
                if let Some(peer) = self.peers.get_mut(&key) {
                    peer.serving.checked(ticket, Some(&missing));
                }
            }
            (Purpose::Read(key), Answer::Read { packets, last }) => {
                let Some(peer) = self.peers.get_mut(&key) else { return };
                let (messages, close) = peer.serving.have_read(ticket, packets, last);
                self.outputs.extend(close.map(Output::Do));
                self.send_all(messages.into_iter().map(|message| (key, message)));
            }
            (Purpose::Overdue(asked), Answer::Missing(missing)) => {
                let grafts = self.gossip.graft(&asked, &missing, now);
                self.send_all(grafts);
            }
            (Purpose::Grafted(key), Answer::Fetched(packets)) => {
                self.grafted(key);
                self.send_all(packets.into_iter().map(|packet| (key, Message::Announce(packet))));
            }
            (Purpose::Listed, Answer::Lacking { items, next }) => self.values.listed(items, next),
            (Purpose::Given(key), Answer::Provided(bytes)) => {
                let given =
                    self.peers.get_mut(&key).and_then(|peer| peer.giving.given(ticket, bytes));
                self.send_all(given.map(|given| (key, given)));
            }
            (Purpose::Took(key, item), Answer::Taken(taken)) => {
                self.values.taken(item, taken);
                if taken {
                    let peers = self.peers.note_all();
                    let told =
                        peers.filter_map(|(key, peer)| Some((*key, peer.giving.came(item)?)));
                    let told: Vec<_> = told.collect();
                    self.send_all(told);
                } else {
                    self.misbehaved(key, Misbehaviour::Bogus, now);
                }
            }
            (Purpose::Backed(key), answer) => {
                let peer = self.peers.get_mut(&key);
                let given = peer.and_then(|peer| peer.backing.have_read(ticket, answer));
                self.send_all(given.map(|given| (key, given)));
            }
            (Purpose::TookHistory, Answer::HistoryTaken { next, good }) => {
                if let Some(liar) = self.history.taken(ticket, next, good, now) {
                    self.misbehaved(liar, Misbehaviour::BadHistory, now);
                }
            }
            (purpose, _) => self.failed(purpose, ticket, now),
        }
    }

    /// A question for events that were told of has been answered.
    fn grafted(&mut self, key: AuthorKey) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.grafting = peer.grafting.saturating_sub(1);
        }
    }

    /// Events have been admitted because of what a peer has sent.
    fn count_in(&mut self, key: AuthorKey, events: usize) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.info.events_in += events as u64;
        }
    }

    fn planned(&mut self, key: AuthorKey, ticket: Ticket, wants: Vec<Want>, now: Moment) {
        let others = self.peers.iter().filter(|(peer, _)| **peer != key);
        let busy: BTreeSet<EventId> =
            others.flat_map(|(_, peer)| peer.pulling.promised(now)).collect();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let (pull, all) = peer.pulling.planned(ticket, wants, &busy, now);
        if !all {
            peer.exchange.fall_short();
        }
        let pull = pull.map(|pull| (key, peer.exchange.ask_for(pull)));
        self.send_all(pull);
    }

    /// Events are held from now on.
    pub(super) fn hold(&mut self, new: &[Placed], from: Option<AuthorKey>, now: Moment) {
        if !new.is_empty() {
            self.values.look();
        }
        for placed in new {
            self.frontier.advance(placed);
            self.gossip.note(placed.tip.id, None);
        }
        if new.len() <= FEW {
            let ids: Vec<_> = new.iter().map(|placed| placed.tip.id).collect();
            self.gossip.tell(&ids, from, now);
        }
    }

    fn pull_admitted(&mut self, key: AuthorKey, ticket: Ticket, outcomes: &[Outcome], now: Moment) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let (credit, ended) = peer.pulling.admitted(ticket);
        self.send_all(credit.map(|credit| (key, credit)));
        let refused = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(_)));
        if refused {
            self.misbehaved(key, Misbehaviour::BadEvent, now);
        }
        if let Err(what) = self.pull_ended(key, ended) {
            self.misbehaved(key, what, now);
        }
    }

    /// Events that had been put off have been admitted.
    fn deferred_admitted(
        &mut self,
        from: &[AuthorKey],
        outcomes: &[Outcome],
        new: &[Placed],
        now: Moment,
    ) {
        self.hold(new, None, now);
        for (key, outcome) in from.iter().zip(outcomes) {
            match outcome {
                Outcome::Admitted => self.count_in(*key, 1),
                Outcome::Refused(_) => self.misbehaved(*key, Misbehaviour::BadEvent, now),
                Outcome::Known | Outcome::Waits => {}
            }
        }
    }

    fn push_admitted(
        &mut self,
        key: AuthorKey,
        packet: &Packet,
        outcome: Option<&Outcome>,
        new: &[Placed],
        now: Moment,
    ) {
        let id = packet.id();
        let (pushed, released): (Vec<_>, Vec<_>) =
            new.iter().copied().partition(|placed| placed.tip.id == id);
        pushed.iter().for_each(|placed| self.frontier.advance(placed));
        self.values.look();
        self.hold(&released, None, now);
        if outcome == Some(&Outcome::Admitted) {
            let push = self.gossip.spread(packet, Some(key), now);
            self.send_all(push);
        }
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.pushed.end(packet);
        match outcome {
            // What it follows is to be had from whoever has it, and is not asked for now otherwise.
            Some(Outcome::Waits) => {
                let held_up = |author| self.deferring.is_held_up(key, author, now);
                peer.compare |= !packet.author().is_some_and(held_up);
            }
            Some(Outcome::Refused(_)) => self.misbehaved(key, Misbehaviour::BadEvent, now),
            _ => {}
        }
    }

    /// The store could not do it. What is missing is found again by the next comparison.
    fn failed(&mut self, purpose: Purpose, ticket: Ticket, now: Moment) {
        self.deferring.admitted(ticket, &[], &[], None, now);
        match purpose {
            Purpose::Plan(key) | Purpose::Pulled(key) => {
                if let Some(peer) = self.peers.get_mut(&key) {
                    peer.pulling.stop();
                    peer.exchange.fall_short();
                }
            }
            Purpose::Pushed(key, packet) => {
                self.gossip.forget(packet.id());
                if let Some(peer) = self.peers.get_mut(&key) {
                    peer.pushed.end(&packet);
                }
            }
            Purpose::Checked(key) => {
                if let Some(peer) = self.peers.get_mut(&key) {
                    peer.serving.checked(ticket, None);
                }
            }
            Purpose::Read(key) => {
                let Some(peer) = self.peers.get_mut(&key) else { return };
                let (end, close) = peer.serving.break_off(ticket);
                self.outputs.extend(close.map(Output::Do));
                self.send_all(end.map(|end| (key, end)));
            }
            Purpose::Given(key) => {
                let given =
                    self.peers.get_mut(&key).and_then(|peer| peer.giving.given(ticket, None));
                self.send_all(given.map(|given| (key, given)));
            }
            Purpose::Took(_, item) => self.values.pause(item, now),
            Purpose::Listed => self.values.not_listed(now),
            Purpose::Grafted(key) => self.grafted(key),
            Purpose::TookHistory => self.history.pause(ticket, now),
            Purpose::Overdue(_) | Purpose::Deferred(_) | Purpose::Backed(_) => {}
        }
    }
}
