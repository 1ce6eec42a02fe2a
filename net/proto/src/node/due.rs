//! What is done when its time has come.

use quipu_merge::{AuthorKey, Micros};

use super::answers::FEW;
use super::{Node, Output, Purpose};
use crate::defer::Released;
use crate::message::{Message, Ping};
use crate::task::{FeedId, Task};
use crate::time::Moment;

impl Node {
    /// When there is something to do, if nothing else happens.
    pub fn next(&self) -> Option<Moment> {
        let next = [
            self.peers.next(),
            self.gossip.next(),
            self.values.next(),
            self.history.next(),
            self.deferring.next(),
        ];
        next.into_iter().flatten().min()
    }

    pub(super) fn do_what_is_due(&mut self, now: Moment, wall: Micros) {
        while let Some(key) = self.peers.pop_due(now) {
            self.do_for(key, now, wall);
            self.peers.schedule(key, now);
        }
        self.release(now);
        let events = self.gossip.overdue(now);
        if !events.is_empty() {
            let ticket = self.tasks.ticket(Purpose::Overdue(events.clone()));
            self.outputs.push_back(Output::Do(Task::Missing { ticket, events }));
        }
        self.values.give_up(now);
        let list = self.values.list(|| self.tasks.ticket(Purpose::Listed), now);
        self.outputs.extend(list.map(Output::Do));
        let greeted = self.peers.iter().filter(|(_, peer)| peer.version.is_some());
        let asks = self.values.ask(greeted.map(|(key, _)| *key), now);
        self.send_all(asks);
        self.fill(now);
        let tellings = self.gossip.tellings(now);
        self.send_all(tellings);
    }

    /// Gets what precedes the checkpoint that this replica has started from.
    fn fill(&mut self, now: Moment) {
        self.history.give_up(now);
        let take = self.history.take(|| self.tasks.ticket(Purpose::TookHistory));
        self.outputs.extend(take.map(Output::Do));
        let give = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.version.is_some_and(crate::message::Version::gives_history));
        let known =
            |key: &AuthorKey| self.deferring.meter.has_role(key) || self.listed.contains(key);
        let ask = self.history.ask(give.map(|(key, _)| (*key, !known(key))), now);
        self.send_all(ask);
    }

    /// Has events admitted that were put off.
    fn release(&mut self, now: Moment) {
        let Released { packets, from, notes } = self.deferring.release(now);
        let all = packets.chunks(FEW).zip(from.chunks(FEW)).zip(notes.chunks(FEW));
        for ((packets, from), notes) in all {
            let ticket = self.tasks.ticket(Purpose::Deferred(from.to_vec()));
            self.deferring.admitting(ticket, notes.to_vec());
            let packets = packets.to_vec();
            self.outputs.push_back(Output::Do(Task::Admit { ticket, packets }));
        }
    }

    fn do_for(&mut self, key: AuthorKey, now: Moment, wall: Micros) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.gone_at() <= now {
            self.forget(key);
            self.outputs.push_back(Output::Disconnect { peer: key, why: None });
            return;
        }
        if peer.version.is_none() {
            return;
        }
        let mut send = Vec::new();
        if peer.probe_at() <= now {
            peer.asked = (peer.asked.0 + 1, now);
            let (number, frontier) = (peer.asked.0, self.frontier.digest());
            send.push(Message::Ping(Ping { number, frontier, time: wall }));
        }
        send.extend(peer.introductions.ask(now));
        let stalled = peer.pulling.give_up(now);
        if stalled {
            peer.exchange.fall_short();
            peer.compare = true;
        }
        if peer
            .pulling
            .leave_out(|author| self.deferring.leaves_out(key, self.frontier.in_full(author), now))
        {
            peer.exchange.fall_short();
        }
        let mut plan = peer.pulling.plan(|| self.tasks.ticket(Purpose::Plan(key)));
        if let Some(Task::Plan { offered, .. }) = &mut plan {
            // Events of whom nothing was known may have come since they were told of.
            offered.iter_mut().for_each(|lane| lane.author = self.frontier.in_full(lane.author));
        }
        let check = peer.serving.check(|| self.tasks.ticket(Purpose::Checked(key)));
        let open = peer.serving.open(|| FeedId(self.tasks.number()));
        let read = peer.serving.read(|| self.tasks.ticket(Purpose::Read(key)));
        if peer.compare
            && peer.pulling.is_idle()
            && let Some(compare) = peer.exchange.start(&self.frontier, now)
        {
            peer.compare = false;
            send.push(compare);
        }
        if peer.pulling.is_idle()
            && let Some(started) = peer.exchange.got_all()
        {
            peer.info.unequal_since = peer.info.unequal_since.map(|since| since.max(started));
            self.deferring.meter.catch_up();
            self.outputs.push_back(Output::Level(key));
        }
        let give = peer.giving.read(|| self.tasks.ticket(Purpose::Given(key)));
        let back = peer.backing.read(|| self.tasks.ticket(Purpose::Backed(key)));
        let all = plan.into_iter().chain(check).chain(open).chain(read).chain(give).chain(back);
        self.outputs.extend(all.map(Output::Do));
        self.send_all(send.into_iter().map(|message| (key, message)));
        if stalled {
            self.compare_with_others(key);
        }
    }
}
