//! What must hold of all that honest nodes do.

use quipu_merge::{AuthorKey, Certificate, CheckpointId, Height, Vote, VoteType};
use quipu_proto::{Certified, CertifyMessage, Evidence, Keys, Mark, SignedVote};

use super::keys;
use super::member::signed;
use super::store::AHEAD;
use super::world::World;

impl World {
    /// Nobody honest signs two things for one, or sends what it may forget.
    pub fn check_sent(&mut self, at: usize, message: &CertifyMessage) {
        let Some((height, round, step, value, by)) = signed(message) else { return };
        if by != keys::key(self.members[at].key) {
            return;
        }
        let before = self.signed.entry((at, height, round, step)).or_insert_with(|| value.clone());
        if *before != value {
            self.fail(format!("{at} signs twice at height {height}, round {round}, step {step}"));
        }
        let mark = Mark { height: Height(height), round, step: step + 1 };
        if self.members[at].disk.mark < Some(mark) {
            self.fail(format!("{at} sends {mark:?} before it is durable"));
        }
        if let CertifyMessage::Vote(SignedVote { value: Some(value), .. }) = message {
            self.check_due(at, value.0);
        }
    }

    /// Nobody honest votes for what it cannot derive, or what is not due.
    fn check_due(&mut self, at: usize, value: CheckpointId) {
        let wall = self.wall(at).max(self.members[at].shown);
        match self.ledger.newest(value) {
            Some(newest) if newest.0 <= wall + AHEAD => {}
            Some(newest) => {
                let early = newest.0 - wall - AHEAD;
                self.fail(format!("{at} votes for what is not due for {early} microseconds"));
            }
            None => self.fail(format!("{at} votes for {value:?}, which nobody has derived")),
        }
    }

    pub fn check_certified(&mut self, at: usize, certified: &Certified) {
        let (parts, height) = (&certified.parts, certified.parts.checkpoint().height.0);
        if let Some(known) = self.certified.get(&height) {
            if known.parts.id() != parts.id() {
                self.fail(format!("{at} has another checkpoint {height}"));
            } else if !self.is_certified(certified) {
                self.fail(format!("the certificate of {at} for checkpoint {height} does not hold"));
            }
            return;
        }
        let certificate: &Certificate = &certified.certificate;
        let accepted = self.chain.accept(parts.checkpoint(), certificate, parts.validators());
        if let Err(error) = accepted {
            self.fail(format!("checkpoint {height} of {at} does not verify: {error}"));
        }
        let before = self.certified.get(&(height - 1)).map(|before| before.parts.id());
        if self.ledger.derive(before, parts.cut().heads()).as_ref() != Some(parts) {
            self.fail(format!("checkpoint {height} of {at} does not follow from its events"));
        }
        self.certified.insert(height, certified.clone());
    }

    /// Whether a certificate holds, by what has been certified from genesis on. What nodes have signed
    /// themselves is remembered, so that this costs little.
    fn is_certified(&self, certified: &Certified) -> bool {
        let (certificate, checkpoint) = (&certified.certificate, certified.parts.checkpoint());
        let before = self.certified.get(&(checkpoint.height.0 - 1));
        let validators = before.map_or(self.ledger.genesis.validators.as_slice(), |before| {
            before.parts.validators().keys()
        });
        let (ledger, value) = (self.ledger.id(), certified.parts.id());
        let vote = Vote {
            ledger,
            height: checkpoint.height,
            round: certificate.round,
            vote_type: VoteType::Precommit,
            value: Some(value),
        };
        let (message, by) = (vote.signing_bytes().unwrap(), &certificate.signatures);
        let keys = self.keys(0);
        let holds = |(key, signature): &(AuthorKey, [u8; 64])| {
            validators.contains(key) && keys.verify(key, &message, signature)
        };
        certificate.height == checkpoint.height
            && certificate.checkpoint == value
            && by.iter().all(holds)
            && by.is_sorted_by(|(one, _), (other, _)| one < other)
            && by.len() * 3 > validators.len() * 2
    }

    pub fn check_evidence(&mut self, at: usize, evidence: Evidence) {
        let read = Evidence::decode(&evidence.encode(), self.ledger.id());
        if read.as_ref() != Ok(&evidence) {
            self.fail(format!("{at} tells of {evidence:?}, which proves nothing"));
        }
        let who = keys::number(evidence.validator());
        if self.is_honest(who) {
            self.fail(format!("{at} proves that {who} has signed twice: {evidence:?}"));
        }
        if self.is_honest(at) {
            self.evidence.insert(evidence);
        }
    }
}
