//! Where a command runs: here, or in the daemon of a store.

use std::path::{Path, PathBuf};

use crate::args::Command;
use crate::context::Context;
use crate::daemon::Forward;
use crate::exit::{DONE, Failure};

/// What a command needs to have open.
pub enum Route<'c> {
    /// No store, or one that is made.
    Here,
    /// The store.
    Store,
    /// The store that is, or holds, this source.
    Source(&'c Path),
    /// The store, which nobody else may have open.
    Alone,
}

impl Route<'_> {
    /// The directory of the store, if there is one.
    fn dir(&self, context: &Context) -> Option<PathBuf> {
        match self {
            Self::Here => None,
            Self::Store | Self::Alone => context.find_store().ok(),
            Self::Source(source) => context.source_store(source).ok().flatten(),
        }
    }
}

/// Runs a command here, or has it run by the daemon of its store. Gives its exit code.
pub fn run(command: Command, context: &mut Context) -> Result<u8, Failure> {
    let route = command.route();
    let alone = matches!(route, Route::Alone);
    let Some(dir) = route.dir(context) else {
        return command.run(context).map(|()| DONE);
    };
    match Forward::to(&dir) {
        Some(_) if alone => return Err(Failure::Served(dir)),
        Some(forward) => return context.forward(forward),
        None => {}
    }
    match command.run(context) {
        // A daemon that had the store locked while it started answers now.
        Err(Failure::Served(store)) if store == dir && !alone => match Forward::to(&dir) {
            Some(forward) => context.forward(forward),
            None => Err(Failure::Served(store)),
        },
        other => other.map(|()| DONE),
    }
}
