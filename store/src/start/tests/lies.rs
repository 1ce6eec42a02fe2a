//! Lies, and what each comes to.

use quipu_merge::{Dot, EventId, Lane, Seq, prove_inclusion};

use super::super::StartError;
use super::super::format::LogEvent;
use super::world::{Frames, World};

/// A lie, and whether an error is the one that it comes to.
pub type Lie<'w> = (&'static str, Box<dyn Fn(&mut Frames) + 'w>, fn(&StartError) -> bool);

pub fn corrupt(error: &StartError) -> bool {
    matches!(error, StartError::Corrupt(_))
}

pub fn contradiction(error: &StartError) -> bool {
    matches!(error, StartError::Contradiction(_))
}

pub fn state(error: &StartError) -> bool {
    matches!(error, StartError::State)
}

pub fn not_in_log(error: &StartError) -> bool {
    matches!(error, StartError::NotInLog(_))
}

pub fn event(error: &StartError) -> bool {
    matches!(error, StartError::Event(_))
}

pub fn dot(lane: u32, seq: u64) -> Dot {
    Dot { lane: Lane(lane), seq: Seq(seq) }
}

pub fn lie<'w>(
    name: &'static str,
    tell: impl Fn(&mut Frames) + 'w,
    comes_to: fn(&StartError) -> bool,
) -> Lie<'w> {
    (name, Box::new(tell), comes_to)
}

pub fn check(world: &World, lies: Vec<Lie<'_>>) {
    world.start(&world.frames).unwrap();
    for (name, tell, comes_to) in lies {
        let mut frames = world.frames.clone();
        tell(&mut frames);
        assert!(frames != world.frames, "{name}: it is no lie");
        match world.start(&frames) {
            Err(error) => assert!(comes_to(&error), "{name}: {error:?}"),
            Ok(_) => panic!("{name}: it is believed"),
        }
    }
}

/// An event of the source with what shows it to be in the log.
pub fn log_event(world: &World, id: EventId) -> LogEvent {
    let snapshot = world.source.snapshot().unwrap();
    let index = snapshot.log_index(id).unwrap().unwrap();
    let event = world.source.events(&[id], usize::MAX).unwrap().remove(0).event;
    let path = prove_inclusion(snapshot.certified_len(), index, &snapshot.log_hashes()).unwrap();
    let height = snapshot.certified_in(id).unwrap().unwrap();
    let number = crate::certify::number_of(height);
    LogEvent { event, number, void: false, index, path }
}
