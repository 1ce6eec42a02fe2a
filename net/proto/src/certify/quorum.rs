//! Whether sets of votes are what they claim to be.

use std::collections::BTreeSet;

use arc_malachitebft_core_types::{
    CertificateError, CommitCertificate, PolkaCertificate, RoundCertificate, RoundCertificateType,
    SignedMessage, ThresholdParam, ThresholdParams, ValidatorSet as _, VoteType,
};
use quipu_merge::EventId;

use super::context::{self, Ctx, ValidatorSet};
use super::convert::vote_out;
use super::keys::Keys;

type Checked = Result<(), CertificateError<Ctx>>;

/// How votes are checked.
#[derive(Clone, Copy)]
pub struct Checker<'a> {
    pub ledger: EventId,
    pub keys: &'a dyn Keys,
}

#[expect(clippy::result_large_err, reason = "that is what the core wants to hear")]
impl Checker<'_> {
    pub fn commit(
        self,
        certificate: &CommitCertificate<Ctx>,
        validators: &ValidatorSet,
        thresholds: ThresholdParams,
    ) -> Checked {
        let votes = certificate.commit_signatures.iter().map(|signature| {
            let vote = context::Vote {
                height: certificate.height,
                round: certificate.round,
                kind: VoteType::Precommit,
                value: arc_malachitebft_core_types::NilOrVal::Val(certificate.value_id),
                by: signature.address,
            };
            SignedMessage::new(vote, signature.signature)
        });
        self.votes(votes, validators, thresholds.quorum)
    }

    pub fn polka(
        self,
        certificate: &PolkaCertificate<Ctx>,
        validators: &ValidatorSet,
        thresholds: ThresholdParams,
    ) -> Checked {
        self.votes(certificate.votes(&Ctx), validators, thresholds.quorum)
    }

    pub fn round(
        self,
        certificate: &RoundCertificate<Ctx>,
        validators: &ValidatorSet,
        thresholds: ThresholdParams,
    ) -> Checked {
        let leaves = certificate.cert_type == RoundCertificateType::Precommit;
        let early = certificate.round_signatures.iter().find(|s| s.vote_type == VoteType::Prevote);
        if let Some(early) = early.filter(|_| leaves) {
            return Err(CertificateError::InvalidVoteType(early.address));
        }
        let threshold = if leaves { thresholds.quorum } else { thresholds.honest };
        self.votes(certificate.votes(&Ctx), validators, threshold)
    }

    fn votes(
        self,
        votes: impl Iterator<Item = SignedMessage<Ctx, context::Vote>>,
        validators: &ValidatorSet,
        threshold: ThresholdParam,
    ) -> Checked {
        let mut seen = BTreeSet::new();
        for vote in votes {
            let by = vote.message.by;
            if validators.get_by_address(&by).is_none() {
                return Err(CertificateError::UnknownValidator(by));
            }
            if !seen.insert(by) {
                return Err(CertificateError::DuplicateVote(by));
            }
            if !vote_out(&vote).holds(self.ledger, self.keys) {
                return Err(CertificateError::VerificationError(None));
            }
        }
        let (signed, total) = (seen.len() as u64, validators.total_voting_power());
        if threshold.is_met(signed, total) {
            return Ok(());
        }
        let expected = threshold.min_expected(total);
        Err(CertificateError::NotEnoughVotingPower { signed, total, expected })
    }
}
