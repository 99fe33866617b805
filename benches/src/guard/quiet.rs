//! A broker that a guard need not ask: it was heard just now, others' tokens are revoked, and its keys are known.

use std::sync::Arc;
use std::time::Duration;

use delegation::authority::Authority;
use delegation::revocation::{Key, MarkKind, Revocation, Revoked, View};
use delegation::time::Timestamp;
use delegation::token::KeySet;
use narrows_guard::broker::{Asked, Broker, Consumed, FirstSeen, Introspected, Rechecked, Refused, SeenTwice, Use, Used};
use serde_json::json;
use testkit::FakeIssuer;

const ISSUER: &str = "https://narrows.internal";
/// So many tokens are revoked: where nothing is, nothing is looked up.
const REVOKED: usize = 1000;

/// The keys and the view that a guard is handed, and the key that signs its tokens.
#[derive(Debug)]
pub(super) struct Quiet {
    keys: Arc<KeySet>,
    view: Arc<View>,
}

impl Quiet {
    /// One that publishes the key of `issuer`.
    pub(super) fn of(issuer: &FakeIssuer) -> Self {
        let (revoked, now) = (Revoked::default(), Timestamp::from_seconds(jiff::Timestamp::now().as_second()));
        for _ in 0..REVOKED {
            let key = Key::of(&uuid::Uuid::now_v7().to_string());
            revoked.add(&Revocation::new(MarkKind::Jti, key, now, Duration::from_secs(3600)));
        }
        Self {
            keys: Arc::new(issuer.key_set()),
            view: Arc::new(View::default().beside(Arc::new(revoked))),
        }
    }
}

/// The key of a broker.
pub(super) fn issuer() -> FakeIssuer {
    FakeIssuer::es256(ISSUER)
}

/// A token of `issuer` that nobody has seen, as the broker makes them behind a boundary: with its subject, its chain and one detail.
pub(super) fn token(issuer: &FakeIssuer) -> String {
    let now = jiff::Timestamp::now().as_second();
    let id = || uuid::Uuid::now_v7().to_string();
    let jti = id();
    issuer.sign(
        "at+jwt",
        &json!({
            "iss": ISSUER, "sub": "alice", "aud": super::AUDIENCE, "iat": now - 1, "exp": now + 119, "jti": jti, "client_id": "edge",
            "sub_id": { "format": "iss_sub", "iss": "https://login.corp.example", "sub": "alice" },
            "act": { "iss": ISSUER, "sub": "edge" }, "txn": id(), "chain": [id()],
            "authorization_details": [{ "type": "order", "actions": ["read"], "identifier": "4711" }],
        }),
    )
}

impl Broker for Quiet {
    fn keys(&self) -> Option<Arc<KeySet>> {
        Some(Arc::clone(&self.keys))
    }

    fn view(&self) -> (Arc<View>, Duration) {
        (Arc::clone(&self.view), Duration::ZERO)
    }

    async fn look_for_keys(&self) {}

    async fn consume(&self, _: &str, _: &Asked<'_>) -> Consumed {
        Use::Unavailable.into()
    }

    async fn introspect(&self, _: &str) -> Introspected {
        Introspected::Unavailable
    }

    async fn recheck(&self, _: &str, _: &Asked<'_>, _: &Authority) -> Rechecked {
        Rechecked::Unavailable
    }

    fn refused(&self, refused: Refused) {
        // What is refused is not measured.
        panic!("{}", refused.reason.as_str());
    }

    async fn used(&self, _: &Used) -> bool {
        false
    }

    async fn first_seen(&self, _: &[FirstSeen]) -> bool {
        true
    }

    fn seen_twice(&self, _: SeenTwice) {}

    async fn flush(&self) {}
}
