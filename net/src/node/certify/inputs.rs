//! Where certification and the rest of the node reach each other.

use std::time::{Duration, Instant};

use quipu_merge::AuthorKey;
use quipu_proto::{CertifyInput, Input, MAX_REPORTED_HEADS, Message, Version};

use super::driver::Wish;
use super::status::CertificationStatus;
use super::work::CertifyReport;
use crate::node::core::Core;

/// The version since which peers speak of certification.
const SINCE: Version = Version { major: 1, minor: 2 };
/// How often it is looked what is held here, while that changes.
const HEADS_EVERY: Duration = Duration::from_millis(50);
/// How often it is looked whether checkpoints have come another way: in files.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// It is not told oftener that it is later.
const PAUSE: Duration = Duration::from_millis(2);

/// When it was looked what is held here, and whether that may have changed since.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    looked: Instant,
    changed: bool,
    /// When it was looked what counts at the store.
    looked_at_store: Instant,
}

impl Default for Held {
    fn default() -> Self {
        let now = Instant::now();
        Self { looked: now, changed: true, looked_at_store: now }
    }
}

impl Core {
    /// Gives certification an input, and does what it wants.
    pub(in crate::node) fn certify(&mut self, input: CertifyInput) {
        let now = self.clock.now();
        if let Some(driver) = &mut self.certification {
            driver.handle(input, now);
            self.grant_wishes();
        }
    }

    /// A peer is there to speak of certification with.
    pub(in crate::node) fn certify_with(&mut self, peer: AuthorKey, version: Version) {
        let driver = self.certification.as_ref();
        if version >= SINCE && driver.is_some_and(|driver| driver.catching_up(peer).is_none()) {
            self.certify(CertifyInput::Connected(peer));
        }
    }

    /// The store has done something for certification.
    pub(in crate::node) fn certify_reported(&mut self, report: CertifyReport) {
        let now = self.clock.now();
        if let Some(driver) = &mut self.certification {
            driver.reported(report, now);
            self.grant_wishes();
        }
    }

    /// Events have come.
    pub(in crate::node) const fn held_changed(&mut self) {
        self.held.changed = true;
    }

    /// Does what has become due.
    pub(in crate::node) fn look_at_certification(&mut self) {
        let Some(driver) = &mut self.certification else { return };
        let now = Instant::now();
        if now.duration_since(self.held.looked_at_store) >= STORE_EVERY {
            self.held.looked_at_store = now;
            driver.look();
        }
        if driver.next().is_some_and(|next| self.clock.instant(next) <= now) {
            self.certify(CertifyInput::Tick);
        }
        if self.held.changed && now.duration_since(self.held.looked) >= HEADS_EVERY {
            self.held = Held { looked: now, changed: false, ..self.held };
            self.certify(CertifyInput::Heads(self.ledger.heads_to_certify(MAX_REPORTED_HEADS)));
        }
    }

    /// When there is something to do for certification, if nothing else happens.
    pub(in crate::node) fn certification_wakes_at(&self) -> Option<Instant> {
        let driver = self.certification.as_ref()?;
        let next = driver.next().map(|next| self.clock.instant(next).max(Instant::now() + PAUSE));
        let held = self.held.changed.then(|| self.held.looked + HEADS_EVERY);
        next.into_iter().chain(held).min()
    }

    /// Whether a peer is to be connected to because both are validators.
    pub(in crate::node) fn is_fellow_validator(&self, key: AuthorKey) -> bool {
        self.certification.as_ref().is_some_and(|driver| driver.wants(key))
    }

    /// Where certification stands.
    pub(in crate::node) fn certification_status(&self) -> CertificationStatus {
        let driver = self.certification.as_ref();
        let status = driver.map_or_else(CertificationStatus::none, super::Driver::status);
        CertificationStatus { is_revoked: self.allowed.has_revoked(self.endpoint.key()), ..status }
    }

    fn grant_wishes(&mut self) {
        while let Some(wish) = self.certification.as_mut().and_then(super::Driver::wish) {
            match wish {
                Wish::Send(peers, message) => {
                    let channel = message.channel();
                    let bytes = Message::Certify(*message).encode();
                    for peer in peers {
                        self.send_bytes(peer, channel, bytes.clone());
                    }
                }
                Wish::Misbehaved(peer, what) => self.input(Input::Misbehaved(peer, what)),
                Wish::Certified(height) => {
                    self.read_roles_anew();
                    // With many heads, others are told now.
                    self.held.changed = true;
                    self.heights.send_replace(Some(height));
                }
            }
        }
    }
}
