//! Who may connect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use quipu_merge::{AuthorKey, Policy};
use quipu_store::{Ledger, ReadError};

/// What a role is called that was taken away.
const REVOKED: &str = "revoked";
/// So many keys that misbehaved are remembered.
const MAX_BANNED: usize = 4096;

/// Who may connect: in a ledger for members those that hold a role, in an open one everybody whose roles
/// were not taken away; and in both those that the operator lists. Never those that misbehaved lately.
#[derive(Debug, Default)]
pub struct Allowed(RwLock<Lists>);

#[derive(Debug, Default)]
struct Lists {
    open: bool,
    members: BTreeSet<AuthorKey>,
    revoked: BTreeSet<AuthorKey>,
    listed: BTreeSet<AuthorKey>,
    banned: BTreeMap<AuthorKey, Instant>,
}

impl Allowed {
    /// Whether a key may connect.
    pub fn admits(&self, key: AuthorKey) -> bool {
        let lists = self.read();
        if lists.banned.get(&key).is_some_and(|until| Instant::now() < *until) {
            return false;
        }
        lists.listed.contains(&key)
            || lists.members.contains(&key)
            || (lists.open && !lists.revoked.contains(&key))
    }

    /// Whether all roles of a key were taken away.
    pub fn has_revoked(&self, key: AuthorKey) -> bool {
        self.read().revoked.contains(&key)
    }

    /// Whom an endpoint lets in: not itself, and nobody where the node accepts no connections.
    pub fn admission(self: &Arc<Self>, me: AuthorKey, accept: bool) -> crate::Admission {
        let allowed = self.clone();
        Arc::new(move |key| accept && key != me && allowed.admits(key))
    }

    /// Reads the roles anew.
    pub fn refresh(&self, ledger: &Ledger) -> Result<(), ReadError> {
        let roles = ledger.snapshot()?.roles()?;
        let is_revoked = |roles: &[&str]| roles.contains(&REVOKED);
        let (mut members, mut revoked) = (BTreeSet::new(), BTreeSet::new());
        for (author, roles) in roles {
            if roles.iter().any(|role| *role != REVOKED) {
                members.insert(author);
            } else if is_revoked(&roles) {
                revoked.insert(author);
            }
        }
        let mut lists = self.write();
        lists.open = ledger.genesis().policy == Policy::Open;
        lists.members = members;
        lists.revoked = revoked;
        Ok(())
    }

    /// Who holds a role, where others may write as well: in an open ledger.
    pub fn with_role(&self) -> Option<BTreeSet<AuthorKey>> {
        let lists = self.read();
        lists.open.then(|| lists.members.clone())
    }

    /// Sets whom the operator lists.
    pub fn list(&self, listed: BTreeSet<AuthorKey>) {
        self.write().listed = listed;
    }

    /// Keeps a key out for a while.
    pub fn ban(&self, key: AuthorKey, until: Instant) {
        let mut lists = self.write();
        let now = Instant::now();
        lists.banned.retain(|_, until| now < *until);
        if lists.banned.len() < MAX_BANNED {
            lists.banned.insert(key, until);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Lists> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Lists> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
