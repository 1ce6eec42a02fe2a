//! Where the store is, and how it is opened.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use quipu_merge::{Cut, CutExpression};
use quipu_store::{
    IdentityError, Ledger, OpenError, Options, Passphrase, ReadError, Snapshot, is_store,
};

use crate::args::Global;
use crate::exit::Failure;
use crate::output::{self, Output};

/// The directory that holds a store beside other things, as `.git` does.
pub const STORE_DIR: &str = ".quipu";

const PASSPHRASE: &str = "QUIPU_PASSPHRASE";
const MAX_PASSPHRASE: u64 = 4096;

/// What all commands work with.
pub struct Context {
    pub out: Output,
    store: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
}

impl Context {
    pub fn new(global: Global) -> Self {
        Self {
            out: Output::new(global.json),
            store: global.store,
            passphrase_file: global.passphrase_file,
        }
    }

    /// Where a new store goes: the directory given, or `--store`, or `.quipu` here.
    pub fn new_store(&self, dir: Option<PathBuf>) -> PathBuf {
        dir.or_else(|| self.store.clone()).unwrap_or_else(|| PathBuf::from(STORE_DIR))
    }

    /// The store's directory.
    pub fn find_store(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.store {
            return Ok(store_in(dir).unwrap_or_else(|| dir.clone()));
        }
        let here = std::env::current_dir().map_err(Failure::file("."))?;
        let found = here.ancestors().find_map(store_in);
        found.ok_or(Failure::NoLedger(here))
    }

    /// Opens the store to read. Its key is not needed.
    pub fn open(&self) -> Result<Ledger, Failure> {
        let ledger = self.open_as_is()?;
        warn_of_loss(&ledger);
        Ok(ledger)
    }

    fn open_as_is(&self) -> Result<Ledger, Failure> {
        let dir = self.find_store()?;
        match Ledger::open(&dir) {
            // It was made before a store knew its author without the key, and needs it just once.
            Err(OpenError::Identity(error @ IdentityError::PassphraseNeeded)) => {
                let given = self.passphrase()?;
                let passphrase = given.map_or_else(|| ask_for(&dir, error), Ok)?;
                Ok(Options::new().passphrase(passphrase).open(dir)?)
            }
            other => Ok(other?),
        }
    }

    /// Opens the store to take in what others wrote: its key is not needed either.
    pub fn open_to_merge(&self) -> Result<Ledger, Failure> {
        let ledger = self.open()?;
        warn_of_copy(&ledger);
        Ok(ledger)
    }

    /// Opens the store to write events: with its key, and a warning where that may fork the author.
    pub fn open_to_write(&self) -> Result<Ledger, Failure> {
        let ledger = self.open_to_merge()?;
        self.unlock(&ledger)?;
        Ok(ledger)
    }

    /// Has a store read its key before any work is done, with the passphrase that is given or, on
    /// a terminal, asked for.
    pub fn unlock(&self, ledger: &Ledger) -> Result<(), Failure> {
        let given = self.passphrase()?;
        match ledger.unlock(given.as_ref()) {
            Err(error @ IdentityError::PassphraseNeeded) => {
                Ok(ledger.unlock(Some(&ask_for(ledger.dir(), error)?))?)
            }
            other => Ok(other?),
        }
    }

    /// Options for a new store: its key is encrypted where a passphrase is given or asked for.
    pub fn new_options(&self, encrypt: bool) -> Result<Options, Failure> {
        let passphrase = match self.passphrase()? {
            None if encrypt => Some(ask_twice("Passphrase for the new key: ")?),
            given => given,
        };
        Ok(passphrase.map_or_else(Options::new, |passphrase| Options::new().passphrase(passphrase)))
    }

    /// The passphrase from the file, the environment, or the terminal.
    pub fn passphrase_or_ask(&self, prompt: &str) -> Result<Passphrase, Failure> {
        match self.passphrase()? {
            Some(passphrase) => Ok(passphrase),
            None => ask_twice(prompt),
        }
    }

    /// The passphrase from the file or the environment.
    fn passphrase(&self) -> Result<Option<Passphrase>, Failure> {
        match &self.passphrase_file {
            Some(path) => read_passphrase(path).map(Some),
            None => Ok(std::env::var(PASSPHRASE)
                .ok()
                .filter(|text| !text.is_empty())
                .map(Passphrase::new)),
        }
    }
}

/// Warns where writing to the store may fork its author.
pub fn warn_of_copy(ledger: &Ledger) {
    if ledger.is_copied() {
        output::warning(
            "this store looks like a copy of another; if that one is still written to, this key's \
             history forks for good. `quipu identity rotate` makes a key of its own, \
             `quipu identity keep` says that the other is gone",
        );
    }
}

/// Warns where the store has lost what was acknowledged.
fn warn_of_loss(ledger: &Ledger) {
    if let Some(loss) = ledger.loss() {
        output::warning(format_args!(
            "{loss}. The end of its log was cut off, or files were replaced by older ones. `quipu merge` \
             from a replica that has these events brings them back; otherwise `quipu identity rotate` \
             makes a key that uses no number twice, and `quipu identity keep` says that nobody else has them",
        ));
    }
}

/// The store that `dir` is, or holds.
fn store_in(dir: &Path) -> Option<PathBuf> {
    if is_store(dir) {
        return Some(dir.to_owned());
    }
    let inner = dir.join(STORE_DIR);
    is_store(&inner).then_some(inner)
}

/// The store that a source is or holds, or `None` where it is a file.
pub fn source_store(source: &Path) -> Result<Option<PathBuf>, Failure> {
    match store_in(source) {
        None if source.is_dir() => Err(OpenError::NotFound(source.to_owned()).into()),
        found => Ok(found),
    }
}

/// Opens a store whose events are read once, in order, for which little memory is enough.
pub fn open_source(dir: &Path) -> Result<Ledger, OpenError> {
    Options::new().cache(8 << 20).write_buffer(1 << 20).open(dir)
}

/// The ledger now, or at a cut.
pub fn snapshot<'l>(
    ledger: &'l Ledger,
    at: Option<&CutExpression>,
) -> Result<Snapshot<'l>, ReadError> {
    let now = ledger.snapshot()?;
    match find_cut(&now, at)? {
        Cut::Everything => Ok(now),
        cut => now.at(&cut),
    }
}

/// The cut that an expression names; none means everything.
pub fn find_cut(snapshot: &Snapshot<'_>, at: Option<&CutExpression>) -> Result<Cut, ReadError> {
    at.map_or(Ok(Cut::Everything), |expression| snapshot.find_cut(expression))
}

/// Reads a passphrase from the first line of a file.
pub fn read_passphrase(path: &Path) -> Result<Passphrase, Failure> {
    let file = File::open(path).map_err(Failure::file(path))?;
    let mut line = String::new();
    BufReader::new(file.take(MAX_PASSPHRASE)).read_line(&mut line).map_err(Failure::file(path))?;
    line.truncate(line.trim_end_matches(['\n', '\r']).len());
    if line.is_empty() {
        return Err(Failure::Passphrase(format!(
            "{}: no passphrase in its first line",
            path.display()
        )));
    }
    Ok(Passphrase::new(line))
}

/// Asks for the passphrase of a store on the terminal; without one, the error stays.
pub fn ask_for(dir: &Path, error: IdentityError) -> Result<Passphrase, Failure> {
    if !std::io::stderr().is_terminal() {
        return Err(error.into());
    }
    ask_text(&format!("Passphrase of {}: ", dir.display())).map(Passphrase::new)
}

/// Asks for a new passphrase on the terminal, twice.
pub fn ask_twice(prompt: &str) -> Result<Passphrase, Failure> {
    let first = ask_text(prompt)?;
    if first.is_empty() {
        return Err(Failure::Passphrase("an empty passphrase protects nothing".to_owned()));
    }
    if ask_text("The same again: ")? != first {
        return Err(Failure::Passphrase("the two passphrases differ".to_owned()));
    }
    Ok(Passphrase::new(first))
}

fn ask_text(prompt: &str) -> Result<String, Failure> {
    rpassword::prompt_password(prompt).map_err(|error| {
        Failure::Passphrase(format!("the passphrase cannot be asked for here: {error}"))
    })
}
