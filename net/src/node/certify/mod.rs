//! Certification in the node: `driver` feeds the state machine (`quipu_proto::Certifier`) and does what
//! it wants; `work` is what it asks of the store, on threads of their own: `derive` and `tasks` about
//! checkpoints, `log` of what is signed. `begin` reads what it starts from, `keys` signs, `status` is
//! what others are told, `finality` tells who waits for an event, and `inputs` is where the rest of the
//! node reaches it.

mod begin;
pub mod convert;
mod derive;
mod driver;
mod finality;
mod inputs;
mod keys;
mod log;
mod status;
mod tasks;
mod work;

pub use begin::Begin;
pub use driver::Driver;
pub use finality::{Finality, WaitError};
pub use inputs::Held;
pub use status::{CertificationStatus, EvidenceInfo, TIME_BOUNDS, Times, evidence};
pub use work::CertifyReport;
