//! Which keys there are, and what kinds of things they hold.

use crate::error::{ReadError, StorageError};
use crate::extent::Extent;
use crate::keys::KeyKind;
use crate::record::Written;
use crate::schema::{self, Family, Kind, meta};
use crate::snapshot::Snapshot;

impl Snapshot<'_> {
    /// The kinds of things that a key holds.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn kinds(&self, key: &str) -> Result<Vec<KeyKind>, ReadError> {
        self.check_kept()?;
        let mut kinds = Vec::new();
        let register = self.standing(&schema::state_key(Kind::Register, key, None))?;
        if register.iter().any(|version| version.written != Written::Gone) {
            kinds.push(KeyKind::Register);
        }
        if self.counter(key)?.is_some() {
            kinds.push(KeyKind::Counter);
        }
        if self.set(key, |_| false)? {
            kinds.push(KeyKind::Set);
        }
        if self.list(key, |_| false)? {
            kinds.push(KeyKind::List);
        }
        Ok(kinds)
    }

    /// Calls `visit` with each key that begins with `prefix` and the kinds of things that it holds,
    /// ascending, until it returns `false`.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn keys(
        &self,
        prefix: &str,
        visit: impl FnMut(&str, &[KeyKind]) -> bool,
    ) -> Result<(), ReadError> {
        self.keys_after(prefix, None, visit)
    }

    /// Does what [`Self::keys`] does with the keys after one, which need not be there.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn keys_after(
        &self,
        prefix: &str,
        after: Option<&str>,
        mut visit: impl FnMut(&str, &[KeyKind]) -> bool,
    ) -> Result<(), ReadError> {
        self.check_kept()?;
        let sources = [Kind::Counter, Kind::List, Kind::Register, Kind::Member];
        let mut walks = Vec::new();
        for kind in sources {
            let first = schema::state_prefix(kind, prefix);
            let mut walk = self.reader().walk(Family::State, &first)?;
            let after = after.map(|key| schema::state_key(kind, key, None));
            match after.and_then(|key| schema::after_prefix(&key)).filter(|next| *next > first) {
                Some(next) => walk.seek(&next)?,
                None => walk.first()?,
            }
            walks.push((kind, walk));
        }
        loop {
            let damaged = || StorageError::damaged("a key of the current state");
            let mut smallest: Option<String> = None;
            for (_, walk) in &walks {
                if let Some((bytes, _)) = walk.item() {
                    let (_, key, _) = schema::parse_state_key(bytes).ok_or_else(damaged)?;
                    smallest =
                        Some(smallest.map_or_else(|| key.clone(), |least| least.min(key.clone())));
                }
            }
            let Some(key) = smallest else { return Ok(()) };
            let kinds = self.kinds(&key)?;
            if !kinds.is_empty() && !visit(&key, &kinds) {
                return Ok(());
            }
            for (kind, walk) in &mut walks {
                // Past all members of the set, or the one record of the others.
                let own = schema::state_key(*kind, &key, None);
                if walk.item().is_some_and(|(at, _)| at.starts_with(&own)) {
                    match schema::after_prefix(&own) {
                        Some(next) => walk.seek(&next)?,
                        None => walk.next()?,
                    }
                }
            }
        }
    }

    /// The registers with more than one value whose key begins with `prefix`, ascending.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn conflicts(&self, prefix: &str) -> Result<Vec<String>, ReadError> {
        self.conflicts_after(prefix, None, usize::MAX)
    }

    /// Up to `limit` of the registers that [`Self::conflicts`] lists: the first, or those after a key,
    /// which need not be one of them.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn conflicts_after(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, ReadError> {
        let mut keys = Vec::new();
        if matches!(self.extent(), Extent::Everything) {
            let begin = meta::conflict(&schema::state_prefix(Kind::Register, prefix));
            let mut walk = self.reader().walk(Family::Meta, &begin)?;
            let after =
                after.map(|key| meta::conflict(&schema::state_key(Kind::Register, key, None)));
            match after.filter(|after| *after >= begin) {
                Some(after) => walk.seek(&[after.as_slice(), &[0]].concat())?,
                None => walk.first()?,
            }
            while keys.len() < limit
                && let Some((key, _)) = walk.item()
            {
                let damaged = || StorageError::damaged("the list of conflicts");
                let (_, key, _) =
                    key.get(1..).and_then(schema::parse_state_key).ok_or_else(damaged)?;
                keys.push(key);
                walk.next()?;
            }
            return Ok(keys);
        }
        let mut failed = Ok(());
        self.keys_after(prefix, after, |key, _| {
            match self.register(key) {
                Ok(writes) if writes.len() > 1 => keys.push(key.to_owned()),
                Ok(_) => {}
                Err(error) => failed = Err(error),
            }
            failed.is_ok() && keys.len() < limit
        })?;
        failed.map(|()| keys)
    }
}
