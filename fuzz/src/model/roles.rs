//! Section 4, first half: who holds a role, and what an event needs.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, Body, Control, Role};

use super::{Index, Model, Set};

/// Which events' grants or revokes are asked about.
pub type Which<'a> = &'a dyn Fn(Index) -> bool;

/// What stands beside the roles of an author that a counted revoke names.
const REVOKED: &str = "revoked";

impl Model {
    /// Whether a grant in event `g` gives `who` exactly this role.
    fn grants(&self, g: Index, who: AuthorKey, role: Role) -> bool {
        match &self.held[g].body {
            Body::Genesis(genesis) => match role {
                Role::Admin => who == self.held[g].event.author || genesis.admins.contains(&who),
                Role::Validator => genesis.validators.contains(&who),
                Role::Writer => false,
            },
            body => body.control().contains(&Control::Grant { author: who, role }),
        }
    }

    /// Whether event `r` revokes `who`.
    pub(super) fn revokes(&self, r: Index, who: AuthorKey) -> bool {
        self.held[r].body.control().contains(&Control::Revoke { author: who })
    }

    /// *holds(who, role, past)*, by the events' grants and revokes that are asked about.
    fn holds(
        &self,
        who: AuthorKey,
        role: Role,
        past: &Set,
        grants: Which<'_>,
        revokes: Which<'_>,
    ) -> bool {
        let gives = |&g: &Index| {
            let included = role == Role::Writer && self.grants(g, who, Role::Admin);
            grants(g) && (self.grants(g, who, role) || included)
        };
        past.iter().any(|g| gives(g) && self.outlives(*g, who, past, revokes))
    }

    /// Whether every revoke of `who` in `past` precedes the grant in `g`.
    fn outlives(&self, g: Index, who: AuthorKey, past: &Set, revokes: Which<'_>) -> bool {
        past.iter().all(|&r| !(revokes(r) && self.revokes(r, who)) || self.precedes(r, g))
    }

    /// *allowed(e)* for an event by `author` with this body and these ancestors.
    pub(super) fn allowed(
        &self,
        author: AuthorKey,
        body: &Body,
        past: &Set,
        grants: Which<'_>,
        revokes: Which<'_>,
    ) -> bool {
        let admin = self.holds(author, Role::Admin, past, grants, revokes);
        let permitted = |control: &Control| match control {
            Control::Grant { .. } | Control::Revoke { .. } => admin,
            Control::Redact { event } => self.index.get(event).is_some_and(|target| {
                past.contains(target) && (admin || self.held[*target].event.author == author)
            }),
        };
        if !body.control().iter().all(permitted) {
            return false;
        }
        let writer = self.holds(author, Role::Writer, past, grants, revokes);
        let revoked = past.iter().any(|&r| revokes(r) && self.revokes(r, author));
        writer || (!self.members_only() && !revoked)
    }

    /// `roles(S)`: the words for what each author holds over `set`.
    pub(super) fn roles_of(
        &self,
        set: &Set,
        grants: Which<'_>,
        revokes: Which<'_>,
    ) -> BTreeMap<AuthorKey, BTreeSet<&'static str>> {
        let mut roles: BTreeMap<AuthorKey, BTreeSet<&'static str>> = BTreeMap::new();
        for who in self.named(set) {
            for role in [Role::Admin, Role::Validator, Role::Writer] {
                // As granted: `writer` is not implied by `admin` here.
                let mut by = set.iter().filter(|&&g| grants(g) && self.grants(g, who, role));
                if by.any(|&g| self.outlives(g, who, set, revokes)) {
                    roles.entry(who).or_default().insert(role.word());
                }
            }
            if set.iter().any(|&r| revokes(r) && self.revokes(r, who)) {
                roles.entry(who).or_default().insert(REVOKED);
            }
        }
        roles
    }

    /// Every author that some grant or revoke of the set names.
    fn named(&self, set: &Set) -> BTreeSet<AuthorKey> {
        let mut named = BTreeSet::new();
        for held in set.iter().map(|&e| &self.held[e]) {
            if let Body::Genesis(genesis) = &held.body {
                named.insert(held.event.author);
                named.extend(genesis.admins.iter().chain(&genesis.validators));
            }
            for control in held.body.control() {
                if let Control::Grant { author, .. } | Control::Revoke { author } = control {
                    named.insert(*author);
                }
            }
        }
        named
    }
}
