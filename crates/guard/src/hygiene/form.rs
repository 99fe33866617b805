//! Forms that name a method in their body, which some programs take for that of the request.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::method::is_method;

/// The longest name of a field, and line of a part's head, that is read; a longer one is taken for one of a method.
const LONGEST: usize = 4 * 1024;

/// A kind of form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/x-www-form-urlencoded`.
    Fields,
    /// `multipart/…`.
    Parts,
    /// In a coding, or of two kinds: nobody here can look into it.
    Unreadable,
}

impl Form {
    /// The kind that a request with these headers says to hold; read leniently, since others do.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let says = |word: &str| {
            let mut types = headers.get_all(CONTENT_TYPE).iter();
            types.any(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase().contains(word))
        };
        match (says("x-www-form-urlencoded"), says("multipart/")) {
            (false, false) => None,
            _ if headers.contains_key(CONTENT_ENCODING) => Some(Self::Unreadable),
            // In other characters than these a name may be spelt in any bytes.
            _ if says("charset") && !["utf-8", "us-ascii", "iso-8859-1", "windows-1252"].into_iter().any(says) => Some(Self::Unreadable),
            (true, false) => Some(Self::Fields),
            (false, true) => Some(Self::Parts),
            (true, true) => Some(Self::Unreadable),
        }
    }

    /// Whether `body`, the whole of such a form, names a method, as far as it can be read.
    pub fn names_method(self, body: &[u8]) -> bool {
        let mut look = self.look();
        // The end of a body ends a field, and a line.
        look.names_method(body) || look.names_method(b"&\n")
    }

    /// The same; one that cannot be looked into may name any.
    pub(super) fn may_name_method(self, body: &[u8]) -> bool {
        self.names_method(body) || (self == Self::Unreadable && !body.is_empty())
    }

    /// Begins to look at one that comes in pieces.
    pub fn look(self) -> Look {
        Look {
            form: self,
            read: Vec::new(),
            is_named: false,
            in_disposition: false,
        }
    }
}

/// What was seen of a form so far.
#[derive(Debug)]
pub struct Look {
    form: Form,
    /// The name of a field, or the line, that began and did not end yet.
    read: Vec<u8>,
    /// Whether the name of this field is over.
    is_named: bool,
    /// Whether the last line told the name of a part, and may go on in the next.
    in_disposition: bool,
}

impl Look {
    /// Whether the form names a method now that `data` came too.
    pub fn names_method(&mut self, data: &[u8]) -> bool {
        match self.form {
            Form::Fields => data.iter().any(|byte| self.field(*byte)),
            Form::Parts => data.iter().any(|byte| self.line(*byte)),
            // Whoever asks knows that nobody can tell.
            Form::Unreadable => false,
        }
    }

    /// The same; one that cannot be looked into may name any.
    pub fn may_name_method(&mut self, data: &[u8]) -> bool {
        self.names_method(data) || (self.form == Form::Unreadable && !data.is_empty())
    }

    fn field(&mut self, byte: u8) -> bool {
        match byte {
            b'&' | b';' | b'=' => {
                let name = std::mem::take(&mut self.read);
                let was_named = std::mem::replace(&mut self.is_named, byte == b'=');
                !was_named && url::form_urlencoded::parse(&name).any(|(name, _)| is_method(&name))
            }
            _ if self.is_named => false,
            _ => {
                self.read.push(byte);
                self.read.len() > LONGEST
            }
        }
    }

    /// A part says its name in `Content-Disposition` (RFC 7578 §4.2), which some let go on in a second line.
    fn line(&mut self, byte: u8) -> bool {
        if byte != b'\n' && byte != b'\r' {
            if self.read.len() < LONGEST {
                self.read.push(byte);
            }
            return false;
        }
        let line = std::mem::take(&mut self.read);
        if line.is_empty() {
            return false;
        }
        let goes_on = self.in_disposition && matches!(line.first(), Some(b' ' | b'\t'));
        let text = String::from_utf8_lossy(&line).to_ascii_lowercase();
        self.in_disposition = goes_on || text.trim_start().starts_with("content-disposition");
        if self.in_disposition && (line.len() >= LONGEST || is_veiled(&text)) {
            return true;
        }
        // As somebody may read it: without escapes, and decoded.
        let words = text.replace('\\', "").replace(['"', '\'', '=', '&'], " ");
        let decoded: String = url::form_urlencoded::parse(words.as_bytes()).map(|(words, _)| words.to_ascii_lowercase()).collect();
        self.in_disposition && decoded.split(|each: char| each.is_whitespace() || each == ';').any(is_method)
    }
}

/// Whether a line of a part's head holds words that only some readers can read: in pieces (RFC 2231 §3), or encoded (RFC 2047).
fn is_veiled(text: &str) -> bool {
    let in_pieces = |three: &[u8]| matches!(three, [before, b'*', digit] if before.is_ascii_alphanumeric() && digit.is_ascii_digit());
    text.contains("=?") || text.as_bytes().windows(3).any(in_pieces)
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
    use http::{HeaderMap, HeaderValue};

    use super::Form;

    fn names(form: Form, body: &str) -> bool {
        let whole = form.names_method(body.as_bytes());
        let mut look = form.look();
        let mut pieces = body.as_bytes().chunks(1).chain([&b"&\n"[..]]);
        assert_eq!(
            pieces.any(|piece| look.names_method(piece)),
            whole,
            "wherever the pieces end: {body}"
        );
        whole
    }

    #[test]
    fn a_method_is_found_however_a_form_spells_its_name() {
        for (form, body, expected) in [
            (Form::Fields, "_method=DELETE", true),
            (Form::Fields, "a=b&%5F%6dethod=PUT", true),
            (Form::Fields, "a=b;_METHOD=PUT", true),
            (Form::Fields, "a=b&+_method=PUT", true),
            (Form::Fields, "a&.method=PUT", true),
            (Form::Fields, "_method[]=PUT", true),
            (Form::Fields, "_method%5D=PUT", true),
            (Form::Fields, "_method%00x=PUT", true),
            (Form::Fields, "[method=PUT", true),
            (Form::Fields, "X-HTTP-Method-Override=PUT", true),
            (Form::Fields, "a=b&x%2Dhttp_method.override[]=PUT", true),
            (
                Form::Fields,
                "x-http-method=PUT&http-method-override=PUT&ax-http-method-override=PUT",
                false,
            ),
            (
                Form::Parts,
                "--x\r\nContent-Disposition: form-data; name=\"X-Http-Method-Override\"\r\n\r\nPUT",
                true,
            ),
            (Form::Fields, "a=_method", false),
            (Form::Fields, "a=b=_method&method=c", false),
            (Form::Fields, "payment_method=card", false),
            (Form::Fields, "", false),
            (
                Form::Parts,
                "--x\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nPUT\r\n--x--",
                true,
            ),
            (Form::Parts, "--x\ncontent-disposition:form-data;name=_method\n\nPUT", true),
            (
                Form::Parts,
                "--x\r\nContent-Disposition: form-data;\r\n name=\"_\\method\"\r\n\r\nPUT",
                true,
            ),
            (
                Form::Parts,
                "--x\r\nContent-Disposition: form-data; name*=utf-8''%5Fmethod\r\n\r\nPUT",
                true,
            ),
            (
                Form::Parts,
                "--x\r\nContent-Disposition: form-data; name=\"page\"\r\n\r\n<input name=\"_method\">\r\n--x--",
                false,
            ),
            (
                Form::Parts,
                "--x\r\nContent-Disposition: form-data; name=\"_method[]\"\r\n\r\nPUT",
                true,
            ),
            (
                Form::Parts,
                "--x\r\nContent-Disposition: form-data; name*0=\"_me\"; name*1=\"thod\"\r\n\r\nPUT",
                true,
            ),
            (
                Form::Parts,
                "--x\r\nContent-Disposition: form-data; name=\"=?utf-8?B?X21ldGhvZA==?=\"\r\n\r\nPUT",
                true,
            ),
            (Form::Unreadable, "_method=PUT", false),
        ] {
            assert_eq!(names(form, body), expected, "{form:?} {body}");
        }
        assert!(names(Form::Fields, &"x".repeat(5000)), "a name without an end may be any");
        let long = |what: &str| {
            names(
                Form::Parts,
                &format!("--x\r\n{what}: form-data; x=\"{}\"; name=\"a\"\r\n\r\nPUT", "x".repeat(5000)),
            )
        };
        assert!(long("Content-Disposition"), "its end is not read, and may be any");
        assert!(!long("Content-Other"));
    }

    #[test]
    fn what_may_be_read_as_two_kinds_of_form_is_read_as_none() {
        let of = |lines: &[(_, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, HeaderValue::from_static(value));
            }
            Form::of(&headers)
        };
        let fields = "Application/X-WWW-Form-Urlencoded; charset=utf-8";
        assert_eq!(of(&[(CONTENT_TYPE, fields)]), Some(Form::Fields));
        assert_eq!(of(&[(CONTENT_TYPE, "multipart/form-data; boundary=x")]), Some(Form::Parts));
        assert_eq!(of(&[(CONTENT_TYPE, "application/json")]), None);
        let other = "application/x-www-form-urlencoded; charset=utf-16le";
        assert_eq!(of(&[(CONTENT_TYPE, other)]), Some(Form::Unreadable));
        assert_eq!(of(&[(CONTENT_TYPE, fields), (CONTENT_ENCODING, "gzip")]), Some(Form::Unreadable));
        assert_eq!(
            of(&[(CONTENT_TYPE, fields), (CONTENT_TYPE, "multipart/mixed")]),
            Some(Form::Unreadable)
        );
    }
}
