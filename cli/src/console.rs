//! Where a command reads and writes: the streams of this process, or those of a client.

use std::cell::RefCell;
use std::fs::{DirBuilder, File};
use std::io::{self, IsTerminal, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anstream::{AutoStream, ColorChoice};
use quipu_store::Passphrase;
use rustix::event::PollFlags;
use rustix::termios::tcgetwinsize;
use zeroize::Zeroizing;

use crate::daemon::Client;
use crate::exit::Failure;
use crate::paths::Paths;

const PASSPHRASE: &str = "QUIPU_PASSPHRASE";
/// A pipe or a terminal that takes something takes as much as this at once.
const PORTION: usize = 4096;
/// Rows and columns of a terminal that does not tell.
const SIZE: (u16, u16) = (24, 80);
/// Permissions of a directory before the mask takes some away.
const DIRECTORY: u32 = 0o777;

/// What the surroundings of the user want to see.
#[derive(Clone, Copy)]
pub struct Looks {
    /// Colours on stdout.
    pub stdout: bool,
    /// Colours on stderr.
    pub stderr: bool,
    /// Bars that move on stderr.
    pub progress: bool,
}

/// The streams, the directory and the secrets of the user of a command.
pub struct Console {
    pub streams: Streams,
    pub looks: Looks,
    pub paths: Paths,
    passphrase: Option<Passphrase>,
    /// The permissions that new files do not get, beside what this process's own mask takes away.
    umask: u32,
    client: Option<Client>,
}

/// Stdin, stdout and stderr.
pub struct Streams {
    stdin: Mutex<File>,
    stdout: File,
    stderr: File,
}

impl Streams {
    pub fn new([stdin, stdout, stderr]: [OwnedFd; 3]) -> Self {
        let stdin = Mutex::new(File::from(stdin));
        Self { stdin, stdout: File::from(stdout), stderr: File::from(stderr) }
    }

    /// Copies to be handed on.
    pub fn copies(&self) -> io::Result<[OwnedFd; 3]> {
        let (stdin, stdout, stderr) = (self.stdin().try_clone()?, &self.stdout, &self.stderr);
        Ok([stdin.into(), stdout.try_clone()?.into(), stderr.try_clone()?.into()])
    }

    fn stdin(&self) -> MutexGuard<'_, File> {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// The console of this process.
    pub fn own() -> io::Result<Self> {
        let streams = Streams::new([
            io::stdin().as_fd().try_clone_to_owned()?,
            io::stdout().as_fd().try_clone_to_owned()?,
            io::stderr().as_fd().try_clone_to_owned()?,
        ]);
        let looks = Looks {
            stdout: AutoStream::choice(&io::stdout()) != ColorChoice::Never,
            stderr: AutoStream::choice(&io::stderr()) != ColorChoice::Never,
            progress: io::stderr().is_terminal()
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        };
        let passphrase = own_passphrase().map(Passphrase::new);
        Ok(Self { streams, looks, paths: Paths::own(), passphrase, umask: 0, client: None })
    }

    /// The console of a client.
    pub fn of(client: Client, streams: Streams, looks: Looks, user: User) -> Self {
        let User { dir, passphrase, umask } = user;
        let paths = Paths::from(dir);
        Self { streams, looks, paths, passphrase, umask, client: Some(client) }
    }

    /// The passphrase that the user's environment holds.
    pub fn passphrase(&self) -> Option<Passphrase> {
        self.passphrase.clone()
    }

    /// Makes a directory and those above it, with the permissions that the user wants.
    pub fn make_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(self.masked(DIRECTORY)).create(dir)
    }

    /// Permissions without those that the user's mask takes away.
    pub const fn masked(&self, mode: u32) -> u32 {
        mode & !self.umask
    }

    /// Whether a daemon runs the command.
    pub const fn is_served(&self) -> bool {
        self.client.is_some()
    }

    /// Fails where the client that wanted the command has gone.
    pub fn check_gone(&self) -> Result<(), Failure> {
        match &self.client {
            Some(client) if client.is_gone() => Err(Failure::Gone),
            _ => Ok(()),
        }
    }

    pub fn stdout_is_terminal(&self) -> bool {
        self.streams.stdout.is_terminal()
    }

    pub fn stderr_is_terminal(&self) -> bool {
        self.streams.stderr.is_terminal()
    }

    /// The rows and columns of the terminal that stderr is.
    pub fn stderr_size(&self) -> (u16, u16) {
        match tcgetwinsize(&self.streams.stderr) {
            Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
            _ => SIZE,
        }
    }

    /// Draws on the terminal that stderr is.
    pub fn draw(&self, text: &str) {
        let _ = (Stream { console: self, file: &self.streams.stderr }).write_all(text.as_bytes());
    }

    /// Asks on the user's terminal for what is not shown.
    pub fn ask(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        match &self.client {
            Some(client) => client.ask(prompt),
            None => rpassword::prompt_password(prompt).map(Zeroizing::new),
        }
    }

    /// Says something on stderr, in one piece. Where that takes nothing there is nobody to tell.
    pub fn say(&self, text: String) {
        let mut plain = AutoStream::new(Vec::new(), colour_choice(self.looks.stderr));
        let _ = plain.write_all(self.paths.as_written(text).as_bytes());
        let _ =
            (Stream { console: self, file: &self.streams.stderr }).write_all(&plain.into_inner());
    }

    /// Puts all of stdin into a file, which is read from its beginning from now on.
    pub fn spool(self: &Arc<Self>) -> Result<File, Failure> {
        let no_room = || Failure::file(std::env::temp_dir());
        let mut spooled = tempfile::tempfile().map_err(no_room())?;
        io::copy(&mut Stdin(self.clone()), &mut spooled).map_err(Failure::file("stdin"))?;
        spooled.rewind().map_err(no_room())?;
        *self.streams.stdin() = spooled.try_clone().map_err(no_room())?;
        Ok(spooled)
    }
}

/// What is known of the user of a client.
pub struct User {
    pub dir: PathBuf,
    pub passphrase: Option<Passphrase>,
    pub umask: u32,
}

/// The passphrase that this process's environment holds.
pub fn own_passphrase() -> Option<String> {
    std::env::var(PASSPHRASE).ok().filter(|text| !text.is_empty())
}

const fn colour_choice(wanted: bool) -> ColorChoice {
    if wanted { ColorChoice::Always } else { ColorChoice::Never }
}

/// Stdin of a console.
pub struct Stdin(pub Arc<Console>);

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stdin = self.0.streams.stdin();
        if let Some(client) = &self.0.client {
            client.feed()?;
            client.wait_for(stdin.as_fd(), PollFlags::IN)?;
        }
        stdin.read(buffer)
    }
}

/// Stdout of a console.
pub struct Stdout(pub Arc<Console>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Stream { console: &self.0, file: &self.0.streams.stdout }.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Something else than a file that a console's command writes to.
pub struct Through {
    pub console: Arc<Console>,
    pub file: File,
}

impl Write for Through {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Stream { console: &self.console, file: &self.file }.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes as long as there is somebody who wants it.
struct Stream<'c> {
    console: &'c Console,
    file: &'c File,
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(client) = &self.console.client else { return self.file.write(bytes) };
        client.wait_for(self.file.as_fd(), PollFlags::OUT)?;
        // More of it could block for good after the client has gone.
        self.file.write(bytes.get(..PORTION).unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads as long as the client has not gone.
pub struct Wanted<R> {
    pub console: Arc<Console>,
    pub inner: R,
}

impl<R: Read> Read for Wanted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.console.check_gone().map_err(io::Error::other)?;
        self.inner.read(buffer)
    }
}

thread_local! {
    /// Whom the command of this thread talks to.
    static CONSOLE: RefCell<Option<Arc<Console>>> = const { RefCell::new(None) };
}

/// Until it is dropped, what is said in this thread is said on a console.
pub struct Entered(());

impl Entered {
    pub fn new(console: Arc<Console>) -> Self {
        CONSOLE.set(Some(console));
        Self(())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CONSOLE.set(None);
    }
}

/// The console of this thread's command.
pub fn current() -> Option<Arc<Console>> {
    CONSOLE.with_borrow(Clone::clone)
}
