//! Paths of the user: where they lead from, and how they were written.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Leads relative paths from the directory that the user is in.
pub struct Paths {
    /// `None` where it is this process's own.
    dir: Option<PathBuf>,
    /// Paths that lead elsewhere than they seem to, and how they were written.
    written: Mutex<Vec<(String, String)>>,
}

impl Paths {
    /// Paths as this process takes them.
    pub const fn own() -> Self {
        Self { dir: None, written: Mutex::new(Vec::new()) }
    }

    /// Paths as a user in `dir` means them.
    pub const fn from(dir: PathBuf) -> Self {
        Self { dir: Some(dir), written: Mutex::new(Vec::new()) }
    }

    /// The directory that the user is in.
    pub fn dir(&self) -> std::io::Result<PathBuf> {
        self.dir.clone().map_or_else(std::env::current_dir, Ok)
    }

    /// Where a path leads.
    pub fn find(&self, written: &Path) -> PathBuf {
        let Some(dir) = &self.dir else { return written.to_owned() };
        // No file has an empty name, while a directory joined with one has.
        if written.as_os_str().is_empty() {
            return PathBuf::new();
        }
        let path = dir.join(written);
        self.show(&path, written);
        path
    }

    /// From now on, a path is shown as it was written.
    pub fn show(&self, path: &Path, written: &Path) {
        let (path, written) = (path.display().to_string(), written.display().to_string());
        let mut all = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if path.starts_with('/') && path != written && !all.iter().any(|(known, _)| *known == path)
        {
            all.push((path, written));
            // The longest first: it may begin as another does.
            all.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        }
    }

    /// A text with its paths as they were written.
    pub fn as_written(&self, text: String) -> String {
        let all = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().fold(text, |text, (path, written)| replace_path(&text, path, written))
    }
}

/// Replaces a path where it is a whole one, or the beginning of one that goes on below it.
fn replace_path(text: &str, path: &str, written: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(path) {
        let goes_on =
            after.starts_with(|next: char| next.is_alphanumeric() || "-_.".contains(next));
        // A dot may also end the sentence.
        let is_other = goes_on && !after.starts_with(". ") && after != ".";
        let is_inner =
            before.ends_with(|last: char| last.is_alphanumeric() || "-_./".contains(last));
        replaced.push_str(before);
        replaced.push_str(if is_other || is_inner { path } else { written });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_show_what_was_written() {
        let paths = Paths::from(PathBuf::from("/home/ann"));
        assert_eq!(paths.find(Path::new("a")), Path::new("/home/ann/a"));
        assert_eq!(paths.find(Path::new("../bob")), Path::new("/home/ann/../bob"));
        assert_eq!(paths.find(Path::new("/tmp/x")), Path::new("/tmp/x"));
        assert_eq!(paths.find(Path::new("")), Path::new(""));
        for (told, shown) in [
            ("/home/ann/a: no such file", "a: no such file"),
            ("/home/ann/a/db/LOCK", "a/db/LOCK"),
            ("/home/ann/ab is another", "/home/ann/ab is another"),
            ("/home/ann/a.car is another", "/home/ann/a.car is another"),
            ("in /home/ann/a. Then", "in a. Then"),
            ("/mnt/home/ann/a is another", "/mnt/home/ann/a is another"),
            ("/home/ann/../bob and /tmp/x", "../bob and /tmp/x"),
        ] {
            assert_eq!(paths.as_written(told.to_owned()), shown);
        }
    }

    #[test]
    fn own_paths_stay_as_they_are() {
        let paths = Paths::own();
        assert_eq!(paths.find(Path::new("a/../b")), Path::new("a/../b"));
        assert_eq!(paths.as_written("a/../b".to_owned()), "a/../b");
    }
}
