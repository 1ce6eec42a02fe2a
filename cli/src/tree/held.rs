//! What a ledger holds of a tree.

use std::collections::BTreeSet;

use quipu_store::{KeyKind, Snapshot};

use super::{Mark, Prefix};
use crate::exit::Failure;

/// The paths of a tree, and what is said of them.
pub struct Held {
    pub paths: BTreeSet<String>,
    marks: BTreeSet<Vec<u8>>,
}

impl Held {
    /// Reads the keys, not the values.
    pub fn read(snapshot: &Snapshot<'_>, prefix: &Prefix) -> Result<Self, Failure> {
        let (mut paths, mut marks) = (BTreeSet::new(), BTreeSet::new());
        snapshot.keys(prefix.as_str(), |key, kinds| {
            let path = prefix.path(key).filter(|_| kinds.contains(&KeyKind::Register));
            paths.extend(path.map(str::to_owned));
            true
        })?;
        snapshot.set(prefix.as_str(), |member| {
            if Mark::path_in(member).is_some() {
                marks.insert(member.to_vec());
            }
            true
        })?;
        Ok(Self { paths, marks })
    }

    pub fn is_marked(&self, path: &str, mark: Mark) -> bool {
        self.marks.contains(&mark.member(path))
    }

    /// The marks, as members of the set, with the paths that they mark.
    pub fn marks(&self) -> impl Iterator<Item = (&[u8], &str)> {
        self.marks.iter().filter_map(|member| Some((member.as_slice(), Mark::path_in(member)?)))
    }

    /// Refuses a tree that cannot be a directory of its own: with a path that leads out of it, or
    /// through a file. Keys may come from anybody who may write.
    pub fn check_paths(&self, prefix: &Prefix) -> Result<(), Failure> {
        for path in &self.paths {
            let refused = |why| Failure::UnsafePath { key: prefix.key(path), why };
            check_names(path).map_err(refused)?;
            let mut above = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
            if above.any(|above| self.paths.contains(above)) {
                return Err(refused("it leads through another file"));
            }
        }
        Ok(())
    }
}

/// Checks that a path consists of names that stay where they are.
fn check_names(path: &str) -> Result<(), &'static str> {
    if path.contains('\0') {
        return Err("it has a NUL in it");
    }
    path.split('/').try_for_each(|name| match name {
        "" => Err("it has an empty name in it"),
        "." => Err("it has the name `.` in it"),
        ".." => Err("it has the name `..` in it"),
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::check_names;

    #[test]
    fn paths_stay_inside() {
        for path in ["a", "a/b", "...", "a b/ü", ".git/x", "..a/b..", "a\\b", "C:", "a\nb"] {
            assert_eq!(check_names(path), Ok(()), "{path:?}");
        }
        for path in [
            "", "/", "/etc", "a/", "a//b", "..", "a/..", "../a", "a/../b", ".", "./a", "a/.", "a\0",
        ] {
            assert!(check_names(path).is_err(), "{path:?}");
        }
    }
}
