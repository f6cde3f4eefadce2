//! What the provider can be told to do wrong. Each kind belongs to one place, so none can be asked for where it does nothing.

use std::time::Duration;

use serde_json::Value;

use crate::demo::provider::control::Endpoint;
use crate::demo::provider::id_token_fault::IdTokenFault;

/// One thing to do wrong.
#[derive(Clone, Debug)]
pub enum Misbehaviour {
    /// How an endpoint answers at all.
    Transport(Endpoint, Transport),
    /// What the metadata says: another `issuer`, a `jwks_uri` or `token_endpoint` of a test's choice.
    Metadata(Edit),
    /// What the JWKS holds.
    Keys(KeysFault),
    /// What the authorization response says.
    Answer(AnswerFault),
    /// The token endpoint refuses (RFC 6749, section 5.2), with 400.
    TokenRefused {
        /// `error`: `invalid_grant`, say.
        error: String,
        /// `error_description`.
        description: String,
    },
    /// What the token response says: no `id_token`, `token_type` `mac`, an `access_token` with a line break, `expires_in` as text, an
    /// empty `refresh_token`.
    TokenAnswer(Edit),
    /// What is wrong with the ID token.
    IdToken(IdTokenFault),
    /// What userinfo says: another `sub`, no object at all.
    Userinfo(Edit),
}

/// A change to a JSON object.
#[derive(Clone, Debug)]
pub enum Edit {
    /// This member has this value.
    Set(String, Value),
    /// This member is missing.
    Remove(String),
    /// Something else altogether.
    Whole(Value),
}

impl Edit {
    /// This member has this value.
    pub fn set(name: &str, value: impl Into<Value>) -> Self {
        Self::Set(name.to_owned(), value.into())
    }

    /// This member is missing.
    pub fn remove(name: &str) -> Self {
        Self::Remove(name.to_owned())
    }

    /// Changes `value`; what is no object has no members to change.
    pub(crate) fn apply(self, value: &mut Value) {
        match (self, value) {
            (Self::Set(name, new), Value::Object(object)) => drop(object.insert(name, new)),
            (Self::Remove(name), Value::Object(object)) => drop(object.shift_remove(&name)),
            (Self::Whole(new), value) => *value = new,
            (Self::Set(..) | Self::Remove(_), _) => {}
        }
    }
}

/// How an endpoint answers wrongly, whatever it is asked.
#[derive(Clone, Debug)]
pub enum Transport {
    /// The right answer, but only after this long.
    Slow(Duration),
    /// No answer; the connection stays open.
    Hang,
    /// This status with a short text.
    Status(u16),
    /// 200 with this content type and these bytes.
    Body {
        /// `Content-Type`; `application/json` keeps a reader from stopping before the bytes.
        content_type: String,
        /// The bytes, whatever they are.
        bytes: Vec<u8>,
    },
    /// 200 and this many bytes of JSON text that never ends, streamed without a length.
    Endless(u64),
    /// 200, `Content-Encoding: gzip`, and a small body that unpacks to this many bytes.
    GzipBomb(u64),
    /// A redirect, through so many redirects of its own first.
    Redirect {
        /// 302 loses the body of a POST; 307 and 308 keep it (RFC 9110, section 15.4).
        status: u16,
        /// Where the last one leads.
        url: String,
        /// How many come before it.
        hops: u32,
    },
    /// The right answer with one more or one other header: `Content-Type: text/html`, `Set-Cookie: …`.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// The right answer behind a byte order mark, which RFC 8259, section 8.1, forbids.
    ByteOrderMark,
    /// Arrays in arrays, this deep.
    DeepJson(usize),
    /// Numbers that JSON doesn't have: `NaN` and `Infinity`.
    NotANumber,
    /// The right status and headers; the connection breaks off in the middle of the body.
    Cut,
    /// The right answer, one byte at a time with this pause in between.
    Trickle(Duration),
}

/// What is wrong with the JWKS.
#[derive(Clone, Debug)]
pub enum KeysFault {
    /// So many other RSA keys stand before the right one.
    Many(usize),
    /// A member of this many bytes that nobody asked for.
    Padding(usize),
    /// Two other keys and the right one, none with a `kid`.
    SeveralWithoutKid,
    /// Any change to the document.
    Edit(Edit),
}

/// What is wrong with the authorization response.
#[derive(Clone, Debug)]
pub enum AnswerFault {
    /// An error (RFC 6749, section 4.1.2.1), given before anyone is asked to sign in.
    Error {
        /// `error`: `access_denied`, say.
        error: String,
        /// `error_description`; anything, such as `<script>`.
        description: String,
    },
    /// This parameter has this value: another `iss`, another `state`.
    Set(String, String),
    /// This parameter is missing.
    Remove(String),
    /// This parameter comes once more, with this value.
    Add(String, String),
}

impl From<(Endpoint, Transport)> for Misbehaviour {
    fn from((endpoint, fault): (Endpoint, Transport)) -> Self {
        Self::Transport(endpoint, fault)
    }
}

impl From<KeysFault> for Misbehaviour {
    fn from(fault: KeysFault) -> Self {
        Self::Keys(fault)
    }
}

impl From<AnswerFault> for Misbehaviour {
    fn from(fault: AnswerFault) -> Self {
        Self::Answer(fault)
    }
}

impl From<IdTokenFault> for Misbehaviour {
    fn from(fault: IdTokenFault) -> Self {
        Self::IdToken(fault)
    }
}
