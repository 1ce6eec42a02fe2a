//! The client's side: a command that goes to the daemon of its store.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use minicbor::bytes::ByteVec;
use rustix::fs::Mode;
use zeroize::Zeroizing;

use super::message::{Answer, MAX_FRAME, Reply, Secret, receive, send};
use super::request::Request;
use super::socket;
use crate::console::{Console, Looks, own_passphrase};
use crate::exit::Failure;

/// How much is shown of what a daemon says about a command that fails, in bytes.
const MAX_TOLD: u64 = 4096;

/// A way to hand a command to a daemon.
pub struct Forward {
    stream: UnixStream,
}

impl Forward {
    /// A way to the daemon that serves a store; `None` where none answers.
    pub fn to(store: &Path) -> Option<Self> {
        socket::connect(store).map(|stream| Self { stream })
    }

    /// Has the daemon run the command line of this process on its console. Gives the exit code.
    pub fn run(self, console: &Console, store: Option<&Path>) -> Result<u8, Failure> {
        let mut streams = console.streams.copies().map_err(failed)?;
        let mut terminal = if File::from(streams[0].try_clone().map_err(failed)?).is_terminal() {
            Some(Terminal::take(&mut streams[0]).map_err(failed)?)
        } else {
            None
        };
        let Looks { stdout, stderr, progress } = console.looks;
        let request = Request {
            args: std::env::args_os().map(bytes).collect(),
            dir: bytes(std::env::current_dir().map_err(Failure::file("."))?.into_os_string()),
            store: store.map(|store| store.as_os_str().as_bytes().to_vec().into()),
            colours: [stdout, stderr],
            progress,
            feeds: terminal.is_some(),
            umask: umask(),
            passphrase: own_passphrase().map(|text| Secret(Zeroizing::new(text))),
        };
        let ask = |prompt: &str| rpassword::prompt_password(prompt).map(Zeroizing::new);
        self.exchange(&request, streams, ask, || {
            if let Some(terminal) = terminal.take() {
                terminal.feed();
            }
        })
    }

    fn exchange(
        mut self,
        request: &Request,
        streams: [OwnedFd; 3],
        ask: impl Fn(&str) -> io::Result<Zeroizing<String>>,
        mut feed: impl FnMut(),
    ) -> Result<u8, Failure> {
        match request.send(&self.stream, &streams) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(failed(error)),
            // Why it was not taken is said in the answer.
            _ => drop(streams),
        }
        loop {
            match receive(&mut self.stream, MAX_FRAME).map_err(|_| Failure::DaemonEnded)? {
                Reply::Done(code) => return Ok(code),
                Reply::Refused(why) => return Err(Failure::Daemon(why)),
                Reply::Feed => feed(),
                Reply::Ask(prompt) => {
                    let answer = match ask(&prompt) {
                        Ok(secret) => Answer::Given(Secret(secret)),
                        Err(error) => Answer::Failed(error.to_string()),
                    };
                    send(&mut self.stream, &answer, MAX_FRAME).map_err(|_| Failure::DaemonEnded)?;
                }
            }
        }
    }
}

/// All that a served store has, as a file to import; `None` where no daemon answers.
pub fn fetch(store: &Path) -> Result<Option<File>, Failure> {
    let Some(forward) = Forward::to(store) else { return Ok(None) };
    let no_room = || Failure::file(std::env::temp_dir());
    let mut exported = tempfile::tempfile().map_err(no_room())?;
    let mut told = tempfile::tempfile().map_err(no_room())?;
    let streams = [
        File::open("/dev/null").map_err(Failure::file("/dev/null"))?.into(),
        exported.try_clone().map_err(no_room())?.into(),
        told.try_clone().map_err(no_room())?.into(),
    ];
    let store_arg = std::path::absolute(store).map_err(Failure::file(store))?.into_os_string();
    let request = Request {
        args: ["quipu", "export", "-"].map(|arg| bytes(arg.into())).to_vec(),
        dir: bytes("/".into()),
        store: Some(bytes(store_arg)),
        colours: [false; 2],
        progress: false,
        feeds: false,
        umask: 0,
        passphrase: None,
    };
    let nobody = |_: &str| Err(io::Error::other("nobody is there to be asked"));
    if forward.exchange(&request, streams, nobody, || ())? != 0 {
        let mut text = Vec::new();
        told.rewind().map_err(no_room())?;
        told.take(MAX_TOLD).read_to_end(&mut text).map_err(no_room())?;
        let text = String::from_utf8_lossy(&text);
        return Err(Failure::Daemon(format!("{}: {}", store.display(), text.trim())));
    }
    exported.rewind().map_err(no_room())?;
    Ok(Some(exported))
}

/// A terminal as stdin. A daemon does not read from it: it may not, where it was started from the
/// same one.
struct Terminal {
    input: File,
    pipe: io::PipeWriter,
}

impl Terminal {
    /// Puts a pipe in the place of a terminal.
    fn take(stdin: &mut OwnedFd) -> io::Result<Self> {
        let (reader, pipe) = io::pipe()?;
        let input = File::from(std::mem::replace(stdin, reader.into()));
        Ok(Self { input, pipe })
    }

    /// Hands on what comes, until this process ends.
    fn feed(mut self) {
        thread::spawn(move || io::copy(&mut self.input, &mut self.pipe));
    }
}

fn bytes(text: OsString) -> ByteVec {
    text.into_vec().into()
}

/// The mask of this process. It is set to be read, which other threads could see: there are none.
fn umask() -> u32 {
    let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::umask(mask);
    mask.bits()
}

fn failed(error: io::Error) -> Failure {
    Failure::Daemon(error.to_string())
}
