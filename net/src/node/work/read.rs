//! Reading events for peers, and finding out what to ask them for.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use quipu_merge::EventId;
use quipu_proto::{Answer, FeedId, LaneTips, Ticket, Want};
use quipu_store::{Feed, Incoming, ReadError};

use super::Shared;
use crate::node::convert;

/// Something to read.
#[derive(Debug)]
pub enum Reading {
    Plan(Ticket, Vec<LaneTips>),
    Open(FeedId, Vec<Want>),
    Next(Ticket, FeedId, usize),
    Close(FeedId),
    Missing(Ticket, Vec<EventId>),
    Fetch(Ticket, Vec<EventId>, usize),
}

/// Reads until nothing more is asked for.
pub fn run(shared: &Shared, readings: &Receiver<Reading>) {
    let mut feeds = BTreeMap::<FeedId, Feed>::new();
    while let Ok(reading) = readings.recv() {
        if shared.is_stopping() {
            return;
        }
        match reading {
            Reading::Open(id, wants) => {
                let wants: Vec<_> = wants.into_iter().map(convert::want_of_peer).collect();
                match shared.ledger.feed(&wants) {
                    Ok(feed) => drop(feeds.insert(id, feed)),
                    // What is read of it fails, and the peer is told.
                    Err(error) if error.is_pruned() => not_here(),
                    Err(error) => shared.failed("look for what a peer lacks", &error),
                }
            }
            Reading::Close(id) => drop(feeds.remove(&id)),
            Reading::Next(ticket, id, max_len) => {
                let answer = match feeds.get_mut(&id) {
                    Some(feed) => next(shared, feed, max_len),
                    None => Ok(Answer::Failed),
                };
                finish(shared, ticket, answer);
            }
            Reading::Plan(ticket, offered) => {
                let offered: Vec<_> = offered.into_iter().map(convert::branches).collect();
                let wants = shared.ledger.plan(&offered).map(|wants| {
                    Answer::Plan(wants.into_iter().map(convert::want_to_send).collect())
                });
                finish(shared, ticket, wants);
            }
            Reading::Missing(ticket, events) => {
                finish(shared, ticket, shared.ledger.missing_events(&events).map(Answer::Missing));
            }
            Reading::Fetch(ticket, events, max_len) => {
                let found = shared.ledger.events(&events, max_len);
                finish(shared, ticket, found.map(|found| Answer::Fetched(packets(found))));
            }
        }
    }
}

fn next(shared: &Shared, feed: &mut Feed, max_len: usize) -> Result<Answer, ReadError> {
    let portion = match feed.read(&shared.ledger, max_len) {
        Err(error) if error.is_pruned() => {
            not_here();
            return Ok(Answer::Failed);
        }
        portion => portion?,
    };
    if portion.events.iter().any(|event| event.body.is_none()) {
        not_here();
        return Ok(Answer::Failed);
    }
    Ok(Answer::Read { packets: packets(portion.events), last: portion.last })
}

/// Without their bodies, or what they follow, nobody can admit events, nor what follows those: the peer is told
/// that this is not all, and asks others.
fn not_here() {
    tracing::debug!("a peer wants what has been pruned here, or precedes the store's checkpoint");
}

fn packets(events: Vec<Incoming>) -> Vec<quipu_proto::Packet> {
    events.into_iter().filter_map(convert::packet).collect()
}

fn finish(shared: &Shared, ticket: Ticket, answer: Result<Answer, ReadError>) {
    let answer = answer.unwrap_or_else(|error| {
        shared.failed("read for a peer", &error);
        Answer::Failed
    });
    shared.answer(ticket, answer);
}
