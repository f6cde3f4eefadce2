//! The frames on their way from a visitor: which rule of HTTP/2 they break, if any, and what h2 is given to see of that.

use h2::Reason;

use super::fields::Fields;
use super::streams::{Said, Streams};
use crate::server::protocols::PREFACE;

/// Bytes of a frame's header (RFC 9113, section 4.1).
const HEADER: usize = 9;
/// A DATA frame of the connection as a whole, which there can't be (section 6.1): h2 ends the connection at once.
const END: [u8; HEADER] = [0; HEADER];
/// What stands in for the rest of a header block that breaks a rule: at the beginning of a field the index 0, which no decoder takes
/// (RFC 7541, section 6.1).
const NO_FIELD: u8 = 0x80;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// A type that nobody knows, which is ignored (section 4.1).
const UNKNOWN: u8 = 0xff;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const HAS_PRIORITY: u8 = 0x20;

/// `SETTINGS_INITIAL_WINDOW_SIZE` (section 6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;

/// One direction of one connection.
#[derive(Default)]
pub(super) struct Incoming {
    at: At,
    /// A frame's header as far as it has come, or what waits to be handed on.
    header: [u8; HEADER],
    /// How much of it there is, and how much of that was handed on. Only a whole one is.
    collected: usize,
    handed_on: usize,
    /// The stream whose header block goes on in the next frame (section 4.3).
    open_block: Option<u32>,
    streams: Streams,
    fields: Fields,
    verdict: Option<Reason>,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    /// In the client's preface, of which so much is still to come.
    Preface(usize),
    /// At the beginning of a frame.
    #[default]
    Frame,
    /// In what a frame carries, of which so much is still to come.
    Payload(u32, Content),
    /// Behind what ends the connection.
    Over,
    /// Where h2 ends the connection by itself, and says the right word.
    Unguarded,
}

/// What a frame carries, as far as it matters.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// What h2 alone looks at.
    Anything,
    /// Settings: the identifier of the current one, and how far into it the next byte stands.
    Settings { identifier: u16, offset: u8 },
    /// The length of padding, then fields.
    PaddedFields { priority: u32, ends: bool },
    /// Fields after so many bytes about priority, and before so much padding.
    Fields { priority: u32, padding: u32, ends: bool },
    /// What is not to be read any more, by this rule.
    Ruined(Reason),
}

/// A frame's header.
#[derive(Clone, Copy, Debug)]
struct Header {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Header {
    const fn read(bytes: [u8; HEADER]) -> Self {
        let [high, middle, low, kind, flags, one, two, three, four] = bytes;
        // The first bit of the stream's number means nothing.
        let stream = u32::from_be_bytes([one & 0x7f, two, three, four]);
        Self { length: u32::from_be_bytes([0, high, middle, low]), kind, flags, stream }
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Bytes about priority in a HEADERS frame (section 6.2).
    const fn priority(&self) -> u32 {
        if self.has(HAS_PRIORITY) { 5 } else { 0 }
    }
}

impl Incoming {
    pub(super) fn new(begun: bool) -> Self {
        Self { at: if begun { At::Frame } else { At::Preface(PREFACE.len()) }, ..Self::default() }
    }

    /// The code of the rule that was found broken.
    pub(super) const fn verdict(&self) -> Option<Reason> {
        self.verdict
    }

    pub(super) const fn missing(&self) -> usize {
        if self.collected == 0 { 0 } else { HEADER - self.collected }
    }

    pub(super) fn complete(&mut self, bytes: &[u8]) {
        for (place, byte) in self.header.iter_mut().skip(self.collected).zip(bytes) {
            *place = *byte;
        }
        self.collected = (self.collected + bytes.len()).min(HEADER);
        if self.collected == HEADER {
            let header = Header::read(self.header);
            let [_, _, _, kind, ..] = &mut self.header;
            hide(header, kind);
            if let Err(reason) = self.begin(header) {
                self.give_up(reason);
            }
        }
    }

    pub(super) fn ready(&self) -> &[u8] {
        if self.collected == HEADER { self.header.get(self.handed_on..).unwrap_or_default() } else { &[] }
    }

    pub(super) const fn handed_on(&mut self, count: usize) {
        self.handed_on += count;
        if self.handed_on >= HEADER {
            (self.collected, self.handed_on) = (0, 0);
        }
    }

    pub(super) const fn is_in_head(&self) -> bool {
        self.open_block.is_some()
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.at, At::Over)
    }

    pub(super) fn inspect(&mut self, bytes: &mut [u8]) -> usize {
        let mut place = 0;
        while let Some(rest) = bytes.get_mut(place..).filter(|rest| !rest.is_empty()) {
            let result = match self.at {
                At::Unguarded => return bytes.len(),
                At::Over => return place,
                At::Preface(left) => {
                    let count = left.min(rest.len());
                    let here = PREFACE.len() - left;
                    let is_right = PREFACE.get(here..here + count) == rest.get(..count);
                    place += count;
                    self.at = match left - count {
                        _ if !is_right => At::Unguarded,
                        0 => At::Frame,
                        left => At::Preface(left),
                    };
                    Ok(())
                }
                At::Frame => {
                    let Some(bytes) = rest.first_chunk_mut::<HEADER>() else {
                        // What is missing is read by itself, and all of it is looked at before any is handed on.
                        self.complete(rest);
                        return place;
                    };
                    let header = Header::read(*bytes);
                    let [_, _, _, kind, ..] = bytes;
                    hide(header, kind);
                    let result = self.begin(header);
                    place += if result.is_ok() { HEADER } else { 0 };
                    result
                }
                At::Payload(left, content) => {
                    let count = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    place += count;
                    let content = self.carry(left, content, rest.get_mut(..count).unwrap_or_default());
                    self.go_on(left.saturating_sub(number(count)), content)
                }
            };
            if let Err(reason) = result {
                self.give_up(reason);
                return place;
            }
        }
        place
    }

    /// Nothing more is handed on but what makes h2 end the connection.
    const fn give_up(&mut self, reason: Reason) {
        self.verdict = Some(reason);
        self.at = At::Over;
        self.header = END;
        (self.collected, self.handed_on) = (HEADER, 0);
    }

    /// A frame begins; its header is handed on unless it breaks a rule.
    fn begin(&mut self, header: Header) -> Result<(), Reason> {
        let goes_on = header.kind == CONTINUATION && self.open_block == Some(header.stream);
        if !goes_on && (header.kind == CONTINUATION || self.open_block.is_some()) {
            // Nothing comes in the middle of a header block, nor goes on without one (section 6.10).
            self.at = At::Unguarded;
            return Ok(());
        }
        self.judge(header)?;
        let content = self.content(header);
        self.go_on(header.length, Some(content))
    }

    /// So much of a frame is left, which ends when that is nothing.
    fn go_on(&mut self, left: u32, content: Option<Content>) -> Result<(), Reason> {
        self.at = match content {
            None => At::Unguarded,
            Some(content) if left > 0 => At::Payload(left, content),
            Some(Content::Ruined(reason)) => return Err(reason),
            Some(Content::Fields { ends: true, .. } | Content::PaddedFields { ends: true, .. }) => {
                self.open_block = None;
                self.fields.end()?;
                At::Frame
            }
            Some(_) => At::Frame,
        };
        Ok(())
    }

    /// The rules of frames of each type.
    fn judge(&self, header: Header) -> Result<(), Reason> {
        let Header { length, kind, stream, .. } = header;
        // Section 4.2: shorter than its type or its flags say, or longer. What names a stream and must not, or the other way
        // round, is h2's to refuse.
        let has_right_size = match kind {
            DATA => length >= u32::from(header.has(PADDED)),
            HEADERS => length >= u32::from(header.has(PADDED)) + header.priority(),
            PRIORITY => length == 5,
            RST_STREAM | WINDOW_UPDATE => length == 4,
            SETTINGS if header.has(ACK) => length == 0,
            SETTINGS => length.is_multiple_of(6),
            PING => length == 8,
            GOAWAY => length >= 8,
            _ => true,
        };
        if !has_right_size {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        match (kind, self.streams.said(stream)) {
            // A client can't push (section 8.4).
            (PUSH_PROMISE, _) => Err(Reason::PROTOCOL_ERROR),
            // Nothing follows the end of a request, and no head its cancellation (section 5.1). DATA may have been under way then,
            // and h2 drops it.
            (DATA | HEADERS, Said::All) | (HEADERS, Said::Cancelled) => Err(Reason::STREAM_CLOSED),
            _ => Ok(()),
        }
    }

    /// What the frame carries, with a note of what it says on its stream.
    fn content(&mut self, header: Header) -> Content {
        let Header { kind, stream, .. } = header;
        let ends = header.has(END_HEADERS);
        match kind {
            DATA if header.has(END_STREAM) => self.streams.note(stream, Said::All),
            RST_STREAM => self.streams.note(stream, Said::Cancelled),
            SETTINGS => return Content::Settings { identifier: 0, offset: 0 },
            CONTINUATION => return Content::Fields { priority: 0, padding: 0, ends },
            HEADERS => {
                self.open_block = Some(stream);
                self.fields.begin(self.streams.said(stream) == Said::Begun);
                self.streams.open(stream);
                if header.has(END_STREAM) {
                    self.streams.note(stream, Said::All);
                }
                let priority = header.priority();
                return if header.has(PADDED) {
                    Content::PaddedFields { priority, ends }
                } else {
                    Content::Fields { priority, padding: 0, ends }
                };
            }
            _ => {}
        }
        Content::Anything
    }

    /// Looks at `part` of what a frame carries, before which `left` of it was still to come; nothing when h2 will end the
    /// connection at this frame.
    fn carry(&mut self, left: u32, content: Content, part: &mut [u8]) -> Option<Content> {
        match content {
            Content::Anything => {}
            Content::Ruined(_) => part.fill(NO_FIELD),
            Content::Settings { identifier, offset } => return Some(settings(identifier, offset, part)),
            Content::PaddedFields { priority, ends } => {
                let (padding, part) = part.split_first_mut()?;
                let (padding, left) = (u32::from(*padding), left.saturating_sub(1));
                // More padding than there is room for (section 6.2).
                let fits = priority + padding <= left;
                return fits.then(|| self.carry(left, Content::Fields { priority, padding, ends }, part)).flatten();
            }
            Content::Fields { priority, padding, ends } => {
                let skipped = priority.min(number(part.len()));
                let fields = left.saturating_sub(priority).saturating_sub(padding);
                let part = part.get_mut(index(skipped)..).unwrap_or_default();
                let count = part.len().min(index(fields));
                let part = part.get_mut(..count).unwrap_or_default();
                return Some(match self.fields.read(part) {
                    Ok(()) => Content::Fields { priority: priority - skipped, padding, ends },
                    Err((place, reason)) => {
                        part.get_mut(place..).unwrap_or_default().fill(NO_FIELD);
                        Content::Ruined(reason)
                    }
                });
            }
        }
        Some(content)
    }
}

/// A client's GOAWAY tells a server that pushes nothing about no stream (section 6.8), and h2 would close the connection in the face
/// of the frames behind it. The client closes it when it has done.
const fn hide(header: Header, kind: &mut u8) {
    if header.kind == GOAWAY && header.stream == 0 {
        *kind = UNKNOWN;
    }
}

/// Settings (section 6.5.1): two bytes of an identifier, four of a value.
fn settings(mut identifier: u16, mut offset: u8, part: &[u8]) -> Content {
    for byte in part {
        match offset {
            0 | 1 => identifier = identifier << 8 | u16::from(*byte),
            // A window has at most 2^31-1 bytes (section 6.5.2).
            2 if identifier == INITIAL_WINDOW_SIZE && *byte >= 0x80 => {
                return Content::Ruined(Reason::FLOW_CONTROL_ERROR);
            }
            _ => {}
        }
        offset = (offset + 1) % 6;
    }
    Content::Settings { identifier, offset }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn index(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
