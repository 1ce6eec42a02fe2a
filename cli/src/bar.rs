//! The terminal on which the progress of a command is drawn: stderr of its console.

use std::fmt::{self, Debug, Formatter};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressDrawTarget, TermLike};

use crate::console::{self, Console};

/// How often a bar moves in a second, at most.
const REFRESH_RATE: u8 = 20;

/// Where the progress of this thread's command is drawn.
pub fn target() -> ProgressDrawTarget {
    match console::current().filter(|console| console.looks.progress) {
        Some(console) => {
            let bar = Bar { console, pending: Mutex::new(String::new()) };
            ProgressDrawTarget::term_like_with_hz(Box::new(bar), REFRESH_RATE)
        }
        None => ProgressDrawTarget::hidden(),
    }
}

struct Bar {
    console: Arc<Console>,
    /// What is drawn with the next flush, at once.
    pending: Mutex<String>,
}

impl Bar {
    fn pending(&self) -> MutexGuard<'_, String> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, text: &str) -> io::Result<()> {
        self.pending().push_str(text);
        Ok(())
    }

    fn turn(&self, steps: usize, way: char) -> io::Result<()> {
        if steps == 0 { Ok(()) } else { self.add(&format!("\x1b[{steps}{way}")) }
    }
}

impl Debug for Bar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bar").finish_non_exhaustive()
    }
}

impl TermLike for Bar {
    fn width(&self) -> u16 {
        self.console.stderr_size().1
    }

    fn height(&self) -> u16 {
        self.console.stderr_size().0
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.turn(lines, 'A')
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.turn(lines, 'B')
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.turn(columns, 'C')
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.turn(columns, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(text)?;
        self.add("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *self.pending());
        self.console.draw(&drawn);
        Ok(())
    }
}
