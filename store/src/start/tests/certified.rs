//! Lies about what is certified: checkpoints, branches, events with control operations.

use quipu_merge::{EventId, ProofError, StepFault};

use super::super::format::{GenesisRecord, ListedRecord, LogEvent, Totals};
use super::super::frames::Tag;
use super::super::{StartError, StartOptions};
use super::lies::{check, contradiction, corrupt, dot, event, lie, log_event, not_in_log, state};
use super::world::{Frames, OPTIONS, World, lane, listed, of_kind, step};

#[test]
fn about_the_ledger_and_its_checkpoints() {
    let world = World::new();
    let other = EventId([1; 32]);
    let options = StartOptions { ledger: Some(other), ..OPTIONS };
    let refused = world.start_with(&world.frames, &options).map(drop);
    assert!(matches!(refused, Err(StartError::OtherLedger { expected, .. }) if expected == other));
    let options = StartOptions { ledger: Some(world.source.id()), ..OPTIONS };
    assert!(world.start_with(&world.frames, &options).is_ok());
    let genesis = |change: fn(&mut GenesisRecord)| {
        move |frames: &mut Frames| {
            let content = &mut *of_kind(frames, Tag::Genesis)[0];
            let mut record = GenesisRecord::decode(content).unwrap();
            change(&mut record);
            *content = record.encode();
        }
    };
    let lies = vec![
        lie("an unsigned genesis", genesis(|g| *g.event.last_mut().unwrap() ^= 1), event),
        lie("another body of genesis", genesis(|g| g.body.push(0)), event),
        lie(
            "no change of validators",
            |frames| drop(frames.remove(1)),
            |error| {
                let unshown = StepFault::UnshownChange;
                matches!(error, StartError::Chain(ProofError::Checkpoint { fault, .. }) if *fault == unshown)
            },
        ),
        lie(
            "no certificate",
            |frames| step(frames, 1, |step| step.step.certificate.signatures.clear()),
            |error| matches!(error, StartError::Chain(_)),
        ),
        lie(
            "another state",
            |frames| step(frames, 1, |step| step.step.checkpoint.state = [0; 32]),
            |error| matches!(error, StartError::Chain(_)),
        ),
        lie(
            "other heads",
            |frames| {
                let mut other = None;
                step(frames, 0, |step| other = Some(step.cut.clone()));
                step(frames, 1, |step| step.cut = other.unwrap());
            },
            contradiction,
        ),
        lie(
            "no checkpoint",
            |frames| frames.retain(|(tag, _)| *tag != Tag::Step),
            |error| matches!(error, StartError::Chain(ProofError::NoCheckpoint)),
        ),
        lie(
            "hashes of the log",
            |frames| of_kind(frames, Tag::Peaks)[0][0] ^= 1,
            |error| matches!(error, StartError::Log),
        ),
        lie(
            "fewer hashes of the log",
            |frames| of_kind(frames, Tag::Peaks)[0].truncate(32),
            |error| matches!(error, StartError::Log),
        ),
        lie(
            "how much there is",
            |frames| {
                let content = &mut *of_kind(frames, Tag::End)[0];
                let totals = Totals::decode(content).unwrap();
                *content = Totals { keys: totals.keys + 1, ..totals }.encode();
            },
            contradiction,
        ),
    ];
    check(&world, lies);
}

#[test]
fn about_branches() {
    let world = World::new();
    // Lane 0 is the source's own; 1 and 2 are the hand's, of which the shorter leaves the other.
    let mut frames = world.frames.clone();
    assert_eq!(of_kind(&mut frames, Tag::Lane).len(), 3);
    let set_tip = |at: usize, tip: fn(&World) -> LogEvent| {
        let world = &world;
        move |frames: &mut Frames| lane(frames, at, |lane| lane.tip = tip(world))
    };
    let lies = vec![
        lie("an earlier last event", set_tip(1, |w| log_event(w, w.by_hand[2])), contradiction),
        lie(
            "the last event of another branch",
            set_tip(2, |w| log_event(w, w.by_hand[3])),
            contradiction,
        ),
        lie(
            "an event of another author",
            set_tip(2, |w| log_event(w, w.source.heads(9)[0])),
            contradiction,
        ),
        lie(
            "an event that is not certified",
            |frames| lane(frames, 1, |lane| lane.tip.path[0][0] ^= 1),
            not_in_log,
        ),
        lie(
            "another place in the log",
            |frames| lane(frames, 1, |lane| lane.tip.index -= 1),
            not_in_log,
        ),
        lie("no event", |frames| lane(frames, 1, |lane| lane.tip.event.clear()), event),
        lie(
            "a branch less",
            |frames| {
                let at = frames.iter().rposition(|(tag, _)| *tag == Tag::Lane).unwrap();
                frames.remove(at);
            },
            contradiction,
        ),
        lie(
            "a branch twice",
            |frames| {
                let at = frames.iter().rposition(|(tag, _)| *tag == Tag::Lane).unwrap();
                frames.insert(at, frames[at].clone());
            },
            contradiction,
        ),
        lie("no branches", |frames| frames.retain(|(tag, _)| *tag != Tag::Lane), contradiction),
        lie(
            "branches in another order",
            |frames| {
                let at = frames.iter().position(|(tag, _)| *tag == Tag::Lane).unwrap();
                frames.swap(at, at + 1);
            },
            contradiction,
        ),
        lie(
            "a branch that leaves none",
            |frames| {
                lane(frames, 2, |lane| {
                    lane.leaves = None;
                    lane.forks = None;
                })
            },
            contradiction,
        ),
        lie(
            "a branch that leaves another author's",
            |frames| {
                lane(frames, 2, |lane| {
                    lane.leaves = Some(dot(0, 2));
                })
            },
            contradiction,
        ),
        lie(
            "a branch that leaves a later one",
            |frames| {
                lane(frames, 1, |lane| {
                    lane.leaves = Some(dot(2, 2));
                    lane.forks = None;
                })
            },
            contradiction,
        ),
        lie(
            "a branch that leaves another at its end",
            |frames| {
                lane(frames, 2, |lane| {
                    lane.leaves = Some(dot(1, 4));
                })
            },
            contradiction,
        ),
        lie(
            "a number that the checkpoints refute",
            |frames| {
                lane(frames, 1, |lane| {
                    lane.tip.number -= 1;
                })
            },
            contradiction,
        ),
        lie(
            "a number that is not certified",
            |frames| {
                lane(frames, 2, |lane| {
                    lane.forks = Some((99, Some(99)));
                })
            },
            contradiction,
        ),
    ];
    check(&world, lies);
}

#[test]
fn about_control_events() {
    let world = World::new();
    let controls = {
        let mut frames = world.frames.clone();
        of_kind(&mut frames, Tag::Control).len()
    };
    assert_eq!(controls, 3);
    let remove = |tag: Tag, nth: usize| {
        move |frames: &mut Frames| {
            let mut places = (0..).zip(frames.iter()).filter(|(_, (of, _))| *of == tag);
            let at: usize = places.nth(nth).unwrap().0;
            frames.remove(at);
        }
    };
    let control = |nth: usize, change: fn(&mut ListedRecord)| {
        move |frames: &mut Frames| listed(frames, Tag::Control, nth, change)
    };
    let lies = vec![
        lie("a grant less", remove(Tag::Control, 0), state),
        lie("a validator less", remove(Tag::Control, 1), state),
        lie("a redact less", remove(Tag::Control, 2), contradiction),
        lie("a redacted event less", remove(Tag::Redacted, 0), contradiction),
        lie("another body", control(0, |record| *record.body.last_mut().unwrap() ^= 1), event),
        lie("no body", control(0, |record| record.body.clear()), event),
        lie(
            "another redacted body",
            |frames| {
                listed(frames, Tag::Redacted, 0, |record| record.body.push(0));
            },
            event,
        ),
        lie(
            "a clock beyond the cut",
            control(2, |record| record.clock[1].seq.0 = 99),
            contradiction,
        ),
        lie(
            "a clock without itself",
            control(2, |record| record.clock[0].seq.0 -= 1),
            contradiction,
        ),
        lie(
            "a clock that has not seen what is redacted",
            control(2, |record| record.clock.truncate(1)),
            contradiction,
        ),
        lie(
            "a clock of no branch",
            control(2, |record| record.clock.push(dot(9, 1))),
            contradiction,
        ),
        lie("another place", control(2, |record| record.dot.seq.0 += 1), contradiction),
        lie("another branch", control(2, |record| record.dot.lane.0 = 1), contradiction),
        lie("void", control(2, |record| record.event.void = true), contradiction),
        lie("not in the log", control(2, |record| record.event.path[0][0] ^= 1), not_in_log),
        lie(
            "twice",
            |frames| {
                let at = frames.iter().position(|(tag, _)| *tag == Tag::Control).unwrap();
                frames.insert(at, frames[at].clone());
            },
            contradiction,
        ),
        lie(
            "data among them",
            |frames| {
                let (at, redacted) =
                    (0..).zip(frames.iter()).find(|(_, (tag, _))| *tag == Tag::Redacted).unwrap();
                let redacted = redacted.1.clone();
                let at: usize = at;
                frames.insert(at, (Tag::Control, redacted));
            },
            contradiction,
        ),
        lie(
            "a clock of a redacted event",
            |frames| {
                listed(frames, Tag::Redacted, 0, |record| record.clock.push(dot(0, 1)));
            },
            corrupt,
        ),
        lie(
            "an event that nobody redacts",
            |frames| {
                listed(frames, Tag::Redacted, 0, |record| {
                    record.event = log_event(&world, world.by_hand[0]);
                    record.dot.seq.0 = 1;
                    record.body.clear();
                });
            },
            contradiction,
        ),
    ];
    check(&world, lies);
}
