//! The certified state of one key: what stands among the certified events.
//!
//! Deletes and removals leave nothing here: the order of what is certified extends causality, so
//! whatever they cover has come before them.

use quipu_merge::{CutNumber, Dot, EventId, LogTree, Micros, OpeningId};

use crate::record::{Reader, put_dot, put_number};
use crate::schema::Kind;

/// A put that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertifiedPut {
    /// The event.
    pub dot: Dot,
    /// The number of the first certified cut that holds it.
    pub number: CutNumber,
    /// When it says that it was written.
    pub time: Micros,
    /// Its id.
    pub event: EventId,
    /// The value.
    pub opening: OpeningId,
}

/// What stands of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// The puts of a register, in no order.
    Register(Vec<CertifiedPut>),
    /// A counter's sum, once it was incremented.
    Counter(Option<i128>),
    /// The adds of a member, in no order.
    Member(Vec<(Dot, EventId)>),
    /// The tree over a list's entries.
    List(LogTree),
}

impl Cell {
    /// What stands of a key of this kind that nobody has worked on. Sets are kept by member.
    pub fn empty(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Register => Some(Self::Register(Vec::new())),
            Kind::Counter => Some(Self::Counter(None)),
            Kind::Member => Some(Self::Member(Vec::new())),
            Kind::List => Some(Self::List(LogTree::new())),
            Kind::Set => None,
        }
    }

    /// Writes the record; none where nothing stands.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self {
            Self::Register(puts) => puts.iter().for_each(|put| {
                put_dot(&mut out, put.dot);
                put_number(&mut out, u64::from(put.number));
                put_number(&mut out, put.time.0);
                out.extend_from_slice(&put.event.0);
                out.extend_from_slice(&put.opening.0);
            }),
            Self::Counter(sum) => out.extend(sum.iter().flat_map(|sum| sum.to_be_bytes())),
            Self::Member(adds) => adds.iter().for_each(|(dot, event)| {
                put_dot(&mut out, *dot);
                out.extend_from_slice(&event.0);
            }),
            Self::List(tree) if tree.size() > 0 => {
                put_number(&mut out, tree.size());
                tree.peaks().iter().for_each(|peak| out.extend_from_slice(peak));
            }
            Self::List(_) => {}
        }
        (!out.is_empty()).then_some(out)
    }

    /// Reads a record.
    pub fn decode(kind: Kind, bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        Some(match kind {
            Kind::Register => {
                let mut puts = Vec::new();
                while !r.0.is_empty() {
                    let dot = r.dot()?;
                    let number = CutNumber::try_from(r.number()?).ok()?;
                    let time = Micros(r.number()?);
                    let (event, opening) = (EventId(digest(&mut r)?), OpeningId(digest(&mut r)?));
                    puts.push(CertifiedPut { dot, number, time, event, opening });
                }
                Self::Register(puts)
            }
            Kind::Counter => Self::Counter(Some(i128::from_be_bytes(bytes.try_into().ok()?))),
            Kind::Member => {
                let mut adds = Vec::new();
                while !r.0.is_empty() {
                    adds.push((r.dot()?, EventId(digest(&mut r)?)));
                }
                Self::Member(adds)
            }
            Kind::List => {
                let size = r.number()?;
                let (peaks, rest) = r.0.as_chunks::<32>();
                Self::List(LogTree::restore(size, peaks.to_vec()).filter(|_| rest.is_empty())?)
            }
            Kind::Set => return None,
        })
    }
}

fn digest(r: &mut Reader<'_>) -> Option<[u8; 32]> {
    r.take(32)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use quipu_merge::{Lane, Seq};

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dot = |seq| Dot { lane: Lane(3), seq: Seq(seq) };
        let put = |seq| CertifiedPut {
            dot: dot(seq),
            number: 7,
            time: Micros(1 << 50),
            event: EventId([1; 32]),
            opening: OpeningId([2; 32]),
        };
        let mut tree = LogTree::new();
        (0..5).for_each(|leaf| drop(tree.append([leaf; 32])));
        for (kind, cell) in [
            (Kind::Register, Cell::Register(vec![put(1), put(300)])),
            (Kind::Counter, Cell::Counter(Some(-5))),
            (Kind::Counter, Cell::Counter(Some(0))),
            (Kind::Member, Cell::Member(vec![(dot(9), EventId([3; 32]))])),
            (Kind::List, Cell::List(tree)),
        ] {
            let record = cell.encode().unwrap();
            assert_eq!(Cell::decode(kind, &record), Some(cell));
            let shorter = Cell::decode(kind, &record[..record.len() - 1]);
            assert_eq!(shorter, None, "{kind:?}");
            assert_eq!(Cell::empty(kind).unwrap().encode(), None);
        }
    }
}
