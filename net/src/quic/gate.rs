//! How many handshakes and connections there are, in all and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::Limits;

/// Counts the peers that dial.
pub(crate) struct Gate {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: Count,
    /// Addresses of which something is open.
    by_address: HashMap<IpAddr, Count>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    handshakes: usize,
    connections: usize,
}

/// What to do with a peer that dials.
pub(crate) enum Entry {
    /// Begin the handshake.
    Begin(HandshakeSlot),
    /// Have it show first that it receives at its address.
    Validate,
    /// Turn it away.
    Full(Full),
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Full {
    /// [`Limits::handshakes`].
    #[error("unfinished handshakes")]
    Handshakes,
    /// [`Limits::handshakes_per_address`].
    #[error("unfinished handshakes from its address")]
    AddressHandshakes,
    /// [`Limits::connections`].
    #[error("connections")]
    Connections,
    /// [`Limits::connections_per_address`].
    #[error("connections from its address")]
    AddressConnections,
}

impl Gate {
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// Decides on a peer that dials from `ip`; `validated` says that it receives there.
    pub fn enter(self: &Arc<Self>, ip: IpAddr, validated: bool) -> Entry {
        let address = grouped(ip);
        let mut counts = self.counts();
        let here = counts.by_address.get(&address).copied().unwrap_or_default();
        let crowded = counts.all.handshakes >= self.limits.handshakes_unvalidated
            || here.handshakes >= self.limits.handshakes_per_address.div_ceil(2);
        if let Err(full) = self.limits.room_for_connection(counts.all, here) {
            return Entry::Full(full);
        }
        if crowded && !validated {
            return Entry::Validate;
        }
        if let Err(full) = self.limits.room_for_handshake(counts.all, here) {
            return Entry::Full(full);
        }
        counts.change(address, |count| count.handshakes += 1);
        Entry::Begin(HandshakeSlot { gate: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    const fn room_for_handshake(&self, all: Count, here: Count) -> Result<(), Full> {
        if all.handshakes >= self.handshakes {
            Err(Full::Handshakes)
        } else if here.handshakes >= self.handshakes_per_address {
            Err(Full::AddressHandshakes)
        } else {
            Ok(())
        }
    }

    const fn room_for_connection(&self, all: Count, here: Count) -> Result<(), Full> {
        if all.connections >= self.connections {
            Err(Full::Connections)
        } else if here.connections >= self.connections_per_address {
            Err(Full::AddressConnections)
        } else {
            Ok(())
        }
    }
}

impl Counts {
    fn change(&mut self, address: IpAddr, change: impl Fn(&mut Count)) {
        change(&mut self.all);
        let here = self.by_address.entry(address).or_default();
        change(here);
        if *here == Count::default() {
            self.by_address.remove(&address);
        }
    }
}

/// One unfinished handshake, until dropped.
pub(crate) struct HandshakeSlot {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl HandshakeSlot {
    /// The handshake is done: counts a connection from now on, if there is room for one.
    pub fn establish(self) -> Result<ConnectionSlot, Full> {
        let mut counts = self.gate.counts();
        let here = counts.by_address.get(&self.address).copied().unwrap_or_default();
        self.gate.limits.room_for_connection(counts.all, here)?;
        counts.change(self.address, |count| count.connections += 1);
        drop(counts);
        Ok(ConnectionSlot { gate: self.gate.clone(), address: self.address })
    }
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.gate.counts().change(self.address, |count| count.handshakes -= 1);
    }
}

/// One connection of a peer that dialled, until dropped.
pub(crate) struct ConnectionSlot {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.gate.counts().change(self.address, |count| count.connections -= 1);
    }
}

/// What counts as one address: of IPv6 the first 64 bits.
fn grouped(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Arc<Gate> {
        Gate::new(Limits {
            handshakes: 6,
            handshakes_per_address: 4,
            handshakes_unvalidated: 3,
            connections: 3,
            connections_per_address: 2,
            ..Limits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn begin(gate: &Arc<Gate>, ip: IpAddr, validated: bool) -> HandshakeSlot {
        match gate.enter(ip, validated) {
            Entry::Begin(slot) => slot,
            Entry::Validate => panic!("has to show its address"),
            Entry::Full(full) => panic!("too many {full}"),
        }
    }

    #[test]
    fn forged_addresses_leave_room() {
        let gate = gate();
        let [a, b, c] = ["1.0.0.1", "1.0.0.2", "::1"].map(ip);
        let mut open = vec![begin(&gate, a, false), begin(&gate, a, false)];
        // Half of what one address may have.
        assert!(matches!(gate.enter(a, false), Entry::Validate));
        open.push(begin(&gate, b, false));
        // And so much in all.
        assert!(matches!(gate.enter(c, false), Entry::Validate));
        open.extend([begin(&gate, a, true), begin(&gate, a, true)]);
        assert!(matches!(gate.enter(a, true), Entry::Full(Full::AddressHandshakes)));
        open.push(begin(&gate, c, true));
        assert!(matches!(gate.enter(c, true), Entry::Full(Full::Handshakes)));
        drop(open);
        assert!(gate.counts().by_address.is_empty());
    }

    #[test]
    fn connections_are_counted_until_they_end() {
        let gate = gate();
        let [a, b] = ["1.0.0.1", "1.0.0.2"].map(ip);
        // They all begin while there is room, and the last of them finds none.
        let begun: Vec<_> = (0..3).map(|_| begin(&gate, a, true)).collect();
        let done: Vec<_> = begun.into_iter().map(HandshakeSlot::establish).collect();
        assert_eq!(done.iter().filter(|slot| slot.is_ok()).count(), 2);
        assert!(matches!(done.last(), Some(Err(Full::AddressConnections))));
        assert!(matches!(gate.enter(a, true), Entry::Full(Full::AddressConnections)));
        let last = begin(&gate, b, true).establish().ok();
        assert!(last.is_some());
        assert!(matches!(gate.enter(b, true), Entry::Full(Full::Connections)));
        drop((done, last));
        assert!(gate.counts().by_address.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        assert_eq!(grouped(ip("2001:db8::1")), grouped(ip("2001:db8::ffff:1")));
        assert_ne!(grouped(ip("2001:db8::1")), grouped(ip("2001:db8:0:1::1")));
        assert_eq!(grouped(ip("::ffff:1.2.3.4")), ip("1.2.3.4"));
    }
}
