//! Trees of files in a ledger: what the keys and the members are called.

pub mod held;
pub mod scan;

use crate::exit::Failure;

/// What all keys of a tree begin with. It ends in `/`, so that no other key is taken for a file of
/// the tree, and deleted with what has gone from it.
pub struct Prefix(String);

impl Prefix {
    /// Checks what was given.
    pub fn new(text: &str) -> Result<Self, Failure> {
        if text.ends_with('/') {
            return Ok(Self(text.to_owned()));
        }
        Err(Failure::Usage(format!(
            "the prefix of a tree ends in a slash: {:?}",
            format!("{text}/")
        )))
    }

    /// The prefix, which is also the key of the set of marks.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of a path.
    pub fn key(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The path of a key; `None` where the key is not below the prefix.
    pub fn path<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(&self.0).filter(|path| !path.is_empty())
    }
}

/// What the set at the prefix says of a path: the others are plain files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Executable,
    Symlink,
}

impl Mark {
    pub const ALL: [Self; 2] = [Self::Executable, Self::Symlink];

    const fn letters(self) -> &'static str {
        match self {
            Self::Executable => "x:",
            Self::Symlink => "l:",
        }
    }

    /// The member of the set that says so.
    pub fn member(self, path: &str) -> Vec<u8> {
        format!("{}{path}", self.letters()).into_bytes()
    }

    /// The path that a member marks; `None` where it is no mark.
    pub fn path_in(member: &[u8]) -> Option<&str> {
        let text = std::str::from_utf8(member).ok()?;
        Self::ALL.iter().find_map(|mark| text.strip_prefix(mark.letters()))
    }
}
