//! Hearing of what is new here: the commands' and the API's writes, and what is merged from files.

use std::collections::HashMap;
use std::time::Duration;

use quipu_proto::MAX_GOSSIP_FRAME;
use quipu_store::{Follower, HeldEvent, Notice, ReadError};

use super::{Report, Shared};
use crate::node::convert;

/// So many events are kept while this thread is busy. With more, what is held is read anew.
pub const MAX_QUEUED: usize = 1 << 16;
/// So many events of one commit are sent to peers at once. Of more, peers learn by comparing.
const FEW: usize = 64;
/// How long it takes to notice that the node is stopping, at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Reports what is new until the node stops.
pub fn run(shared: &Shared, mut follower: Follower) {
    while !shared.is_stopping() {
        match follower.next(LOOK_EVERY) {
            None => {}
            Some(Notice::New(told)) => tell(shared, &shared.gate.new_here(&told)),
            Some(Notice::Lagged) => match restart(shared) {
                Some(again) => follower = again,
                None => return,
            },
        }
    }
}

fn tell(shared: &Shared, new: &[HeldEvent]) {
    if new.is_empty() {
        return;
    }
    if new.len() > FEW {
        return shared.report(Report::Held(new.iter().map(convert::placed).collect()));
    }
    let ids: Vec<_> = new.iter().map(|event| event.id).collect();
    let read = shared.ledger.events(&ids, MAX_GOSSIP_FRAME as usize);
    let packets = read.unwrap_or_else(|error| {
        shared.failed("read new events", &error);
        Vec::new()
    });
    let packets = packets.into_iter().filter_map(convert::packet);
    let mut packets: HashMap<_, _> = packets.map(|packet| (packet.id(), packet)).collect();
    let (mut written, mut held) = (Vec::new(), Vec::new());
    for event in new {
        match packets.remove(&event.id) {
            Some(packet) => written.push((convert::placed(event), packet)),
            None => held.push(convert::placed(event)),
        }
    }
    for report in [Report::Written(written), Report::Held(held)] {
        if !matches!(&report, Report::Written(none) if none.is_empty())
            && !matches!(&report, Report::Held(none) if none.is_empty())
        {
            shared.report(report);
        }
    }
}

/// Follows anew, as soon as that can be done; `None` where the node stops before. The report goes before
/// those of later admissions.
fn restart(shared: &Shared) -> Option<Follower> {
    while !shared.is_stopping() {
        let followed = shared.gate.restart(|| {
            let (follower, frontier) = shared.ledger.follow_from_frontier(MAX_QUEUED)?;
            let frontier = frontier.into_iter().map(convert::lane_tips).collect();
            shared.report(Report::Frontier(frontier));
            Ok::<_, ReadError>(follower)
        });
        match followed {
            Ok(follower) => return Some(follower),
            Err(error) => {
                shared.failed("read its frontier", &error);
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }
    None
}
