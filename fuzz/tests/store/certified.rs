//! Certified cuts: random histories, certified at random, on several stores that hear of events and
//! certificates in different orders, against the model with the same certified cuts.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use quipu_fuzz::{Dice, History, Model, ModelCut, Shape, log_root};
use quipu_merge::{
    AuthorKey, Certificate, Checkpoint, CheckpointId, Cut, CutBlock, CutExpression, EventId,
    Height, LeafKind, Micros, Round, StateProof, ValidatorsBlock, Vote, VoteType, check_inclusion,
    event_leaf_hash, prove_inclusion,
};
use quipu_store::{AcceptError, Acceptance, CertifiedCheckpoint, DeriveError, Divergence, Ledger};
use serde_json::json;

use crate::compare::{check_certified, cuts, without_values};
use crate::files::{Archive, Place, import, merge, relaxed, seeds};

/// The key of an author of a generated history.
fn key_of(author: AuthorKey) -> Option<SigningKey> {
    let keys = (1..=8).map(|number| SigningKey::from_bytes(&[number; 32]));
    keys.into_iter().find(|key| key.verifying_key().to_bytes() == author.0)
}

/// Has as many validators as have keys vote for a checkpoint.
fn certify(checkpoint: &Checkpoint, validators: &[AuthorKey]) -> Option<Certificate> {
    let (id, _) = checkpoint.seal().unwrap();
    let (height, round) = (checkpoint.height, Round(0));
    let vote = Vote {
        ledger: checkpoint.ledger,
        height,
        round,
        vote_type: VoteType::Precommit,
        value: Some(id),
    };
    let signatures = validators.iter().filter_map(|validator| {
        let key = key_of(*validator)?;
        Some((*validator, vote.sign(&key).unwrap()))
    });
    let signatures = signatures.collect::<Vec<_>>();
    let enough = 3 * signatures.len() > 2 * validators.len();
    enough.then_some(Certificate { checkpoint: id, height, round, signatures })
}

/// The chain of checkpoints over these cuts, as the model describes them.
fn chain(model: &Model, certified: &[Vec<EventId>]) -> Vec<CertifiedCheckpoint> {
    let genesis = model.order(&ModelCut::All, &[])[0];
    let mut validators = model.validators(&ModelCut::Heads(vec![genesis]), &[]);
    let (mut chain, mut prev) = (Vec::new(), None::<CheckpointId>);
    for (number, heads) in certified.iter().enumerate() {
        let at = ModelCut::Heads(heads.clone());
        let (before, known) = (&certified[..number], &certified[..=number]);
        let log = model.order(&at, known);
        let next = model.next_validators(&at, before, validators.clone());
        let Ok(block) = ValidatorsBlock::new(next.clone()) else { break };
        let cut = CutBlock::new(heads.clone()).unwrap();
        let time = log.iter().map(|id| model.time(*id)).max().unwrap();
        let checkpoint = Checkpoint {
            ledger: genesis,
            height: Height(number as u64 + 1),
            prev,
            cut: cut.seal().0,
            size: log.len() as u64,
            root: log_root(&log),
            state: model.root(&at, known),
            validators: block.seal().0,
            time: Micros(time),
        };
        let Some(certificate) = certify(&checkpoint, &validators) else { break };
        prev = Some(certificate.checkpoint);
        chain.push(CertifiedCheckpoint { checkpoint, certificate, cut, validators: block });
        validators = next;
    }
    chain
}

/// What a store has heard of.
struct Replica {
    ledger: Ledger,
    held: BTreeSet<EventId>,
    accepted: usize,
}

struct Run<'h> {
    archive: Archive<'h>,
    certified: Vec<Vec<EventId>>,
    chain: Vec<CertifiedCheckpoint>,
}

impl Run<'_> {
    /// The cuts that should count: as far as they were accepted and all their events are held.
    fn counted(&self, replica: &Replica) -> &[Vec<EventId>] {
        let held = |heads: &&Vec<EventId>| heads.iter().all(|head| replica.held.contains(head));
        let count = self.certified[..replica.accepted].iter().take_while(held).count();
        &self.certified[..count]
    }

    fn check(&self, replica: &Replica, dice: &mut Dice, what: &str) {
        let model = self.archive.model(&replica.held);
        let counted = self.counted(replica);
        let status = replica.ledger.certification();
        assert_eq!(status.height.map_or(0, |height| height.0), counted.len() as u64, "{what}");
        assert_eq!(status.pending, (replica.accepted - counted.len()) as u64, "{what}");
        assert!(status.diverged.is_empty(), "{what}: {:?}", status.diverged);
        let mut cuts = cuts(&replica.ledger, &model, dice);
        cuts.extend(counted.last().map(|heads| ModelCut::Heads(heads.clone())));
        check_certified(&replica.ledger, &model, &cuts, counted, what);
        self.check_reading(replica, &model, counted, what);
    }

    /// Heights, places in the log, and what they prove.
    fn check_reading(
        &self,
        replica: &Replica,
        model: &Model,
        counted: &[Vec<EventId>],
        what: &str,
    ) {
        let snapshot = replica.ledger.snapshot().unwrap();
        let last = ModelCut::Heads(counted.concat());
        let log = if counted.is_empty() { Vec::new() } else { model.order(&last, counted) };
        assert_eq!(snapshot.certified_len(), log.len() as u64, "{what}");
        for (index, id) in (0..).zip(&log) {
            assert_eq!(snapshot.log_index(*id).unwrap(), Some(index), "{what}");
            assert_eq!(snapshot.log_entry(index).unwrap(), Some(*id), "{what}");
            let first = counted.iter().position(|heads| {
                heads.iter().any(|head| head == id || model.ancestors(*head).contains(id))
            });
            let height = Height(first.unwrap() as u64 + 1);
            assert_eq!(snapshot.certified_in(*id).unwrap(), Some(height), "{what}");
            let size = log.len() as u64;
            let proof = prove_inclusion(size, index, &snapshot.log_hashes()).unwrap();
            let leaf = (index, event_leaf_hash(*id));
            assert_eq!(check_inclusion(&proof, (size, log_root(&log)), leaf), Ok(()), "{what}");
        }
        for id in replica.held.iter().filter(|id| !log.contains(id)) {
            assert_eq!(snapshot.certified_in(*id).unwrap(), None, "{what}");
            assert_eq!(snapshot.log_index(*id).unwrap(), None, "{what}");
        }
        let mut headers = Vec::new();
        let note = |checkpoint: &Checkpoint| {
            headers.push(checkpoint.clone());
            true
        };
        snapshot.checkpoints(Height::FIRST, note).unwrap();
        let kept = self.chain[..counted.len()].iter();
        assert!(headers.iter().eq(kept.clone().map(|certified| &certified.checkpoint)), "{what}");
        for certified in kept {
            let height = certified.height();
            assert_eq!(snapshot.checkpoint(height).unwrap().as_ref(), Some(certified), "{what}");
            let cut = snapshot.find_cut(&CutExpression::Checkpoint(height.0)).unwrap();
            assert_eq!(cut, Cut::Heads(certified.cut.heads().to_vec()), "{what}");
        }
    }

    /// The state of every height proves each of its leaves, and that others are not there.
    fn check_proofs(&self, replica: &Replica, model: &Model, dice: &mut Dice, what: &str) {
        let snapshot = replica.ledger.snapshot().unwrap();
        let counted = self.counted(replica);
        for (number, heads) in counted.iter().enumerate() {
            let header = &self.chain[number].checkpoint;
            let leaves = model.leaves(&ModelCut::Heads(heads.clone()), &counted[..=number]);
            for leaf in leaves.iter().filter(|_| number + 1 == counted.len() || dice.chance(20)) {
                let kind = kind_of(leaf.kind);
                let proven = snapshot.prove_state(header.height, kind, &leaf.key).unwrap().unwrap();
                assert_eq!(proven.value.as_ref(), Some(&leaf.value), "{what}");
                check_proof(&proven.proof, header, kind, &leaf.key, Some(&leaf.value));
            }
            let kind = LeafKind::Counter;
            let absent = snapshot.prove_state(header.height, kind, b"nothing").unwrap().unwrap();
            assert_eq!(absent.value, None, "{what}");
            check_proof(&absent.proof, header, kind, b"nothing", None);
        }
        let beyond = Height(counted.len() as u64 + 1);
        assert_eq!(snapshot.prove_state(beyond, LeafKind::Set, b"k").unwrap(), None);
    }
}

fn check_proof(
    proof: &StateProof,
    header: &Checkpoint,
    kind: LeafKind,
    key: &[u8],
    value: Option<&[u8]>,
) {
    assert_eq!(proof.check(header.state, kind.key_hash(key), value), Ok(()));
}

fn kind_of(letter: u8) -> LeafKind {
    use LeafKind::{Counter, List, Member, Register, Set};
    let kinds = [Register, Counter, Set, List, Member];
    kinds.into_iter().find(|kind| kind.letter() == letter).unwrap()
}

fn run(seed: u64, shape: Shape) {
    let mut dice = Dice::seeded(seed);
    let history = History::generate(&mut dice, shape);
    let certified = history.certified(&mut dice);
    let chain = chain(history.model(), &certified);
    if chain.is_empty() {
        return;
    }
    let archive = Archive::new(&history, &mut dice);
    let run = Run { archive, certified, chain };
    let place = Place::new();
    let all = history.events().iter().map(|event| event.signed.id()).collect::<BTreeSet<_>>();
    let mut replicas = (0..2).map(|number| {
        let (heads, held) = run.archive.some_events(&mut dice);
        let file = run.archive.car(&heads, &held, &mut dice);
        let dir = place.path(&number.to_string());
        let (ledger, _) = relaxed().clone_file(dir, file, &mut |_, _| {}).unwrap();
        Replica { ledger, held, accepted: 0 }
    });
    let mut replicas = [replicas.next().unwrap(), replicas.next().unwrap()];
    for step in 0..14 {
        let at = dice.below(2);
        let what = format!("seed {seed}, step {step}, store {at}");
        if dice.chance(50) {
            if dice.chance(30) {
                let other = &replicas[1 - at];
                merge(&replicas[at].ledger, &other.ledger);
                // What counts there comes along.
                let (more, counted) = (other.held.clone(), run.counted(other).len());
                replicas[at].held.extend(more);
                replicas[at].accepted = replicas[at].accepted.max(counted);
            } else {
                let (heads, events) = run.archive.some_events(&mut dice);
                import(&replicas[at].ledger, run.archive.car(&heads, &events, &mut dice)).unwrap();
                replicas[at].held.extend(events);
            }
        } else {
            accept_next(&run, &mut replicas[at], &what);
        }
        if dice.chance(30) {
            replicas[at] = reopened(&place, at, &mut replicas);
        }
        run.check(&replicas[at], &mut dice, &what);
    }
    let heads = history.model().heads(&ModelCut::All);
    for (at, replica) in replicas.iter_mut().enumerate() {
        let what = format!("seed {seed}, store {at}, in the end");
        import(&replica.ledger, run.archive.car(&heads, &all, &mut dice)).unwrap();
        replica.held.clone_from(&all);
        while replica.accepted < run.chain.len() {
            accept_next(&run, replica, &what);
        }
        run.check(replica, &mut dice, &what);
        run.check_proofs(replica, &run.archive.model(&all), &mut dice, &what);
    }
    let dump = |replica: &Replica| {
        without_values(&json!(replica.ledger.snapshot().unwrap().dump(&[]).unwrap()))
    };
    assert_eq!(dump(&replicas[0]), dump(&replicas[1]), "seed {seed}");
}

/// Has a store accept the next checkpoint, which it derives itself where it has all events.
fn accept_next(run: &Run<'_>, replica: &mut Replica, what: &str) {
    let Some(certified) = run.chain.get(replica.accepted) else { return };
    let counts = run.counted(replica).len() == replica.accepted;
    let ledger = &replica.ledger;
    if counts {
        match ledger.derive(certified.cut.heads()) {
            Ok(derived) => {
                assert_eq!(derived.checkpoint, certified.checkpoint, "{what}");
                assert_eq!(derived.validators, certified.validators, "{what}");
                assert_eq!(derived.id, certified.id(), "{what}");
            }
            Err(DeriveError::Missing(event)) => assert!(!replica.held.contains(&event), "{what}"),
            Err(error) => panic!("{what}: {error}"),
        }
    }
    let outcome = ledger.accept(certified.clone()).unwrap();
    replica.accepted += 1;
    let counted = run.counted(replica).len() == replica.accepted;
    let expected = if counted { Acceptance::Counted } else { Acceptance::Pending };
    assert_eq!(outcome, expected, "{what}");
    let again = ledger.accept(certified.clone()).unwrap();
    let expected = if counted { Acceptance::Known } else { Acceptance::Pending };
    assert_eq!(again, expected, "{what}");
    if let Some(later) = run.chain.get(replica.accepted + 1) {
        let refused = ledger.accept(later.clone());
        assert!(matches!(refused, Err(AcceptError::Chain(_))), "{what}: {refused:?}");
    }
}

fn reopened(place: &Place, at: usize, replicas: &mut [Replica; 2]) -> Replica {
    let held = replicas[at].held.clone();
    let accepted = replicas[at].accepted;
    // A store is opened by one process alone, so it is closed before.
    let spare = place.path(&format!("spare-{at}"));
    let _ = std::fs::remove_dir_all(&spare);
    let other = Ledger::create(&spare, &quipu_store::NewLedger::default()).unwrap();
    drop(std::mem::replace(&mut replicas[at].ledger, other));
    let ledger = relaxed().open(place.path(&at.to_string())).unwrap();
    Replica { ledger, held, accepted }
}

#[test]
fn stores_are_the_model_with_the_same_certified_cuts() {
    for seed in seeds(0..60) {
        run(seed, Shape { authors: 4, events: 30 });
    }
}

#[test]
fn long_histories_are_certified() {
    for seed in seeds(2000..2012) {
        run(seed, Shape { authors: 6, events: 80 });
    }
}

/// A history with validators that all have keys, and its chain.
fn some_chain(from: u64, len: usize) -> (History, Vec<CertifiedCheckpoint>) {
    (from..)
        .find_map(|seed| {
            let mut dice = Dice::seeded(seed);
            let history = History::generate(&mut dice, Shape { authors: 4, events: 40 });
            let certified = history.certified(&mut dice);
            let chain = chain(history.model(), &certified);
            (chain.len() >= len).then_some((history, chain))
        })
        .unwrap()
}

#[test]
fn what_is_derived_otherwise_does_not_count_and_neither_does_what_follows() {
    let (history, chain) = some_chain(0, 2);
    let model = history.model();
    let genesis = model.order(&ModelCut::All, &[])[0];
    let validators = model.validators(&ModelCut::Heads(vec![genesis]), &[]);
    let mut dice = Dice::seeded(0);
    let archive = Archive::new(&history, &mut dice);
    let all = history.events().iter().map(|event| event.signed.id()).collect::<BTreeSet<_>>();
    let file = archive.car(&model.heads(&ModelCut::All), &all, &mut dice);
    let place = Place::new();
    let (ledger, _) = relaxed().clone_file(place.path("a"), file, &mut |_, _| {}).unwrap();
    let checkpoint = Checkpoint { state: [7; 32], ..chain[0].checkpoint.clone() };
    let certificate = certify(&checkpoint, &validators).unwrap();
    let wrong = CertifiedCheckpoint { checkpoint, certificate, ..chain[0].clone() };
    for _ in 0..2 {
        assert_eq!(ledger.accept(wrong.clone()).unwrap(), Acceptance::Diverged);
    }
    let derived = Some(Box::new(chain[0].checkpoint.clone()));
    let first = Divergence::Derived { certified: Box::new(wrong.clone()), derived };
    assert_eq!(ledger.certification().diverged, std::slice::from_ref(&first));
    // Whoever signed both: the first is kept.
    assert_eq!(ledger.accept(chain[0].clone()).unwrap(), Acceptance::Diverged);
    let other = Box::new(chain[0].clone());
    let second = Divergence::Certificates { kept: wrong.id(), other };
    assert!(ledger.accept(chain[1].clone()).is_err());
    drop(ledger);
    let ledger = relaxed().open(place.path("a")).unwrap();
    let status = ledger.certification();
    assert_eq!((status.height, status.pending), (None, 0));
    assert_eq!(status.diverged.len(), 2);
    assert!(status.diverged.contains(&first) && status.diverged.contains(&second));
    assert!(ledger.has_diverged());
    assert_eq!(ledger.accept(wrong).unwrap(), Acceptance::Diverged);
}

#[test]
fn of_two_certificates_the_first_is_kept() {
    let (history, chain) = some_chain(100, 1);
    let model = history.model();
    let genesis = model.order(&ModelCut::All, &[])[0];
    let validators = model.validators(&ModelCut::Heads(vec![genesis]), &[]);
    let mut dice = Dice::seeded(0);
    let archive = Archive::new(&history, &mut dice);
    let all = history.events().iter().map(|event| event.signed.id()).collect::<BTreeSet<_>>();
    let file = archive.car(&model.heads(&ModelCut::All), &all, &mut dice);
    let place = Place::new();
    let (ledger, _) = relaxed().clone_file(place.path("a"), file, &mut |_, _| {}).unwrap();
    assert_eq!(ledger.accept(chain[0].clone()).unwrap(), Acceptance::Counted);
    let checkpoint = Checkpoint { root: [7; 32], ..chain[0].checkpoint.clone() };
    let forged =
        Certificate { signatures: Vec::new(), ..certify(&checkpoint, &validators).unwrap() };
    let forged = CertifiedCheckpoint {
        checkpoint: checkpoint.clone(),
        certificate: forged,
        ..chain[0].clone()
    };
    assert!(matches!(ledger.accept(forged), Err(AcceptError::Chain(_))));
    assert!(!ledger.has_diverged());
    let certificate = certify(&checkpoint, &validators).unwrap();
    let other = CertifiedCheckpoint { checkpoint, certificate, ..chain[0].clone() };
    assert_eq!(ledger.accept(other.clone()).unwrap(), Acceptance::Diverged);
    let status = ledger.certification();
    let kept = chain[0].id();
    assert_eq!(status.height, Some(Height::FIRST));
    assert_eq!(status.diverged, [Divergence::Certificates { kept, other: Box::new(other) }]);
    assert_eq!(ledger.accept(chain[0].clone()).unwrap(), Acceptance::Known);
}
