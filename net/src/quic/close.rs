//! Why a connection is closed, as the other side is told.

use std::fmt;

use quinn::VarInt;

/// The longest reason that is kept of what a peer sends, in characters.
pub const MAX_REASON: usize = 200;

/// Why a connection is closed. The peer is told, with a reason in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// Nothing is wrong: what there was to do is done.
    Done,
    /// The peer's key is not admitted, or not any more.
    NotAllowed,
    /// There are too many connections.
    TooMany,
    /// The peer broke the rules of this transport.
    Protocol,
    /// The peer broke the rules of what is spoken over it.
    Misbehaviour,
    /// Whoever closes cannot go on, through no fault of the peer.
    Failed,
    /// A code that this version does not know.
    Unknown(u64),
}

impl CloseCode {
    /// The code in a QUIC frame.
    pub(crate) fn to_wire(self) -> VarInt {
        match self {
            Self::Done => VarInt::from_u32(0),
            Self::NotAllowed => VarInt::from_u32(1),
            Self::TooMany => VarInt::from_u32(2),
            Self::Protocol => VarInt::from_u32(3),
            Self::Misbehaviour => VarInt::from_u32(4),
            Self::Failed => VarInt::from_u32(5),
            Self::Unknown(code) => VarInt::from_u64(code).unwrap_or(VarInt::MAX),
        }
    }

    pub(crate) const fn from_wire(code: VarInt) -> Self {
        match code.into_inner() {
            0 => Self::Done,
            1 => Self::NotAllowed,
            2 => Self::TooMany,
            3 => Self::Protocol,
            4 => Self::Misbehaviour,
            5 => Self::Failed,
            code => Self::Unknown(code),
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::NotAllowed => f.write_str("not allowed"),
            Self::TooMany => f.write_str("too many connections"),
            Self::Protocol => f.write_str("broken transport rules"),
            Self::Misbehaviour => f.write_str("misbehaviour"),
            Self::Failed => f.write_str("failure"),
            Self::Unknown(code) => write!(f, "code {code}"),
        }
    }
}

/// A peer's words, made safe to print: of bounded length, on one line, without control characters.
pub(crate) fn printable(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    text.chars().take(MAX_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_wire() {
        for code in 0..300 {
            let wire = VarInt::from_u32(code);
            assert_eq!(CloseCode::from_wire(wire).to_wire(), wire);
        }
        assert_eq!(CloseCode::Unknown(u64::MAX).to_wire(), VarInt::MAX);
    }

    #[test]
    fn words_of_a_peer_are_cut_and_cleaned() {
        assert_eq!(printable(b"a\n\x1b[31mb\xff"), "a  [31mb\u{fffd}");
        assert_eq!(printable(&[b'x'; 5000]).len(), MAX_REASON);
    }
}
