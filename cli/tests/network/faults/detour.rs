//! Packets that come late, in another order, or twice.

use std::time::Duration;

use super::Fault;
use crate::cluster::Cluster;
use crate::proxy::{Manner, Proxy};

const PLAIN: Manner = Manner { delay: Duration::ZERO, late: 0, longer: Duration::ZERO, twice: 0 };

/// All packets pass through the proxy.
pub struct Detour {
    manner: Manner,
    seed: u64,
    proxy: Option<Proxy>,
}

/// As between continents.
pub fn delay(seed: u64) -> Detour {
    let manner = Manner { delay: Duration::from_millis(150), ..PLAIN };
    Detour { manner, seed, proxy: None }
}

/// A third of the packets is overtaken by others.
pub fn reordering(seed: u64) -> Detour {
    let manner = Manner { late: 33, longer: Duration::from_millis(40), ..PLAIN };
    Detour { manner, seed, proxy: None }
}

/// A third of the packets comes twice.
pub fn duplication(seed: u64) -> Detour {
    Detour { manner: Manner { twice: 33, ..PLAIN }, seed, proxy: None }
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
