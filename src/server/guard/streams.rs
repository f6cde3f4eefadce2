//! What a visitor has said on the latest streams of a connection: whether more may come on one.

/// How many streams are remembered. What is said of older ones is left to h2.
const REMEMBERED: u32 = 256;

/// What the visitor has said on one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing, or it is too long ago to be remembered.
    #[default]
    Nothing,
    /// Its request has begun, and may go on.
    Begun,
    /// Its request is whole: `END_STREAM` came (RFC 9113, section 5.1).
    All,
    /// It was cancelled by `RST_STREAM`.
    Cancelled,
}

/// The latest streams of one connection.
pub(super) struct Streams {
    latest: u32,
    said: [Said; REMEMBERED as usize],
}

impl Default for Streams {
    fn default() -> Self {
        Self { latest: 0, said: [Said::Nothing; REMEMBERED as usize] }
    }
}

impl Streams {
    /// What has been said on `stream`.
    pub(super) fn said(&self, stream: u32) -> Said {
        if self.remembers(stream) { self.said.get(place(stream)).copied().unwrap_or_default() } else { Said::Nothing }
    }

    /// Takes note that a stream was opened. Streams between it and the one before stay unused for ever (section 5.1.1).
    pub(super) fn open(&mut self, stream: u32) {
        if stream.is_multiple_of(2) || stream <= self.latest {
            return;
        }
        let first = self.latest.max(stream.saturating_sub(2 * REMEMBERED));
        for skipped in (first + 1..stream).filter(|number| number % 2 == 1) {
            self.set(skipped, Said::Nothing);
        }
        self.latest = stream;
        self.set(stream, Said::Begun);
    }

    /// Takes note of what was said on a stream that was opened.
    pub(super) fn note(&mut self, stream: u32, said: Said) {
        if self.said(stream) != Said::Nothing {
            self.set(stream, said);
        }
    }

    const fn remembers(&self, stream: u32) -> bool {
        stream % 2 == 1 && stream <= self.latest && (self.latest - stream) / 2 < REMEMBERED
    }

    fn set(&mut self, stream: u32, said: Said) {
        if let Some(place) = self.said.get_mut(place(stream)) {
            *place = said;
        }
    }
}

const fn place(stream: u32) -> usize {
    (stream / 2 % REMEMBERED) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_streams_are_remembered_and_those_that_were_skipped_are_not() {
        let mut streams = Streams::default();
        streams.open(1);
        streams.note(1, Said::All);
        streams.open(7);
        assert_eq!(
            [1, 3, 5, 7, 9].map(|stream| streams.said(stream)),
            [Said::All, Said::Nothing, Said::Nothing, Said::Begun, Said::Nothing]
        );
        streams.note(3, Said::All);
        streams.open(5);
        streams.open(2);
        assert_eq!([2, 3, 5].map(|stream| streams.said(stream)), [Said::Nothing; 3]);
        streams.open(1 + 2 * 256);
        assert_eq!([1, 3, 7].map(|stream| streams.said(stream)), [Said::Nothing, Said::Nothing, Said::Begun]);
        streams.open(0x7fff_ffff);
        assert_eq!([7, 513].map(|stream| streams.said(stream)), [Said::Nothing; 2]);
        assert_eq!(streams.said(0x7fff_ffff), Said::Begun);
        assert_eq!(streams.said(0x7fff_fffd), Said::Nothing);
    }
}
