//! The frames on their way to a visitor: where each begins, and the code of a GOAWAY among them (RFC 9113, section 6.8).

use std::io::IoSlice;

use h2::Reason;

/// Bytes of a frame's header (RFC 9113, section 4.1).
const HEADER: usize = 9;
const GOAWAY: u8 = 7;
/// Where in a GOAWAY frame the last byte of its code stands. All codes that h2 sends fit into that byte.
const CODE: usize = HEADER + 7;

/// How far into which frame the bytes have come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outgoing {
    /// Bytes of the frame so far, its header included.
    at: usize,
    /// What its header says, as far as that has come.
    length: usize,
    kind: u8,
}

impl Outgoing {
    /// Takes note that `count` bytes of `slices` were written.
    pub(super) fn wrote(&mut self, slices: &[IoSlice<'_>], mut count: usize) {
        for slice in slices {
            let part = slice.get(..count.min(slice.len())).unwrap_or_default();
            self.pass(part, |_| {});
            count -= part.len();
        }
    }

    /// All of `slices`, with `reason` in each GOAWAY that has the general code.
    pub(super) fn amended(mut self, slices: &[IoSlice<'_>], reason: Reason) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(slices.iter().map(|slice| slice.len()).sum());
        for slice in slices {
            bytes.extend_from_slice(slice);
        }
        let mut codes = Vec::new();
        self.pass(&bytes, |place| codes.push(place));
        for place in codes {
            if let Some(code) = bytes.get_mut(place)
                && u32::from(*code) == u32::from(Reason::PROTOCOL_ERROR)
            {
                *code = u8::try_from(u32::from(reason)).unwrap_or(*code);
            }
        }
        bytes
    }

    /// Goes on by `bytes`, and tells where among them the code of a GOAWAY ends.
    fn pass(&mut self, bytes: &[u8], mut code: impl FnMut(usize)) {
        let mut place = 0;
        while let Some(byte) = bytes.get(place) {
            if self.at < HEADER {
                match self.at {
                    0..=2 => self.length = self.length << 8 | usize::from(*byte),
                    3 => self.kind = *byte,
                    _ => {}
                }
                self.at += 1;
                place += 1;
            } else {
                let count = (HEADER + self.length - self.at).min(bytes.len() - place);
                if self.kind == GOAWAY && (self.at..self.at + count).contains(&CODE) {
                    code(place + CODE - self.at);
                }
                self.at += count;
                place += count;
            }
            if self.at == HEADER + self.length && self.at >= HEADER {
                *self = Self::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, 0, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    }

    fn sent() -> Vec<u8> {
        [
            frame(4, &[]),
            frame(0, &frame(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, 1])),
            frame(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, 0]),
            frame(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, 1]),
        ]
        .concat()
    }

    #[test]
    fn only_the_general_code_of_a_goaway_changes() {
        let before = sent();
        let after = Outgoing::default().amended(&[IoSlice::new(&before)], Reason::STREAM_CLOSED);
        let changed: Vec<usize> = (0..before.len()).filter(|place| before[*place] != after[*place]).collect();
        assert_eq!(changed, [before.len() - 1]);
        assert_eq!(after.last(), Some(&5));
    }

    #[test]
    fn it_is_found_however_the_bytes_are_cut_and_taken() {
        let before = sent();
        for size in 1..before.len() {
            let mut outgoing = Outgoing::default();
            let mut written = Vec::new();
            while written.len() < before.len() {
                let rest = &before[written.len()..];
                let (one, two) = rest.split_at(rest.len().min(size + 3) / 2);
                let slices = [IoSlice::new(one), IoSlice::new(two)];
                let amended = outgoing.amended(&slices, Reason::STREAM_CLOSED);
                let taken = amended.len().min(size);
                outgoing.wrote(&slices, taken);
                written.extend_from_slice(&amended[..taken]);
            }
            assert_eq!(written[..before.len() - 1], before[..before.len() - 1], "{size}");
            assert_eq!(written.last(), Some(&5), "{size}");
        }
    }
}
