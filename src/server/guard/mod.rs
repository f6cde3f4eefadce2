//! Says the right word to a visitor who breaks a rule of HTTP/2 that h2 answers with the general `PROTOCOL_ERROR`, or lets pass.
//!
//! It looks at the frames on their way in (RFC 9113, section 4), skips what they carry but for settings and header blocks, and
//! remembers of each stream only whether its visitor has ended it. When it finds a rule broken it hands on no more, except for a
//! frame that h2 takes for the end of the connection; in the GOAWAY that h2 sends then it puts the code that RFC 9113 asks for.
//! What h2 answers rightly by itself is left to it. A stream error may be treated as one of the connection (section 5.4.1).

mod fields;
mod incoming;
mod outgoing;
mod streams;

use std::io::IoSlice;

use h2::Reason;

use incoming::Incoming;
use outgoing::Outgoing;

/// Both directions of one HTTP/2 connection as the guard sees them.
#[derive(Default)]
pub struct Guard {
    incoming: Incoming,
    outgoing: Outgoing,
}

impl Guard {
    /// Of a connection whose preface (RFC 9113, section 3.4) was read already when `begun`.
    pub fn new(begun: bool) -> Self {
        Self { incoming: Incoming::new(begun), outgoing: Outgoing::default() }
    }

    /// Looks at bytes that the visitor sent; gives how many of them may be handed on. The others were kept or dropped.
    pub fn inspect(&mut self, bytes: &mut [u8]) -> usize {
        self.incoming.inspect(bytes)
    }

    /// How many bytes have to be read by themselves and given to [`Self::complete`] before anything else is read.
    pub const fn missing(&self) -> usize {
        self.incoming.missing()
    }

    /// Takes bytes that were missing.
    pub fn complete(&mut self, bytes: &[u8]) {
        self.incoming.complete(bytes);
    }

    /// What is to be handed on before anything else is read.
    pub fn ready(&self) -> &[u8] {
        self.incoming.ready()
    }

    /// Takes note that `count` bytes of [`Self::ready`] were handed on.
    pub fn handed_on(&mut self, count: usize) {
        self.incoming.handed_on(count);
    }

    /// Whether the head of a request has begun and not ended.
    pub const fn is_in_head(&self) -> bool {
        self.incoming.is_in_head()
    }

    /// Whether nothing more of what the visitor sends is handed on.
    pub const fn is_over(&self) -> bool {
        self.incoming.is_over()
    }

    /// What to write in place of `slices`, where that is something else.
    pub fn amended(&self, slices: &[IoSlice<'_>]) -> Option<Vec<u8>> {
        // The general code stays where it is the right one.
        let reason = self.incoming.verdict().filter(|reason| *reason != Reason::PROTOCOL_ERROR)?;
        Some(self.outgoing.amended(slices, reason))
    }

    /// Takes note that `count` bytes of `slices` were written.
    pub fn wrote(&mut self, slices: &[IoSlice<'_>], count: usize) {
        self.outgoing.wrote(slices, count);
    }
}

#[cfg(test)]
mod tests;
