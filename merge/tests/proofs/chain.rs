//! The way from what is trusted: whatever is not certified leads nowhere.

use quipu_merge::{
    CertificateError, Checkpoint, CheckpointId, Claim, EventId, Height, MAX_PROOF_STEPS, Micros,
    Proof, ProofError, ProofStart, StepFault, Trust, check_chain,
};

use super::world::World;
use super::{LAST, SETS, show};

fn faulty(proof: &Proof, trust: Trust) -> (u64, StepFault) {
    match proof.check(trust) {
        Err(ProofError::Checkpoint { height, fault }) => (height.0, fault),
        other => panic!("{other:?}"),
    }
}

fn to(world: &World, height: u64, through: &[u64]) -> (Proof, Trust) {
    world.proof(0, height, through, world.event_claim(0, height))
}

#[test]
fn only_turning_points_are_needed() {
    let world = World::new(SETS);
    let (proof, _) = to(&world, LAST, &[]);
    let heights = |proof: &Proof| {
        let step = |step: &quipu_merge::ProofStep| {
            (step.checkpoint.height.0, step.before.is_some(), step.validators.is_some())
        };
        proof.steps.iter().map(step).collect::<Vec<_>>()
    };
    assert_eq!(heights(&proof), [(1, false, true), (4, true, true), (6, true, false)]);
    let (proof, trust) = to(&world, LAST, &[2, 3, 5]);
    let all = [(1, false, true), (2, false, false), (3, false, false), (4, false, true)];
    assert_eq!(heights(&proof), [&all[..], &[(5, false, false), (6, false, false)]].concat());
    show(&proof, trust).unwrap();
}

/// A checkpoint names 1,024 at most, and so many precommits are the most of a certificate.
#[test]
fn a_genesis_may_name_more_validators_than_a_checkpoint() {
    let many: Vec<_> = (0..1025).collect();
    let (most, few) = (&many[..1024], &[0, 1, 2, 3][..]);
    let world = World::new(&[&many, most, few]);
    for through in [&[][..], &[1]] {
        let (proof, trust) = to(&world, 2, through);
        show(&proof, trust).unwrap();
        let named: Vec<_> = proof.steps.iter().map(|step| step.validators.is_some()).collect();
        assert_eq!(named, [true, true]);
    }
    let (mut proof, trust) = to(&world, 1, &[]);
    proof.steps[0].validators = None;
    assert_eq!(faulty(&proof, trust), (1, StepFault::Validators));
}

#[test]
fn a_chain_tells_what_is_certified_on_the_way() {
    let world = World::new(SETS);
    for (start, through) in [(0, &[][..]), (0, &[2, 3, 5]), (2, &[3])] {
        let (proof, trust) = world.proof(start, LAST, through, world.event_claim(0, LAST));
        let chain = check_chain(&proof.start, &proof.steps, trust).unwrap();
        let heights: Vec<_> = proof.steps.iter().map(|step| step.checkpoint.height.0).collect();
        let expected: Vec<_> = heights.iter().map(|height| world.at(*height).clone()).collect();
        assert_eq!(chain, expected);
        // It fails as the proof does.
        let mut short = proof.clone();
        short.steps.remove(0);
        let refused = check_chain(&short.start, &short.steps, trust);
        assert_eq!(refused.err(), short.check(trust).err());
    }
    let (start, trust) = world.start(0);
    assert_eq!(check_chain(&start, &[], trust), Err(ProofError::NoCheckpoint));
    let other = check_chain(&start, &[], Trust::Genesis(EventId([1; 32])));
    assert_eq!(other, Err(ProofError::OtherLedger(world.ledger())));
}

#[test]
fn the_start_must_be_what_is_trusted() {
    let world = World::new(SETS);
    let (proof, _) = to(&world, 3, &[]);
    let other = ProofError::OtherLedger(world.ledger());
    assert_eq!(proof.check(Trust::Genesis(EventId([1; 32]))), Err(other));
    assert_eq!(proof.check(Trust::Checkpoint(world.id(1))), Err(ProofError::OtherCheckpoint));
    let (proof, _) = world.proof(2, 3, &[], world.event_claim(0, 3));
    assert_eq!(proof.check(Trust::Checkpoint(world.id(3))), Err(ProofError::OtherCheckpoint));
    assert_eq!(proof.check(Trust::Genesis(world.ledger())), Err(ProofError::NotFromGenesis));
    let swapped = Proof {
        start: ProofStart::Checkpoint {
            checkpoint: world.at(2).checkpoint.clone(),
            validators: world.validators(&[0]),
        },
        ..proof
    };
    let error = swapped.check(Trust::Checkpoint(world.id(2))).unwrap_err();
    assert!(matches!(error, ProofError::Start(_)), "{error}");
    for body in [Vec::new(), World::new(&[&[1]]).body] {
        let (mut proof, trust) = to(&world, 3, &[]);
        let event = world.events[0].bytes().to_vec();
        proof.start = ProofStart::Genesis { event, body };
        assert!(matches!(proof.check(trust), Err(ProofError::Start(_))));
    }
}

#[test]
fn without_validators_or_checkpoints_nothing_is_shown() {
    let world = World::new(&[&[]]);
    let (start, trust) = world.start(0);
    let claim = Claim::Event { event: world.events[0].bytes().to_vec(), index: 0, path: vec![] };
    let proof = Proof { start, steps: vec![], claim: claim.clone() };
    assert_eq!(proof.check(trust), Err(ProofError::NoValidators));
    let world = World::new(&[&[0]]);
    let (start, trust) = world.start(0);
    assert_eq!(Proof { start, steps: vec![], claim }.check(trust), Err(ProofError::NoCheckpoint));
}

#[test]
fn a_change_of_validators_cannot_be_left_out() {
    let world = World::new(SETS);
    // The key that certified height 1 alone is one of four at height 3. Its precommit for what
    // never got a certificate looks like one to those who do not know of the change.
    let real = &world.at(3).checkpoint;
    let forged = Checkpoint { root: [6; 32], ..real.clone() };
    let (mut proof, trust) = to(&world, 3, &[]);
    proof.steps.remove(0);
    let step = &mut proof.steps[0];
    step.certificate = world.sign(&forged, &[0]);
    step.checkpoint = forged.clone();
    step.validators = Some(world.at(3).validators.clone());
    assert_eq!(faulty(&proof, trust), (3, StepFault::UnshownChange));
    proof.steps[0].before = None;
    assert_eq!(faulty(&proof, trust), (3, StepFault::Before));
    // A checkpoint before that hides the change is not the one that the forged one follows.
    let unchanged = Checkpoint {
        validators: world.validators(&[0]).seal().0,
        ..world.at(2).checkpoint.clone()
    };
    proof.steps[0].before = Some(unchanged);
    assert_eq!(faulty(&proof, trust), (3, StepFault::Prev));
    // With the change, one signature is too few.
    let (mut proof, trust) = to(&world, 3, &[]);
    let step = &mut proof.steps[1];
    step.certificate = world.sign(&forged, &[0]);
    step.checkpoint = forged;
    let few = CertificateError::TooFew { signed: 1, validators: 4 };
    assert_eq!(faulty(&proof, trust), (3, StepFault::Certificate(few)));
}

#[test]
fn every_step_must_follow_and_be_certified() {
    let world = World::new(SETS);
    let check = |at: usize, change: &dyn Fn(&mut Proof)| {
        let (mut proof, trust) = to(&world, LAST, &[2]);
        change(&mut proof);
        let (height, fault) = faulty(&proof, trust);
        assert_eq!(height, proof.steps[at].checkpoint.height.0, "{fault}");
        fault
    };
    assert_eq!(check(3, &|p| p.steps[3].before = None), StepFault::Before);
    let superfluous = world.at(1).checkpoint.clone();
    assert_eq!(check(1, &|p| p.steps[1].before = Some(superfluous.clone())), StepFault::Before);
    assert_eq!(check(0, &|p| p.steps[0].validators = None), StepFault::Validators);
    let same = world.validators(&[0, 1, 2, 3]);
    assert_eq!(check(1, &|p| p.steps[1].validators = Some(same.clone())), StepFault::Validators);
    assert_eq!(check(2, &|p| p.steps[2].validators = Some(same.clone())), StepFault::Validators);
    let back = |p: &mut Proof| {
        p.steps.remove(0);
        let first = p.steps[0].clone();
        p.steps.insert(1, first);
    };
    assert!(matches!(check(0, &back), StepFault::Before));
    let twice = |p: &mut Proof| p.steps[1] = p.steps[0].clone();
    assert_eq!(check(1, &twice), StepFault::Height(Height(1)));
    let strangers = |p: &mut Proof| {
        p.steps[1].certificate = world.sign(&p.steps[1].checkpoint, &[0, 1, 4]);
    };
    let stranger = CertificateError::NotValidator(super::author(&world.keys[4]));
    assert_eq!(check(1, &strangers), StepFault::Certificate(stranger));
    let changed = |change: &dyn Fn(&mut Checkpoint)| {
        check(1, &|p| {
            change(&mut p.steps[1].checkpoint);
            p.steps[1].certificate = world.sign(&p.steps[1].checkpoint, &[0, 1, 2, 3]);
        })
    };
    assert_eq!(changed(&|c| c.prev = Some(CheckpointId([1; 32]))), StepFault::Prev);
    assert_eq!(changed(&|c| c.size = 1), StepFault::Shrinks);
    assert_eq!(changed(&|c| c.time = Micros(1)), StepFault::Shrinks);
    let foreign = EventId([1; 32]);
    assert_eq!(changed(&|c| c.ledger = foreign), StepFault::ForeignLedger(foreign));
}

#[test]
fn the_number_of_steps_is_limited() {
    let world = World::new(SETS);
    let (mut proof, _) = to(&world, 1, &[]);
    let step = proof.steps[0].clone();
    proof.steps = vec![step.clone(); MAX_PROOF_STEPS];
    let bytes = proof.encode().unwrap();
    assert_eq!(Proof::decode(&bytes).as_ref(), Ok(&proof));
    proof.steps.push(step);
    assert!(proof.encode().is_err());
    // The file itself says how many there are: the head of the list is the only place.
    let head = [0x99, 0x40, 0x00];
    let place = bytes.windows(3).position(|window| window == head).unwrap();
    let mut more = bytes.clone();
    more[place + 2] = 1;
    assert!(matches!(Proof::decode(&more), Err(ProofError::Malformed(_))));
}
