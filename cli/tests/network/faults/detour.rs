//! Packets that come late, in another order, or twice.

use std::time::Duration;

use super::Fault;
use crate::cluster::Cluster;
use crate::proxy::{Manner, Proxy};

/// What passes through the proxy unchanged.
const PLAIN: Manner = Manner { delay: Duration::ZERO, late: 0, longer: Duration::ZERO, twice: 0 };

/// As between continents.
pub const DELAY: Manner = Manner { delay: Duration::from_millis(150), ..PLAIN };
/// A third of the packets is overtaken by others.
pub const REORDERING: Manner = Manner { late: 33, longer: Duration::from_millis(40), ..PLAIN };
/// A third of the packets comes twice.
pub const DUPLICATION: Manner = Manner { twice: 33, ..PLAIN };

/// All packets pass through the proxy.
pub struct Detour {
    manner: Manner,
    seed: u64,
    proxy: Option<Proxy>,
}

/// One proxy in all these manners.
pub fn detour(manners: &[Manner], seed: u64) -> Detour {
    let both = |one: Manner, other: &Manner| Manner {
        delay: one.delay + other.delay,
        late: one.late + other.late,
        longer: one.longer + other.longer,
        twice: one.twice + other.twice,
    };
    Detour { manner: manners.iter().fold(PLAIN, both), seed, proxy: None }
}

impl Fault for Detour {
    fn begin(&mut self, cluster: &Cluster) {
        self.proxy = Some(Proxy::start(cluster, self.manner, self.seed));
    }

    fn shows(&self, _: &Cluster) -> bool {
        // It may pass them on as it got them by chance, but not hundreds of them.
        self.proxy.as_ref().is_some_and(|proxy| proxy.packets() > 100)
    }

    fn end(&mut self, _: &Cluster) {
        if let Some(proxy) = self.proxy.take() {
            proxy.stop();
        }
    }
}
