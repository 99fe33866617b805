//! How long a body is that nobody has read, as far as that is known before it has come.

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

use crate::call::{Body, Call};

/// Whether the body of `call` has more than `most` bytes, by what is shown of it and what `headers` announce (RFC 9110 §8.6).
pub(super) fn is_longer(call: &Call, headers: &HeaderMap, most: usize) -> bool {
    let length = match call.body() {
        Body::Whole(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        Body::Absent | Body::Hidden => announced(headers),
    };
    length > u64::try_from(most).unwrap_or(u64::MAX)
}

/// The greatest length that the head announces. What is no number, or one with more digits than fit, is more than anybody takes.
fn announced(headers: &HeaderMap) -> u64 {
    let lines = headers.get_all(CONTENT_LENGTH).iter();
    let length = |text: &str| match text.trim_matches([' ', '\t']) {
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().unwrap_or(u64::MAX),
        _ => u64::MAX,
    };
    let greatest = |line: &http::HeaderValue| line.to_str().map_or(u64::MAX, |text| text.split(',').map(length).max().unwrap_or_default());
    lines.map(greatest).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_LENGTH;
    use http::{HeaderMap, HeaderValue};

    use super::announced;

    #[test]
    fn the_greatest_length_counts_and_what_is_none_is_longer_than_all() {
        for (lines, length) in [
            (&[][..], 0),
            (&["12"], 12),
            (&["12, 12"], 12),
            (&["12", "13"], 13),
            (&["99999999999999999999999999"], u64::MAX),
            (&["+12"], u64::MAX),
            (&["1, x"], u64::MAX),
            (&[""], u64::MAX),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(line));
            }
            assert_eq!(announced(&headers), length, "{lines:?}");
        }
    }
}
