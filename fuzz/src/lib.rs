//! Fuzz targets: each takes any bytes, and panics if a promise of the reader does not hold.
//!
//! They are plain functions, so that a stable test replays the corpus and any fuzzing engine can call them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a target speaks by panicking"
)]

mod needed;
mod replay;

use delegation::details::{Detail, Standing};
use delegation::oauth::{ClientCredentialsRequest, Form, JwtBearerRequest, TokenExchangeRequest};
use delegation::token::{ActorToken, ClientAssertion, IdJag, SubjectToken, Unverified, WorkloadAssertion};
use policy_cedar::{CedarPolicy, PolicyFile};
use testkit::snapshot;

pub use needed::{call, is_served, template};
pub use replay::{Target, replay};

/// Every target but the configuration's, which lies beside what it tries, in `narrows`.
pub const TARGETS: [Target; 7] = [
    target("token", token, 20_000),
    target("request", request, 20_000),
    target("details", details, 20_000),
    target("short", short, 20_000),
    target("policy", policy, 300),
    target("call", call, 5_000),
    target("template", template, 5_000),
];

const fn target(name: &'static str, run: fn(&[u8]), changes: u64) -> Target {
    Target { name, run, changes }
}

/// A token of any kind: whatever parses names an issuer.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for issuer in [
        Unverified::<SubjectToken>::parse(text).map(|token| token.claimed_issuer().to_owned()),
        Unverified::<ActorToken>::parse(text).map(|token| token.claimed_issuer().to_owned()),
        Unverified::<ClientAssertion>::parse(text).map(|token| token.claimed_issuer().to_owned()),
        Unverified::<WorkloadAssertion>::parse(text).map(|token| token.claimed_issuer().to_owned()),
        Unverified::<IdJag>::parse(text).map(|token| token.claimed_issuer().to_owned()),
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
    if let Ok(request) = JwtBearerRequest::parse(&form) {
        assert!(
            !request.asked.targets.is_empty() && !request.assertion.is_empty() && form.get("subject_token").is_none(),
            "an assertion stands alone"
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

/// A policy file: what is loaded has rules, each with a name of its own; what is refused is told with its place.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = PolicyFile {
        name: "rules.cedar".to_owned(),
        text: text.to_owned(),
    };
    match CedarPolicy::load(&snapshot(), &[file], "UTC", "p-fuzz".to_owned()) {
        Ok(policy) => assert!(
            policy.len() <= text.matches("@id").count(),
            "every rule that is in force has an @id of its own"
        ),
        Err(error) => assert!(
            error.to_string().lines().all(|line| line.starts_with("rules.cedar:")),
            "every mistake has its place: {error}"
        ),
    }
}
