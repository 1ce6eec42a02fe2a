//! Writes that are done once, however often they are asked for.
//!
//! What a write has come to stands in a receipt, which the store writes together with the event: after a
//! crash, both are there or neither.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use quipu_merge::Micros;
use quipu_store::{Committed, Ledger, Receipt, StorageError, Transaction};

use super::problem::{self, Answer, Problem};

/// The header.
const HEADER: &str = "idempotency-key";
/// Length of a key, in bytes.
const MAX_KEY: usize = 255;
/// For how long at least a write is remembered.
const REMEMBERED: u64 = 24 * 3600 * 1_000_000;
/// What the names of these receipts begin with.
const KIND: u8 = b'i';
const CALLER_LEN: usize = 8;
/// So many receipts are read or dropped at once.
const AT_ONCE: usize = 1000;

/// Which receipt a request has.
type Name = Vec<u8>;
/// As much of a name as tells whose it is.
type Caller = [u8; CALLER_LEN];

/// The keys of requests that are under way, and how many are remembered.
pub struct Remembered {
    per_caller: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    under_way: HashSet<Name>,
    counts: HashMap<Caller, usize>,
}

/// A request with a key that is under way: no other has the key meanwhile.
pub struct Claim {
    name: Name,
    caller: Caller,
    state: Arc<Mutex<State>>,
    earlier: Option<Receipt>,
}

impl Remembered {
    /// Counts what is remembered from earlier on.
    pub fn load(ledger: &Ledger, per_caller: usize) -> Result<Self, StorageError> {
        let mut state = State::default();
        let mut after = vec![KIND];
        loop {
            let receipts = ledger.receipts(Some(&after), AT_ONCE)?;
            let Some(last) = receipts.last() else { break };
            after.clone_from(&last.name);
            for caller in receipts.iter().filter_map(|receipt| caller_of(&receipt.name)) {
                *state.counts.entry(caller).or_default() += 1;
            }
        }
        Ok(Self { per_caller, state: Arc::new(Mutex::new(state)) })
    }

    /// Claims the key that a request carries, if it does, for a token.
    pub fn claim(
        &self,
        ledger: &Ledger,
        token: &str,
        headers: &HeaderMap,
    ) -> Answer<Option<Claim>> {
        let Some(key) = headers.get(HEADER) else { return Ok(None) };
        let key = key.as_bytes();
        if key.is_empty() || key.len() > MAX_KEY {
            let detail = format!("an idempotency key has 1 to {MAX_KEY} bytes");
            return Err(Problem::bad(detail));
        }
        let caller = caller_named(token);
        let name = [&[KIND], caller.as_slice(), blake3::hash(key).as_bytes()].concat();
        let mut state = lock(&self.state);
        if !state.under_way.insert(name.clone()) {
            return Err(Problem::for_now(problem::BUSY_KEY, "", 1));
        }
        let full = state.counts.get(&caller).is_some_and(|count| *count >= self.per_caller);
        drop(state);
        let mut claim = Claim { name, caller, state: self.state.clone(), earlier: None };
        claim.earlier = ledger.receipt(&claim.name)?;
        if full && claim.earlier.is_none() {
            return Err(Problem::for_now(problem::TOO_MANY_KEYS, "", 3600));
        }
        Ok(Some(claim))
    }

    /// Forgets what was remembered for long enough.
    pub fn forget(&self, ledger: &Ledger, now: Micros) -> Result<(), StorageError> {
        let mut after = vec![KIND];
        loop {
            let receipts = ledger.receipts(Some(&after), AT_ONCE)?;
            let Some(last) = receipts.last() else { return Ok(()) };
            after.clone_from(&last.name);
            let is_old = |receipt: &&Receipt| {
                receipt.committed.time.0.saturating_add(REMEMBERED) < now.0
                    && caller_of(&receipt.name).is_some()
            };
            let mut old: Vec<_> =
                receipts.iter().filter(is_old).map(|receipt| receipt.name.clone()).collect();
            // One that is being looked at stays for now.
            old.retain(|name| !lock(&self.state).under_way.contains(name));
            if old.is_empty() {
                continue;
            }
            ledger.drop_receipts(&old)?;
            let mut state = lock(&self.state);
            for caller in old.iter().filter_map(|name| caller_of(name)) {
                if let Some(count) = state.counts.get_mut(&caller) {
                    *count = count.saturating_sub(1);
                }
            }
            state.counts.retain(|_, count| *count > 0);
        }
    }
}

impl Claim {
    /// What this request has come to earlier, where it has: `hash` is of all that it asks for.
    pub fn earlier(&self, hash: &blake3::Hash) -> Answer<Option<Committed>> {
        match &self.earlier {
            None => Ok(None),
            Some(earlier) if earlier.note == hash.as_bytes() => Ok(Some(earlier.committed.clone())),
            Some(_) => Err(Problem::new(problem::OTHER_REQUEST, "")),
        }
    }

    /// Whether an earlier request had this key.
    pub const fn is_known(&self) -> bool {
        self.earlier.is_some()
    }

    /// Has a transaction note what the request comes to.
    pub fn note(&self, transaction: &mut Transaction<'_>, hash: &blake3::Hash) -> Answer<()> {
        transaction.receipt(&self.name, hash.as_bytes())?;
        Ok(())
    }

    /// Says that the transaction has been committed.
    pub fn committed(&self) {
        *lock(&self.state).counts.entry(self.caller).or_default() += 1;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.state).under_way.remove(&self.name);
    }
}

fn caller_named(token: &str) -> Caller {
    blake3::hash(token.as_bytes()).as_bytes().first_chunk().copied().unwrap_or_default()
}

fn caller_of(name: &[u8]) -> Option<Caller> {
    name.strip_prefix(&[KIND])?.first_chunk().copied()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
