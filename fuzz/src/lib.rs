//! Independent models and generators that judge the other crates; nothing imports this one.
//!
//! Not a place for shortcuts: [`Model`] says what the specification says, word by word and slowly,
//! so that fast code can be compared with it. [`History`] invents ledgers to compare on.
//!
//! ```
//! use quipu_fuzz::{Dice, History, ModelCut, Shape};
//!
//! let history = History::generate(&mut Dice::seeded(7), Shape { authors: 3, events: 20 });
//! let dump = history.model().dump(&ModelCut::All, &[]);
//! assert_eq!(dump["events"], history.events().len());
//! ```

#![forbid(unsafe_code)]
#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a model names events by their position in one list, and its slips are to be loud"
)]
#![expect(clippy::cast_possible_truncation, reason = "dice roll small numbers")]

mod dice;
mod history;
mod model;
mod start;

pub use dice::Dice;
pub use history::{GeneratedEvent, History, Shape};
pub use model::{Leaf, Model, ModelCut, log_root, state_root};
pub use start::{Field, Frame, Means, Record, StartFile};
