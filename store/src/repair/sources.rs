//! Where lost events and values come from: other replicas, and CAR files.

use std::fs::File;
use std::path::{Path, PathBuf};

use quipu_merge::{ParsedEvent, SignedEvent};

use super::error::RepairError;
use crate::error::MergeError;
use crate::import;
use crate::ledger::{Ledger, is_store};
use crate::load;
use crate::merge::Progress;
use crate::options::Options;

/// Memory for what is read once and in order.
const CACHE: usize = 8 << 20;
const WRITE_BUFFER: usize = 1 << 20;

/// Sources that are there and can be opened.
pub struct Sources(Vec<(PathBuf, Source)>);

enum Source {
    Replica(Box<Ledger>),
    File(File),
}

impl Sources {
    /// Opens the sources for the store in `dir`.
    pub fn open(dir: &Path, from: &[PathBuf]) -> Result<Self, RepairError> {
        let mut sources = Vec::with_capacity(from.len());
        for path in from {
            sources.push((path.clone(), open(dir, path)?));
        }
        Ok(Self(sources))
    }

    /// The first event of the ledger, from the first source, and its body.
    pub fn genesis(&mut self) -> Result<Option<(SignedEvent, Vec<u8>)>, RepairError> {
        let Some((path, source)) = self.0.first_mut() else { return Ok(None) };
        source.genesis().map(Some).map_err(failed(path))
    }

    /// Has the store take in what it lacks, as far as the sources have not pruned it.
    pub fn bring(&mut self, to: &Ledger, progress: Progress<'_>) -> Result<(), RepairError> {
        for (path, source) in &mut self.0 {
            let brought = match source {
                Source::Replica(replica) => to.merge(replica, progress),
                Source::File(file) => {
                    let file = file.try_clone().map_err(MergeError::Input);
                    file.and_then(|file| to.import(file, progress))
                }
            };
            match brought {
                // What could be had of it has been taken in.
                Err(MergeError::Source(why)) if why.is_pruned() => {}
                brought => drop(brought.map_err(failed(path))?),
            }
        }
        Ok(())
    }
}

fn open(dir: &Path, path: &Path) -> Result<Source, RepairError> {
    if let (Ok(one), Ok(other)) = (dir.canonicalize(), path.canonicalize())
        && one == other
    {
        return Err(RepairError::Itself(path.to_owned()));
    }
    if path.is_dir() || is_store(path) {
        let opened = Options::new().cache(CACHE).write_buffer(WRITE_BUFFER).open(path);
        let unopened = |source| RepairError::Unopened { path: path.to_owned(), source };
        return opened.map(Box::new).map(Source::Replica).map_err(|error| unopened(error.into()));
    }
    File::open(path).map(Source::File).map_err(|error| failed(path)(MergeError::Input(error)))
}

impl Source {
    fn genesis(&mut self) -> Result<(SignedEvent, Vec<u8>), MergeError> {
        let (event, body) = match self {
            Self::Replica(replica) => load::genesis_of(replica.latest())?,
            Self::File(file) => import::genesis_of(file.try_clone().map_err(MergeError::Input)?)?,
        };
        Ok((ParsedEvent::decode(&event)?.verify()?, body))
    }
}

fn failed(path: &Path) -> impl Fn(MergeError) -> RepairError {
    let path = path.to_owned();
    move |source| RepairError::Source { path: path.clone(), source: source.into() }
}
