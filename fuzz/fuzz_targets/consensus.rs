//! What certifies, among peers that say whatever they like: no message and no answer makes it panic
//! or go on without end, and it never signs two things for one step.
//!
//! The input is a list of steps, each a byte for its kind and some for its choices, as the functions
//! below read them. A choice that is 0 is what somebody honest would do.
#![no_main]
#![expect(clippy::indexing_slicing, reason = "slips of the target are to be loud")]

#[path = "consensus/validator.rs"]
mod validator;

use ed25519_dalek::Signer;
use libfuzzer_sys::fuzz_target;
use quipu_fuzz::Dice;
use quipu_merge::{AuthorKey, Certificate, CheckpointId, EventId, Height, Round, Vote, VoteType};
use quipu_proto::{
    AskProposal, Certified, CertifyAnswer, CertifyInput, CertifyMessage, CertifyTask, Channel,
    Claim, Derived, Id, MAX_REPORTED_HEADS, Message, Polka, Proposed, Report, RoundProof,
    RoundVote, Signed, SignedProposal, SignedVote, TipOf,
};
use validator::{LEDGER, SECRETS, Validator, key, parts};

/// Checking a signature takes its time, and an input is to take less than a second.
const MAX_STEPS: usize = 400;

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Dice::from_bytes(bytes);
    let mut validator = Validator::new(dice.below(4));
    (0..3).for_each(|other| connect(&mut validator, other));
    for _ in 0..MAX_STEPS {
        if dice.is_spent() {
            break;
        }
        step(&mut validator, &mut dice);
    }
});

fn step(validator: &mut Validator, dice: &mut Dice) {
    match dice.below(16) {
        0 => {
            // Up to ten seconds.
            validator.now += dice.below(256) as u64 * 40_000;
            validator.put(CertifyInput::Tick);
        }
        1 => answer(validator, dice),
        2 => said(validator, dice, vote),
        3 => said(validator, dice, proposal),
        4 => said(validator, dice, polka),
        5 => said(validator, dice, round_proof),
        6 => said(validator, dice, report),
        7 => said(validator, dice, claim),
        8 => said(validator, dice, tip),
        9 => said(validator, dice, checkpoints),
        10 => said(validator, dice, question),
        11 => {
            let other = dice.below(4);
            if dice.below(2) == 0 {
                connect(validator, other);
            } else {
                validator.put(CertifyInput::Disconnected(other_key(validator, other)));
            }
        }
        12 => {
            let count = dice.below(4);
            let heads = (0..count).map(|_| EventId([dice.below(4) as u8; 32])).collect();
            validator.put(CertifyInput::Heads(heads));
        }
        13 => durability(validator, dice),
        14 => {
            if dice.below(2) == 0 {
                let certified = certified(validator, &validator.kept, dice, validator.height());
                validator.put(CertifyInput::Counted(Box::new(certified)));
            } else {
                validator.put(CertifyInput::Vouched);
            }
        }
        _ => raw(validator, dice),
    }
}

fn connect(validator: &mut Validator, other: usize) {
    validator.put(CertifyInput::Connected(other_key(validator, other)));
}

/// The number of another validator.
fn other(validator: &Validator, number: usize) -> usize {
    (validator.me + 1 + number % 3) % SECRETS.len()
}

/// Three others, and a stranger.
fn other_key(validator: &Validator, number: usize) -> AuthorKey {
    if number == 3 { AuthorKey([1; 32]) } else { key(other(validator, number)) }
}

/// The log becomes durable later, or now; or the validator starts again.
fn durability(validator: &mut Validator, dice: &mut Dice) {
    match dice.below(4) {
        0 => validator.is_prompt = !validator.is_prompt,
        1 => validator.sync(validator.appended()),
        2 => validator.sync(validator.appended().min(dice.below(256) as u64)),
        _ => {
            validator.restart();
            (0..3).for_each(|other| connect(validator, other));
        }
    }
}

/// One of the tasks is answered.
fn answer(validator: &mut Validator, dice: &mut Dice) {
    let which = dice.below(validator.tasks.len().min(256));
    let Some(task) = validator.tasks.remove(which) else { return };
    let how = dice.below(8);
    let (ticket, answer) = match task {
        CertifyTask::Grows { ticket, .. } => (ticket, CertifyAnswer::Grows(how == 0)),
        CertifyTask::Choose { ticket, .. } => {
            let chosen = parts(&validator.kept, validator.height(), how as u8 % 4);
            (ticket, CertifyAnswer::Chosen((how < 5).then(|| Box::new(chosen))))
        }
        CertifyTask::Derive { ticket, .. } => (ticket, derived(how)),
        CertifyTask::Keep { ticket, certified } => {
            let answer = derived(how);
            if answer == CertifyAnswer::Derived(Derived::Same) {
                validator.kept.push(*certified);
            }
            (ticket, answer)
        }
        CertifyTask::Read { ticket, from, count, .. } => {
            let skip = usize::try_from(from.0.saturating_sub(1)).unwrap_or(usize::MAX);
            let some = validator.kept.iter().skip(skip).take(count).cloned().collect();
            (ticket, CertifyAnswer::Read(some))
        }
    };
    let answer = match how {
        6 => CertifyAnswer::NotDue,
        7 => CertifyAnswer::Failed,
        _ => answer,
    };
    validator.put(CertifyInput::Done(ticket, answer));
}

fn derived(how: usize) -> CertifyAnswer {
    match how {
        1 | 2 => CertifyAnswer::Derived(Derived::Lacks),
        3 => CertifyAnswer::Derived(Derived::Differs(None)),
        7 => CertifyAnswer::Failed,
        _ => CertifyAnswer::Derived(Derived::Same),
    }
}

/// Somebody says something; now and then it is passed on by another.
fn said(
    validator: &mut Validator,
    dice: &mut Dice,
    what: impl FnOnce(&Validator, &mut Dice, usize) -> CertifyMessage,
) {
    let who = dice.below(3);
    let message = what(validator, dice, other(validator, who));
    let from = if dice.below(16) == 15 { 3 - who } else { who };
    validator.receive(other_key(validator, from), message);
}

/// This height, or one near it.
fn height(validator: &Validator, dice: &mut Dice) -> u64 {
    let height = validator.height();
    match dice.below(8) {
        5 => height.saturating_sub(1).max(1),
        6 => height + 1,
        7 => height + 2,
        _ => height,
    }
}

/// A low round, seldom a high one. Only more validators than may lie get another near the last
/// round, whose messages no peer reads: there is room for all steps before it.
fn round(dice: &mut Dice) -> u32 {
    match dice.below(16) {
        15 => quipu_merge::MAX_ROUND - 10_000 - dice.below(2) as u32,
        14 => dice.below(256) as u32,
        round => round as u32 % 7,
    }
}

/// One of the checkpoints of a height, or none.
fn value(validator: &Validator, dice: &mut Dice, height: u64) -> Option<CheckpointId> {
    let number = dice.below(5) as u8;
    (number < 4).then(|| parts(&validator.kept, height, number).id())
}

/// Signs; now and then it is no signature.
fn sign(who: usize, message: &[u8], dice: &mut Dice) -> [u8; 64] {
    let mut signature = SECRETS[who].sign(message).to_bytes();
    if dice.below(16) == 15 {
        signature[dice.below(64)] ^= 1;
    }
    signature
}

fn sign_vote(
    who: usize,
    at: (u64, u32),
    precommit: bool,
    value: Option<CheckpointId>,
    dice: &mut Dice,
) -> [u8; 64] {
    let vote_type = if precommit { VoteType::Precommit } else { VoteType::Prevote };
    let (height, round) = (Height(at.0), Round(at.1));
    let vote = Vote { ledger: LEDGER, height, round, vote_type, value };
    vote.signing_bytes().map_or([0; 64], |message| sign(who, &message, dice))
}

fn signed_vote(validator: &Validator, dice: &mut Dice, who: usize) -> SignedVote {
    let (height, round) = (height(validator, dice), round(dice));
    let precommit = dice.below(2) == 1;
    let value = value(validator, dice, height);
    let signature = sign_vote(who, (height, round), precommit, value, dice);
    let (by, value) = (key(who), value.map(Id));
    SignedVote { height: Height(height), round, precommit, value, by, signature }
}

fn vote(validator: &Validator, dice: &mut Dice, who: usize) -> CertifyMessage {
    CertifyMessage::Vote(signed_vote(validator, dice, who))
}

fn proposal(validator: &Validator, dice: &mut Dice, who: usize) -> CertifyMessage {
    let (height, round) = (height(validator, dice), round(dice));
    let pol_round = dice.below(4).checked_sub(1).map(|before| before as u32);
    let parts = parts(&validator.kept, height, dice.below(4) as u8);
    // Usually whose turn it is; but not this validator, which signs for itself.
    let turn = ((height - 1 + u64::from(round)) % SECRETS.len() as u64) as usize;
    let who = if turn == validator.me { who } else { turn };
    let mut proposal = SignedProposal {
        height: Height(height),
        round,
        pol_round,
        value: parts.id(),
        by: key(who),
        signature: [0; 64],
    };
    proposal.signature = sign(who, &proposal.signing_bytes(LEDGER), dice);
    let parts = (dice.below(4) < 3).then(|| parts.encode());
    CertifyMessage::Proposal(Proposed { proposal, parts })
}

/// Some of the others, by the bits of a choice of which 0 is all.
fn some(validator: &Validator, dice: &mut Dice) -> Vec<usize> {
    let none = dice.below(8);
    (0..3).filter(|bit| none >> bit & 1 == 0).map(|bit| other(validator, bit)).collect()
}

fn polka(validator: &Validator, dice: &mut Dice, _: usize) -> CertifyMessage {
    let (height, round) = (height(validator, dice), round(dice));
    let value = parts(&validator.kept, height, dice.below(4) as u8).id();
    let signatures = some(validator, dice).into_iter().map(|who| {
        let signature = sign_vote(who, (height, round), false, Some(value), dice);
        Signed { by: key(who), signature }
    });
    let signatures = signatures.collect();
    CertifyMessage::Polka(Polka { height: Height(height), round, value, signatures })
}

fn round_proof(validator: &Validator, dice: &mut Dice, _: usize) -> CertifyMessage {
    let (height, round) = (height(validator, dice), round(dice));
    let leave = dice.below(2) == 1;
    let votes = some(validator, dice).into_iter().map(|who| {
        let precommit = leave ^ (dice.below(8) == 7);
        let value = value(validator, dice, height);
        let signature = sign_vote(who, (height, round), precommit, value, dice);
        RoundVote { precommit, value: value.map(Id), by: key(who), signature }
    });
    let votes = votes.collect();
    CertifyMessage::RoundProof(RoundProof { height: Height(height), round, leave, votes })
}

fn report(_: &Validator, dice: &mut Dice, _: usize) -> CertifyMessage {
    let count = if dice.below(16) == 15 { MAX_REPORTED_HEADS } else { 1 };
    let heads = vec![EventId([dice.below(4) as u8; 32]); count];
    CertifyMessage::Report(Report { heads })
}

fn claim(validator: &Validator, dice: &mut Dice, who: usize) -> CertifyMessage {
    let number = validator.starts.saturating_sub(dice.below(2) as u64);
    let height = Height(height(validator, dice));
    let yours = match dice.below(3) {
        0 => None,
        1 => validator.voted.clone(),
        _ => Some(signed_vote(validator, dice, who)),
    };
    CertifyMessage::Claim(Claim { number, height, yours })
}

fn tip(validator: &Validator, dice: &mut Dice, _: usize) -> CertifyMessage {
    let height = height(validator, dice);
    let id = parts(&validator.kept, height, dice.below(4) as u8).id();
    CertifyMessage::Tip(TipOf { height: Height(height), id })
}

/// A checkpoint on top of these, with the precommits of some of the others.
fn certified(validator: &Validator, kept: &[Certified], dice: &mut Dice, height: u64) -> Certified {
    let parts = parts(kept, height, dice.below(4) as u8);
    let round = round(dice);
    let mut signatures: Vec<_> = some(validator, dice)
        .into_iter()
        .map(|who| (key(who), sign_vote(who, (height, round), true, Some(parts.id()), dice)))
        .collect();
    signatures.sort_unstable();
    let (checkpoint, height) = (parts.id(), Height(height));
    let certificate = Certificate { checkpoint, height, round: Round(round), signatures };
    Certified { parts, certificate }
}

fn checkpoints(validator: &Validator, dice: &mut Dice, _: usize) -> CertifyMessage {
    let first = height(validator, dice);
    // The first stands on what is kept, each further one on the one before.
    let mut kept = validator.kept.clone();
    let mut some = Vec::new();
    for height in (first..).take((1 + dice.below(4)) % 4) {
        let one = certified(validator, &kept, dice, height);
        some.push(one.encode());
        kept.truncate(usize::try_from(height - 1).unwrap_or(usize::MAX));
        kept.push(one);
    }
    CertifyMessage::Checkpoints(some)
}

fn question(validator: &Validator, dice: &mut Dice, _: usize) -> CertifyMessage {
    let height = height(validator, dice);
    match dice.below(4) {
        0 => CertifyMessage::AskCheckpoints(height),
        1 => CertifyMessage::AskClaim(height),
        2 => CertifyMessage::AskCosigned(height),
        _ => {
            let (round, number) = (round(dice), dice.below(4) as u8);
            let value = parts(&validator.kept, height, number).id();
            let height = Height(height);
            CertifyMessage::AskProposal(AskProposal { height, round, value })
        }
    }
}

/// What somebody sends byte by byte.
fn raw(validator: &mut Validator, dice: &mut Dice) {
    let from = other_key(validator, dice.below(4));
    let channel = if dice.below(2) == 0 { Channel::Control } else { Channel::Sync };
    let len = dice.below(1 << 16);
    let mut bytes = Vec::new();
    while bytes.len() < len && !dice.is_spent() {
        bytes.push(dice.below(256) as u8);
    }
    let Ok(Some(message)) = Message::decode(channel, &bytes) else { return };
    assert_eq!(Message::decode(channel, &message.encode()).as_ref(), Ok(&Some(message.clone())));
    if let Message::Certify(message) = message {
        validator.receive(from, message);
    }
}
