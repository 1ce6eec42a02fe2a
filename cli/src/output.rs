//! Stdout for data, stderr for messages and progress.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::bar;
use crate::console::{self, Console, Stdout};

/// What a piece of text is, which decides how it looks.
#[derive(Clone, Copy)]
pub enum Look {
    Id,
    Author,
    Time,
    Key,
    Warn,
}

impl Look {
    const fn style(self) -> Style {
        match self {
            Self::Id => AnsiColor::Yellow.on_default(),
            Self::Author => AnsiColor::Cyan.on_default(),
            Self::Time => Style::new().dimmed(),
            Self::Key => AnsiColor::Green.on_default(),
            Self::Warn => AnsiColor::Red.on_default(),
        }
    }
}

/// Where data goes.
pub struct Output {
    stdout: BufWriter<Stdout>,
    json: bool,
    colours: bool,
    terminal: bool,
}

impl Output {
    pub fn new(json: bool, console: Arc<Console>) -> Self {
        let (colours, terminal) = (console.looks.stdout, console.stdout_is_terminal());
        let stdout = BufWriter::with_capacity(64 * 1024, Stdout(console));
        Self { stdout, json, colours, terminal }
    }

    /// Whether JSON is wanted.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person reads.
    pub const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Prints a line of JSON.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.stdout, value).map_err(io::Error::from)?;
        self.stdout.write_all(b"\n")
    }

    /// Prints an object over several lines, for reading.
    pub fn json_pretty(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.stdout, value).map_err(io::Error::from)?;
        self.stdout.write_all(b"\n")
    }

    /// Prints a line of text.
    pub fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.stdout, "{text}")
    }

    /// Prints bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.write_all(bytes)
    }

    /// Hands on what has been printed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }

    /// To print what writes itself.
    pub const fn writer(&mut self) -> &mut impl Write {
        &mut self.stdout
    }

    /// Colours a text, where colours are wanted.
    pub fn paint(&self, look: Look, text: impl Display) -> String {
        let style = look.style();
        if self.colours { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

fn say(text: String) {
    if let Some(console) = console::current() {
        console.say(text);
    }
}

fn message(kind: &str, colour: AnsiColor, text: impl Display) {
    let style = colour.on_default().bold();
    say(format!("{style}{kind}:{style:#} {text}\n"));
}

/// Tells what went wrong.
pub fn error(text: impl Display) {
    message("error", AnsiColor::Red, text);
}

/// Tells what to do about it.
pub fn hint(text: impl Display) {
    message("hint", AnsiColor::Cyan, text);
}

/// Tells what to watch out for.
pub fn warning(text: impl Display) {
    message("warning", AnsiColor::Yellow, text);
}

/// Tells what has been done.
pub fn note(text: impl Display) {
    say(format!("{text}\n"));
}

/// Progress of long work: a bar on stderr where that is a terminal, and nothing otherwise.
pub struct Progress {
    bar: ProgressBar,
    /// Whom the work is done for: it may be told of by other threads than the command's.
    console: Option<Arc<Console>>,
}

impl Progress {
    pub fn new(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, bar::target());
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}")
        {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, console: console::current() }
    }

    /// This much is done.
    pub fn report(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// This much is done. The work ends where the client that wanted it has gone.
    pub fn step(&self, done: u64, total: u64) -> ControlFlow<()> {
        self.report(done, total);
        match self.console.as_ref().map(|console| console.check_gone()) {
            Some(Err(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
