//! The state of a ledger as it is read, by every way of reading it.

use quipu_merge::Cut;
use quipu_store::{Ledger, ReadError};

/// Every key as it is read, one by one.
pub fn read(ledger: &Ledger, cut: &Cut) -> Result<String, ReadError> {
    let snapshot = ledger.at(cut)?;
    let mut text = String::new();
    let mut keys = Vec::new();
    snapshot.keys("", |name, kinds| {
        keys.push((name.to_owned(), kinds.to_vec()));
        true
    })?;
    for (name, kinds) in keys {
        let mut members = Vec::new();
        snapshot.set(&name, |member| {
            members.push(member.to_vec());
            true
        })?;
        let adds: Vec<_> =
            members.iter().map(|member| snapshot.member_adds(&name, member).unwrap()).collect();
        let mut values = Vec::new();
        snapshot.list(&name, |element| {
            values.push(element);
            true
        })?;
        // From the middle on, as pages are read.
        if let Some(at) = values.get(values.len() / 2) {
            let mut rest = Vec::new();
            snapshot.list_after(&name, Some((at.event, at.slot)), |element| {
                rest.push(element);
                true
            })?;
            assert_eq!(rest, values[values.len() / 2 + 1..]);
        }
        let (writes, sum) = (snapshot.register(&name)?, snapshot.counter(&name)?);
        text += &format!("{name} {kinds:?} {writes:?} {sum:?} {members:?} {adds:?} {values:?}\n");
    }
    let (roles, heads) = (snapshot.roles()?, snapshot.heads()?);
    let (version, len, forks) = (snapshot.version()?, snapshot.len()?, snapshot.forks()?);
    text += &format!("{:?} {roles:?} {heads:?} ", snapshot.conflicts("")?);
    text += &format!("{version:?} {len} {forks:?} {:?}", snapshot.certified_within()?);
    Ok(text)
}
