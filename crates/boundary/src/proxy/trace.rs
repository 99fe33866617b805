//! The trace that a request belongs to (W3C Trace Context, Level 1): one that can be read goes on as it came, any other is begun anew.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::crypto::SecureRandom;

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

static RANDOM: LazyLock<&'static dyn SecureRandom> = LazyLock::new(|| rustls::crypto::aws_lc_rs::default_provider().secure_random);

/// Leaves exactly one `traceparent` that can be read, and `tracestate` only beside the one that it came with.
pub(super) fn go_on(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(&PARENT).iter();
    if lines.next().is_some_and(|line| reads(line.as_bytes())) && lines.next().is_none() {
        return;
    }
    headers.remove(&PARENT);
    headers.remove(&STATE);
    if let Some(made) = made() {
        headers.insert(PARENT, made);
    }
}

/// Whether it is `VERSION-TRACE-PARENT-FLAGS` (§3.2). A version that nobody knows yet may say more behind these (§4.3).
fn reads(line: &[u8]) -> bool {
    let Some((head, more)) = line.split_at_checked(55) else {
        return false;
    };
    let mut parts = head.split(|byte| *byte == b'-');
    let mut next = |length: usize| {
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        parts.next().filter(|part| part.len() == length && part.iter().all(is_hex))
    };
    let (Some(version), Some(trace), Some(parent), Some(_flags)) = (next(2), next(32), next(16), next(2)) else {
        return false;
    };
    let is_nothing = |id: &[u8]| id.iter().all(|byte| *byte == b'0');
    let ends = match version {
        b"ff" => false,
        b"00" => more.is_empty(),
        _ => matches!(more, [] | [b'-', ..]),
    };
    ends && !is_nothing(trace) && !is_nothing(parent)
}

/// A trace that begins here, and that nobody has asked to be sampled; none without randomness.
fn made() -> Option<HeaderValue> {
    let mut random = [0; 24];
    RANDOM.fill(&mut random).ok()?;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let (trace, parent) = hex.split_at_checked(32)?;
    HeaderValue::try_from(format!("00-{trace}-{parent}-00")).ok().filter(|made| reads(made.as_bytes()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{go_on, reads};

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn went_on(parents: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append("traceparent", HeaderValue::from_str(parent).unwrap());
        }
        headers.insert("tracestate", HeaderValue::from_static("vendor=1"));
        go_on(&mut headers);
        headers
    }

    #[test]
    fn one_that_can_be_read_goes_on_as_it_came() {
        for parent in [
            GOOD.to_owned(),
            GOOD.replacen("00", "cc", 1),
            GOOD.replacen("00", "cc", 1) + "-what-a-later-version-says",
        ] {
            let headers = went_on(&[&parent]);
            assert_eq!(headers.get("traceparent").unwrap(), parent.as_str());
            assert_eq!(headers.get("tracestate").unwrap(), "vendor=1");
        }
    }

    #[test]
    fn any_other_is_begun_anew_and_nothing_of_it_goes_on() {
        for parents in [
            vec![],
            vec![GOOD, GOOD],
            vec![""],
            vec!["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"],
            vec!["00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"],
            vec!["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
            vec!["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
            vec!["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            vec!["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"],
            vec!["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more"],
            vec!["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01"],
            vec!["00-0af7651916cd43dd8448eb211c803-19c-b7ad6b7169203331-01"],
        ] {
            let headers = went_on(&parents);
            let made: Vec<_> = headers.get_all("traceparent").iter().collect();
            assert_eq!(made.len(), 1, "{parents:?}: {made:?}");
            let made = made.first().unwrap().to_str().unwrap();
            assert!(reads(made.as_bytes()) && made.starts_with("00-") && made.ends_with("-00"), "{made}");
            assert!(!parents.contains(&made) && !headers.contains_key("tracestate"), "{parents:?}");
        }
        assert_ne!(went_on(&[]).get("traceparent"), went_on(&[]).get("traceparent"));
    }
}
