//! What a request must be before anything is decided about it: one path, one host, one credential, to every reader.

pub(crate) mod blank;
pub mod credential;
pub mod form;
pub mod headers;
pub mod host;
pub mod length;
pub mod method;
pub mod names;
pub mod path;
pub(crate) mod percent;

/// A request that two readers could read in two ways, or that is none at all; status 400.
///
/// It says what is wrong in words that may be shown to the client: nothing of the request is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(crate) &'static str);

impl Malformed {
    /// One that a door found, in words that hold nothing of the request.
    pub const fn new(why: &'static str) -> Self {
        Self(why)
    }

    /// What is wrong, in words of a program.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// Whether `text` is made of visible ASCII characters.
pub(crate) fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
