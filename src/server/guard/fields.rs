//! Header blocks (RFC 7541, section 6), read as far as their bounds go: where each field begins, and whether it is a pseudo-header
//! field. No text is decoded, so a block costs a few steps for each of its fields.

use h2::Reason;

/// Entries of the static table, and how many of them, from the first on, are pseudo-header fields (RFC 7541, appendix A).
const STATIC: u32 = 61;
const STATIC_PSEUDO: u32 = 14;
/// Bytes of the dynamic table: the default, which h2 leaves as it is (RFC 9113, section 6.5.2).
const TABLE_BYTES: u32 = 4096;
/// The most entries that it can hold: each counts 32 bytes beside its text (RFC 7541, section 4.1).
const MOST_ENTRIES: u32 = TABLE_BYTES / 32;
/// The most by which an integer's later bytes are shifted; h2 takes no longer ones.
const LAST_SHIFT: u8 = 21;

/// The header blocks of one connection, which share a table.
#[derive(Debug, Default)]
pub(super) struct Fields {
    step: Step,
    /// Which entries of the dynamic table are pseudo-header fields, the newest first: an index counts from there, so nothing else
    /// need be known of them.
    pseudo: u128,
    entries: u32,
    literal: Literal,
    block: Block,
}

/// The literal that is being read.
#[derive(Debug, Default)]
struct Literal {
    /// Whether it becomes an entry of the dynamic table.
    is_indexed: bool,
    is_pseudo: bool,
}

/// The block that is being read.
#[derive(Debug, Default)]
struct Block {
    /// Whether it comes after a body.
    is_last: bool,
    /// Whether a field of it has come.
    has_begun: bool,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default)]
enum Step {
    /// The first of a field.
    #[default]
    Field,
    /// One more of an integer.
    Number { value: u32, shift: u8, what: Number },
    /// The length of a name that is written out.
    NameLength,
    /// The first of such a name.
    Name { left: u32, huffman: bool },
    /// The length of a value.
    ValueLength,
    /// One of so many that tell nothing.
    Text { left: u32, then: Then },
}

/// What an integer says.
#[derive(Clone, Copy, Debug)]
enum Number {
    Field,
    Name,
    TableSize,
    NameLength { huffman: bool },
    ValueLength,
}

/// What comes after a text.
#[derive(Clone, Copy, Debug)]
enum Then {
    Value,
    Field,
}

impl Fields {
    /// A block begins.
    pub(super) const fn begin(&mut self, are_trailers: bool) {
        self.step = Step::Field;
        self.block = Block { is_last: are_trailers, has_begun: false };
    }

    /// Reads on.
    ///
    /// # Errors
    /// With the place among `bytes` from which on they break a rule, and the code for that.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), (usize, Reason)> {
        let mut place = 0;
        while let Some(byte) = bytes.get(place) {
            if let Step::Text { left, then } = self.step {
                let count = bytes.len().saturating_sub(place).min(usize::try_from(left).unwrap_or(usize::MAX));
                self.after_text(left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX)), then);
                place += count;
            } else {
                self.take(*byte).map_err(|reason| (place, reason))?;
                place += 1;
            }
        }
        Ok(())
    }

    /// The block is over.
    ///
    /// # Errors
    /// When that is in the middle of a field (RFC 9113, section 4.3).
    pub(super) const fn end(&self) -> Result<(), Reason> {
        if matches!(self.step, Step::Field) { Ok(()) } else { Err(Reason::COMPRESSION_ERROR) }
    }

    fn take(&mut self, byte: u8) -> Result<(), Reason> {
        match self.step {
            Step::Field => match byte {
                0x80.. => self.integer(byte, 7, Number::Field),
                0x40.. => {
                    self.literal.is_indexed = true;
                    self.integer(byte, 6, Number::Name)
                }
                // Changes of the table's size come first (RFC 7541, section 4.2).
                0x20.. if self.block.has_begun => Err(Reason::COMPRESSION_ERROR),
                0x20.. => self.integer(byte, 5, Number::TableSize),
                _ => {
                    self.literal.is_indexed = false;
                    self.integer(byte, 4, Number::Name)
                }
            },
            Step::Number { value, shift, what } => {
                let value = value.saturating_add(u32::from(byte & 0x7f) << shift);
                if byte & 0x80 == 0 {
                    self.number(value, what)
                } else if shift >= LAST_SHIFT {
                    Err(Reason::COMPRESSION_ERROR)
                } else {
                    self.step = Step::Number { value, shift: shift + 7, what };
                    Ok(())
                }
            }
            Step::NameLength => self.integer(byte, 7, Number::NameLength { huffman: byte & 0x80 != 0 }),
            Step::ValueLength => self.integer(byte, 7, Number::ValueLength),
            Step::Name { left, huffman } => {
                // The colon, and the seven bits that stand for it (RFC 7541, appendix B).
                let is_pseudo = if huffman { byte >> 1 == 0x5c } else { byte == b':' };
                self.name(is_pseudo)?;
                self.after_text(left.saturating_sub(1), Then::Value);
                Ok(())
            }
            Step::Text { .. } => Ok(()),
        }
    }

    /// RFC 7541, section 5.1.
    fn integer(&mut self, byte: u8, prefix: u8, what: Number) -> Result<(), Reason> {
        let mask = u8::MAX >> (8 - prefix);
        let value = u32::from(byte & mask);
        if byte & mask == mask {
            self.step = Step::Number { value, shift: 0, what };
            Ok(())
        } else {
            self.number(value, what)
        }
    }

    fn number(&mut self, value: u32, what: Number) -> Result<(), Reason> {
        match what {
            Number::Field => {
                let is_pseudo = self.names_pseudo(value)?;
                self.name(is_pseudo)?;
                self.step = Step::Field;
            }
            Number::Name if value == 0 => {
                self.block.has_begun = true;
                self.step = Step::NameLength;
            }
            Number::Name => {
                let is_pseudo = self.names_pseudo(value)?;
                self.name(is_pseudo)?;
                self.step = Step::ValueLength;
            }
            Number::TableSize if value > TABLE_BYTES => return Err(Reason::COMPRESSION_ERROR),
            Number::TableSize => self.step = Step::Field,
            // A name without a letter is for h2 to refuse.
            Number::NameLength { .. } if value == 0 => {
                self.literal.is_pseudo = false;
                self.step = Step::ValueLength;
            }
            Number::NameLength { huffman } => self.step = Step::Name { left: value, huffman },
            Number::ValueLength => self.after_text(value, Then::Field),
        }
        Ok(())
    }

    /// Whether the entry at `index` of both tables is a pseudo-header field (RFC 7541, section 2.3.3).
    const fn names_pseudo(&self, index: u32) -> Result<bool, Reason> {
        if index == 0 || index > STATIC + self.entries {
            Err(Reason::COMPRESSION_ERROR)
        } else if index <= STATIC {
            Ok(index <= STATIC_PSEUDO)
        } else {
            Ok(self.pseudo >> (index - STATIC - 1) & 1 == 1)
        }
    }

    /// A field's name is known. No pseudo-header field is a trailer (RFC 9113, section 8.1).
    const fn name(&mut self, is_pseudo: bool) -> Result<(), Reason> {
        if is_pseudo && self.block.is_last {
            return Err(Reason::PROTOCOL_ERROR);
        }
        self.block.has_begun = true;
        self.literal.is_pseudo = is_pseudo;
        Ok(())
    }

    fn after_text(&mut self, left: u32, then: Then) {
        self.step = match then {
            _ if left > 0 => Step::Text { left, then },
            Then::Value => Step::ValueLength,
            Then::Field => {
                if self.literal.is_indexed {
                    self.pseudo = self.pseudo << 1 | u128::from(self.literal.is_pseudo);
                    self.entries = (self.entries + 1).min(MOST_ENTRIES);
                }
                Step::Field
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one block, in pieces of `size` bytes.
    fn read(fields: &mut Fields, block: &[u8], are_trailers: bool, size: usize) -> Result<(), Reason> {
        fields.begin(are_trailers);
        for piece in block.chunks(size) {
            fields.read(piece).map_err(|(_, reason)| reason)?;
        }
        fields.end()
    }

    /// Two requests as RFC 7541, appendix C.3 and C.4, have them: plain and in Huffman codes.
    const PLAIN: [&[u8]; 2] = [b"\x82\x86\x84\x41\x0fwww.example.com", b"\x82\x86\x84\xbe\x58\x08no-cache"];
    const HUFFMAN: [&[u8]; 2] = [
        b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
    ];

    #[test]
    fn requests_are_read_whole_however_they_are_cut() {
        for requests in [PLAIN, HUFFMAN] {
            for size in 1..30 {
                let mut fields = Fields::default();
                for block in requests {
                    assert_eq!(read(&mut fields, block, false, size), Ok(()));
                }
                // 62 is cache-control now, 63 :authority.
                assert_eq!(read(&mut fields, &[0xbe], true, size), Ok(()));
                assert_eq!(read(&mut fields, &[0xbf], true, size), Err(Reason::PROTOCOL_ERROR));
                assert_eq!(read(&mut fields, &[0xc0], true, size), Err(Reason::COMPRESSION_ERROR));
            }
        }
    }

    #[test]
    fn a_block_that_ends_in_a_field_does_not_decompress() {
        for block in [&PLAIN[0][..4], &PLAIN[0][..10], b"\x40", b"\x40\x01", b"\x40\x01a", b"\xff", b"\x3f", b"\x00"] {
            assert_eq!(read(&mut Fields::default(), block, false, 99), Err(Reason::COMPRESSION_ERROR), "{block:x?}");
        }
        for block in [&b""[..], b"\x40\x01a\x00", b"\x20", b"\x3f\xe1\x1f\x82"] {
            assert_eq!(read(&mut Fields::default(), block, false, 99), Ok(()), "{block:x?}");
        }
    }

    #[test]
    fn indexes_sizes_and_integers_have_bounds() {
        for block in [
            &b"\x80"[..],
            b"\xbe",
            b"\x7f\x00\x00",
            b"\x82\x20",
            b"\x3f\xe2\x1f",
            b"\xff\xff\xff\xff\xff\x01",
            b"\x00\x7f\xff\xff\xff\xff",
        ] {
            assert_eq!(read(&mut Fields::default(), block, false, 1), Err(Reason::COMPRESSION_ERROR), "{block:x?}");
        }
    }

    #[test]
    fn no_pseudo_header_field_is_a_trailer_in_any_spelling() {
        for block in [
            &b"\x83"[..],
            b"\x8e",
            b"\x04\x01/",
            b"\x14\x01/",
            b"\x44\x01/",
            b"\x00\x05:path\x01/",
            b"\x40\x05:path\x01/",
            b"\x10\x84\xb9\x58\xd3\x3f\x01/",
            b"\x0f\x10\x01a\x83",
        ] {
            assert_eq!(read(&mut Fields::default(), block, true, 99), Err(Reason::PROTOCOL_ERROR), "{block:x?}");
            assert_eq!(read(&mut Fields::default(), block, false, 99), Ok(()), "{block:x?}");
        }
        for block in [&b"\x8f"[..], b"\x00\x06x-test\x02ok", b"\x00\x00\x00"] {
            assert_eq!(read(&mut Fields::default(), block, true, 99), Ok(()), "{block:x?}");
        }
    }

    #[test]
    fn entries_that_were_pushed_out_are_not_mixed_up_with_later_ones() {
        let mut fields = Fields::default();
        assert_eq!(read(&mut fields, b"\x44\x02/a", false, 99), Ok(()));
        for _ in 0..127 {
            assert_eq!(read(&mut fields, b"\x40\x01a\x01b", false, 99), Ok(()));
        }
        assert_eq!(read(&mut fields, b"\xff\x3e", true, 99), Err(Reason::PROTOCOL_ERROR), "189 is the oldest one");
        for _ in 0..200 {
            assert_eq!(read(&mut fields, b"\x40\x01a\x01b", false, 99), Ok(()));
        }
        assert_eq!(read(&mut fields, b"\xff\x3e", true, 99), Ok(()));
        assert_eq!(read(&mut fields, b"\xff\x3f", true, 99), Err(Reason::COMPRESSION_ERROR));
    }
}
