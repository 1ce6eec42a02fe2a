//! What the node tells of itself.

use std::collections::BTreeSet;
use std::time::Instant;

use quipu_merge::AuthorKey;

use super::connected::Connected;
use super::core::Core;
use super::dialling::Dialled;
use super::status::{FillingStatus, NodeStatus, PeerState, PeerStatus};

impl Core {
    /// How the node and its peers are doing.
    pub(super) fn current_status(&self) -> NodeStatus {
        let book = self.book();
        let keys: BTreeSet<AuthorKey> =
            book.peers().map(|(key, _)| key).chain(self.connected.keys().copied()).collect();
        let counts = self.work.counts();
        let peers: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let known = book.get(key);
                let totals = self.totals.get(&key).copied().unwrap_or_default();
                let connected = self.connected.get(&key);
                let traffic = connected.map(|peer| peer.link().traffic()).unwrap_or_default();
                PeerStatus {
                    key,
                    kept: known.is_some_and(|peer| peer.kept),
                    places: known.map(|peer| peer.places.clone()).unwrap_or_default(),
                    state: connected
                        .map_or_else(|| self.away(key), |connected| self.present(key, connected)),
                    received_bytes: totals.received + traffic.received,
                    sent_bytes: totals.sent + traffic.sent,
                    events_in: totals.events_in + connected.map_or(0, |peer| peer.events_in),
                    events_out: totals.events_out + connected.map_or(0, |peer| peer.events_out),
                }
            })
            .collect();
        NodeStatus {
            key: self.endpoint.key(),
            listen: self.endpoint.local_addr(),
            up: self.clock.up(),
            events_in: counts.admitted.load(std::sync::atomic::Ordering::Relaxed),
            events_out: peers.iter().map(|peer| peer.events_out).sum(),
            peers,
            misbehaviour: self
                .misbehaviour
                .iter()
                .map(|(what, count)| (what.name(), *count))
                .collect(),
            deferred: self.proto.deferred(),
            deferred_waiting: self.proto.waiting(),
            refused: self.refused,
            lacking: self.proto.lacking(),
            settled: self.proto.values_settled(),
            left_out: counts.left_out.load(std::sync::atomic::Ordering::Relaxed),
            filling: self.proto.filled().map(|(events, total)| FillingStatus {
                events,
                total,
                whole: *self.filled.borrow(),
            }),
            certification: self.certification_status(),
        }
    }

    /// Notes how many events went over the connections that there are.
    pub(super) fn count_events(&mut self) {
        for (key, connected) in &mut self.connected {
            if let Some(info) = self.proto.peer(key) {
                connected.events_in = info.events_in;
                connected.events_out = info.events_out;
            }
        }
    }

    fn present(&self, key: AuthorKey, connected: &Connected) -> PeerState {
        let unequal = self.proto.peer(&key).and_then(|info| info.unequal_since);
        let lag = unequal.map(|since| {
            let since = self.clock.instant(since);
            connected.level.map_or(since, |level| level.max(since)).elapsed()
        });
        PeerState::Connected {
            since: connected.since.elapsed(),
            address: connected.link().remote_address(),
            inbound: connected.inbound,
            lag: lag.unwrap_or_default(),
            round_trip: connected.link().rtt(),
            clock_ahead: connected.clock_ahead,
        }
    }

    fn away(&self, key: AuthorKey) -> PeerState {
        match self.dialling.of(key) {
            Some(Dialled::Now) => PeerState::Dialling,
            Some(Dialled::Failed { again, why }) => {
                let retry_in = again.saturating_duration_since(Instant::now());
                PeerState::Waiting { retry_in, why }
            }
            None => PeerState::Away,
        }
    }
}
