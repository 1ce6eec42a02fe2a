//! What the handle asks the node for.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use quipu_merge::{AuthorKey, BlockId};
use quipu_proto::{CertifyInput, CertifyState, Input};
use tokio::sync::oneshot;

use super::address::{PeerAddress, Place};
use super::book::{BookError, PeerBook};
use super::core::{Core, locked};
use super::dial;
use super::error::SyncError;
use super::handle::Synced;
use super::syncing::Syncing;

/// What the handle asks for.
pub enum Command {
    Keep { key: AuthorKey, place: Option<Place>, reply: oneshot::Sender<Result<(), BookError>> },
    Remove { key: AuthorKey, reply: oneshot::Sender<Result<bool, BookError>> },
    Sync { peer: PeerAddress, reply: oneshot::Sender<Result<Synced, SyncError>> },
    Want(Vec<BlockId>),
    Vouch { reply: oneshot::Sender<bool> },
    Stop,
}

/// What is done when the address book has been written, or could not be.
type Saved = Box<dyn FnOnce(Result<(), BookError>) + Send>;

impl Core {
    /// Says who is no stranger.
    pub(super) fn tell_known(&mut self) {
        self.input(Input::Roles(self.allowed.with_role()));
        self.list();
    }

    /// Says whom the operator lists.
    fn list(&mut self) {
        let kept = self.book().kept();
        self.allowed.list(kept.clone());
        self.input(Input::Listed(kept));
    }

    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Keep { key, place, reply } => {
                match place {
                    Some(place) => self.book().keep_at(&PeerAddress { key, place }),
                    None => self.book().keep(key),
                }
                self.dialling.forget(key);
                self.list();
                self.save_book(Some(Box::new(|saved| drop(reply.send(saved)))));
            }
            Command::Remove { key, reply } => {
                let known = self.book().remove(key);
                self.dialling.forget(key);
                self.list();
                self.close_strangers();
                self.save_book(Some(Box::new(move |saved| {
                    drop(reply.send(saved.map(|()| known)))
                })));
            }
            Command::Sync { peer, reply } => self.sync(peer, reply),
            Command::Want(blocks) => {
                self.work.want(blocks);
                self.proto.look_for_values();
                self.input(Input::Tick);
            }
            Command::Vouch { reply } => {
                let abstains = self.certification_status().state == CertifyState::Abstains;
                self.certify(CertifyInput::Vouched);
                let _ = reply.send(abstains);
            }
            // Taken by the loop.
            Command::Stop => {}
        }
    }

    pub(super) fn sync(
        &mut self,
        peer: PeerAddress,
        reply: oneshot::Sender<Result<Synced, SyncError>>,
    ) {
        let key = peer.key;
        if !self.connected.contains_key(&key) {
            self.dialling.begin(key, Instant::now());
            self.dialled.spawn(dial::dial(self.endpoint.clone(), peer.clone()));
        }
        self.syncs.push(Syncing::start(peer, self.work.counts(), reply));
        self.proto.compare_with(&key);
        self.input(Input::Tick);
    }

    pub(super) fn book(&self) -> MutexGuard<'_, PeerBook> {
        locked(&self.book)
    }

    /// Writes the address book.
    pub(super) fn save_book(&mut self, then: Option<Saved>) {
        let (book, saving) = (self.book.clone(), self.saving.clone());
        self.chores.spawn_blocking(move || {
            let _turn = saving.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever saves later saves what is newer; and nobody else waits for the disk.
            let now = locked(&book).clone();
            let saved = now.save();
            if let Err(error) = &saved {
                tracing::error!(%error, "the address book cannot be written");
            }
            if let Some(then) = then {
                then(saved);
            }
        });
    }
}
