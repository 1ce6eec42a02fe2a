//! A list: all appended values, in the total order.

use std::collections::BTreeMap;

use crate::id::EventId;
use crate::state::{Place, ValueRef};

/// The values of one key, by the place of their event and then by their place in the body.
#[derive(Clone, Debug, Default)]
pub struct List {
    values: BTreeMap<(Place, u32), ValueRef>,
}

impl List {
    /// Adds the value of the operation at `index` of the event at `place`.
    pub fn append(&mut self, place: Place, index: u32, value: ValueRef) {
        self.values.insert((place, index), value);
    }

    /// The values in order, each with its event.
    pub fn values(&self) -> impl ExactSizeIterator<Item = (EventId, ValueRef)> {
        self.values.iter().map(|((place, _), value)| (place.id, *value))
    }
}
