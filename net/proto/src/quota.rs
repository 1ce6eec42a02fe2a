//! How fast a node takes the events of authors that hold no role.
//!
//! A quota decides when events are taken, never whether. What was taken is told by time: each event
//! keeps its author, and all authors together, busy for as long as it takes at their rates. Who is busy
//! for longer than a burst is in debt, and waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quipu_merge::AuthorKey;

use crate::time::Moment;
use crate::wire::only_alike;

/// So many authors are kept account of before those that owe nothing any more are forgotten.
const FEW: usize = 1 << 10;

/// What is taken in a second, in the long run. An event counts for its place among the events, or for its
/// length among the bytes, whichever is more. Zero is taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Events a second.
    pub events: u32,
    /// Bytes a second.
    pub bytes: u32,
}

impl Allowance {
    /// How long an event of so many bytes takes.
    fn cost(self, len: usize) -> Duration {
        let second = Duration::from_secs(1);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let by_len = second.saturating_mul(len) / self.bytes.max(1);
        by_len.max(second / self.events.max(1))
    }
}

/// What is taken of authors that hold no role, in a ledger where anybody may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Of each of them.
    pub author: Allowance,
    /// Of all of them together: keys cost nothing.
    pub all: Allowance,
    /// After a pause, what comes to so long at these rates is taken at once.
    pub burst: Duration,
}

impl Default for Quota {
    /// 1,000 events and four mebibytes a second of each author, ten times that of all, 30 seconds' worth of
    /// it at once.
    fn default() -> Self {
        Self {
            author: Allowance { events: 1_000, bytes: 4 << 20 },
            all: Allowance { events: 10_000, bytes: 40 << 20 },
            burst: Duration::from_secs(30),
        }
    }
}

/// Whom the quota concerns, and what has been taken of them.
#[derive(Debug)]
pub struct Meter {
    me: AuthorKey,
    /// Nothing where there is no quota.
    accounts: Option<Accounts>,
    /// Who holds a role; nothing where only they may write.
    with_role: Option<BTreeSet<AuthorKey>>,
    /// Whether this node has had all that some peer had. Until then it is a copy in the making.
    caught_up: bool,
}

impl Meter {
    /// Nothing has been taken. What a node writes itself is not metered.
    pub fn new(me: AuthorKey, quota: Option<Quota>) -> Self {
        Self { me, accounts: quota.map(Accounts::new), with_role: None, caught_up: false }
    }

    /// Who holds a role; nothing where only they may write.
    pub fn set_roles(&mut self, with_role: Option<BTreeSet<AuthorKey>>) {
        self.with_role = with_role;
    }

    /// Whether an author holds a role, or only such may write.
    pub fn has_role(&self, author: &AuthorKey) -> bool {
        self.with_role.as_ref().is_none_or(|with_role| with_role.contains(author))
    }

    /// This node has all that some peer had.
    pub const fn catch_up(&mut self) {
        self.caught_up = true;
    }

    /// Whether anybody is metered.
    pub const fn is_on(&self) -> bool {
        self.caught_up && self.accounts.is_some() && self.with_role.is_some()
    }

    fn concerns(&self, author: AuthorKey) -> bool {
        let free = |with_role: &BTreeSet<_>| with_role.contains(&author) || author == self.me;
        self.caught_up && self.with_role.as_ref().is_some_and(|with_role| !free(with_role))
    }

    fn account(&self, author: AuthorKey) -> Option<&Accounts> {
        self.accounts.as_ref().filter(|_| self.concerns(author))
    }

    /// The author that holds a role, or has an account, and whose key starts so.
    pub fn author_like(&self, short: AuthorKey) -> Option<AuthorKey> {
        let with_role = self.with_role.iter().flat_map(|with_role| with_role.range(short..));
        let known = self.accounts.iter().flat_map(|accounts| accounts.authors.range(short..));
        only_alike(short, with_role).or_else(|| only_alike(short, known.map(|(author, _)| author)))
    }

    /// Whether another event of an author may be taken now.
    pub fn is_open(&self, author: AuthorKey, now: Moment) -> bool {
        self.account(author).is_none_or(|accounts| accounts.is_open(author, now))
    }

    /// Whether an author, or all together, have used up half of what they may at once.
    pub fn is_low(&self, author: AuthorKey, now: Moment) -> bool {
        self.account(author).is_some_and(|accounts| accounts.is_low(author, now))
    }

    /// An event of so many bytes is taken. Tells whether it was charged for.
    pub fn charge(&mut self, author: AuthorKey, len: usize, now: Moment) -> bool {
        let concerns = self.concerns(author);
        let accounts = self.accounts.as_mut().filter(|_| concerns);
        accounts.map(|accounts| accounts.charge(author, len, now)).is_some()
    }

    /// An event that was charged for was none, or was held before.
    pub fn give_back(&mut self, author: AuthorKey, len: usize) {
        if let Some(accounts) = &mut self.accounts {
            accounts.give_back(author, len);
        }
    }
}

/// What has been taken of whom.
#[derive(Debug)]
struct Accounts {
    quota: Quota,
    /// Until when the authors are busy, as far as they are known to be.
    authors: BTreeMap<AuthorKey, Moment>,
    /// Until when all of them are.
    all: Moment,
    /// With so many authors, those that owe nothing are forgotten.
    sweep_at: usize,
}

impl Accounts {
    fn new(quota: Quota) -> Self {
        Self { quota, authors: BTreeMap::new(), all: Moment::default(), sweep_at: FEW }
    }

    /// The last event of a burst may be longer than what is left of that: any length is taken some time.
    fn is_open(&self, author: AuthorKey, now: Moment) -> bool {
        let most = now.after(self.quota.burst);
        self.all < most && self.until(author) < most
    }

    fn is_low(&self, author: AuthorKey, now: Moment) -> bool {
        let half = now.after(self.quota.burst / 2);
        self.all > half || self.until(author) > half
    }

    fn charge(&mut self, author: AuthorKey, len: usize, now: Moment) {
        if self.authors.len() >= self.sweep_at {
            self.authors.retain(|_, until| *until > now);
            self.sweep_at = FEW.max(self.authors.len() * 2);
        }
        self.all = self.all.max(now).after(self.quota.all.cost(len));
        let until = self.authors.entry(author).or_default();
        *until = (*until).max(now).after(self.quota.author.cost(len));
    }

    fn give_back(&mut self, author: AuthorKey, len: usize) {
        self.all = before(self.all, self.quota.all.cost(len));
        if let Some(until) = self.authors.get_mut(&author) {
            *until = before(*until, self.quota.author.cost(len));
        }
    }

    fn until(&self, author: AuthorKey) -> Moment {
        self.authors.get(&author).copied().unwrap_or_default()
    }
}

fn before(moment: Moment, by: Duration) -> Moment {
    Moment(moment.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000_000;
    const QUOTA: Quota = Quota {
        author: Allowance { events: 100, bytes: 1 << 20 },
        all: Allowance { events: 1_000, bytes: 10 << 20 },
        burst: Duration::from_secs(30),
    };

    fn author(number: u64) -> AuthorKey {
        AuthorKey(*blake3::hash(&number.to_be_bytes()).as_bytes())
    }

    /// Takes as many events of an author as may be taken at a moment.
    fn take_all(accounts: &mut Accounts, author: AuthorKey, len: usize, now: Moment) -> u64 {
        let mut taken = 0;
        while accounts.is_open(author, now) {
            accounts.charge(author, len, now);
            taken += 1;
        }
        taken
    }

    #[test]
    fn an_author_has_a_burst_and_then_its_rate() {
        let mut accounts = Accounts::new(QUOTA);
        let mut take = |len, micros| take_all(&mut accounts, author(1), len, Moment(micros));
        assert_eq!(take(500, START), 3_000);
        assert_eq!(take(500, START + 1_000_000), 100);
        // Long ones count by their length.
        assert_eq!(take(1 << 20, START + 11_000_000), 10);
        assert_eq!(take(500, START + 1_000_000_000), 3_000);
    }

    #[test]
    fn one_author_leaves_room_for_others_and_all_have_a_rate_together() {
        let mut accounts = Accounts::new(QUOTA);
        let now = Moment(START);
        take_all(&mut accounts, author(0), 500, now);
        assert!(accounts.is_open(author(1), now) && !accounts.is_low(author(1), now));
        let taken: u64 =
            (1..100).map(|number| take_all(&mut accounts, author(number), 500, now)).sum();
        assert_eq!(taken, 27_000);
        assert!(!accounts.is_open(author(1_000), now) && accounts.is_low(author(1_000), now));
    }

    #[test]
    fn what_was_charged_for_nothing_is_given_back() {
        let mut accounts = Accounts::new(QUOTA);
        let now = Moment(START);
        let taken = take_all(&mut accounts, author(1), 500, now);
        (0..taken).for_each(|_| accounts.give_back(author(1), 500));
        assert_eq!(take_all(&mut accounts, author(1), 500, now), taken);
    }

    #[test]
    fn accounts_of_many_authors_take_bounded_memory() {
        let mut accounts = Accounts::new(QUOTA);
        for number in 0..200_000 {
            // Ten authors a millisecond: all together may write once in it.
            let now = Moment(START + number * 100);
            if accounts.is_open(author(number), now) {
                accounts.charge(author(number), 500, now);
            }
        }
        assert!(accounts.authors.len() <= FEW * 2, "{}", accounts.authors.len());
    }
}
