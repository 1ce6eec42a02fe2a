//! `quipu put --batch`: operations from a file, one a line.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use quipu_merge::MAX_BODY_LEN;
use quipu_net::{OperationError, OperationIn};
use quipu_store::{Ledger, Transaction, WriteError};
use serde_json::error::Category;

use crate::amount::count;
use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;
use crate::input::open;
use crate::output;

use super::events::{Events, OPERATION_LEN};

/// Longest line, in bytes.
const MAX_LINE: usize = 16 << 20;
/// How much is read at once.
const PORTION: usize = 256 * 1024;

/// Operations that are to become one event.
struct Group<'l> {
    transaction: Transaction<'l>,
    size: usize,
}

impl<'l> Group<'l> {
    fn new(ledger: &'l Ledger) -> Self {
        Self { transaction: ledger.transaction(), size: 0 }
    }

    /// Whether an operation of this size still fits into the body.
    fn has_room(&self, len: usize) -> bool {
        self.transaction.is_empty() || self.size + len < MAX_BODY_LEN
    }

    fn push(&mut self, line: &OperationIn, len: usize) -> Result<(), Problem> {
        line.add_to(&mut self.transaction)?;
        self.size += len;
        Ok(())
    }
}

/// What is wrong with a line, or with the store.
enum Problem {
    Line(String),
    Write(WriteError),
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Write(WriteError::Limit(limit)) => Self::Line(limit.to_string()),
            OperationError::Write(other) => Self::Write(other),
            other => Self::Line(other.to_string()),
        }
    }
}

/// Room that a line takes up in a body, at most.
fn body_len(line: &OperationIn) -> usize {
    let (key, member) = match line {
        OperationIn::Put { key, .. }
        | OperationIn::Del { key }
        | OperationIn::Inc { key, .. }
        | OperationIn::Append { key, .. } => (key, 0),
        OperationIn::Add { key, member } | OperationIn::Rem { key, member } => {
            (key, member.max_len())
        }
    };
    OPERATION_LEN + key.len() + member
}

pub fn run(file: &Path, group: u32, wait: Wait, context: &mut Context) -> Result<(), Failure> {
    let mut input: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(BufReader::with_capacity(PORTION, context.stdin()))
    } else {
        let file = context.path(file);
        Box::new(BufReader::with_capacity(PORTION, open(&file)?))
    };
    let ledger = context.open_to_write()?;
    wait.check(&ledger, context)?;
    let json = context.out.is_json();
    let mut events = Events::new(&ledger, &mut context.out);
    let result = read(file, &mut input, group as usize, &ledger, &mut events);
    let Events { operations, events, last, .. } = events;
    if !json || result.is_err() {
        let (operations, events) = (count(operations, "operation"), count(events, "event"));
        output::note(format_args!("{operations} in {events} written"));
    }
    result?;
    wait.until_final_of(last, context)
}

/// Why a line is no operation, and at which of its bytes that shows.
fn no_operation(error: &serde_json::Error) -> String {
    let (said, at) = (error.to_string(), error.column());
    match error.classify() {
        // The parser counts lines too, and would name another one.
        Category::Data => match said.rsplit_once(" at line ") {
            Some((what, _)) => format!("no operation, at byte {at}: {what}"),
            None => format!("no operation: {said}"),
        },
        _ => format!("not a whole object of JSON, at byte {at}"),
    }
}

fn read<'l>(
    file: &Path,
    input: &mut dyn BufRead,
    group: usize,
    ledger: &'l Ledger,
    events: &mut Events<'l, '_>,
) -> Result<(), Failure> {
    let mut open = Group::new(ledger);
    let mut buffer = Vec::new();
    let mut number = 0_u64;
    loop {
        buffer.clear();
        let limit = MAX_LINE as u64 + 1;
        let read = Read::take(&mut *input, limit).read_until(b'\n', &mut buffer);
        if read.map_err(Failure::file(file))? == 0 {
            return events.commit(open.transaction);
        }
        number += 1;
        let at_line = |detail: String| Failure::Line { line: number, detail };
        if buffer.len() > MAX_LINE {
            return Err(at_line(format!("longer than {MAX_LINE} bytes")));
        }
        let text = buffer.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let line: OperationIn =
            serde_json::from_slice(text).map_err(|error| at_line(no_operation(&error)))?;
        let len = body_len(&line);
        if !open.has_room(len) {
            events.commit(std::mem::replace(&mut open, Group::new(ledger)).transaction)?;
        }
        match open.push(&line, len) {
            Ok(()) => {}
            Err(Problem::Line(detail)) => return Err(at_line(detail)),
            Err(Problem::Write(error)) => return Err(error.into()),
        }
        if open.transaction.len() >= group {
            events.commit(std::mem::replace(&mut open, Group::new(ledger)).transaction)?;
        }
    }
}
