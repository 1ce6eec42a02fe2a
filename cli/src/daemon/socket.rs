//! The socket in the store's directory.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

/// The name of the one that takes commands.
const SOCKET: &str = "socket";
/// Its permissions: it is for the owner of the store.
const MODE: Mode = Mode::from_bits_truncate(0o600);
/// How many clients wait at most until the daemon takes them.
const BACKLOG: i32 = 128;

/// The daemon's end, which is removed when it is dropped.
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
    /// The store's directory, whose lock the one daemon has that takes its commands.
    claimed: Option<File>,
}

impl Socket {
    /// Makes the socket of a store that takes commands; `None` where another daemon has one there. Clients
    /// wait from now on until they are taken.
    pub fn claim(store: &Path) -> io::Result<Option<Self>> {
        let dir = File::open(store)?;
        match dir.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut bound = Self::bind(store, SOCKET)?;
        bound.claimed = Some(dir);
        Ok(Some(bound))
    }

    /// Makes another socket of a store, which the caller has claimed.
    pub fn beside(store: &Path, name: &str) -> io::Result<Self> {
        Self::bind(store, name)
    }

    fn bind(store: &Path, name: &str) -> io::Result<Self> {
        // Whatever is there is left from a daemon that has ended.
        let path = store.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let place = Place::of(store, name)?;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // What is made by `bind` has the permissions of the socket itself, from the first.
        fchmod(&socket, MODE)?;
        bind(&socket, &place.address()?)?;
        let bound = Self { path, listener: UnixListener::from(socket), claimed: None };
        listen(&bound.listener, BACKLOG)?;
        Ok(bound)
    }

    /// Another handle of the listening end.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Connects to the daemon that serves a store; `None` where none answers.
pub fn connect(store: &Path) -> Option<UnixStream> {
    let place = Place::of(store, SOCKET).ok()?;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
    rustix::net::connect(&socket, &place.address().ok()?).ok()?;
    Some(UnixStream::from(socket))
}

/// Where a socket is, by a path that is short enough for an address.
struct Place {
    path: PathBuf,
    /// What the path leads through.
    _dir: Option<File>,
}

impl Place {
    fn of(store: &Path, name: &str) -> io::Result<Self> {
        let path = store.join(name);
        if SocketAddrUnix::new(&path).is_ok() {
            return Ok(Self { path, _dir: None });
        }
        let dir = File::open(store)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()));
        Ok(Self { path, _dir: Some(dir) })
    }

    fn address(&self) -> io::Result<SocketAddrUnix> {
        Ok(SocketAddrUnix::new(&self.path)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_the_owners_and_goes_with_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        assert!(connect(dir.path()).is_none());
        let socket = Socket::claim(dir.path()).unwrap().unwrap();
        assert!(Socket::claim(dir.path()).unwrap().is_none());
        let metadata = fs::symlink_metadata(dir.path().join(SOCKET)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
        assert!(connect(dir.path()).is_some());
        drop(socket);
        assert!(!dir.path().join(SOCKET).exists());
    }

    #[test]
    fn a_stale_one_is_replaced_and_a_long_path_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("a".repeat(120)).join("b".repeat(120));
        fs::create_dir_all(&store).unwrap();
        drop(UnixListener::bind(store.join("socket")).or_else(|_| {
            // The path is too long for an address.
            let short = dir.path().join("s");
            let listener = UnixListener::bind(&short)?;
            fs::rename(short, store.join("socket"))?;
            io::Result::Ok(listener)
        }));
        // As a killed daemon leaves it.
        assert!(store.join("socket").exists() && connect(&store).is_none());
        let fresh = Socket::claim(&store).unwrap().unwrap();
        assert!(connect(&store).is_some());
        drop(fresh);
    }
}
