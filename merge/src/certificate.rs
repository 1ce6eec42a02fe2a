//! Votes on checkpoints, and the certificates that are made of them.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use minicbor::Decoder;

use crate::cbor::{self, Malformed, Read};
use crate::checkpoint::{Checkpoint, Height};
use crate::id::{AuthorKey, CheckpointId, EventId};

/// The largest round.
pub const MAX_ROUND: u32 = (1 << 31) - 1;
/// Largest encoding of a certificate, in bytes, as of any block.
pub const MAX_CERTIFICATE_LEN: usize = 1024 * 1024;

const DOMAIN: &[u8] = b"quipu/vote/v1\0";

/// A round of voting within a height, 0 to [`MAX_ROUND`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round(pub u32);

/// How many of `validators` are more than two thirds of them: so many certify.
pub const fn quorum(validators: usize) -> usize {
    validators - validators.div_ceil(3) + 1
}

/// The two kinds of votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteType {
    /// The first vote of a round.
    Prevote,
    /// The vote that certificates are made of.
    Precommit,
}

impl VoteType {
    /// The word in the format.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Prevote => "prevote",
            Self::Precommit => "precommit",
        }
    }
}

/// What a validator signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// The ledger's genesis.
    pub ledger: EventId,
    /// The height voted on.
    pub height: Height,
    /// The round of voting.
    pub round: Round,
    /// Which kind of vote.
    pub vote_type: VoteType,
    /// The checkpoint voted for, or none of those proposed.
    pub value: Option<CheckpointId>,
}

/// A vote that cannot be signed, or whose signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoteError {
    /// Height or round are beyond their limits.
    #[error("height is not 1 to 2^53 - 1, or round not 0 to 2^31 - 1")]
    OutOfRange,
    /// The signature does not hold under the strict rule, or the key is no point of the curve.
    #[error("the signature does not hold")]
    Signature,
}

impl Vote {
    /// The bytes that are signed.
    ///
    /// # Errors
    /// [`VoteError::OutOfRange`].
    pub fn signing_bytes(&self) -> Result<Vec<u8>, VoteError> {
        if !self.height.is_valid() || self.round.0 > MAX_ROUND {
            return Err(VoteError::OutOfRange);
        }
        let encoding = cbor::encode(160, |w| {
            w.map(5)?.str("type")?.str(self.vote_type.word())?;
            w.str("round")?.u32(self.round.0)?.str("value")?;
            match self.value {
                Some(value) => cbor::put_link(w, value.block())?,
                None => w.null()?.ok()?,
            }
            w.str("height")?.u64(self.height.0)?.str("ledger")?;
            cbor::put_link(w, self.ledger.block())
        });
        Ok([DOMAIN, &encoding].concat())
    }

    /// Signs the vote.
    ///
    /// # Errors
    /// [`VoteError::OutOfRange`].
    pub fn sign(&self, key: &SigningKey) -> Result<[u8; 64], VoteError> {
        Ok(key.sign(&self.signing_bytes()?).to_bytes())
    }

    /// Checks a signature of the vote by the strict rule, which small-order keys fail.
    ///
    /// # Errors
    /// The vote is out of range, or the signature does not hold.
    pub fn verify(&self, validator: &AuthorKey, signature: &[u8; 64]) -> Result<(), VoteError> {
        verify(&self.signing_bytes()?, validator, signature)
    }
}

/// Precommits of validators for one checkpoint. Whether they certify it is for
/// [`Certificate::check`] to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What is certified.
    pub checkpoint: CheckpointId,
    /// Its height.
    pub height: Height,
    /// The round in which it was decided.
    pub round: Round,
    /// Validators with their signatures of the precommit, strictly ascending by validator.
    pub signatures: Vec<(AuthorKey, [u8; 64])>,
}

/// Why a certificate does not certify a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The checkpoint is of another ledger.
    #[error("the checkpoint is of ledger {0}")]
    ForeignLedger(EventId),
    /// The checkpoint or the certificate breaks a limit of its encoding.
    #[error("malformed: {0}")]
    Malformed(Malformed),
    /// The certificate is for another checkpoint.
    #[error("the certificate is for {0}")]
    OtherCheckpoint(CheckpointId),
    /// The certificate names another height than the checkpoint.
    #[error("the certificate is for height {0}")]
    OtherHeight(Height),
    /// A signature is by somebody who does not certify this height.
    #[error("{0} is not a validator of this height")]
    NotValidator(AuthorKey),
    /// Two thirds of the validators or fewer have signed.
    #[error("{signed} of {validators} validators have signed: not more than two thirds")]
    TooFew {
        /// How many have signed.
        signed: usize,
        /// How many there are.
        validators: usize,
    },
    /// A signature does not hold.
    #[error("the signature of {0} does not hold")]
    Signature(AuthorKey),
}

impl Certificate {
    /// Reads the strict encoding of a certificate.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_CERTIFICATE_LEN {
            return Err("longer than 1 MiB".into());
        }
        let d = &mut Decoder::new(bytes);
        cbor::map(d, 5)?;
        cbor::version(d)?;
        cbor::key(d, "sigs")?;
        let count = cbor::list(d)?;
        let signatures = (0..count).map(|_| read_signature(d)).collect::<Read<Vec<_>>>()?;
        cbor::key(d, "round")?;
        let round = Round(d.u32().map_err(cbor::malformed)?);
        cbor::key(d, "height")?;
        let height = Height(d.u64().map_err(cbor::malformed)?);
        cbor::key(d, "checkpoint")?;
        let checkpoint = cbor::link_to(d, CheckpointId::from_block)?;
        cbor::end(d)?;
        let certificate = Self { checkpoint, height, round, signatures };
        cbor::canonical(bytes, &certificate.encode()?)?;
        Ok(certificate)
    }

    /// Whether a block is a map with `sigs`, as of all blocks only certificates are.
    pub fn is_one(bytes: &[u8]) -> bool {
        let d = &mut Decoder::new(bytes);
        let Ok(Some(entries)) = d.map() else { return false };
        for _ in 0..entries {
            match d.str() {
                Ok("sigs") => return true,
                Ok(_) if d.skip().is_ok() => {}
                _ => return false,
            }
        }
        false
    }

    /// Encodes the certificate.
    ///
    /// # Errors
    /// Says which limit is broken.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        self.limits()?;
        let bytes = cbor::encode(96 + 102 * self.signatures.len(), |w| {
            w.map(5)?.str("v")?.u8(1)?.str("sigs")?.array(self.signatures.len() as u64)?;
            self.signatures.iter().try_for_each(|(validator, signature)| {
                w.array(2)?.bytes(&validator.0)?.bytes(signature)?.ok()
            })?;
            w.str("round")?.u32(self.round.0)?.str("height")?.u64(self.height.0)?;
            w.str("checkpoint")?;
            cbor::put_link(w, self.checkpoint.block())
        });
        if bytes.len() > MAX_CERTIFICATE_LEN {
            return Err("longer than 1 MiB".into());
        }
        Ok(bytes)
    }

    /// Checks that this certifies `checkpoint` of the ledger with genesis `ledger`: every listed
    /// signature holds and is by a distinct one of `validators`, the keys that certify that
    /// height, and more than two thirds of these have signed.
    ///
    /// # Errors
    /// The first reason why it does not; whatever is cheap is looked at before the signatures.
    pub fn check(
        &self,
        checkpoint: &Checkpoint,
        ledger: EventId,
        validators: &[AuthorKey],
    ) -> Result<(), CertificateError> {
        if checkpoint.ledger != ledger {
            return Err(CertificateError::ForeignLedger(checkpoint.ledger));
        }
        let (id, _) = checkpoint.seal().map_err(CertificateError::Malformed)?;
        if self.checkpoint != id {
            return Err(CertificateError::OtherCheckpoint(self.checkpoint));
        }
        if self.height != checkpoint.height {
            return Err(CertificateError::OtherHeight(self.height));
        }
        self.limits().map_err(CertificateError::Malformed)?;
        let stranger = self.signatures.iter().find(|(signer, _)| !validators.contains(signer));
        if let Some(&(stranger, _)) = stranger {
            return Err(CertificateError::NotValidator(stranger));
        }
        let (signed, validators) = (self.signatures.len(), validators.len());
        if signed < quorum(validators) {
            return Err(CertificateError::TooFew { signed, validators });
        }
        let vote = Vote {
            ledger,
            height: self.height,
            round: self.round,
            vote_type: VoteType::Precommit,
            value: Some(id),
        };
        let message = vote
            .signing_bytes()
            .map_err(|error| CertificateError::Malformed(error.to_string().into()))?;
        self.signatures.iter().try_for_each(|(validator, signature)| {
            verify(&message, validator, signature)
                .map_err(|_| CertificateError::Signature(*validator))
        })
    }

    fn limits(&self) -> Read<()> {
        if !self.height.is_valid() {
            return Err("height is not 1 to 2^53 - 1".into());
        }
        if self.round.0 > MAX_ROUND {
            return Err("round is 2^31 or more".into());
        }
        if !self.signatures.iter().map(|(validator, _)| validator).is_sorted_by(|a, b| a < b) {
            return Err("signatures do not ascend strictly by validator".into());
        }
        Ok(())
    }
}

fn read_signature(d: &mut Decoder<'_>) -> Read<(AuthorKey, [u8; 64])> {
    if cbor::list(d)? != 2 {
        return Err("a signature that is not a list of two".into());
    }
    Ok((cbor::author(d)?, cbor::array(d)?))
}

fn verify(message: &[u8], validator: &AuthorKey, signature: &[u8; 64]) -> Result<(), VoteError> {
    VerifyingKey::from_bytes(&validator.0)
        .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
        .map_err(|_| VoteError::Signature)
}
