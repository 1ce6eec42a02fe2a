//! How openings are stored: without the author where it is the event's, as it nearly always is.

use quipu_merge::{AuthorKey, Content, Opening, SALT_LEN};

const WHOLE: u8 = 0;
const INLINE: u8 = 1;

/// The stored form of an opening that an event of `author` names.
pub fn pack(author: AuthorKey, opening: &[u8]) -> Vec<u8> {
    if let Ok(Opening { author: by, salt, content: Content::Inline(bytes) }) =
        Opening::decode(opening)
        && by == author
    {
        return [&[INLINE], salt.as_slice(), &bytes].concat();
    }
    // Long values are rare, and what is malformed must be kept to the byte.
    [&[WHOLE], opening].concat()
}

/// The opening block of a stored form; `None` where it is damaged.
pub fn unpack(author: AuthorKey, stored: &[u8]) -> Option<Vec<u8>> {
    match stored.split_first()? {
        (&WHOLE, opening) => Some(opening.to_vec()),
        (&INLINE, rest) => {
            let (salt, content) = rest.split_first_chunk::<SALT_LEN>()?;
            let content = Content::Inline(content.to_vec());
            Some(Opening { author, salt: *salt, content }.encode())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_comes_back_to_the_byte() {
        let (author, other) = (AuthorKey([1; 32]), AuthorKey([2; 32]));
        let salt = [3; SALT_LEN];
        let inline = Opening { author, salt, content: Content::Inline(b"value".to_vec()) }.encode();
        let foreign =
            Opening { author: other, salt, content: Content::Inline(Vec::new()) }.encode();
        for block in [inline.as_slice(), &foreign, b"malformed", b""] {
            assert_eq!(unpack(author, &pack(author, block)).as_deref(), Some(block));
        }
        assert!(pack(author, &inline).len() < inline.len() - 32);
        assert_eq!(unpack(author, b""), None);
        assert_eq!(unpack(author, &[INLINE, 1, 2]), None);
    }
}
