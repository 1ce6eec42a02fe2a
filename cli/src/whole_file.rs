//! Files that are written as a whole or not at all; and what is no file, which is written to.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::console::{Stdout, Through};
use crate::context::Context;
use crate::exit::Failure;

/// The permissions of a new file before the mask takes some away.
const FILE: u32 = 0o666;
const PERMISSIONS: u32 = 0o777;
/// How many links may lead from one to the next (as many as Linux follows).
const MAX_LINKS: usize = 40;
/// What writes to the user's stdout, which in a daemon is not the process's own.
const STDOUT: [&str; 3] = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
/// How often to look whether a pipe is read from now.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const BUFFER: usize = 1 << 20;

/// Writes a file of the user, or leaves what was there. A link leads to the file that is written. What
/// is no file, a pipe or a device, stays what it is: it gets what is written, all of it or not.
pub fn write_whole<T>(
    written: &Path,
    context: &Context,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if STDOUT.iter().any(|name| written == Path::new(name)) {
        return write_through(Stdout(context.console().clone()), written, write);
    }
    let path = &context.path(written);
    let failed = || Failure::file(path);
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            let file = open(path, found.file_type().is_fifo(), context)?;
            write_through(Through { console: context.console().clone(), file }, path, write)
        }
        Ok(found) => {
            let mode = found.permissions().mode() & PERMISSIONS;
            let file = path.canonicalize().map_err(failed())?;
            replace(&file, mode, Some(mode), write)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let file = end_of_links(path).map_err(failed())?;
            replace(&file, context.console().masked(FILE), None, write)
        }
        Err(error) => Err(failed()(error)),
    }
}

/// Writes another file and gives it the name of this one when it is whole. `exactly` are the
/// permissions that it has then, whatever the mask takes away.
fn replace<T>(
    path: &Path,
    mode: u32,
    exactly: Option<u32>,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fresh = tempfile::Builder::new()
        .prefix(".quipu-unfinished-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(dir)
        .map_err(Failure::file(dir))?;
    let mut writer = BufWriter::with_capacity(BUFFER, fresh);
    let done = write(&mut writer)?;
    let fresh = writer.into_inner().map_err(|error| Failure::file(path)(error.into_error()))?;
    let file = fresh.as_file();
    if let Some(mode) = exactly {
        file.set_permissions(Permissions::from_mode(mode)).map_err(Failure::file(path))?;
    }
    file.sync_all().map_err(Failure::file(path))?;
    fresh.persist(path).map_err(|error| Failure::file(path)(error.error))?;
    Ok(done)
}

fn write_through<T>(
    to: impl Write,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut writer = BufWriter::with_capacity(BUFFER, to);
    let done = write(&mut writer)?;
    writer.flush().map_err(Failure::file(path))?;
    Ok(done)
}

/// Opens what is no file. A pipe that nobody reads from is waited for, as long as somebody wants it.
fn open(path: &Path, is_pipe: bool, context: &Context) -> Result<File, Failure> {
    let failed = || Failure::file(path);
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let unread = Some(Errno::NXIO.raw_os_error());
    let file = loop {
        match options.open(path) {
            Err(error) if is_pipe && error.raw_os_error() == unread => {
                context.console().check_gone()?;
                thread::sleep(LOOK_EVERY);
            }
            opened => break opened.map_err(failed())?,
        }
    };
    let waits = fcntl_getfl(&file).and_then(|flags| fcntl_setfl(&file, flags - OFlags::NONBLOCK));
    waits.map_err(|error| failed()(error.into()))?;
    Ok(file)
}

/// Where the file is to be made that a path leads to.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP.into())
}
