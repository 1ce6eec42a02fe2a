//! What options and arguments take, as it is written. Errors name neither the option nor the text:
//! clap says both.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::str::FromStr;

use quipu_merge::{AuthorKey, Height};

/// Anything that is written as text.
pub fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| unnamed(&error.to_string(), text))
}

/// An error without the text that it is about.
fn unnamed(error: &str, text: &str) -> String {
    let text = format!("{text:?}");
    let before = error.strip_prefix(&text).and_then(|rest| rest.strip_prefix(" is "));
    let after = error.strip_suffix(&text).and_then(|rest| rest.strip_suffix(": "));
    before.or(after).unwrap_or(error).to_owned()
}

/// A key that can be given a role.
pub fn signing_key(text: &str) -> Result<AuthorKey, String> {
    let key: AuthorKey = parsed(text)?;
    let why = "nothing can be signed with this key: it is no valid Ed25519 key, or a weak one";
    if key.can_sign() { Ok(key) } else { Err(why.to_owned()) }
}

/// A whole number, from 0 on.
pub fn number<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    if text.is_empty() || !text.bytes().all(|letter| letter.is_ascii_digit()) {
        return Err("not a whole number".to_owned());
    }
    let number = text.parse().ok().and_then(|number: u64| T::try_from(number).ok());
    number.ok_or_else(|| "too large a number".to_owned())
}

/// A whole number, from 1 on.
pub fn from_one<T: TryFrom<NonZeroU64>>(text: &str) -> Result<T, String> {
    let number = NonZeroU64::new(number(text)?).ok_or_else(|| "at least 1 is needed".to_owned())?;
    T::try_from(number).map_err(|_| "too large a number".to_owned())
}

/// A whole number with or without a sign.
pub fn signed(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("not a whole number from {} to {}", i64::MIN, i64::MAX))
}

/// A text that says something.
pub fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// An address to listen on.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let why = "not an address and a port, as in 127.0.0.1:7420 or [::]:7420";
    text.parse().map_err(|_| why.to_owned())
}

/// A checkpoint's height, as a number or as a cut is written.
#[derive(Clone, Copy)]
pub struct AtHeight(pub Height);

impl FromStr for AtHeight {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("checkpoint:").unwrap_or(text);
        let height = number.parse().map(Height).ok().filter(|height| {
            // Signs and leading zeros could make one height look like another.
            *height >= Height::FIRST && height.to_string() == number
        });
        height.map(Self).ok_or("not a checkpoint's height: N from 1 on, or checkpoint:N")
    }
}

#[cfg(test)]
mod tests {
    use quipu_merge::{CutExpression, EventId, Role};

    use super::*;

    #[test]
    fn errors_do_not_say_again_what_was_given() {
        let said = [
            parsed::<EventId>("x").unwrap_err(),
            parsed::<AuthorKey>("x").unwrap_err(),
            parsed::<Role>("x").unwrap_err(),
            parsed::<CutExpression>("x:").unwrap_err(),
        ];
        assert!(said.iter().all(|said| !said.contains('"')), "{said:?}");
        assert_eq!(said[2], "not one of writer, admin, validator");
    }

    #[test]
    fn heights_have_one_spelling() {
        for text in ["1", "checkpoint:12"] {
            assert!(text.parse::<AtHeight>().is_ok(), "{text}");
        }
        for text in ["0", "+1", "01", "checkpoint:+1", "checkpoint:", "", "1 "] {
            assert!(text.parse::<AtHeight>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_told_apart() {
        assert_eq!(number::<u32>("7"), Ok(7));
        assert_eq!(number::<u32>("+7").unwrap_err(), "not a whole number");
        assert_eq!(number::<u32>("4294967296").unwrap_err(), "too large a number");
        assert_eq!(from_one::<std::num::NonZeroU32>("0").unwrap_err(), "at least 1 is needed");
    }
}
