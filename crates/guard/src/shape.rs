//! What the paths of many requests have in common: a value such as an id becomes a place for one.

/// The path with `{id}` for each segment that looks like a value; `path` may be anything that a client sent.
///
/// `/tickets/42/comments` and `/tickets/43/comments` have one shape. What is a value is a guess, which is right often enough to
/// count requests together; no value that could be a secret is left in a shape, since what is long and mixed is a value too.
pub fn shape(path: &str) -> String {
    let segments = path.split('/').map(|segment| if is_value(segment) { "{id}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// Whether a segment of a path looks like a value: a number, a date, a UUID, a digest, a token, an address, `ORD-7`.
pub fn is_value(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let letters = segment.bytes().filter(u8::is_ascii_alphabetic).count();
    let plain = segment
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~'));
    let numbered = segment
        .rsplit_once(['-', '_'])
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let is_hex = segment.len() >= 8 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    !segment.is_empty()
        && (!plain
            || (digits > 0 && letters == 0)
            || numbered
            || (digits > 0 && is_hex)
            || digits >= 3
            || (segment.len() >= 16 && digits > 0)
            || segment.len() >= 40)
}

#[cfg(test)]
mod tests {
    use super::{is_value, shape};

    #[test]
    fn numbers_dates_and_what_could_be_a_secret_are_values_and_words_are_not() {
        for value in [
            "42",
            "2026-11-26",
            "0192f3a0-7e4b-7c11-9d3a-5f6b7c8d9e0f",
            "deadbeef01",
            "ORD-7",
            "a@example.org",
            "%41",
            "nrwo_8fK2mXq9ZpLw0aRt",
            "eyJhbGciOiJFUzI1NiJ9",
            "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGhIjKlMnOp",
            "\u{e9}",
        ] {
            assert!(is_value(value), "{value}");
        }
        for word in [
            "",
            "tickets",
            "v2",
            "oauth2",
            "well-known",
            ".well-known",
            "index.html",
            "line_items",
        ] {
            assert!(!is_value(word), "{word}");
        }
        assert_eq!(shape("/v2/tickets/42/comments/7"), "/v2/tickets/{id}/comments/{id}");
    }
}
