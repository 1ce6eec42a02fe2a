//! Connections with peers: they come, are heard from, and go.

use std::time::{Duration, Instant};

use quipu_merge::AuthorKey;
use quipu_proto::{CertifyInput, Input, Misbehaviour, Version};

use super::address::{PeerAddress, Place};
use super::connected::{Arrival, Connected};
use super::core::Core;
use super::dial::Dial;
use super::error::SyncError;
use crate::{CloseCode, ConnectError, Connection};

/// For so long, who misbehaved may not come back.
const BANNED: Duration = Duration::from_secs(600);
/// Two connections with a peer that start within this time were dialled from both sides.
const TOGETHER: Duration = Duration::from_secs(5);
/// Totals of so many peers are kept.
const MAX_TOTALS: usize = 4096;

/// A connection that lasts so long shows that its peer can be reached and talked to.
const LASTING: Duration = Duration::from_secs(10);
/// So many peers are remembered that were heard of and may not connect, as far as is known here.
const MAX_STRANGERS: usize = 64;

impl Core {
    pub(super) fn heard(&mut self, arrival: Arrival) {
        let (peer, number) = match &arrival {
            Arrival::Message { peer, connection, .. } | Arrival::Ended { peer, connection, .. } => {
                (*peer, *connection)
            }
        };
        if self.connected.get(&peer).is_none_or(|connected| connected.number != number) {
            return;
        }
        match arrival {
            Arrival::Message { channel, bytes, .. } => {
                self.input(Input::Received { peer, channel, bytes });
            }
            Arrival::Ended { why, .. } => {
                self.count_events();
                tracing::info!(%peer, %why, "disconnected");
                self.input(Input::Disconnected(peer));
                self.gone(peer, why.to_string());
            }
        }
    }

    /// A connection with a peer is over; the protocol knows.
    pub(super) fn gone(&mut self, peer: AuthorKey, why: String) {
        let Some(connected) = self.connected.remove(&peer) else { return };
        self.tell_peers = true;
        self.certify(CertifyInput::Disconnected(peer));
        self.add_totals(peer, &connected);
        if connected.since.elapsed() >= LASTING {
            // It worked for a while: what failed before says nothing.
            self.dialling.forget(peer);
        }
        self.end_syncs(peer, |peer| SyncError::Ended { peer, why: why.clone() });
        self.failed(peer, why);
    }

    /// Adds up what has gone over a connection that is over.
    pub(super) fn add_totals(&mut self, peer: AuthorKey, connected: &Connected) {
        if self.totals.len() >= MAX_TOTALS && !self.totals.contains_key(&peer) {
            return;
        }
        let traffic = connected.link().traffic();
        let totals = self.totals.entry(peer).or_default();
        totals.received += traffic.received;
        totals.sent += traffic.sent;
        totals.events_in += connected.events_in;
        totals.events_out += connected.events_out;
    }

    pub(super) fn end_syncs(&mut self, peer: AuthorKey, error: impl Fn(PeerAddress) -> SyncError) {
        let ended = self.syncs.extract_if(.., |sync| sync.peer().key == peer);
        for sync in ended {
            let error = error(sync.peer().clone());
            sync.answer(Err(error));
        }
    }

    /// A peer is there.
    pub(super) fn arrived(&mut self, connection: Connection, inbound: bool) {
        let (peer, address) = (connection.peer(), connection.remote_address());
        if let Some(old) = self.connected.get(&peer) {
            let both_dialled = old.inbound != inbound && old.since.elapsed() < TOGETHER;
            // Both sides keep the one that the lesser key dialled.
            let by_lesser =
                if inbound { peer < self.endpoint.key() } else { self.endpoint.key() < peer };
            if both_dialled && !by_lesser {
                connection.close(CloseCode::Done, "another connection is kept");
                return;
            }
            old.close(CloseCode::Done, "a newer connection is kept");
            if let Some(old) = self.connected.remove(&peer) {
                self.add_totals(peer, &old);
            }
            self.input(Input::Disconnected(peer));
            self.certify(CertifyInput::Disconnected(peer));
        }
        tracing::info!(%peer, %address, inbound, "connected");
        self.connections += 1;
        while self.io.try_join_next().is_some() {}
        let arrivals = self.arrivals.clone();
        let connected =
            Connected::start(connection, self.connections, inbound, arrivals, &mut self.io);
        self.connected.insert(peer, connected);
        self.tell_peers = true;
        self.dialling.reached(peer);
        self.input(Input::Connected(peer));
    }

    /// A peer has greeted. Nodes dial from the socket that they listen on: where one comes from that is
    /// not `hidden`, it can be dialled.
    pub(super) fn greeted(&mut self, peer: AuthorKey, version: Version, hidden: bool) {
        let connected = self.connected.get(&peer).filter(|connected| connected.inbound && !hidden);
        if let Some(place) = connected.map(|one| Place::from(one.link().remote_address()))
            && self.book().heard(peer, &[place])
        {
            self.tell_peers = true;
            self.save_book(None);
        }
        // A visitor's checkpoints come when their events are here.
        if !self.is_visitor {
            self.certify_with(peer, version);
        }
    }

    pub(super) fn dialled(&mut self, dial: Option<Dial>) {
        // A task that was cancelled or panicked dialled nobody; it is dialled again when nothing is
        // heard of it.
        let Some(Dial { peer, result }) = dial else { return };
        match result {
            Ok(connection) => {
                if self.book().found(peer.key, &peer.place) {
                    self.save_book(None);
                }
                self.arrived(connection, false);
            }
            Err(_) if self.connected.contains_key(&peer.key) => self.dialling.reached(peer.key),
            Err(error) => {
                tracing::debug!(%peer, %error, "could not be dialled");
                self.found_another(&peer, &error);
                for sync in self.syncs.extract_if(.., |sync| *sync.peer() == peer) {
                    sync.answer(Err(error.clone()));
                }
                self.failed(peer.key, error.to_string());
            }
        }
    }

    /// Where a peer was, another one answers: its key has changed, say. If that one may connect, it is
    /// dialled too, and proves its key then.
    fn found_another(&mut self, peer: &PeerAddress, error: &SyncError) {
        let SyncError::Connect { why, .. } = error else { return };
        let ConnectError::WrongKey { found, .. } = **why else { return };
        let other = found != self.endpoint.key() && self.allowed.admits(found);
        if other && self.book().heard(found, std::slice::from_ref(&peer.place)) {
            self.save_book(None);
        }
    }

    /// A peer could not be reached, or has gone. Of one that is not known nothing is noted.
    pub(super) fn failed(&mut self, peer: AuthorKey, why: String) {
        let Some(kept) = self.book().get(peer).map(|peer| peer.kept) else {
            return self.dialling.forget(peer);
        };
        let kept = kept || self.is_fellow_validator(peer);
        if self.dialling.failed(peer, why, Instant::now()) && !kept {
            self.dialling.forget(peer);
            if self.book().remove(peer) {
                self.save_book(None);
            }
        }
    }

    /// The protocol wants nothing more to do with a peer.
    pub(super) fn send_away(&mut self, peer: AuthorKey, why: Option<Misbehaviour>) {
        let Some(connected) = self.connected.get(&peer) else { return };
        match why {
            None => connected.close(CloseCode::Done, "nothing was heard of you"),
            Some(what) => {
                connected.close(CloseCode::Misbehaviour, what.name());
                if what == Misbehaviour::OtherLedger {
                    self.end_syncs(peer, |peer| SyncError::OtherLedger { peer });
                } else if what != Misbehaviour::OtherVersion {
                    self.allowed.ban(peer, Instant::now() + BANNED);
                }
            }
        }
        let words = why.map_or("nothing was heard of it", Misbehaviour::name);
        self.gone(peer, words.to_owned());
    }

    /// A peer has told of others, and where they may be reached.
    pub(super) fn heard_of(&mut self, peers: Vec<(AuthorKey, Vec<String>)>) {
        let me = self.endpoint.key();
        let mut new = false;
        for (key, places) in peers.into_iter().filter(|(key, _)| *key != me) {
            let places: Vec<Place> = places.iter().filter_map(|place| place.parse().ok()).collect();
            let may = |key| self.allowed.admits(key);
            let mut book = self.book();
            // Their roles may come later. But nobody fills the book with keys that do not exist.
            let strangers =
                || book.peers().filter(|(key, known)| !known.kept && !may(*key)).count();
            if may(key) || book.get(key).is_some() || strangers() < MAX_STRANGERS {
                new |= book.heard(key, &places);
            }
        }
        if new {
            self.save_book(None);
        }
    }

    /// Lets the protocol know what peers may be told: where this node is, and those that are connected
    /// now.
    pub(super) fn tell_of_peers(&mut self) {
        if !std::mem::take(&mut self.tell_peers) {
            return;
        }
        let text = |places: &[Place]| places.iter().map(Place::to_string).collect::<Vec<_>>();
        let mut known = vec![(self.endpoint.key(), text(&self.announced))];
        {
            let book = self.book();
            let there = self.connected.keys().filter_map(|key| Some((*key, book.get(*key)?)));
            known.extend(there.map(|(key, peer)| (key, text(&peer.places))));
        }
        known.retain(|(_, places)| !places.is_empty());
        self.input(Input::Known(known));
    }

    /// Ends the connections with those that may not connect any more, whoever dialled; but not where
    /// somebody asked for what this very peer has.
    pub(super) fn close_strangers(&self) {
        if self.is_visitor {
            return;
        }
        for (key, connected) in &self.connected {
            if !self.allowed.admits(*key) && !self.syncs.iter().any(|sync| sync.peer().key == *key)
            {
                connected.close(CloseCode::NotAllowed, "you are not admitted any more");
            }
        }
    }
}
