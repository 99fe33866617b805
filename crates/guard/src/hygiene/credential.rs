//! The one credential of a request.

use std::fmt;

use http::{HeaderMap, header};

use crate::call::{Body, Call};

/// The longest token, in bytes.
const LONGEST: usize = 16 * 1024;
/// A secret that is shorter is not looked for in other places.
const SHORTEST_SECRET: usize = 20;

/// What a caller shows.
pub struct Credential {
    scheme: Scheme,
    token: String,
}

/// How a token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449.
    Dpop,
}

/// Why what a caller shows is not taken; status 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum CredentialError {
    /// Two lines, or two credentials in one.
    Several,
    /// In the query or in a form (RFC 9700 §4.3.2).
    Elsewhere,
    /// `Basic`, and every other scheme.
    Scheme,
    /// No token, or one with other characters (RFC 6750 §2.1).
    Grammar,
    /// More than 16 KiB.
    Long,
}

impl CredentialError {
    /// What is wrong, in words that hold nothing of what is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Several => "there is more than one credential",
            Self::Elsewhere => "a token stands in Authorization alone",
            Self::Scheme => "expected the scheme Bearer or DPoP",
            Self::Grammar => "expected a scheme, one space and a token",
            Self::Long => "the token is longer than 16 KiB",
        }
    }
}

impl Credential {
    /// The credential of `call` with its `headers`; `None` where it shows nothing at all.
    ///
    /// A body is looked at only if it is a form and the door shows it.
    pub fn of(headers: &HeaderMap, call: &Call) -> Result<Option<Self>, CredentialError> {
        if call.query().is_some_and(names_token) || is_token_in_form(call) {
            return Err(CredentialError::Elsewhere);
        }
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let Some(line) = lines.next() else {
            return Ok(None);
        };
        if lines.next().is_some() {
            return Err(CredentialError::Several);
        }
        match Self::read(line.as_bytes()) {
            // What is one credential holds none.
            Err(_) if line.as_bytes().contains(&b',') => Err(CredentialError::Several),
            read => read.map(Some),
        }
    }

    fn read(line: &[u8]) -> Result<Self, CredentialError> {
        let line = std::str::from_utf8(line).map_err(|_| CredentialError::Grammar)?;
        let (scheme, token) = line.split_once(' ').ok_or(CredentialError::Grammar)?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
            _ if scheme.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
            _ => return Err(CredentialError::Scheme),
        };
        if token.len() > LONGEST {
            return Err(CredentialError::Long);
        }
        if !is_token(token) {
            return Err(CredentialError::Grammar);
        }
        Ok(Self {
            scheme,
            token: token.to_owned(),
        })
    }

    /// Whether the token stands in another place too: in a header beside its own, in the target, or in what was read of the body.
    ///
    /// What is signed is looked for, since one signature may have two spellings (ECDSA takes `s` and `n - s`); and the signature, since
    /// whoever has it may know the rest. What is short could be anything. Every place is read as it is, and as it is after one percent-decoding.
    pub fn is_repeated(&self, headers: &HeaderMap, call: &Call) -> bool {
        let is_there = |bytes: &[u8]| self.words().any(|word| is_in(word, bytes));
        let holds = |bytes: &[u8]| is_there(bytes) || (bytes.contains(&b'%') && is_there(&decoded(bytes)));
        let in_headers = headers.iter().any(|(name, value)| name != header::AUTHORIZATION && holds(value.as_bytes()));
        let in_body = matches!(call.body(), Body::Whole(bytes) if holds(bytes));
        in_headers || in_body || holds(call.target().as_bytes())
    }

    /// What is looked for in other places: none where the token is too short for that.
    pub fn secret(&self) -> Option<Secret> {
        let words: Vec<_> = self.words().map(Word::of).collect();
        (!words.is_empty()).then_some(Secret { words })
    }

    /// The parts of a token by which it is known: what is signed and its signature, or all of one that has none.
    fn words(&self) -> impl Iterator<Item = &[u8]> {
        let (signed, signature) = match self.token.rsplit_once('.') {
            Some((signed, signature)) => (Some(signed).filter(|signed| signed.contains('.')), signature),
            None => (None, self.token.as_str()),
        };
        let words = signed.into_iter().chain([signature]).map(str::as_bytes);
        words.filter(|word| word.len() >= SHORTEST_SECRET)
    }

    /// How it is shown.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The token. It goes to whoever verifies it, and nowhere else.
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// The parts of a token by which it is known.
pub struct Secret {
    words: Vec<Word>,
}

impl Secret {
    /// Whether one of them is in what has come, now that `data` came too: bytes that come in pieces may be cut anywhere.
    pub fn comes_with(&mut self, data: &[u8]) -> bool {
        // Once one was found, nobody asks for the others.
        self.words.iter_mut().any(|word| word.comes_with(data))
    }
}

/// One part, looked for byte by byte: however much of it comes again and again, each byte is looked at a few times at most.
struct Word {
    bytes: Vec<u8>,
    /// How much of the word is at the end of what came.
    at: usize,
    /// Of each beginning, the longest shorter beginning that is at its end: what is left when it does not go on as the word does.
    falls: Vec<usize>,
}

impl Word {
    fn of(bytes: &[u8]) -> Self {
        let mut word = Self {
            bytes: bytes.to_vec(),
            at: 0,
            falls: Vec::with_capacity(bytes.len()),
        };
        word.falls.push(0);
        for byte in bytes.iter().skip(1) {
            word.step(*byte);
            word.falls.push(word.at);
        }
        word.at = 0;
        word
    }

    /// Whether the word is there, now that `byte` came.
    fn step(&mut self, byte: u8) -> bool {
        while self.at > 0 && self.bytes.get(self.at) != Some(&byte) {
            self.at = self.falls.get(self.at - 1).copied().unwrap_or_default();
        }
        self.at += usize::from(self.bytes.get(self.at) == Some(&byte));
        self.at == self.bytes.len()
    }

    fn comes_with(&mut self, data: &[u8]) -> bool {
        data.iter().any(|byte| self.step(*byte))
    }
}

/// Without it.
impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Secret").finish_non_exhaustive()
    }
}

/// Without the token.
impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credential").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

fn is_in(word: &[u8], bytes: &[u8]) -> bool {
    bytes.len() >= word.len() && Word::of(word).comes_with(bytes)
}

/// `b64token`: characters, and then padding.
fn is_token(text: &str) -> bool {
    let characters = text.trim_end_matches('=');
    let known = |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    // All are looked at, whatever comes: then many are at a time, and this is asked of every request.
    !characters.is_empty() && characters.bytes().fold(true, |all, byte| all & known(byte))
}

/// A form under a content coding cannot be looked into, so it counts as one that holds a token.
fn is_token_in_form(call: &Call) -> bool {
    match call.body() {
        Body::Whole(bytes) if call.is_form() && !bytes.is_empty() => call.media().coded || names_token(&String::from_utf8_lossy(bytes)),
        _ => false,
    }
}

/// Whether a query or form has a member `access_token`, as the most lenient reader would find it.
fn names_token(pairs: &str) -> bool {
    const NAME: &str = "access_token";
    let mut names = pairs.split(['&', ';']).map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    names.any(|name| {
        let name = folded(name);
        // `access_token[]`, `[access_token]` and what stands before a NUL are the name to one reader or another, and a bracket that
        // nothing closes is `_` to PHP.
        let stem = name.trim_start_matches('[').split(['[', ']', '\0']).next();
        stem == Some(NAME) || name.replace('[', "_") == NAME
    })
}

/// A name as readers are known to fold it: decoded, in lower case, without blanks around, `.` and blanks within as `_`.
fn folded(name: &str) -> String {
    let bytes = decoded(name.replace('+', " ").as_bytes());
    String::from_utf8_lossy(&bytes).trim().to_ascii_lowercase().replace([' ', '.'], "_")
}

/// After one percent-decoding, as the most lenient reader does it: what is no code stays as it is.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        decoded.push(match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = behind;
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default();
                digit(*high) << 4 | digit(*low)
            }
            (other, _) => *other,
        });
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::{Word, is_in};

    #[test]
    fn what_is_looked_for_is_found_wherever_the_pieces_end() {
        for (text, secret, is_there) in [
            ("abcabcabd", "abcabd", true),
            ("aaaaaaab", "aaab", true),
            ("xxabcab", "abcabd", false),
            ("abcab", "abcabd", false),
            ("abcabd", "abcabd", true),
            ("", "abcabd", false),
        ] {
            for size in 1..=text.len().max(1) {
                let mut looked = Word::of(secret.as_bytes());
                let found = text.as_bytes().chunks(size).any(|piece| looked.comes_with(piece));
                assert_eq!(found, is_there, "{text} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_word_is_found_where_it_is_and_nowhere_else() {
        let texts = |length: usize| {
            (0..1_u32 << length).map(move |bits| (0..length).map(|at| b'a' + u8::from(bits >> at & 1 == 1)).collect::<Vec<_>>())
        };
        for word in (1..=5).flat_map(texts) {
            for text in (0..=9).flat_map(texts) {
                let is_there = text.windows(word.len()).any(|part| part == word);
                assert_eq!(is_in(&word, &text), is_there, "{word:?} in {text:?}");
            }
        }
    }
}
