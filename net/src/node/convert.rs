//! The same things as the protocol and as the store name them.

use quipu_proto::{HistoryEntry, LaneTips, Packet, PacketOpening, Placed, Tip, Want};
use quipu_store::{Branches, HeldEvent, HistoryItem, Incoming};

use super::certify::convert::{to_keep, to_send};

/// An event that came from a peer.
pub fn incoming(packet: Packet) -> Incoming {
    let openings = packet.openings.into_iter().map(|opening| (opening.slot, opening.opening));
    Incoming { event: packet.event, body: Some(packet.body), openings: openings.collect() }
}

/// An event on its way to a peer. Nothing where its body is not at hand: a peer could not admit it.
pub fn packet(event: Incoming) -> Option<Packet> {
    let openings = event.openings.into_iter();
    let openings = openings.map(|(slot, opening)| PacketOpening { slot, opening }).collect();
    Some(Packet { event: event.event, body: event.body?, openings })
}

/// Where an event stands.
pub const fn placed(event: &HeldEvent) -> Placed {
    let tip = Tip { seq: event.seq, id: event.id };
    Placed { author: event.author, tip, prev: event.prev }
}

/// Tips as the protocol names them.
pub fn lane_tips(branches: Branches) -> LaneTips {
    let tips = branches.tips.into_iter().map(|(seq, id)| Tip { seq, id });
    LaneTips { author: branches.author, tips: tips.collect() }
}

/// Tips as the store names them.
pub fn branches(lane: LaneTips) -> Branches {
    let tips = lane.tips.into_iter().map(|tip| (tip.seq, tip.id));
    Branches { author: lane.author, tips: tips.collect() }
}

/// What is wanted, as it goes to a peer.
pub fn want_to_send(want: quipu_store::Want) -> Want {
    let held = want.held.into_iter().map(|(seq, id)| Tip { seq, id });
    Want { up_to: want.up_to, held: held.collect() }
}

/// What a peer wants.
pub fn want_of_peer(want: Want) -> quipu_store::Want {
    let held = want.held.into_iter().map(|tip| (tip.seq, tip.id));
    quipu_store::Want { up_to: want.up_to, held: held.collect() }
}

/// History on its way to a peer. Nothing where it is not whole.
pub fn history_to_send(items: Vec<HistoryItem>) -> Option<Vec<HistoryEntry>> {
    let entry = |item| match item {
        HistoryItem::Event(event) => packet(event).map(HistoryEntry::Event),
        HistoryItem::Checkpoint(kept) => {
            to_send(kept).ok().map(|certified| HistoryEntry::Checkpoint(Box::new(certified)))
        }
    };
    items.into_iter().map(entry).collect()
}

/// History that came from a peer.
pub fn history_of_peer(entry: HistoryEntry) -> HistoryItem {
    match entry {
        HistoryEntry::Event(packet) => HistoryItem::Event(incoming(packet)),
        HistoryEntry::Checkpoint(certified) => HistoryItem::Checkpoint(to_keep(&certified)),
    }
}
