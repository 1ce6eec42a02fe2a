//! What a validator says that it holds.

use quipu_merge::EventId;

use crate::ledger::Ledger;

impl Ledger {
    /// The events that no other follows, ascending, up to `limit` of them. Where there are more, certified
    /// ones are left out first: however many those are, others still learn of what is new. Nothing is
    /// read for it.
    pub fn heads_to_certify(&self, limit: usize) -> Vec<EventId> {
        let published = self.published();
        let certified = published.finality.cuts.latest();
        let (old, new): (Vec<_>, Vec<_>) =
            published.heads.iter().partition(|head| certified.covers(head.dot));
        let mut heads: Vec<_> =
            new.into_iter().chain(old).take(limit).map(|head| head.id).collect();
        heads.sort_unstable();
        heads
    }
}

#[cfg(test)]
mod tests {
    use quipu_merge::{Certificate, Role, Round, Vote, VoteType};

    use super::*;
    use crate::certify::{Acceptance, CertifiedCheckpoint, Derivation};
    use crate::options::{NewLedger, Options};

    fn put(ledger: &Ledger) -> EventId {
        let mut transaction = ledger.transaction();
        transaction.put("k", b"v").unwrap();
        transaction.commit().unwrap().event
    }

    /// Certifies a cut, with the key of the only validator.
    fn certify(ledger: &Ledger, heads: &[EventId]) {
        let Derivation { id, checkpoint, cut, validators, .. } = ledger.derive(heads).unwrap();
        let (height, round) = (checkpoint.height, Round(0));
        let (of, vote_type) = (checkpoint.ledger, VoteType::Precommit);
        let vote = Vote { ledger: of, height, round, vote_type, value: Some(id) };
        let key = ledger.voting_key().unwrap();
        let signature = key.sign(&vote.signing_bytes().unwrap()).unwrap();
        let signatures = vec![(key.author(), signature)];
        let certificate = Certificate { checkpoint: id, height, round, signatures };
        let certified = CertifiedCheckpoint { checkpoint, certificate, cut, validators };
        assert_eq!(ledger.accept(certified).unwrap(), Acceptance::Counted);
    }

    #[test]
    fn certified_heads_are_left_out_first() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(dir.path().join("l"), &NewLedger::default()).unwrap();
        let others = ["a", "b", "c", "d"].map(|name| {
            let options = Options::new();
            let made =
                options.clone_granted(dir.path().join(name), &ledger, Role::Writer, &mut |_, _| {});
            made.unwrap().0
        });
        let mut heads = others.each_ref().map(put);
        for other in &others {
            ledger.merge(other, &mut |_, _| {}).unwrap();
        }
        heads.sort_unstable();
        assert_eq!(ledger.heads_to_certify(9), heads);
        // The certified ones are the lesser.
        certify(&ledger, &heads[..2]);
        let [a, b, c, d] = heads;
        assert_eq!(ledger.heads_to_certify(4), [a, b, c, d]);
        assert_eq!(ledger.heads_to_certify(3), [a, c, d]);
        assert_eq!(ledger.heads_to_certify(1), [c]);
        assert_eq!(ledger.heads(1), [a]);
    }
}
