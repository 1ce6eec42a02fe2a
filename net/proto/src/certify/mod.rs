//! Certifying checkpoints: validators agree on cuts of the history, by the Tendermint algorithm as
//! `malachite` has it (E. Buchman and others, [The latest gossip on BFT
//! consensus](https://arxiv.org/abs/1807.04938)).
//!
//! Writing and merging never wait for it.

mod certifier;
mod chain_sync;
mod context;
mod convert;
mod cosign;
mod due;
mod engine;
mod evidence;
mod interface;
mod keys;
mod limits;
mod log;
mod message;
mod parts;
mod peers;
mod proposing;
mod quorum;
mod recall;
mod receive;
mod reports;
mod restart;
mod running;
mod shell;
mod signed;
mod status;
mod task;
mod values;

pub use certifier::Certifier;
pub use chain_sync::CatchingUp;
pub use cosign::{COSIGNED_HEIGHTS, CosignOutput, Cosigned, Cosigning, Lines};
pub use engine::Step;
pub use evidence::{Evidence, EvidenceError, MAX_EVIDENCE_LEN};
#[doc(hidden)]
pub use interface::Sabotage;
pub use interface::{CertifyConfig, CertifyInput, CertifyOutput, CertifyStart, Log, Patience};
pub use keys::Keys;
pub use log::Mark;
pub use message::{
    AskProposal, CertifyMessage, Claim, MAX_CHECKPOINTS, MAX_CHECKPOINTS_LEN, MAX_REPORTED_HEADS,
    Proposed, Report, TipOf,
};
pub use parts::{Certified, CertifiedBytes, MAX_PARTS_LEN, Parts, PartsBytes};
pub use shell::Fault;
pub use signed::{Id, Polka, RoundProof, RoundVote, Signed, SignedProposal, SignedVote};
pub use status::{CertifyState, CertifyStatus, Divergence, Stopped};
pub use task::{CertifyAnswer, CertifyTask, Derived, Reports};
