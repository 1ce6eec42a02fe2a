//! Many events that one command writes, each printed as soon as it is on the disk.

use std::io;

use quipu_merge::EventId;
use quipu_store::{Ledger, Transaction};

use crate::console;
use crate::exit::Failure;
use crate::output::Output;

use super::print_committed;

/// What an operation takes up in a body beside its key and member, in bytes, at most.
pub const OPERATION_LEN: usize = 96;

/// The events that have been written.
pub struct Events<'l, 'c> {
    ledger: &'l Ledger,
    out: &'c mut Output,
    pub events: u64,
    pub operations: u64,
    /// The last of them.
    pub last: Option<EventId>,
    /// Whether anybody still reads what is printed.
    heard: bool,
}

impl<'l, 'c> Events<'l, 'c> {
    pub const fn new(ledger: &'l Ledger, out: &'c mut Output) -> Self {
        Self { ledger, out, events: 0, operations: 0, last: None, heard: true }
    }

    /// Writes an event, unless there is nothing to write.
    pub fn commit(&mut self, transaction: Transaction<'l>) -> Result<(), Failure> {
        if transaction.is_empty() {
            return Ok(());
        }
        let operations = transaction.len() as u64;
        if let Some(console) = console::current() {
            console.check_gone()?;
        }
        let committed = transaction.commit()?;
        self.events += 1;
        self.operations += operations;
        self.last = Some(committed.event);
        if !self.out.is_json() || !self.heard {
            return Ok(());
        }
        let printed = print_committed(self.ledger, &committed, self.out)
            .and_then(|()| Ok(self.out.flush()?));
        match printed {
            // The work goes on where nobody listens any more.
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.heard = false;
                Ok(())
            }
            other => other,
        }
    }
}
