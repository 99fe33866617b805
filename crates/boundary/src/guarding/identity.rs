//! What a backend is told of the caller, where it gets no token.

use std::fmt::Write as _;

use delegation::token::AccessClaims;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The four headers, each exactly once: one that the token has nothing for is empty, so that a backend never looks for it elsewhere.
///
/// The subject is as the broker names it, and stands beside the issuer that knows it: a person and a client may have one name. The actor
/// is the client that acts now: the outermost is always one of the broker's own, so its name says who it is.
pub(super) fn headers(claims: &AccessClaims) -> HeaderMap {
    let actor = claims.act.as_ref().and_then(|chain| chain.iter().next()).map(|actor| actor.sub.as_str());
    let said = [
        ("narrows-subject", claims.sub.as_str()),
        ("narrows-issuer", claims.subject.iss.as_str()),
        ("narrows-actor", actor.unwrap_or_default()),
        ("narrows-task", claims.task.as_deref().unwrap_or_default()),
    ];
    // What is encoded is visible ASCII, which every header takes.
    let each = said
        .into_iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(encoded(value)).ok()?)));
    each.collect()
}

/// `text`, percent-encoded outside `A-Za-z0-9-._~:/@|`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let each = char::from(byte);
        if each.is_ascii_alphanumeric() || "-._~:/@|".contains(each) {
            encoded.push(each);
        } else {
            // Nothing refuses to be written into a string.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn what_a_header_could_not_hold_or_a_reader_could_split_is_encoded() {
        for (text, expected) in [
            ("user:alice@corp.example", "user:alice@corp.example"),
            ("auth0|5f7c", "auth0|5f7c"),
            ("a b,c;d=\"e\"", "a%20b%2Cc%3Bd%3D%22e%22"),
            ("\r\nnarrows-subject: root", "%0D%0Anarrows-subject:%20root"),
            ("%41", "%2541"),
            ("J\u{fc}rgen", "J%C3%BCrgen"),
            ("", ""),
        ] {
            assert_eq!(encoded(text), expected);
        }
    }
}
