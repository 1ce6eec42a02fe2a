//! Tells systemd how far the daemon is (`Type=notify`).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

const SOCKET: &str = "NOTIFY_SOCKET";

pub const READY: &str = "READY=1";
pub const STOPPING: &str = "STOPPING=1";

/// Tells it, where it wants to know.
pub fn notify(state: &str) -> io::Result<()> {
    match std::env::var_os(SOCKET) {
        Some(socket) if !socket.is_empty() => notify_at(&socket, state),
        _ => Ok(()),
    }
}

fn notify_at(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_heard_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("quipu-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (address, socket) in [
            (SocketAddr::from_pathname(&path).unwrap(), path.clone().into_os_string()),
            (abstract_name, format!("@{name}").into()),
        ] {
            let systemd = UnixDatagram::bind_addr(&address).unwrap();
            notify_at(&socket, READY).unwrap();
            let mut heard = [0; 32];
            let len = systemd.recv(&mut heard).unwrap();
            assert_eq!(&heard[..len], b"READY=1");
        }
    }
}
