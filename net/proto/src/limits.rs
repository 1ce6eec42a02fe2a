//! What peers can make large, and how large.

use std::time::Duration;

use crate::rate::Rate;

/// Length of a message on the control channel, in bytes.
pub const MAX_CONTROL_FRAME: u32 = 64 << 10;
/// Length of a message on the channel of gossip, in bytes: an event with all but its values.
pub const MAX_GOSSIP_FRAME: u32 = 2 << 20;
/// Length of a message on the channel of synchronisation, in bytes.
pub const MAX_SYNC_FRAME: u32 = 2 << 20;
/// Length of a message on the channel of blocks, in bytes.
pub const MAX_BLOCKS_FRAME: u32 = 2 << 20;

/// Length of the values that travel with an event, in bytes. The others are asked for.
pub const MAX_OPENINGS_LEN: usize = 256 << 10;
/// What a batch of events is to come to, in bytes. One event may be more.
pub const MAX_BATCH_LEN: usize = 256 << 10;
/// An event that is longer is not pushed to everybody, but told of, in bytes.
pub const MAX_ANNOUNCED_LEN: usize = 64 << 10;

/// Authors in one message about frontiers.
pub const MAX_LANES: usize = 512;
/// Length of the entries in one message about frontiers, in bytes. One author's branches may take several
/// messages.
pub const MAX_LANES_LEN: usize = 512 << 10;
/// Length of what one message asks for of events, in bytes.
pub const MAX_PULL_LEN: usize = 1 << 20;
/// Branches that the store is asked about at once: of one author, what is wanted fits a message.
pub const MAX_PLANNED: usize = 1 << 14;
/// Ids in one message.
pub const MAX_IDS: usize = 1024;
/// Authors of frontiers that are compared by marks.
pub const MAX_MARKED: usize = 4096;
/// Authors that can be named, in what is asked for, by their place in what was told before.
pub const MAX_NAMED: usize = 2048;
/// Length of a message of set reconciliation, in bytes.
pub const MAX_RECONCILE: usize = 32 << 10;

/// What a peer may send of what was asked for before some of it has been admitted, in bytes.
pub const WINDOW: u64 = 4 << 20;
/// Branches that a peer is ahead in and has not been asked for yet, and those that are told in one
/// comparison. What is more is found by the next.
pub const MAX_OFFERED: usize = 1 << 16;
/// Events of one peer's gossip that are being admitted. What is more comes by synchronisation.
pub const MAX_GOSSIP_PENDING: usize = 256;
/// Length of the same, in bytes.
pub const MAX_GOSSIP_PENDING_LEN: usize = 4 << 20;
/// Those of one author among them: none keeps the others out.
pub const MAX_GOSSIP_PENDING_OF_AUTHOR: usize = 128;
/// Signatures that are checked in a second because of one peer's gossip. What is more comes by
/// synchronisation, where no more comes than is admitted. One core checks five times as many.
pub const MAX_SIGNATURES: u32 = 5_000;
/// The same as a rate.
pub const PUSH_RATE: Rate =
    Rate { every: Duration::from_micros(1_000_000 / MAX_SIGNATURES as u64), burst: MAX_SIGNATURES };
/// Questions of one peer for events that it was told of, being answered at once.
pub const MAX_GRAFTING: usize = 4;
/// Events that have been told of and not come, of one peer.
pub const MAX_PROMISED: usize = 512;
/// Events that were seen lately, to know what comes twice.
pub const MAX_SEEN: usize = 1 << 16;

/// Events of authors that have used up their quota, which wait here. What is more is asked for again.
pub const MAX_SHELVED: usize = 1 << 15;
/// Length of the same, in bytes: it holds what four peers send before they wait for credit. One author
/// has half of both at most, which holds what one peer sends.
pub const MAX_SHELVED_LEN: usize = 16 << 20;
/// Between two looks at what of them may be taken by now.
pub const RELEASE_EVERY: Duration = Duration::from_millis(250);
/// For so long, a peer is not asked for what follows events that nobody is asked for.
pub const HELD_UP: Duration = Duration::from_secs(60);
/// Authors of which that is known, for one peer.
pub const MAX_HELD_UP: usize = 256;

/// Values that are wanted at once. What is more is listed again by the store.
pub const MAX_WANTED: usize = 1024;
/// Values that one peer is asked for at once, of up to a mebibyte each.
pub const MAX_ASKED: usize = 8;
/// Peers of which it is known, for one value, that they have not answered.
pub const MAX_SILENT: usize = 64;
/// Length of a block, in bytes.
pub const MAX_VALUE_LEN: usize = 1 << 20;
/// Length of an opening, in bytes: content of 4,096 bytes, with a key, a salt and what frames them.
pub const MAX_OPENING_LEN: usize = 8 << 10;
/// Length of the values that have come and wait for the store, and of those that are being asked for, in
/// bytes. Each of the latter counts as the longest that it can be.
pub const MAX_TAKING_LEN: usize = 64 << 20;

/// What a peer has asked for that was not at hand, and is told of when it comes.
pub const MAX_OWED: usize = 1024;

/// Length of a part of a file to start from, in bytes.
pub const MAX_PART_LEN: usize = 256 << 10;
/// Parts of one that are asked for at once.
pub const MAX_PARTS: usize = 4;
/// What an answer with history is to come to, in bytes. One event, and the checkpoint of whose cut it is the
/// last, may be more.
pub const MAX_HISTORY_LEN: usize = 512 << 10;
/// Events and checkpoints in one answer with history.
pub const MAX_HISTORY_ITEMS: usize = 4096;
/// Questions of one peer for starts, their parts and history that have not been answered. Whoever gave up
/// waiting may have asked once more.
pub const MAX_QUESTIONS: usize = 2 * (MAX_PARTS + 2);
/// How often a peer may ask for a start.
pub const ASK_START_RATE: Rate = Rate { every: Duration::from_millis(50), burst: 64 };
/// Peers that are never asked for history again, because what they gave was false.
pub const MAX_SHUNNED: usize = 1024;
/// Until who could not give history is asked again.
pub const ASK_HISTORY_AGAIN: Duration = Duration::from_secs(60);

/// Peers in one answer to who is known.
pub const MAX_TOLD_PEERS: usize = 64;
/// Places of one peer.
pub const MAX_PLACES: usize = 4;
/// Length of a place, in bytes.
pub const MAX_PLACE_LEN: usize = 256;
/// Length of all places in one answer, in bytes: it fits a message on the control channel.
pub const MAX_PLACES_LEN: usize = 48 << 10;
/// Peers of which a node knows where they are. What is more is passed over.
pub const MAX_KNOWN: usize = 4096;
/// Between two questions to one peer whom it knows.
pub const ASK_PEERS_EVERY: Duration = Duration::from_secs(60);
/// How often a peer may ask that: twice as often, and some may have been held up on their way.
pub const ASK_PEERS_RATE: Rate = Rate { every: Duration::from_secs(30), burst: 4 };

/// Between two questions to the store what values it lacks.
pub const LIST_EVERY: Duration = Duration::from_millis(50);
/// Until what somebody did not have is asked for again.
pub const RETRY_EVERY: Duration = Duration::from_secs(5);
/// For so long, who did not answer is not asked for values.
pub const PEACE: Duration = Duration::from_secs(120);
/// Between two looks at whether a peer has something else.
pub const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Between two comparisons of frontiers with one peer.
pub const COMPARE_EVERY: Duration = Duration::from_millis(500);
/// What a comparison, or the next batch of events, may take. Then it starts anew.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// When nothing has come for so long of what a peer was asked for, others are asked as well.
pub const SILENCE: Duration = Duration::from_secs(5);
/// Peers of which it is known that they have gone without sending what they were asked for.
pub const MAX_STALLED: usize = 4096;
/// How often a peer may say `Compare`: an honest one starts no oftener than [`COMPARE_EVERY`], and
/// answers to who does no oftener either. This is twice that, and leaves room for what has been held
/// up on its way.
pub const COMPARE_RATE: Rate = Rate { every: Duration::from_millis(125), burst: 16 };
/// By how much the number of a comparison may be ahead.
pub const MAX_ROUNDS_AHEAD: u64 = 1 << 20;
/// How often a peer may say `Pull`: for each comparison, [`MAX_OFFERED`] authors of which
/// [`MAX_LANES`] are asked for at once, each when the one before has ended. This is twice that, and
/// leaves room as above. Of authors with a thousand branches each, fewer fit a message, but then the store
/// takes longer to look at them.
pub const PULL_RATE: Rate = Rate { every: Duration::from_millis(2), burst: 512 };
/// How often before the one before has ended: an honest peer gives up what stalls, or what its store
/// cannot take, which no comparison finds twice. So it is as often as [`COMPARE_RATE`].
pub const ABANDON_RATE: Rate = COMPARE_RATE;
/// How often a peer may say `Ping`: several times oftener than [`PROBE_EVERY`].
pub const PING_RATE: Rate = Rate { every: Duration::from_secs(1), burst: 16 };
/// How often a peer may say `Have`: twice as often as [`TELL_EVERY`], and what has been held up for as
/// long as [`PATIENCE`] may come at once.
pub const HAVE_RATE: Rate = Rate { every: Duration::from_millis(10), burst: 2_000 };
/// What an event that was told of may take to come by itself.
pub const PROMISE: Duration = Duration::from_millis(200);
/// For so long, what is told of is held back, so that one message tells of several.
pub const TELL_EVERY: Duration = Duration::from_millis(20);
