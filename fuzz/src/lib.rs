//! Fuzz targets: each takes any bytes, and panics if a promise of the reader does not hold.
//!
//! They are plain functions, so that a stable test replays the corpus and any fuzzing engine can call them.
#![expect(clippy::expect_used, reason = "a target speaks by panicking")]

use delegation::details::{Detail, Standing};
use delegation::oauth::{ClientCredentialsRequest, Form, TokenExchangeRequest};
use delegation::token::{ActorToken, ClientAssertion, SubjectToken, Unverified, WorkloadAssertion};
use testkit::snapshot;

/// A target, by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; the folder of its corpus has its name.
pub const TARGETS: [Target; 4] = [("token", token), ("request", request), ("details", details), ("short", short)];

/// A token of any kind: whatever parses names an issuer.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for issuer in [
        Unverified::<SubjectToken>::parse(text).map(|token| token.claimed_issuer().to_owned()),
        Unverified::<ActorToken>::parse(text).map(|token| token.claimed_issuer().to_owned()),
        Unverified::<ClientAssertion>::parse(text).map(|token| token.claimed_issuer().to_owned()),
        Unverified::<WorkloadAssertion>::parse(text).map(|token| token.claimed_issuer().to_owned()),
    ]
    .into_iter()
    .flatten()
    {
        assert!(
            text.len() <= 16 * 1024 && issuer.len() < text.len(),
            "a token is bounded, and its issuer is in it"
        );
    }
}

/// A form body as a request: what parses has a target.
pub fn request(bytes: &[u8]) {
    let Ok(form) = Form::parse(bytes) else { return };
    if let Ok(request) = TokenExchangeRequest::parse(&form) {
        assert!(
            !request.asked.targets.is_empty() && !request.subject.token.is_empty(),
            "nothing that is required is absent"
        );
    }
    if let Ok(request) = ClientCredentialsRequest::parse(&form) {
        assert!(
            !request.asked.targets.is_empty() && form.get("subject_token").is_none(),
            "a client asks for itself alone"
        );
    }
}

/// Details as JSON: what parses is written in the short form and read from it as the same.
pub fn details(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let types = snapshot().types;
    for detail in Detail::parse_array(text, &types).into_iter().flatten() {
        let again = Detail::parse_short(&detail.to_string(), &types, Standing::Asked).expect("what was printed is read");
        assert_eq!(again, detail, "and means the same");
    }
}

/// The short form: what parses is printed and read as the same.
pub fn short(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let types = snapshot().types;
    if let Ok(detail) = Detail::parse_short(text, &types, Standing::Ceiling) {
        let again = Detail::parse_short(&detail.to_string(), &types, Standing::Ceiling).expect("what was printed is read");
        assert_eq!(again, detail, "and means the same");
    }
}
