//! CRC-32C, with which RocksDB guards the files of a backup.
//!
//! The reflected form of the polynomial of Castagnoli, as in RFC 3720, appendix B.4.

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What each of eight bytes in a row adds to the remainder.
const TABLES: [[u32; 256]; 8] = tables();

/// A checksum of what has been read so far.
#[derive(Clone, Copy)]
pub struct Checksum(u32);

impl Checksum {
    /// The checksum of nothing.
    pub const fn new() -> Self {
        Self(!0)
    }

    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        let (eights, rest) = bytes.as_chunks::<8>();
        for eight in eights {
            let word = u64::from_le_bytes(*eight) ^ u64::from(self.0);
            let added = word.to_le_bytes().into_iter().zip(TABLES.iter().rev());
            self.0 = added.fold(0, |sum, (byte, table)| sum ^ look_up(table, byte));
        }
        for byte in rest {
            let [low, ..] = self.0.to_le_bytes();
            self.0 = look_up(&TABLES[0], low ^ byte) ^ (self.0 >> 8);
        }
    }

    /// The checksum of all of it.
    pub const fn value(self) -> u32 {
        !self.0
    }
}

#[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
const fn look_up(table: &[u32; 256], byte: u8) -> u32 {
    table[byte as usize]
}

#[expect(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut remainder = byte;
        let mut bit = 0;
        while bit < 8 {
            let carry = remainder & 1;
            remainder >>= 1;
            if carry == 1 {
                remainder ^= POLYNOMIAL;
            }
            bit += 1;
        }
        tables[0][byte as usize] = remainder;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u32 {
        let mut checksum = Checksum::new();
        checksum.update(bytes);
        checksum.value()
    }

    /// RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
    #[test]
    fn known_values() {
        assert_eq!(of(b""), 0);
        assert_eq!(of(b"123456789"), 0xe306_9283);
        assert_eq!(of(&[0; 32]), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(of(&ascending), 0x46dd_794e);
    }

    #[test]
    fn parts_add_up() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for at in [0, 1, 7, 8, 9, 500, 999] {
            let mut checksum = Checksum::new();
            let (head, tail) = bytes.split_at(at);
            checksum.update(head);
            checksum.update(tail);
            assert_eq!(checksum.value(), of(&bytes), "{at}");
        }
    }
}
