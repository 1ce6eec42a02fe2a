//! Where the store is, and how it is opened.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use quipu_merge::{Cut, CutExpression};
use quipu_store::{
    IdentityError, Ledger, OpenError, Options, Passphrase, ReadError, Snapshot, is_store,
};
use zeroize::Zeroizing;

use crate::args::{At, Global};
use crate::console::{Console, Stdin};
use crate::daemon::{Forward, Served};
use crate::exit::{Failure, NotFinal};
use crate::output::{self, Output};

/// The directory that holds a store beside other things, as `.git` does.
pub const STORE_DIR: &str = ".quipu";

const MAX_PASSPHRASE: u64 = 4096;
/// How long to wait for whoever has the store open: a command that ends, or a daemon that starts.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
/// The same for a daemon. Commands that come meanwhile wait for it, so those that had the store open
/// before are all that it waits for.
const DAEMONS_PATIENCE: Duration = Duration::from_secs(10);
const DAEMONS_PAUSE: Duration = Duration::from_millis(5);

/// What all commands work with.
pub struct Context {
    pub out: Output,
    console: Arc<Console>,
    /// What is open already, in a daemon.
    served: Option<Arc<Served>>,
    store: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
    /// Whether this process is about to serve the store.
    serves: bool,
}

impl Context {
    pub fn new(global: Global, console: Arc<Console>, served: Option<Arc<Served>>) -> Self {
        Self {
            out: Output::new(global.json, console.clone()),
            console,
            served,
            store: global.store,
            passphrase_file: global.passphrase_file,
            serves: false,
        }
    }

    /// Whom the command works for.
    pub const fn console(&self) -> &Arc<Console> {
        &self.console
    }

    /// What the daemon has open that runs the command on its store, if one does.
    pub fn served(&self) -> Option<&Arc<Served>> {
        self.served.as_ref()
    }

    /// Where the store is.
    pub fn store_path(&self) -> Result<PathBuf, Failure> {
        Ok(self.path(&self.find_store()?))
    }

    /// The user's stdin.
    pub fn stdin(&self) -> Stdin {
        Stdin(self.console.clone())
    }

    /// Where a path of the user leads.
    pub fn path(&self, written: &Path) -> PathBuf {
        self.console.paths.find(written)
    }

    /// Works with this store from now on.
    pub fn use_store(&mut self, dir: PathBuf) {
        self.store = Some(dir);
    }

    /// Has a daemon run the command.
    pub fn forward(&self, forward: Forward) -> Result<u8, Failure> {
        forward.run(&self.console, self.store.as_deref())
    }

    /// Where a new store goes: the directory given, or `--store`, or `.quipu` here.
    pub fn new_store(&self, dir: Option<PathBuf>) -> PathBuf {
        dir.or_else(|| self.store.clone()).unwrap_or_else(|| PathBuf::from(STORE_DIR))
    }

    /// The store's directory, as the user names it.
    pub fn find_store(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.store {
            return Ok(self.store_in(dir).unwrap_or_else(|| dir.clone()));
        }
        let here = self.console.paths.dir().map_err(Failure::file("."))?;
        let found = here.ancestors().find_map(|dir| self.store_in(dir));
        found.ok_or(Failure::NoLedger(here))
    }

    /// The store that a source is or holds, or `None` where it is a file.
    pub fn source_store(&self, source: &Path) -> Result<Option<PathBuf>, Failure> {
        match self.store_in(source) {
            None if self.path(source).is_dir() => {
                Err(OpenError::NotFound(source.to_owned()).into())
            }
            found => Ok(found),
        }
    }

    /// The store that `dir` is, or holds.
    fn store_in(&self, dir: &Path) -> Option<PathBuf> {
        let mut dirs = [dir.to_owned(), dir.join(STORE_DIR)].into_iter();
        dirs.find(|dir| is_store(&self.path(dir)))
    }

    /// Opens the store to read. Its key is not needed.
    pub fn open(&self) -> Result<Arc<Ledger>, Failure> {
        let ledger = self.open_as_is()?;
        warn_of_loss(&ledger);
        Ok(ledger)
    }

    fn open_as_is(&self) -> Result<Arc<Ledger>, Failure> {
        let dir = self.find_store()?;
        match self.open_with(&dir, &Options::new()) {
            // It was made before a store knew its author without the key, and needs it just once.
            Err(Failure::Open(OpenError::Identity(error @ IdentityError::PassphraseNeeded))) => {
                let given = self.passphrase()?;
                let passphrase = given.map_or_else(|| self.ask_for(&dir, error), Ok)?;
                self.open_with(&dir, &Options::new().passphrase(passphrase))
            }
            other => other,
        }
    }

    /// Opens a store whose events are read once, in order, for which little memory is enough.
    pub fn open_source(&self, dir: &Path) -> Result<Arc<Ledger>, Failure> {
        self.open_with(dir, &Options::new().cache(8 << 20).write_buffer(1 << 20))
    }

    /// Opens the store in `dir`, or takes the one that is open. For one that is locked it waits a
    /// little; [`Failure::Served`] where a daemon answers then.
    fn open_with(&self, dir: &Path, options: &Options) -> Result<Arc<Ledger>, Failure> {
        let path = self.path(dir);
        if let Some(ledger) = self.served_in(&path) {
            self.console.paths.show(ledger.dir(), dir);
            return Ok(ledger.clone());
        }
        let since = Instant::now();
        let (patience, pause) =
            if self.serves { (DAEMONS_PATIENCE, DAEMONS_PAUSE) } else { (PATIENCE, PAUSE) };
        loop {
            match options.open(&path) {
                Err(OpenError::Locked(_)) if !self.serves && Forward::to(&path).is_some() => {
                    return Err(Failure::Served(dir.to_owned()));
                }
                Err(OpenError::Locked(_)) if since.elapsed() < patience => thread::sleep(pause),
                opened => return Ok(Arc::new(opened?)),
            }
        }
    }

    /// The ledger that is open already, if it is the one in this directory.
    fn served_in(&self, dir: &Path) -> Option<&Arc<Ledger>> {
        self.served
            .as_ref()
            .map(|served| &served.ledger)
            .filter(|ledger| is_same(dir, ledger.dir()))
    }

    /// Opens the store to take in what others wrote: its key is not needed either.
    pub fn open_to_merge(&self) -> Result<Arc<Ledger>, Failure> {
        let ledger = self.open()?;
        warn_of_copy(&ledger);
        Ok(ledger)
    }

    /// Opens the store to write events: with its key, and a warning where that may fork the author.
    pub fn open_to_write(&self) -> Result<Arc<Ledger>, Failure> {
        let ledger = self.open_to_merge()?;
        self.unlock(&ledger)?;
        Ok(ledger)
    }

    /// Opens the store to serve it, when its socket is there: so whoever comes now waits for the daemon.
    pub fn open_to_serve(&mut self) -> Result<Arc<Ledger>, Failure> {
        self.serves = true;
        self.open_to_write()
    }

    /// Has a store read its key before any work is done, with the passphrase that is given or, on
    /// a terminal, asked for.
    pub fn unlock(&self, ledger: &Ledger) -> Result<(), Failure> {
        let given = self.passphrase()?;
        match ledger.unlock(given.as_ref()) {
            Err(error @ IdentityError::PassphraseNeeded) => {
                Ok(ledger.unlock(Some(&self.ask_for(ledger.dir(), error)?))?)
            }
            other => Ok(other?),
        }
    }

    /// Options for a new store: its key is encrypted where a passphrase is given or asked for.
    pub fn new_options(&self, encrypt: bool) -> Result<Options, Failure> {
        let passphrase = match self.passphrase()? {
            None if encrypt => Some(self.ask_twice("Passphrase for the new key: ")?),
            given => given,
        };
        Ok(passphrase.map_or_else(Options::new, |passphrase| Options::new().passphrase(passphrase)))
    }

    /// The passphrase from the file, the environment, or the terminal.
    pub fn passphrase_or_ask(&self, prompt: &str) -> Result<Passphrase, Failure> {
        match self.passphrase()? {
            Some(passphrase) => Ok(passphrase),
            None => self.ask_twice(prompt),
        }
    }

    /// The passphrase from the file or the environment.
    fn passphrase(&self) -> Result<Option<Passphrase>, Failure> {
        match &self.passphrase_file {
            Some(path) => self.read_passphrase(path).map(Some),
            None => Ok(self.console.passphrase()),
        }
    }

    /// Reads a passphrase from the first line of a file.
    pub fn read_passphrase(&self, path: &Path) -> Result<Passphrase, Failure> {
        let path = self.path(path);
        let file = File::open(&path).map_err(Failure::file(&path))?;
        let mut line = String::new();
        let read = BufReader::new(file.take(MAX_PASSPHRASE)).read_line(&mut line);
        read.map_err(Failure::file(&path))?;
        line.truncate(line.trim_end_matches(['\n', '\r']).len());
        if line.is_empty() {
            let why = format!("{}: no passphrase in its first line", path.display());
            return Err(Failure::Passphrase(why));
        }
        Ok(Passphrase::new(line))
    }

    /// Asks for the passphrase of a store on the terminal; without one, the error stays.
    pub fn ask_for(&self, dir: &Path, error: IdentityError) -> Result<Passphrase, Failure> {
        if !self.console.stderr_is_terminal() {
            return Err(error.into());
        }
        let mut text = self.ask_text(&format!("Passphrase of {}: ", dir.display()))?;
        Ok(Passphrase::new(std::mem::take(&mut text)))
    }

    /// Asks for a new passphrase on the terminal, twice.
    pub fn ask_twice(&self, prompt: &str) -> Result<Passphrase, Failure> {
        let mut first = self.ask_text(prompt)?;
        if first.is_empty() {
            return Err(Failure::Passphrase("an empty passphrase protects nothing".to_owned()));
        }
        if self.ask_text("The same again: ")? != first {
            return Err(Failure::Passphrase("the two passphrases differ".to_owned()));
        }
        Ok(Passphrase::new(std::mem::take(&mut first)))
    }

    fn ask_text(&self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        let prompt = self.console.paths.as_written(prompt.to_owned());
        self.console.ask(&prompt).map_err(|error| {
            Failure::Passphrase(format!("the passphrase cannot be asked for here: {error}"))
        })
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

/// Whether two paths lead to the same place.
pub fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
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

/// The ledger now, or at the cut that is asked for.
pub fn snapshot_at<'l>(ledger: &'l Ledger, at: &At) -> Result<Snapshot<'l>, Failure> {
    let now = ledger.snapshot()?;
    match cut_at(&now, at)? {
        Cut::Everything => Ok(now),
        cut => Ok(now.at(&cut)?),
    }
}

/// The cut that is asked for; where nothing is certified yet, there is no certified one.
pub fn cut_at(snapshot: &Snapshot<'_>, at: &At) -> Result<Cut, Failure> {
    if !at.certified {
        return Ok(find_cut(snapshot, at.at.as_ref())?);
    }
    let height = snapshot.certified_height().ok_or_else(|| NotFinal::nothing(snapshot))?;
    Ok(find_cut(snapshot, Some(&CutExpression::Checkpoint(height.0)))?)
}

/// The cut that an expression names; none means everything.
pub fn find_cut(snapshot: &Snapshot<'_>, at: Option<&CutExpression>) -> Result<Cut, ReadError> {
    at.map_or(Ok(Cut::Everything), |expression| snapshot.find_cut(expression))
}
