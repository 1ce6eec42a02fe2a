//! Values that come from the command line, a file or stdin.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::console::Wanted;
use crate::context::Context;
use crate::exit::Failure;

/// Where a value is read from, in options of a command.
#[derive(clap::Args)]
pub struct ValueArgs {
    /// The value as text; `-` reads stdin.
    pub value: Option<String>,
    /// Take the content of this file, of any length.
    #[arg(long, value_name = "F", conflicts_with = "value")]
    pub file: Option<PathBuf>,
}

/// Where a value is read from.
pub enum Source {
    Text(String),
    Stdin,
    File(PathBuf),
}

impl ValueArgs {
    /// What was given, if anything.
    pub fn source(self) -> Option<Source> {
        match (self.file, self.value) {
            (Some(path), _) => Some(Source::File(path)),
            (None, Some(text)) if text == "-" => Some(Source::Stdin),
            (None, Some(text)) => Some(Source::Text(text)),
            (None, None) => None,
        }
    }
}

impl Source {
    /// Opens it for reading.
    pub fn open(self, context: &Context) -> Result<Box<dyn Read>, Failure> {
        Ok(match self {
            Self::Text(text) => Box::new(io::Cursor::new(text.into_bytes())),
            Self::Stdin => Box::new(context.stdin()),
            Self::File(path) => {
                let path = context.path(&path);
                let inner = Named { inner: open(&path)?, path };
                Box::new(Wanted { console: context.console().clone(), inner })
            }
        })
    }
}

/// A file to read from any place; stdin is put into a temporary one first.
pub fn seekable(path: &Path, context: &Context) -> Result<File, Failure> {
    if path.as_os_str() == "-" {
        return context.console().spool();
    }
    open(&context.path(path))
}

/// Opens a file of the user to read. A directory can be opened as well, and fails only when it is read.
pub fn open(path: &Path) -> Result<File, Failure> {
    let file = File::open(path).map_err(Failure::file(path))?;
    if file.metadata().map_err(Failure::file(path))?.is_dir() {
        let why = io::Error::new(io::ErrorKind::IsADirectory, "it is a directory, not a file");
        return Err(Failure::file(path)(why));
    }
    Ok(file)
}

/// A file whose errors name it, where others than we tell of them.
struct Named {
    inner: File,
    path: PathBuf,
}

impl Read for Named {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        })
    }
}
