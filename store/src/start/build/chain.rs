//! Genesis and the chain of checkpoints of a start file.

use quipu_merge::{
    Certified, Checkpoint, CutBlock, CutNumber, EventId, MAX_PROOF_STEPS, ParsedEvent, ProofStart,
    ProofStep, SignedEvent, Trust, admit_genesis, check_chain,
};

use super::super::format::{GenesisRecord, StepRecord};
use super::super::frames::Tag;
use super::super::{StartError, StartOptions};
use super::{Build, Input};
use crate::certify::records;
use crate::certify::{CertifiedCheckpoint, number_of};
use crate::schema::{Family, checkpoints};

/// Most bytes of checkpoints, certificates and lists that a chain has.
pub const MAX_CHAIN_LEN: usize = 64 << 20;

/// What everything else is checked against.
pub struct Head {
    /// The first event and its body.
    pub genesis: SignedEvent,
    pub genesis_body: Vec<u8>,
    /// The checkpoint that the store starts from, and the heads of its cut.
    pub last: Certified,
    pub cut: CutBlock,
    /// All checkpoints that are known: how many events each certifies, by the number of its cut.
    pub sizes: Vec<(CutNumber, u64)>,
    /// What is to be kept of them.
    kept: Vec<CertifiedCheckpoint>,
    before: Vec<Checkpoint>,
}

impl Head {
    /// Reads and checks it.
    pub fn read(input: &mut Input<'_>, options: &StartOptions) -> Result<Self, StartError> {
        let GenesisRecord { event, body } = GenesisRecord::decode(&input.expect(Tag::Genesis)?)?;
        let found = EventId::of(&event);
        if let Some(expected) = options.ledger.filter(|expected| *expected != found) {
            return Err(StartError::OtherLedger { expected, found });
        }
        let genesis = ParsedEvent::decode(&event).and_then(ParsedEvent::verify)?;
        admit_genesis(&genesis, &body)?;
        let (steps, cuts) = read_steps(input)?;
        let start = ProofStart::Genesis { event, body: body.clone() };
        let certified = check_chain(&start, &steps, Trust::Genesis(found))?;
        let mut kept = Vec::with_capacity(certified.len());
        let mut sizes = Vec::new();
        for ((step, cut), certified) in steps.iter().zip(cuts).zip(certified) {
            let Certified { checkpoint, certificate, validators } = certified;
            if cut.seal().0 != checkpoint.cut {
                let height = checkpoint.height;
                let what = format!("the heads of checkpoint {height} are others");
                return Err(StartError::contradiction(what));
            }
            let known = step.before.iter().chain([&checkpoint]);
            sizes.extend(known.map(|known| (number_of(known.height), known.size)));
            kept.push(CertifiedCheckpoint { checkpoint, certificate, cut, validators });
        }
        let before = steps.into_iter().filter_map(|step| step.before).collect();
        let Some(last) = kept.last() else { return Err(StartError::corrupt("no checkpoint")) };
        let cut = last.cut.clone();
        let last = Certified {
            checkpoint: last.checkpoint.clone(),
            certificate: last.certificate.clone(),
            validators: last.validators.clone(),
        };
        Ok(Self { genesis, genesis_body: body, last, cut, sizes, kept, before })
    }

    /// The number of the cut that the store starts from.
    pub fn number(&self) -> CutNumber {
        number_of(self.last.checkpoint.height)
    }

    /// Whether an event at a place of the log can be of the cut with this number, by the checkpoints that
    /// are known.
    pub fn fits(&self, index: u64, number: CutNumber) -> bool {
        let at = self.sizes.partition_point(|(_, size)| *size <= index);
        let holds = self.sizes.get(at).is_some_and(|(first, _)| number <= *first);
        let before = at.checked_sub(1).and_then(|at| self.sizes.get(at));
        holds && before.is_none_or(|(last, _)| *last < number)
    }
}

fn read_steps(input: &mut Input<'_>) -> Result<(Vec<ProofStep>, Vec<CutBlock>), StartError> {
    let (mut steps, mut cuts, mut len) = (Vec::new(), Vec::new(), 0);
    while let Some(content) = input.take(Tag::Step)? {
        len += content.len();
        if len > MAX_CHAIN_LEN {
            return Err(StartError::TooMuch { what: "bytes of checkpoints", limit: MAX_CHAIN_LEN });
        }
        if steps.len() == MAX_PROOF_STEPS {
            return Err(StartError::TooMuch { what: "checkpoints", limit: MAX_PROOF_STEPS });
        }
        let StepRecord { step, cut } = StepRecord::decode(&content)?;
        steps.push(step);
        cuts.push(cut);
    }
    Ok((steps, cuts))
}

impl Build<'_> {
    /// Writes the checkpoints.
    pub fn write_head(&mut self) -> Result<(), StartError> {
        for before in std::mem::take(&mut self.head.before) {
            let key = checkpoints::kept(before.height, records::Part::Header);
            let header = before.encode().map_err(StartError::Corrupt)?;
            self.out.put(Family::Final, &key, &header)?;
        }
        let genesis = &self.head.genesis_body;
        let mut validators = match quipu_merge::Body::decode(genesis) {
            Ok(quipu_merge::Body::Genesis(genesis)) => genesis.first_validators(),
            _ => Vec::new(),
        };
        for kept in std::mem::take(&mut self.head.kept) {
            let height = kept.height();
            for (part, bytes) in records::parts(&kept)? {
                self.out.put(Family::Final, &checkpoints::kept(height, part), &bytes)?;
            }
            if kept.validators.keys() != validators {
                self.out.put(Family::Final, &checkpoints::turn(height), &[])?;
                validators = kept.validators.keys().to_vec();
            }
        }
        Ok(())
    }
}
