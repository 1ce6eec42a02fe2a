//! Lies about what is certified: checkpoints, branches, events with control operations.

use quipu_merge::{EventId, ProofError, StepFault};

use super::super::format::{GenesisRecord, LaneRecord, ListedRecord, LogEvent, StepRecord, Totals};
use super::super::frames::Tag;
use super::super::{StartError, StartOptions};
use super::lies::{check, contradiction, corrupt, dot, event, lie, log_event, not_in_log, state};
use super::world::{Frames, OPTIONS, World, lane, listed, of_kind, step};

fn chain(error: &StartError) -> bool {
    matches!(error, StartError::Chain(_))
}

fn log(error: &StartError) -> bool {
    matches!(error, StartError::Log)
}

fn of_genesis(change: fn(&mut GenesisRecord)) -> impl Fn(&mut Frames) {
    move |frames| {
        let content = &mut *of_kind(frames, Tag::Genesis)[0];
        let mut record = GenesisRecord::decode(content).unwrap();
        change(&mut record);
        *content = record.encode();
    }
}

fn of_step(at: usize, change: fn(&mut StepRecord)) -> impl Fn(&mut Frames) {
    move |frames| step(frames, at, change)
}

fn of_lane(at: usize, change: fn(&mut LaneRecord)) -> impl Fn(&mut Frames) {
    move |frames| lane(frames, at, change)
}

fn of_control(nth: usize, change: fn(&mut ListedRecord)) -> impl Fn(&mut Frames) {
    move |frames| listed(frames, Tag::Control, nth, change)
}

fn of_redacted(change: fn(&mut ListedRecord)) -> impl Fn(&mut Frames) {
    move |frames| listed(frames, Tag::Redacted, 0, change)
}

/// Where a frame of a kind is.
fn place(frames: &Frames, tag: Tag, nth: usize) -> usize {
    let places = (0..).zip(frames.iter()).filter(|(_, (of, _))| *of == tag);
    places.map(|(at, _)| at).nth(nth).unwrap()
}

fn none(tag: Tag) -> impl Fn(&mut Frames) {
    move |frames| frames.retain(|(of, _)| *of != tag)
}

fn without(tag: Tag, nth: usize) -> impl Fn(&mut Frames) {
    move |frames| drop(frames.remove(place(frames, tag, nth)))
}

fn twice(tag: Tag, nth: usize) -> impl Fn(&mut Frames) {
    move |frames| {
        let at = place(frames, tag, nth);
        frames.insert(at, frames[at].clone());
    }
}

#[test]
fn about_the_ledger() {
    let world = World::new();
    let other = EventId([1; 32]);
    let options = StartOptions { ledger: Some(other), ..OPTIONS };
    let refused = world.start_with(&world.frames, &options).map(drop);
    assert!(matches!(refused, Err(StartError::OtherLedger { expected, .. }) if expected == other));
    let options = StartOptions { ledger: Some(world.source.id()), ..OPTIONS };
    assert!(world.start_with(&world.frames, &options).is_ok());
    let one_key_more = |frames: &mut Frames| {
        let content = &mut *of_kind(frames, Tag::End)[0];
        let totals = Totals::decode(content).unwrap();
        *content = Totals { keys: totals.keys + 1, ..totals }.encode();
    };
    let unsigned = of_genesis(|genesis| *genesis.event.last_mut().unwrap() ^= 1);
    let lies = vec![
        lie("an unsigned genesis", unsigned, event),
        lie("another body of genesis", of_genesis(|genesis| genesis.body.push(0)), event),
        lie("how much there is", one_key_more, contradiction),
    ];
    check(&world, lies);
}

#[test]
fn about_checkpoints_and_the_log() {
    let world = World::new();
    let unshown = |error: &StartError| {
        let unshown = StepFault::UnshownChange;
        matches!(error, StartError::Chain(ProofError::Checkpoint { fault, .. }) if *fault == unshown)
    };
    let no_checkpoint =
        |error: &StartError| matches!(error, StartError::Chain(ProofError::NoCheckpoint));
    let unsigned = of_step(1, |record| record.step.certificate.signatures.clear());
    let other_heads = |frames: &mut Frames| {
        let mut other = None;
        step(frames, 0, |record| other = Some(record.cut.clone()));
        step(frames, 1, |record| record.cut = other.unwrap());
    };
    let other_peaks = |frames: &mut Frames| of_kind(frames, Tag::Peaks)[0][0] ^= 1;
    let fewer_peaks = |frames: &mut Frames| of_kind(frames, Tag::Peaks)[0].truncate(32);
    let lies = vec![
        lie("no change of validators", |frames| drop(frames.remove(1)), unshown),
        lie("no certificate", unsigned, chain),
        lie("another state", of_step(1, |record| record.step.checkpoint.state = [0; 32]), chain),
        lie("other heads", other_heads, contradiction),
        lie("no checkpoint", none(Tag::Step), no_checkpoint),
        lie("hashes of the log", other_peaks, log),
        lie("fewer hashes of the log", fewer_peaks, log),
    ];
    check(&world, lies);
}

/// Lane 0 is the source's own; 1 and 2 are the hand's, of which the shorter leaves the other.
fn world_with_branches() -> World {
    let world = World::new();
    assert_eq!(of_kind(&mut world.frames.clone(), Tag::Lane).len(), 3);
    world
}

#[test]
fn about_the_last_events_of_branches() {
    let world = world_with_branches();
    let tip = |at: usize, tip: fn(&World) -> LogEvent| {
        let world = &world;
        move |frames: &mut Frames| lane(frames, at, |lane| lane.tip = tip(world))
    };
    let earlier = tip(1, |world| log_event(world, world.by_hand[2]));
    let of_another_branch = tip(2, |world| log_event(world, world.by_hand[3]));
    let of_another_author = tip(2, |world| log_event(world, world.source.heads(9)[0]));
    let lies = vec![
        lie("an earlier last event", earlier, contradiction),
        lie("the last event of another branch", of_another_branch, contradiction),
        lie("an event of another author", of_another_author, contradiction),
        lie(
            "an event that is not certified",
            of_lane(1, |lane| lane.tip.path[0][0] ^= 1),
            not_in_log,
        ),
        lie("another place in the log", of_lane(1, |lane| lane.tip.index -= 1), not_in_log),
        lie("no event", of_lane(1, |lane| lane.tip.event.clear()), event),
        lie(
            "a number that the checkpoints refute",
            of_lane(1, |lane| lane.tip.number -= 1),
            contradiction,
        ),
    ];
    check(&world, lies);
}

#[test]
fn about_where_branches_leave_others() {
    let world = world_with_branches();
    let swapped = |frames: &mut Frames| {
        let at = place(frames, Tag::Lane, 0);
        frames.swap(at, at + 1);
    };
    let leaves_none = of_lane(2, |lane| (lane.leaves, lane.forks) = (None, None));
    let leaves_later = of_lane(1, |lane| (lane.leaves, lane.forks) = (Some(dot(2, 2)), None));
    let leaves_end = of_lane(2, |lane| lane.leaves = Some(dot(1, 4)));
    let leaves_another_author = of_lane(2, |lane| lane.leaves = Some(dot(0, 2)));
    let uncertified = of_lane(2, |lane| lane.forks = Some((99, Some(99))));
    let lies = vec![
        lie("a branch less", without(Tag::Lane, 2), contradiction),
        lie("a branch twice", twice(Tag::Lane, 2), contradiction),
        lie("no branches", none(Tag::Lane), contradiction),
        lie("branches in another order", swapped, contradiction),
        lie("a branch that leaves none", leaves_none, contradiction),
        lie("a branch that leaves another author's", leaves_another_author, contradiction),
        lie("a branch that leaves a later one", leaves_later, contradiction),
        lie("a branch that leaves another at its end", leaves_end, contradiction),
        lie("a number that is not certified", uncertified, contradiction),
    ];
    check(&world, lies);
}

/// A grant, a validator and a redact.
fn world_with_control_events() -> World {
    let world = World::new();
    assert_eq!(of_kind(&mut world.frames.clone(), Tag::Control).len(), 3);
    world
}

#[test]
fn about_which_control_events_there_are() {
    let world = world_with_control_events();
    let data_among_them = |frames: &mut Frames| {
        let at = place(frames, Tag::Redacted, 0);
        let redacted = frames[at].1.clone();
        frames.insert(at, (Tag::Control, redacted));
    };
    let nobody_redacts = |frames: &mut Frames| {
        listed(frames, Tag::Redacted, 0, |record| {
            record.event = log_event(&world, world.by_hand[0]);
            record.dot.seq.0 = 1;
            record.body.clear();
        });
    };
    let lies = vec![
        lie("a grant less", without(Tag::Control, 0), state),
        lie("a validator less", without(Tag::Control, 1), state),
        lie("a redact less", without(Tag::Control, 2), contradiction),
        lie("a redacted event less", without(Tag::Redacted, 0), contradiction),
        lie("twice", twice(Tag::Control, 0), contradiction),
        lie("data among them", data_among_them, contradiction),
        lie("an event that nobody redacts", nobody_redacts, contradiction),
    ];
    check(&world, lies);
}

#[test]
fn about_what_control_events_are() {
    let world = world_with_control_events();
    let other_body = of_control(0, |record| *record.body.last_mut().unwrap() ^= 1);
    let beyond = of_control(2, |record| record.clock[1].seq.0 = 99);
    let without_itself = of_control(2, |record| record.clock[0].seq.0 -= 1);
    let unseen = of_control(2, |record| record.clock.truncate(1));
    let no_branch = of_control(2, |record| record.clock.push(dot(9, 1)));
    let clock_of_redacted = of_redacted(|record| record.clock.push(dot(0, 1)));
    let lies = vec![
        lie("another body", other_body, event),
        lie("no body", of_control(0, |record| record.body.clear()), event),
        lie("another redacted body", of_redacted(|record| record.body.push(0)), event),
        lie("a clock beyond the cut", beyond, contradiction),
        lie("a clock without itself", without_itself, contradiction),
        lie("a clock that has not seen what is redacted", unseen, contradiction),
        lie("a clock of no branch", no_branch, contradiction),
        lie("a clock of a redacted event", clock_of_redacted, corrupt),
        lie("another place", of_control(2, |record| record.dot.seq.0 += 1), contradiction),
        lie("another branch", of_control(2, |record| record.dot.lane.0 = 1), contradiction),
        lie("void", of_control(2, |record| record.event.void = true), contradiction),
        lie("not in the log", of_control(2, |record| record.event.path[0][0] ^= 1), not_in_log),
    ];
    check(&world, lies);
}
