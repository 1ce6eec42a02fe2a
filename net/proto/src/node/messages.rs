//! What peers say.

use std::time::Duration;

use quipu_merge::{AuthorKey, Micros};

use super::{Node, Output, Purpose};
use crate::channel::Channel;
use crate::defer::Sorted;
use crate::exchange::{Nonsense, Step};
use crate::limits::{MAX_GOSSIP_FRAME, MAX_GRAFTING};
use crate::message::{Hello, Message, Packet, Ping};
use crate::pull::Ended;
use crate::score::Misbehaviour;
use crate::task::{Task, Ticket};
use crate::time::Moment;

impl Node {
    /// A peer has sent a message.
    pub(super) fn received(
        &mut self,
        key: AuthorKey,
        channel: Channel,
        bytes: &[u8],
        now: Moment,
        wall: Micros,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.heard = now;
        peer.info.received_bytes += bytes.len() as u64;
        let result = match Message::decode(channel, bytes) {
            Err(_) => Err(Misbehaviour::Malformed),
            Ok(None) => Ok(()),
            Ok(Some(Message::Hello(hello))) => self.greeted(key, &hello, now, wall),
            Ok(Some(message)) if peer.version.is_none() => {
                if peer.keep(message, bytes.len()) {
                    Ok(())
                } else {
                    Err(Misbehaviour::NoGreeting)
                }
            }
            Ok(Some(message)) => self.message(key, message, now, wall),
        };
        if let Err(what) = result {
            self.misbehaved(key, what, now);
        }
    }

    fn greeted(
        &mut self,
        key: AuthorKey,
        hello: &Hello,
        now: Moment,
        wall: Micros,
    ) -> Result<(), Misbehaviour> {
        let Some(peer) = self.peers.get_mut(&key) else { return Ok(()) };
        if hello.ledger != self.config.ledger {
            return Err(Misbehaviour::OtherLedger);
        }
        if hello.version.major != self.config.version.major {
            return Err(Misbehaviour::OtherVersion);
        }
        if peer.version.is_some() {
            return Err(Misbehaviour::NoGreeting);
        }
        let version = hello.version.min(self.config.version);
        peer.version = Some(version);
        peer.exchange.speak(version);
        peer.introductions.greeted(version, now);
        peer.backing.speak(version.gives_history());
        let early = peer.take_early();
        self.gossip.join(key);
        self.values.join(key);
        self.outputs.push_back(Output::Greeted { peer: key, version, hidden: hello.hidden });
        self.outputs.push_back(Output::Clock(key, ahead(hello.time, wall)));
        early.into_iter().try_for_each(|message| self.message(key, message, now, wall))
    }

    /// Takes a message of a peer that has greeted.
    fn message(
        &mut self,
        key: AuthorKey,
        message: Message,
        now: Moment,
        wall: Micros,
    ) -> Result<(), Misbehaviour> {
        let Some(peer) = self.peers.get_mut(&key) else { return Ok(()) };
        peer.rates.check(&message, now)?;
        match message {
            Message::Hello(_) => return Err(Misbehaviour::NoGreeting),
            Message::Ping(ping) => {
                let frontier = self.frontier.digest();
                peer.told(ping.frontier, frontier, now);
                let pong = Ping { number: ping.number, frontier, time: wall };
                self.send(key, Message::Pong(pong));
            }
            Message::Pong(pong) if pong.number == peer.asked.0 => {
                peer.told(pong.frontier, self.frontier.digest(), now);
                let round_trip = now.0.saturating_sub(peer.asked.1.0);
                peer.info.round_trip = Some(Duration::from_micros(round_trip));
                // It was read between the question and the answer, say in the middle.
                let then = Micros(wall.0.saturating_sub(round_trip / 2));
                self.outputs.push_back(Output::Clock(key, ahead(pong.time, then)));
            }
            Message::Pong(pong) if pong.number > peer.asked.0 => {
                return Err(Misbehaviour::Unasked);
            }
            Message::Pong(_) => {}
            Message::AskPeers => {
                let ends = (self.config.me, key);
                let peers = peer.introductions.asked(ends, &self.addresses, now)?;
                self.send_all(peers.map(|peers| (key, peers)));
            }
            Message::Peers(peers) => {
                let peers = peer.introductions.answered(self.config.me, peers)?;
                if !peers.is_empty() {
                    self.outputs.push_back(Output::Heard { from: key, peers });
                }
            }
            Message::Compare(_)
            | Message::Lanes(_)
            | Message::Reconcile(_)
            | Message::AskLanes(_)
            | Message::Sums(_)
            | Message::Marks(_)
            | Message::AskMarked(_)
            | Message::Pull(_)
            | Message::PullTold(_)
            | Message::Batch(_)
            | Message::End(_)
            | Message::Credit(_) => self.sync_message(key, message, now)?,
            Message::Certify(message) => self.outputs.push_back(Output::Certify(key, message)),
            Message::Announce(_) | Message::Have(_) | Message::Graft(_) | Message::Prune => {
                self.gossip_message(key, message, now)?;
            }
            Message::Ask(ask) => peer.giving.asked(ask)?,
            Message::Got(got) => self.values.got(key, got.item),
            Message::Given(given) => {
                if let Some((item, bytes)) = self.values.given(key, given, now)? {
                    let ticket = self.tasks.ticket(Purpose::Took(key, item));
                    self.outputs.push_back(Output::Do(Task::Take { ticket, item, bytes }));
                }
            }
            Message::AskStart
            | Message::Start(_)
            | Message::AskPart(_)
            | Message::Part(_)
            | Message::AskHistory(_)
            | Message::HistoryPart(_) => self.history_message(key, message, now)?,
        }
        Ok(())
    }

    /// Takes a message of gossip.
    fn gossip_message(
        &mut self,
        key: AuthorKey,
        message: Message,
        now: Moment,
    ) -> Result<(), Misbehaviour> {
        match message {
            Message::Announce(packet) => self.pushed(key, packet, now),
            Message::Have(ids) => self.gossip.told(key, &ids.events, now),
            Message::Graft(ids) => {
                self.gossip.grafted(key, ids.events.len())?;
                let Some(peer) = self.peers.get_mut(&key) else { return Ok(()) };
                if peer.grafting >= MAX_GRAFTING {
                    // What is not answered comes by synchronisation.
                    return Ok(());
                }
                peer.grafting += 1;
                let (ticket, events) = (self.tasks.ticket(Purpose::Grafted(key)), ids.events);
                // One message each, of which the longest fits the channel.
                let max_len = MAX_GOSSIP_FRAME as usize;
                self.outputs.push_back(Output::Do(Task::Fetch { ticket, events, max_len }));
            }
            Message::Prune => {
                self.gossip.set_on_tree(key, false);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes a message about what a replica starts from, and what precedes that.
    fn history_message(
        &mut self,
        key: AuthorKey,
        message: Message,
        now: Moment,
    ) -> Result<(), Misbehaviour> {
        let Some(peer) = self.peers.get_mut(&key) else { return Ok(()) };
        match message {
            Message::AskStart => peer.backing.asked_start(now),
            Message::AskPart(ask) => peer.backing.asked_part(ask),
            Message::AskHistory(ask) => peer.backing.asked_history(ask),
            Message::HistoryPart(part) => self.history.came(key, part, now),
            // Who asks for these is no node yet.
            _ => Err(Misbehaviour::Unasked),
        }
    }

    /// Takes a message of synchronisation.
    fn sync_message(
        &mut self,
        key: AuthorKey,
        message: Message,
        now: Moment,
    ) -> Result<(), Misbehaviour> {
        let Some(peer) = self.peers.get_mut(&key) else { return Ok(()) };
        match message {
            Message::Compare(theirs) => {
                peer.note(theirs.frontier, self.frontier.digest(), now);
                let step = peer.exchange.compared(&theirs, &self.frontier, now);
                self.compared(key, step)?;
            }
            Message::Lanes(lanes) => {
                let step = peer.exchange.told(lanes, &self.frontier);
                self.compared(key, step)?;
            }
            Message::Reconcile(step) => {
                let step = peer.exchange.reconciled(&step, &self.frontier);
                self.compared(key, step)?;
            }
            Message::AskLanes(ask) => {
                let lanes = peer.exchange.asked(&ask, &self.frontier)?;
                self.send_all(lanes.into_iter().map(|message| (key, message)));
            }
            Message::Sums(sums) => {
                let step = peer.exchange.summed(&sums);
                self.compared(key, step)?;
            }
            Message::Marks(marks) => {
                let step = peer.exchange.found(&marks, &self.frontier);
                self.compared(key, step)?;
            }
            Message::AskMarked(ask) => {
                let lanes = peer.exchange.asked_marked(&ask, &self.frontier)?;
                self.send_all(lanes.into_iter().map(|message| (key, message)));
            }
            Message::Pull(pull) => {
                if peer.serving.is_busy() {
                    peer.rates.abandons(now)?;
                }
                peer.serving.pull(pull);
            }
            Message::PullTold(pull) => {
                if peer.serving.is_busy() {
                    peer.rates.abandons(now)?;
                }
                let (pull, spelled) = peer.exchange.spell(pull);
                peer.serving.spelled(pull, spelled);
            }
            Message::Batch(batch) => {
                let ticket = || self.tasks.ticket(Purpose::Pulled(key));
                if let Some(Task::Admit { ticket, packets }) =
                    peer.pulling.came(batch, ticket, now)?
                {
                    self.pulled(key, ticket, packets, now);
                }
            }
            Message::End(end) => {
                let ended = peer.pulling.ended(end);
                self.pull_ended(key, ended)?;
            }
            Message::Credit(credit) => peer.serving.credit(credit)?,
            _ => {}
        }
        Ok(())
    }

    fn compared(
        &mut self,
        key: AuthorKey,
        step: Result<Step, Nonsense>,
    ) -> Result<(), Misbehaviour> {
        let Step { send, offered } = step.map_err(|Nonsense| Misbehaviour::Malformed)?;
        self.send_all(send.into_iter().map(|message| (key, message)));
        if let Some(peer) = self.peers.get_mut(&key)
            && !peer.pulling.offer(offered)
        {
            peer.exchange.fall_short();
        }
        Ok(())
    }

    /// A pull has ended, if it has.
    pub(super) fn pull_ended(
        &mut self,
        key: AuthorKey,
        ended: Option<Ended>,
    ) -> Result<(), Misbehaviour> {
        if let Some(ended) = &ended
            && let Some(peer) = self.peers.get_mut(&key)
        {
            if *ended != Ended::Whole {
                peer.exchange.fall_short();
            }
            peer.compare |= peer.exchange.answered(*ended != Ended::Broken);
        }
        if ended.is_some() {
            self.compare_with_others(key);
        }
        if ended == Some(Ended::Short) { Err(Misbehaviour::Lie) } else { Ok(()) }
    }

    /// Others may lack what has come from a peer, or have what has not.
    pub(super) fn compare_with_others(&mut self, key: AuthorKey) {
        let others = self.peers.all_mut().filter(|(peer, _)| **peer != key);
        others.for_each(|(_, peer)| peer.compare = true);
    }

    /// Events have come that were asked for.
    fn pulled(&mut self, key: AuthorKey, ticket: Ticket, packets: Vec<Packet>, now: Moment) {
        let Sorted { admit, notes, deferred_len } = self.deferring.sort(key, packets, now);
        if deferred_len > 0
            && let Some(peer) = self.peers.get_mut(&key)
        {
            peer.pulling.defer(ticket, deferred_len);
            peer.exchange.fall_short();
        }
        if admit.is_empty() {
            self.tasks.open.remove(&ticket);
        } else {
            self.deferring.admitting(ticket, notes);
            self.outputs.push_back(Output::Do(Task::Admit { ticket, packets: admit }));
        }
    }

    fn pushed(&mut self, key: AuthorKey, packet: Packet, now: Moment) {
        let (new, prune) = self.gossip.pushed(key, packet.id());
        self.send_all(prune);
        let Some(peer) = self.peers.get_mut(&key).filter(|_| new) else { return };
        if !peer.pushed.start(&packet, now) {
            // It comes by synchronisation.
            peer.compare = true;
            return;
        }
        self.gossip.note(packet.id(), Some(key));
        let Sorted { admit, notes, .. } =
            self.deferring.sort_pushed(key, packet.clone(), &self.frontier, now);
        if admit.is_empty() {
            // It is on the shelf, or comes by synchronisation.
            return peer.pushed.end(&packet);
        }
        let ticket = self.tasks.ticket(Purpose::Pushed(key, Box::new(packet)));
        self.deferring.admitting(ticket, notes);
        self.outputs.push_back(Output::Do(Task::Admit { ticket, packets: admit }));
    }
}

/// How far one clock is ahead of another, in microseconds.
fn ahead(theirs: Micros, own: Micros) -> i64 {
    let difference = i128::from(theirs.0) - i128::from(own.0);
    i64::try_from(difference).unwrap_or(if difference > 0 { i64::MAX } else { i64::MIN })
}
