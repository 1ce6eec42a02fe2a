//! What is in a directory.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use quipu_merge::Key;
use quipu_store::is_store;

use super::{Mark, Prefix};
use crate::exit::Failure;
use crate::output;

/// The permission of a file's owner to run it.
const OWNER_RUNS: u32 = 0o100;

/// A file of a tree, or a symlink.
pub struct Found {
    /// Where it is.
    pub file: PathBuf,
    pub content: Content,
}

/// What its register is to hold.
pub enum Content {
    /// What is in the file, and how long it was when it was found.
    File { len: u64, executable: bool },
    /// What a symlink leads to.
    Symlink(Vec<u8>),
}

impl Content {
    pub const fn mark(&self) -> Option<Mark> {
        match self {
            Self::File { executable: true, .. } => Some(Mark::Executable),
            Self::File { .. } => None,
            Self::Symlink(_) => Some(Mark::Symlink),
        }
    }
}

/// Finds all files and symlinks in a directory, by their paths. Symlinks are not followed; stores
/// are left out, for a private key is in them.
pub fn scan(dir: &Path, prefix: &Prefix) -> Result<BTreeMap<String, Found>, Failure> {
    if is_store(dir) {
        return Err(Failure::Usage(format!("{} is a store, not a tree of files", dir.display())));
    }
    let mut found = BTreeMap::new();
    let mut open = vec![(dir.to_owned(), String::new())];
    while let Some((dir, above)) = open.pop() {
        for entry in fs::read_dir(&dir).map_err(Failure::file(&dir))? {
            let entry = entry.map_err(Failure::file(&dir))?;
            let file = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                return Err(Failure::Usage(format!("{}: its name is not UTF-8", file.display())));
            };
            let path = format!("{above}{name}");
            let metadata = entry.metadata().map_err(Failure::file(&file))?;
            if metadata.is_dir() {
                if !is_store(&file) {
                    open.push((file, path + "/"));
                }
                continue;
            }
            let Some(content) = content_of(&file, &metadata).map_err(Failure::file(&file))? else {
                let what = "left out, being neither a file, a directory nor a symlink";
                output::warning(format_args!("{}: {what}", file.display()));
                continue;
            };
            Key::new(&prefix.key(&path))
                .map_err(|limit| Failure::Usage(format!("{}: {limit}", file.display())))?;
            found.insert(path, Found { file, content });
        }
    }
    Ok(found)
}

fn content_of(file: &Path, metadata: &Metadata) -> io::Result<Option<Content>> {
    if metadata.is_symlink() {
        let target = fs::read_link(file)?;
        return Ok(Some(Content::Symlink(target.into_os_string().into_vec())));
    }
    let executable = metadata.permissions().mode() & OWNER_RUNS != 0;
    Ok(metadata.is_file().then_some(Content::File { len: metadata.len(), executable }))
}
