//! How long a body is that nobody reads, as far as that is known before it has come.

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

use super::Malformed;
use crate::call::{Body, Call};

/// Whether the body of `call` has more than `most` bytes, by what is shown of it and what `headers` announce.
pub fn is_longer(call: &Call, headers: &HeaderMap, most: usize) -> Result<bool, Malformed> {
    let shown = match call.body() {
        Body::Whole(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        Body::Absent | Body::Hidden => 0,
    };
    let longest = shown.max(announced(headers)?.unwrap_or_default());
    Ok(longest > u64::try_from(most).unwrap_or(u64::MAX))
}

/// The length that the head announces (RFC 9110 §8.6). What cannot be read is no length, and not none.
fn announced(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut announced = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        let digits = line.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        let digits = digits.ok_or(Malformed::new("the length of the body is no number"))?;
        // More digits than fit is more than anybody takes.
        let length = digits.parse().unwrap_or(u64::MAX);
        if announced.replace(length).is_some_and(|other| other != length) {
            return Err(Malformed::new("the body has two lengths"));
        }
    }
    Ok(announced)
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_LENGTH;
    use http::{HeaderMap, HeaderValue};

    use super::{Malformed, announced};

    #[test]
    fn a_length_is_one_number() {
        for (lines, length) in [
            (&[][..], Ok(None)),
            (&["12"], Ok(Some(12))),
            (&["12", "12"], Ok(Some(12))),
            (&["99999999999999999999999999"], Ok(Some(u64::MAX))),
            (&["12", "13"], Err(Malformed::new("the body has two lengths"))),
            (&["12, 12"], Err(Malformed::new("the length of the body is no number"))),
            (&["+12"], Err(Malformed::new("the length of the body is no number"))),
            (&[""], Err(Malformed::new("the length of the body is no number"))),
        ] {
            let lines = lines.iter().map(|line| (CONTENT_LENGTH, HeaderValue::from_static(line)));
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value);
            }
            assert_eq!(announced(&headers), length);
        }
    }
}
