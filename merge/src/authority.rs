//! Who may write: the control events of a ledger, as they were admitted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::body::{ForkPolicy, Genesis, Policy, Role};
use crate::clock::{Clock, Dot};
use crate::id::{AuthorKey, EventId, Micros};

/// A control operation whose target has been found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Gives a role.
    Grant {
        /// To whom.
        author: AuthorKey,
        /// Which.
        role: Role,
    },
    /// Takes every role away.
    Revoke {
        /// From whom.
        author: AuthorKey,
    },
    /// Erases the values of an event that it follows.
    Redact {
        /// The event.
        event: EventId,
        /// Its author.
        author: AuthorKey,
        /// Its local name.
        dot: Dot,
    },
}

/// An event with control operations, as far as judging is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlEvent {
    /// Its id.
    pub id: EventId,
    /// Who wrote it.
    pub author: AuthorKey,
    /// Its local name.
    pub dot: Dot,
    /// When it says that it was written.
    pub time: Micros,
    /// What it has seen, itself included.
    pub clock: Arc<Clock>,
    /// What it does.
    pub acts: Vec<Act>,
}

/// A grant, wherever it stands.
#[derive(Clone, Debug)]
struct Granted {
    role: Role,
    dot: Dot,
}

/// The genesis of a ledger and all its control events, in order of arrival.
///
/// Most ledgers have a handful: this is all that must be at hand to judge any event of any cut.
#[derive(Clone, Debug)]
pub struct Authority {
    genesis: Genesis,
    founding: Arc<ControlEvent>,
    events: Vec<Arc<ControlEvent>>,
    granted: BTreeMap<AuthorKey, Vec<Granted>>,
}

impl Authority {
    /// Starts from the genesis event.
    pub fn new(genesis: Genesis, id: EventId, founder: AuthorKey, dot: Dot, time: Micros) -> Self {
        let grant = |role| move |&author: &AuthorKey| Act::Grant { author, role };
        let mut acts = vec![Act::Grant { author: founder, role: Role::Admin }];
        acts.extend(genesis.admins.iter().filter(|&&a| a != founder).map(grant(Role::Admin)));
        acts.extend(genesis.validators.iter().map(grant(Role::Validator)));
        let clock = Arc::new(Clock::from_iter([dot]));
        let founding = ControlEvent { id, author: founder, dot, time, clock, acts };
        let founding = Arc::new(founding);
        let mut authority = Self {
            genesis,
            founding: founding.clone(),
            events: Vec::new(),
            granted: BTreeMap::new(),
        };
        authority.insert(founding);
        authority
    }

    /// Takes in an admitted control event.
    pub fn insert(&mut self, event: Arc<ControlEvent>) {
        for act in &event.acts {
            if let Act::Grant { author, role } = *act {
                self.granted.entry(author).or_default().push(Granted { role, dot: event.dot });
            }
        }
        self.events.push(event);
    }

    /// The ledger's id: that of its genesis event.
    pub fn ledger(&self) -> EventId {
        self.founding.id
    }

    /// The local name of genesis.
    pub fn genesis_dot(&self) -> Dot {
        self.founding.dot
    }

    /// The author of genesis.
    pub fn founder(&self) -> AuthorKey {
        self.founding.author
    }

    /// The operation that started the ledger.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Who may write without a grant.
    pub const fn policy(&self) -> Policy {
        self.genesis.policy
    }

    /// What becomes of forks.
    pub const fn forks(&self) -> ForkPolicy {
        self.genesis.forks
    }

    /// All control events, genesis first, in order of arrival.
    pub fn events(&self) -> &[Arc<ControlEvent>] {
        &self.events
    }

    /// Whether `author` was ever given `role` in the past that `past` covers, revokes left out.
    pub fn ever_granted(&self, author: AuthorKey, role: Role, past: &Clock) -> bool {
        let grants = self.granted.get(&author).map_or(&[][..], Vec::as_slice);
        grants.iter().any(|grant| implies(grant.role, role) && past.covers(grant.dot))
    }

    /// Rule `unauthorised`: whether an event of `author` with these acts is allowed by all the
    /// grants in `past` (its ancestors, not itself), revokes left out.
    ///
    /// # Errors
    /// Says what the author lacks.
    pub fn admits(
        &self,
        author: AuthorKey,
        acts: &[Act],
        past: &Clock,
    ) -> Result<(), &'static str> {
        if self.policy() == Policy::Members && !self.ever_granted(author, Role::Writer, past) {
            return Err("the author was granted no role to write in a members ledger");
        }
        let is_admin = || self.ever_granted(author, Role::Admin, past);
        for act in acts {
            match act {
                Act::Grant { .. } | Act::Revoke { .. } if !is_admin() => {
                    return Err("only an admin grants and revokes");
                }
                Act::Redact { author: target, .. } if *target != author && !is_admin() => {
                    return Err("only an admin redacts the events of others");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether holding `held` includes `wanted`.
pub(crate) fn implies(held: Role, wanted: Role) -> bool {
    held == wanted || (held == Role::Admin && wanted == Role::Writer)
}
