//! Directories for their owner alone.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a directory that nobody else can look into: values are not encrypted. One that is there keeps
/// its permissions, and those above it get the usual ones.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir.parent().unwrap_or(Path::new("")))?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_its_owners() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("a/b");
        create_dir(&dir).unwrap();
        let mode = |dir: &Path| fs::metadata(dir).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
        create_dir(&dir).unwrap();
        assert_eq!(mode(&dir), 0o750);
        fs::write(dir.join("file"), b"").unwrap();
        assert!(create_dir(&dir.join("file")).is_err());
    }
}
