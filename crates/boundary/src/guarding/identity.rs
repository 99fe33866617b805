//! What a backend is told of the caller, where it gets no token.

use std::fmt::Write as _;

use delegation::chain::Actor;
use delegation::token::AccessClaims;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The four headers, each exactly once: one that the token has nothing for is empty, so that a backend never looks for it elsewhere.
///
/// The subject is as the broker names it, and stands beside the issuer that knows it: a person and a client may have one name. The actor
/// is the one who acts now, as `ISSUER|NAME`.
pub(super) fn headers(claims: &AccessClaims) -> HeaderMap {
    let actor = claims.act.as_ref().and_then(|chain| chain.iter().next()).map(named).unwrap_or_default();
    let said = [
        ("narrows-subject", encoded(&claims.sub, "|")),
        ("narrows-issuer", encoded(&claims.subject.iss, "|")),
        ("narrows-actor", actor),
        ("narrows-task", encoded(claims.task.as_deref().unwrap_or_default(), "|")),
    ];
    // What is encoded is visible ASCII, which every header takes.
    let each = said
        .into_iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?)));
    each.collect()
}

/// An actor: what is in front of the first `|` is the issuer, whatever that one is called.
fn named(actor: &Actor) -> String {
    format!("{}|{}", encoded(&actor.iss, ""), encoded(&actor.sub, "|"))
}

/// `text`, percent-encoded outside `A-Za-z0-9-._~:/@` and what `also` holds.
fn encoded(text: &str, also: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let each = char::from(byte);
        if each.is_ascii_alphanumeric() || "-._~:/@".contains(each) || (each.is_ascii() && also.contains(each)) {
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
    use delegation::chain::Actor;

    use super::{encoded, named};

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
            assert_eq!(encoded(text, "|"), expected);
        }
    }

    #[test]
    fn an_actor_has_the_name_that_its_own_issuer_gave_it() {
        let actor = |iss: &str, sub: &str| {
            named(&Actor {
                iss: iss.to_owned(),
                sub: sub.to_owned(),
            })
        };
        assert_eq!(actor("https://a.example", "auth0|1"), "https://a.example|auth0|1");
        assert_ne!(actor("https://a.example|b", "c"), actor("https://a.example", "b|c"));
    }
}
