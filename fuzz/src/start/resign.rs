//! What a forger signs: events of authors whose keys it has, and checkpoints as a few of the validators.

use ed25519_dalek::SigningKey;
use quipu_merge::{
    AuthorKey, BodyId, Certificate, Checkpoint, Height, Micros, Opening, OpeningId, ParsedEvent,
    Seq, Vote, VoteType,
};
use quipu_merge::{Content, CutBlock, SALT_LEN, ValidatorsBlock};

use super::forge::Means;
use super::{Field, Frame, StartFile};
use crate::dice::Dice;

impl StartFile {
    /// Changes an event and signs it again.
    pub(super) fn forge_event(&mut self, dice: &mut Dice, means: &Means) {
        let frame = self.frame(dice);
        let blocks = frame.events.iter_mut().chain(&mut frame.records).flatten();
        let blocks = blocks.filter_map(|field| match field {
            Field::Part(block) => ParsedEvent::decode(block).ok().map(|event| (block, event)),
            _ => None,
        });
        let mut blocks = blocks.collect::<Vec<_>>();
        let at = dice.below(blocks.len());
        let Some((block, event)) = blocks.get_mut(at) else { return };
        let mut event = event.event().clone();
        match dice.below(6) {
            0 => event.time = Micros(event.time.0 + 1),
            1 => event.body = BodyId::of(&[dice.below(256) as u8]),
            2 => event.seq = Seq(event.seq.0 + 1),
            3 => event.prev = None,
            4 => event.parents.clear(),
            _ => {
                if let Some(key) = dice.pick(&means.keys) {
                    event.author = author(key);
                }
            }
        }
        let key = means.keys.iter().find(|key| author(key) == event.author);
        let Some(key) = key.or_else(|| means.keys.first()) else { return };
        event.author = author(key);
        if let Ok(signed) = event.sign(key) {
            **block = signed.bytes().to_vec();
        }
    }

    /// Changes a checkpoint and has it certified by those that sign anything.
    pub(super) fn forge_step(&mut self, dice: &mut Dice, means: &Means) {
        let mut steps = self.frames.iter_mut().filter(|frame| frame.letter == b's');
        let count = dice.below(3);
        let Some(step) = steps.nth(count) else { return };
        let Some(parts) = Parts::of(step) else { return };
        let Parts { mut checkpoint, certificate, mut validators, mut cut } = parts;
        match dice.below(9) {
            0 => checkpoint.state = [dice.below(256) as u8; 32],
            1 => checkpoint.root = [dice.below(256) as u8; 32],
            2 => checkpoint.size = checkpoint.size.wrapping_add(1),
            3 => checkpoint.height = Height(checkpoint.height.0 + 1),
            4 => checkpoint.time = Micros(checkpoint.time.0 + 1),
            5 => checkpoint.prev = None,
            6 => {
                let mut keys = means.keys.iter().map(author).collect::<Vec<AuthorKey>>();
                keys.sort_unstable();
                keys.dedup();
                let Ok(block) = ValidatorsBlock::new(keys) else { return };
                checkpoint.validators = block.seal().0;
                validators = Some(block);
            }
            7 => {
                let Ok(block) = CutBlock::new(vec![checkpoint.ledger]) else { return };
                checkpoint.cut = block.seal().0;
                cut = block;
            }
            _ => {}
        }
        let Ok((id, header)) = checkpoint.seal() else { return };
        let round = certificate.round;
        let vote = Vote {
            ledger: checkpoint.ledger,
            height: checkpoint.height,
            round,
            vote_type: VoteType::Precommit,
            value: Some(id),
        };
        let mut signatures = certificate.signatures;
        match dice.below(4) {
            // Of others there are only the old signatures.
            0 => signatures.clear(),
            1 => signatures.truncate(dice.below(4)),
            _ => {}
        }
        for key in &means.keys {
            let Ok(signature) = vote.sign(key) else { return };
            signatures.retain(|(by, _)| *by != author(key));
            signatures.push((author(key), signature));
        }
        signatures.sort_unstable();
        let height = checkpoint.height;
        let certificate = Certificate { checkpoint: id, height, round, signatures };
        let Ok(certificate) = certificate.encode() else { return };
        let [
            Field::Part(of_header),
            Field::Part(of_certificate),
            _,
            Field::Part(of_validators),
            Field::Part(of_cut),
        ] = step.records[0].as_mut_slice()
        else {
            return;
        };
        *of_header = header;
        *of_certificate = certificate;
        *of_validators = validators.map(|block| block.encode()).unwrap_or_default();
        *of_cut = cut.encode();
    }

    /// Names the value of an item where its opening was, which anybody may lack.
    pub(super) fn turn_value(&mut self, dice: &mut Dice) {
        let mut chapters = self.frames.iter_mut().filter(|frame| frame.letter == b'k');
        let Some(Frame { events, records, .. }) = chapters.next() else { return };
        let author_of = |event: u64| {
            let block = events.get(usize::try_from(event).ok()?)?.last()?;
            let Field::Part(block) = block else { return None };
            Some(ParsedEvent::decode(block).ok()?.event().author)
        };
        let mut shown = Vec::new();
        for item in records {
            let [.., Field::Number(event), Field::Said(_), Field::Part(stored)] = item.as_slice()
            else {
                continue;
            };
            let id = author_of(*event).and_then(|author| id_of(author, stored));
            shown.extend(id.map(|id| (item, id)));
        }
        let at = dice.below(shown.len());
        if let Some((item, id)) = shown.get_mut(at) {
            item.pop();
            item.push(Field::Part(Vec::new()));
            item.push(Field::Bytes(id.0.to_vec()));
        }
    }
}

/// A checkpoint with what belongs to it.
struct Parts {
    checkpoint: Checkpoint,
    certificate: Certificate,
    validators: Option<ValidatorsBlock>,
    cut: CutBlock,
}

impl Parts {
    fn of(step: &Frame) -> Option<Self> {
        let [
            Field::Part(checkpoint),
            Field::Part(certificate),
            _,
            Field::Part(validators),
            Field::Part(cut),
        ] = step.records.first()?.as_slice()
        else {
            return None;
        };
        Some(Self {
            checkpoint: Checkpoint::decode(checkpoint).ok()?,
            certificate: Certificate::decode(certificate).ok()?,
            validators: ValidatorsBlock::decode(validators).ok(),
            cut: CutBlock::decode(cut).ok()?,
        })
    }
}

/// The id of an opening, as it is in a file.
fn id_of(author: AuthorKey, stored: &[u8]) -> Option<OpeningId> {
    let (kind, rest) = stored.split_first()?;
    if *kind == 0 {
        return Some(OpeningId::of(rest));
    }
    let (salt, content) = rest.split_first_chunk::<SALT_LEN>()?;
    let content = Content::Inline(content.to_vec());
    Some(Opening { author, salt: *salt, content }.seal().0)
}

fn author(key: &SigningKey) -> AuthorKey {
    AuthorKey(key.verifying_key().to_bytes())
}
