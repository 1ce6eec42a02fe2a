//! What precedes a checkpoint, and a store that takes it in: a checkpoint is a hash over all events of its
//! cut.

use quipu_merge::{
    AuthorKey, Certificate, Checkpoint, CheckpointId, CutBlock, EventId, Height, Micros, Round,
    ValidatorsBlock,
};
use quipu_proto::{
    Answer, Certified, Channel, HistoryEntry, MAX_PART_LEN, Message, Packet, Parts, Start,
    StartFile, VERSION, Version,
};

use super::byzantine::Byzantine;
use super::pair::firsts;
use super::world::World;

/// Events in the cut of each checkpoint that the one before does not hold.
const EVERY: usize = 25;

#[derive(Default)]
pub struct Below {
    /// What is served.
    log: Vec<Packet>,
    /// What is wanted: how many events, and the hash over all.
    goal: Option<(u64, [u8; 32])>,
    taken: Vec<Packet>,
    /// How many of them a checkpoint has confirmed, and how often others were thrown away.
    confirmed: usize,
    restarts: usize,
}

impl Below {
    fn height(events: usize) -> Height {
        Height(events.div_ceil(EVERY) as u64)
    }

    pub fn wanted(&self) -> (Height, u64, u64) {
        let (total, _) = self.goal.unwrap();
        let height = Self::height(usize::try_from(total).unwrap());
        (height, self.taken.len() as u64, total)
    }

    pub fn start(&self) -> Answer {
        Answer::Start(self.file().map_or(Start::Nothing, Start::From))
    }

    fn file(&self) -> Option<StartFile> {
        let len = self.log.iter().map(|packet| packet.event.len() as u64).sum();
        let file = StartFile {
            height: Self::height(self.log.len()),
            checkpoint: CheckpointId(hash(&self.log)),
            len,
        };
        (!self.log.is_empty()).then_some(file)
    }

    pub fn read_start(&self, file: StartFile, offset: u64, max_len: usize) -> Answer {
        let bytes: Vec<_> = self.log.iter().flat_map(|packet| packet.event.clone()).collect();
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = begin.saturating_add(max_len.min(MAX_PART_LEN)).min(bytes.len());
        Answer::StartPart((self.file() == Some(file)).then(|| bytes[begin..end].to_vec()))
    }

    pub fn read(&self, from: u64, up_to: Height, max_len: usize) -> Answer {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        if from >= self.log.len() || up_to > Self::height(self.log.len()) {
            return Answer::History(None);
        }
        let (mut entries, mut len) = (Vec::new(), 0);
        for (at, packet) in self.log.iter().enumerate().skip(from) {
            entries.push(HistoryEntry::Event(packet.clone()));
            len += packet.len();
            let count = at + 1;
            if count % EVERY == 0 || count == self.log.len() {
                entries.push(checkpoint(&self.log[..count]));
            }
            // Long enough for several answers.
            if len >= max_len.min(3_000) {
                break;
            }
        }
        Answer::History(Some(entries))
    }

    pub fn take(&mut self, from: u64, entries: Vec<HistoryEntry>) -> Answer {
        if from != self.taken.len() as u64 {
            return Answer::HistoryTaken { next: self.taken.len() as u64, good: true };
        }
        let mut good = true;
        for entry in entries {
            match entry {
                HistoryEntry::Event(packet) => self.taken.push(packet),
                checked if checked == checkpoint(&self.taken) => self.confirmed = self.taken.len(),
                _ => {
                    good = false;
                    break;
                }
            }
        }
        if let Some((total, all)) = self.goal
            && self.confirmed as u64 == total
        {
            assert_eq!(hash(&self.taken), all);
        }
        if !good {
            self.go_back();
            self.restarts += 1;
        }
        Answer::HistoryTaken { next: self.taken.len() as u64, good }
    }

    /// Drops what no checkpoint has confirmed.
    pub fn go_back(&mut self) {
        self.taken.truncate(self.confirmed);
    }
}

fn hash(events: &[Packet]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for packet in events {
        hasher.update(&packet.event).update(&packet.body);
    }
    hasher.finalize().into()
}

fn checkpoint(events: &[Packet]) -> HistoryEntry {
    let cut = CutBlock::new(vec![EventId([1; 32])]).unwrap();
    let by = AuthorKey([1; 32]);
    let validators = ValidatorsBlock::new(vec![by]).unwrap();
    let height = Below::height(events.len());
    let checkpoint = Checkpoint {
        ledger: EventId([2; 32]),
        height,
        prev: (height > Height::FIRST).then_some(CheckpointId([3; 32])),
        cut: cut.seal().0,
        size: events.len() as u64,
        root: hash(events),
        state: [4; 32],
        validators: validators.seal().0,
        time: Micros(5),
    };
    let parts = Parts::new(checkpoint, cut, validators).unwrap();
    let (checkpoint, signatures) = (parts.id(), vec![(by, [6; 64])]);
    let certificate = Certificate { checkpoint, height, round: Round(0), signatures };
    HistoryEntry::Checkpoint(Box::new(Certified { parts, certificate }))
}

/// Nodes that all know each other, of which the first starts from what the others hold.
pub fn around(seed: u64, others: usize, lost_of: u64) -> World {
    let links = (1..=others).map(|at| (0, at)).collect();
    let mut world = World::new(seed, others + 1, links);
    world.conditions.lost_of = lost_of;
    let log = firsts(&world, 2..402);
    let goal = (log.len() as u64, hash(&log));
    for member in &mut world.members[1..] {
        member.store.below.log.clone_from(&log);
    }
    world.members[0].store.below.goal = Some(goal);
    world
}

fn is_whole(world: &World) -> bool {
    world.members[0].node.as_ref().unwrap().filled() == Some((400, 400))
}

fn run_until_whole(world: &mut World, limit: u64) {
    world.fill(0);
    while !is_whole(world) {
        assert!(world.now < limit, "{:?}", world.members[0].node.as_ref().unwrap().filled());
        world.run_until(world.now + 100_000);
    }
    assert_eq!(world.members[0].store.below.confirmed, 400);
}

#[test]
fn history_comes_with_loss_and_once() {
    for seed in 0..20 {
        let mut world = around(seed, 3, if seed % 2 == 0 { 0 } else { 10 });
        run_until_whole(&mut world, 300_000_000);
        assert_eq!(world.members[0].store.below.restarts, 0);
        assert!(world.wronged.is_empty(), "{:?}", world.wronged);
    }
}

/// Those that change what they send, and those that send nothing, do not keep it from coming while somebody is
/// honest; who changes it is sent away.
#[test]
fn liars_and_silent_peers_are_left_for_honest_ones() {
    for seed in 0..20 {
        let mut world = around(seed, 3, if seed % 2 == 0 { 0 } else { 10 });
        world.members[1].byzantine = Some(Byzantine::Lies);
        world.members[2].byzantine = Some(Byzantine::Withholds);
        run_until_whole(&mut world, 600_000_000);
        assert!(world.members[0].store.below.restarts <= 4);
        assert!(world.wronged.is_empty(), "{:?}", world.wronged);
    }
}

/// However many lie, each costs one cut, and nothing that is confirmed.
#[test]
fn many_liars_do_not_keep_it_from_coming() {
    for seed in 0..10 {
        let mut world = around(seed, 9, 0);
        for liar in 1..9 {
            world.members[liar].byzantine = Some(Byzantine::Lies);
        }
        world.fill(0);
        let mut confirmed = 0;
        while !is_whole(&world) {
            assert!(world.now < 1_200_000_000, "{seed}");
            world.run_until(world.now + 100_000);
            let now = world.members[0].store.below.confirmed;
            assert!(now >= confirmed);
            confirmed = now;
        }
        assert!(world.wronged.is_empty(), "{:?}", world.wronged);
    }
}

/// Who speaks an older version, or does not have it, is asked for nothing or says so.
#[test]
fn history_comes_from_those_that_have_it() {
    let mut world = around(1, 3, 0);
    world.speak(1, Version { minor: VERSION.minor - 1, ..VERSION });
    world.members[2].store.below.log.clear();
    world.arrived = Some(Vec::new());
    run_until_whole(&mut world, 30_000_000);
    let arrived = world.arrived.take().unwrap();
    let asked = |at: usize| {
        let to =
            arrived.iter().filter(|(_, to, channel, _)| (*to, *channel) == (at, Channel::Blocks));
        to.filter(|(_, _, channel, bytes)| {
            matches!(Message::decode(*channel, bytes), Ok(Some(Message::AskHistory(_))))
        })
        .count()
    };
    assert!(asked(1) == 0 && asked(2) <= 1);
    assert!(asked(3) > 10);
    assert!(world.wronged.is_empty(), "{:?}", world.wronged);
}

#[test]
fn a_store_that_stops_goes_on_where_it_was() {
    let mut world = around(3, 1, 0);
    world.fill(0);
    while world.members[0].store.below.taken.len() < 100 {
        world.run_until(world.now + 1_000);
    }
    world.crash(0, 1_000_000);
    world.run_until(world.now + 2_000_000);
    assert!(world.members[0].store.below.taken.len() < 300);
    run_until_whole(&mut world, 60_000_000);
    assert_eq!(world.members[0].store.below.restarts, 0);
}
