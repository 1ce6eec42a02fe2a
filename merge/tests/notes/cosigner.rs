//! How an implementation of signed notes that is not ours checks a cosigner's line. It knows plain Ed25519
//! alone: what a cosigner signs is said here from the text of <https://c2sp.org/tlog-cosignature>, and the
//! signature is checked by the other's code.

use data_encoding::BASE64;
use quipu_merge::AuthorKey;
use signed_note::{StandardVerifier, Verifier};

/// A validator's lines.
pub struct Cosigner {
    name: String,
    id: u32,
    plain: StandardVerifier,
}

impl Cosigner {
    pub fn new(by: AuthorKey) -> Self {
        let name = format!("quipu/validator/{by}");
        let id = signed_note::key_id(&name, &[&[0x04], &by.0[..]].concat());
        let plain = plain(&name, by);
        Self { name, id, plain }
    }
}

impl Verifier for Cosigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, text: &[u8], line: &[u8]) -> bool {
        let Some((seconds, signature)) = line.split_first_chunk::<8>() else { return false };
        let seconds = u64::from_be_bytes(*seconds);
        let head = format!("cosignature/v1\ntime {seconds}\n");
        seconds <= i64::MAX as u64
            && self.plain.verify(&[head.as_bytes(), text].concat(), signature)
    }
}

/// A plain verifier of a key, by the text that the other implementation writes for it.
pub fn plain(name: &str, key: AuthorKey) -> StandardVerifier {
    let material = [&[0x01], &key.0[..]].concat();
    let id = signed_note::key_id(name, &material);
    StandardVerifier::new(&format!("{name}+{id:08x}+{}", BASE64.encode(&material))).unwrap()
}
