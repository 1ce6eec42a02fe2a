//! `quipu put --batch`: operations from a file, one a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use data_encoding::{BASE64, BASE64_NOPAD};
use quipu_merge::MAX_BODY_LEN;
use quipu_store::{Ledger, Transaction, WriteError};
use serde::Deserialize;

use crate::amount::count;
use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;
use crate::output;

use super::events::{Events, OPERATION_LEN};

/// Longest line, in bytes.
const MAX_LINE: usize = 16 << 20;
/// How much is read at once.
const PORTION: usize = 256 * 1024;

/// Bytes as DAG-JSON has them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Base64 {
        #[serde(rename = "/")]
        inner: Inner,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    bytes: String,
}

impl Bytes {
    fn decode(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64 { inner: Inner { bytes } } => {
                let decoded = BASE64_NOPAD
                    .decode(bytes.as_bytes())
                    .or_else(|_| BASE64.decode(bytes.as_bytes()));
                decoded.map_err(|error| format!("no base64: {error}"))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Put { key: String, value: Bytes },
    Del { key: String },
    Inc { key: String, by: i64 },
    Add { key: String, member: Bytes },
    Rem { key: String, member: Bytes },
    Append { key: String, value: Bytes },
}

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

    fn push(&mut self, line: Line, len: usize) -> Result<(), Problem> {
        let transaction = &mut self.transaction;
        match line {
            Line::Put { key, value } => transaction.put(&key, &value.decode()?)?,
            Line::Del { key } => transaction.del(&key)?,
            Line::Inc { key, by } => transaction.inc(&key, by)?,
            Line::Add { key, member } => transaction.add(&key, &member.decode()?)?,
            Line::Rem { key, member } => transaction.rem(&key, &member.decode()?)?,
            Line::Append { key, value } => transaction.append(&key, &value.decode()?)?,
        };
        self.size += len;
        Ok(())
    }
}

/// What is wrong with a line, or with the store.
enum Problem {
    Line(String),
    Write(WriteError),
}

impl From<String> for Problem {
    fn from(detail: String) -> Self {
        Self::Line(detail)
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Limit(limit) => Self::Line(limit.to_string()),
            other => Self::Write(other),
        }
    }
}

/// Room that a line takes up in a body, at most.
fn body_len(line: &Line) -> usize {
    let (key, member) = match line {
        Line::Put { key, .. }
        | Line::Del { key }
        | Line::Inc { key, .. }
        | Line::Append { key, .. } => (key, 0),
        Line::Add { key, member } | Line::Rem { key, member } => {
            let len = match member {
                Bytes::Text(text) => text.len(),
                Bytes::Base64 { inner } => inner.bytes.len(),
            };
            (key, len)
        }
    };
    OPERATION_LEN + key.len() + member
}

pub fn run(file: &Path, group: u32, wait: Wait, context: &mut Context) -> Result<(), Failure> {
    let mut input: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(BufReader::with_capacity(PORTION, context.stdin()))
    } else {
        let file = context.path(file);
        let opened = File::open(&file).map_err(Failure::file(&file))?;
        Box::new(BufReader::with_capacity(PORTION, opened))
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
        let line: Line =
            serde_json::from_slice(text).map_err(|error| at_line(error.to_string()))?;
        let len = body_len(&line);
        if !open.has_room(len) {
            events.commit(std::mem::replace(&mut open, Group::new(ledger)).transaction)?;
        }
        match open.push(line, len) {
            Ok(()) => {}
            Err(Problem::Line(detail)) => return Err(at_line(detail)),
            Err(Problem::Write(error)) => return Err(error.into()),
        }
        if open.transaction.len() >= group {
            events.commit(std::mem::replace(&mut open, Group::new(ledger)).transaction)?;
        }
    }
}
