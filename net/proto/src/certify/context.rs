//! The ledger's types, as the core of consensus wants to see them.

use std::fmt;

use arc_malachitebft_core_types as core;
use core::{NilOrVal, Round, SignedExtension};
use quipu_merge::{AuthorKey, CheckpointId};

/// Ties the types together.
#[derive(Clone, Debug)]
pub struct Ctx;

/// A validator, named by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(pub AuthorKey);

/// A height; 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Height(pub u64);

/// What is decided on: the checkpoint with this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(pub CheckpointId);

/// One vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    pub height: Height,
    pub round: Round,
    pub kind: core::VoteType,
    pub value: NilOrVal<CheckpointId>,
    pub by: Address,
}

/// A checkpoint proposed for a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub height: Height,
    pub round: Round,
    pub value: Value,
    pub pol_round: Round,
    pub by: Address,
}

/// The parts of a proposal travel with it, so the core never sees one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPart;

/// One vote each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator(pub Address);

/// The validators of a height, ascending by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSet(pub Vec<Validator>);

/// Ed25519 with the strict rule; keys and signatures are checked where they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheme;

impl ValidatorSet {
    pub fn new(keys: &[AuthorKey]) -> Self {
        Self(keys.iter().map(|key| Validator(Address(*key))).collect())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Address for Address {}

impl core::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

impl core::Value for Value {
    type Id = CheckpointId;

    fn id(&self) -> CheckpointId {
        self.0
    }
}

impl core::ProposalPart<Ctx> for NoPart {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

impl core::Validator<Ctx> for Validator {
    fn address(&self) -> &Address {
        &self.0
    }

    fn public_key(&self) -> &AuthorKey {
        &self.0.0
    }

    fn voting_power(&self) -> u64 {
        1
    }
}

impl core::ValidatorSet<Ctx> for ValidatorSet {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.0.len() as u64
    }

    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        let at = self.0.binary_search_by(|validator| validator.0.cmp(address)).ok()?;
        self.0.get(at)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.get(index)
    }
}

impl core::Vote<Ctx> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<CheckpointId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<CheckpointId> {
        self.value
    }

    fn vote_type(&self) -> core::VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Address {
        &self.by
    }

    fn extension(&self) -> Option<&SignedExtension<Ctx>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Ctx>> {
        None
    }

    /// Votes carry nothing else.
    fn extend(self, _: SignedExtension<Ctx>) -> Self {
        self
    }
}

impl core::Proposal<Ctx> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &Value {
        &self.value
    }

    fn take_value(self) -> Value {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Address {
        &self.by
    }
}

impl core::SigningScheme for Scheme {
    type DecodingError = &'static str;
    type Signature = [u8; 64];
    type PublicKey = AuthorKey;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<[u8; 64], &'static str> {
        bytes.try_into().map_err(|_| "a signature has 64 bytes")
    }

    fn encode_signature(signature: &[u8; 64]) -> Vec<u8> {
        signature.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<AuthorKey, &'static str> {
        bytes.try_into().map(AuthorKey).map_err(|_| "a key has 32 bytes")
    }

    fn encode_public_key(key: &AuthorKey) -> Vec<u8> {
        key.0.to_vec()
    }
}

/// Who proposes in a round: the validators take turns, by ascending key. `None` without any.
pub fn proposer(validators: &[AuthorKey], height: u64, round: u32) -> Option<AuthorKey> {
    let turn = height.saturating_sub(1).checked_add(u64::from(round))?;
    let at = turn.checked_rem(validators.len() as u64)?;
    validators.get(usize::try_from(at).ok()?).copied()
}

impl core::Context for Ctx {
    type Address = Address;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = core::LinearTimeouts;
    type Value = Value;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Scheme;

    #[expect(clippy::indexing_slicing, reason = "no height is started without validators")]
    fn select_proposer<'a>(
        &self,
        validators: &'a ValidatorSet,
        height: Height,
        round: Round,
    ) -> &'a Validator {
        let turn =
            height.0.saturating_sub(1).saturating_add(u64::from(round.as_u32().unwrap_or(0)));
        let at = turn.checked_rem(validators.0.len() as u64).unwrap_or(0);
        &validators.0[usize::try_from(at).unwrap_or(0)]
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: Value,
        pol_round: Round,
        by: Address,
    ) -> Proposal {
        Proposal { height, round, value, pol_round, by }
    }

    fn new_prevote(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<CheckpointId>,
        by: Address,
    ) -> Vote {
        Vote { height, round, kind: core::VoteType::Prevote, value, by }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<CheckpointId>,
        by: Address,
    ) -> Vote {
        Vote { height, round, kind: core::VoteType::Precommit, value, by }
    }
}
