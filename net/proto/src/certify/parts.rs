//! Checkpoints with all that they name.

use minicbor::{Decode, Encode};
use quipu_merge::{
    Certificate, Checkpoint, CheckpointId, CutBlock, MAX_CERTIFICATE_LEN, Malformed,
    ValidatorsBlock,
};

/// Length of the encodings of all parts, in bytes: no list that is allowed comes to more.
pub const MAX_PARTS_LEN: usize = 512 << 10;

/// A checkpoint with the blocks that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    id: CheckpointId,
    checkpoint: Checkpoint,
    cut: CutBlock,
    validators: ValidatorsBlock,
}

impl Parts {
    /// Puts them together.
    ///
    /// # Errors
    /// A block is not the one that the checkpoint names, or the checkpoint breaks a limit.
    pub fn new(
        checkpoint: Checkpoint,
        cut: CutBlock,
        validators: ValidatorsBlock,
    ) -> Result<Self, Malformed> {
        let (id, _) = checkpoint.seal()?;
        if cut.seal().0 != checkpoint.cut {
            return Err(Malformed::from("another cut than the checkpoint names"));
        }
        if validators.seal().0 != checkpoint.validators {
            return Err(Malformed::from("other validators than the checkpoint names"));
        }
        Ok(Self { id, checkpoint, cut, validators })
    }

    /// The checkpoint's id.
    pub const fn id(&self) -> CheckpointId {
        self.id
    }

    /// The checkpoint.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The heads of its cut.
    pub const fn cut(&self) -> &CutBlock {
        &self.cut
    }

    /// Who certifies the next height.
    pub const fn validators(&self) -> &ValidatorsBlock {
        &self.validators
    }

    /// How they are written.
    pub fn encode(&self) -> PartsBytes {
        PartsBytes {
            checkpoint: self.checkpoint.encode().unwrap_or_default(),
            cut: self.cut.encode(),
            validators: self.validators.encode(),
        }
    }
}

/// A checkpoint with the blocks that it names, as they are written.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PartsBytes {
    /// The checkpoint.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub checkpoint: Vec<u8>,
    /// The heads of its cut.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub cut: Vec<u8>,
    /// Who certifies the next height.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub validators: Vec<u8>,
}

impl PartsBytes {
    /// Reads them.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn decode(&self) -> Result<Parts, Malformed> {
        if self.len() > MAX_PARTS_LEN {
            return Err(Malformed::from("longer than any checkpoint with its blocks"));
        }
        Parts::new(
            Checkpoint::decode(&self.checkpoint)?,
            CutBlock::decode(&self.cut)?,
            ValidatorsBlock::decode(&self.validators)?,
        )
    }

    /// Their length in bytes.
    pub fn len(&self) -> usize {
        self.checkpoint.len() + self.cut.len() + self.validators.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A checkpoint with what certifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The checkpoint.
    pub parts: Parts,
    /// The certificate.
    pub certificate: Certificate,
}

/// A checkpoint with what certifies it, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CertifiedBytes {
    /// The checkpoint.
    #[n(0)]
    pub parts: PartsBytes,
    /// The certificate.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub certificate: Vec<u8>,
}

impl Certified {
    /// How it is written.
    pub fn encode(&self) -> CertifiedBytes {
        let certificate = self.certificate.encode().unwrap_or_default();
        CertifiedBytes { parts: self.parts.encode(), certificate }
    }
}

impl CertifiedBytes {
    /// Reads it; who has signed is not checked.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn decode(&self) -> Result<Certified, Malformed> {
        if self.certificate.len() > MAX_CERTIFICATE_LEN {
            return Err(Malformed::from("longer than any certificate"));
        }
        let parts = self.parts.decode()?;
        Ok(Certified { parts, certificate: Certificate::decode(&self.certificate)? })
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.parts.len() + self.certificate.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
