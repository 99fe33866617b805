//! The guard that the other claims are about: one route in front of one backend.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use delegation::oauth::AudienceId;
use delegation::revocation::View;
use delegation::token::KeySet;
use http::{HeaderMap, HeaderValue, header};
use narrows_guard::check::{At, Refusal, Verdict};
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Demand, Route, Rule};
use narrows_guard::surplus::Excess;
use narrows_guard::{Body, Call, Guard, Sender, Settings};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, now, snapshot};

use crate::service::{asked, demand, service};

/// Whom its tokens are for.
pub(crate) const AUDIENCE: &str = "https://tickets.internal";

/// The broker; its keys are the same for all claims.
pub(crate) static ISSUER: LazyLock<FakeIssuer> = LazyLock::new(|| FakeIssuer::es256(BROKER));

/// A guard with `GET /r/{id}` for `demand`.
pub(crate) fn settings(demand: Demand, excess: Excess, fixed: &Value) -> Settings {
    let key = "GET /r/{id}";
    let route = Route::new(key.to_owned(), Pattern::parse(key).unwrap(), Rule::Needs(Box::new(demand)));
    let health = Route::new("health".to_owned(), Pattern::parse("GET /healthz").unwrap(), Rule::Public);
    let fixed: BTreeMap<_, _> = fixed.as_object().unwrap().clone().into_iter().collect();
    Settings {
        service: service("tickets", &["tickets.internal"], vec![route, health]),
        types: snapshot().types,
        issuer: BROKER.to_owned(),
        audience: AudienceId::parse(AUDIENCE).unwrap(),
        max_lifetime: Duration::from_secs(120),
        max_chain: 8,
        max_age: Duration::from_secs(5),
        sender: Sender::None,
        single_use: false,
        excess,
        fixed,
    }
}

pub(crate) fn build(settings: Settings) -> Guard {
    Guard::build(settings, Arc::clone(&KEYS)).unwrap()
}

/// The guard of most claims: a request reads one ticket.
pub(crate) fn reader() -> Guard {
    build(settings(
        demand("GET /r/{id}", "ticket:read/{id}"),
        Excess::SameResource,
        &json!({}),
    ))
}

/// What a right token for `GET /r/7` says.
pub(crate) fn claims() -> Value {
    let now = now().seconds();
    json!({
        "iss": BROKER, "sub": "alice", "aud": AUDIENCE, "iat": now - 10, "exp": now + 60, "jti": "t-2", "client_id": "edge",
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" }, "act": { "iss": BROKER, "sub": "agent" }, "txn": "x-1",
        "chain": ["o_1", "t-1"], "task": "k-1",
        "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "7" }],
    })
}

/// The same with other claims.
pub(crate) fn with(changes: Value) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

/// The claims as a token of the broker.
pub(crate) fn token(claims: &Value) -> String {
    ISSUER.sign("at+jwt", claims)
}

/// Headers that show `token`.
pub(crate) fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap())])
}

/// `GET /r/7`.
pub(crate) fn call() -> Call {
    Call::parse("GET", b"tickets.internal", b"/r/7", &HeaderMap::new(), Body::Absent).unwrap()
}

/// A moment with nothing revoked, and the broker just heard.
pub(crate) fn at() -> At {
    At {
        now: now(),
        view: Arc::new(View::default()),
        view_age: Duration::ZERO,
    }
}

/// `allowed`, `public`, `unspent`, or the reason of the refusal.
pub(crate) fn word(verdict: &Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::Public => "public",
        Verdict::Allowed(_) => "allowed",
        Verdict::Unspent(_) => "unspent",
        Verdict::Refused(refusal) => refusal.reason.as_str(),
    }
}

/// The moment of most claims. An empty view is large, and these claims are many.
static AT: LazyLock<At> = LazyLock::new(at);
static KEYS: LazyLock<Arc<KeySet>> = LazyLock::new(|| Arc::new(ISSUER.key_set()));

/// What `guard` says to `GET /r/7` with a token of `claims`.
pub(crate) fn decided(guard: &Guard, claims: &Value) -> &'static str {
    decided_at(guard, "/r/7", claims)
}

/// What `guard` says to `GET target` with a token of `claims`.
pub(crate) fn decided_at(guard: &Guard, target: &str, claims: &Value) -> &'static str {
    word(&guard.check(&asked("GET", target), &bearer(&token(claims)), &AT))
}

/// The refusal of a token of `claims`.
pub(crate) fn refused(guard: &Guard, claims: &Value) -> Refusal {
    match guard.check(&call(), &bearer(&token(claims)), &at()) {
        Verdict::Refused(refusal) => refusal,
        other => panic!("{}", word(&other)),
    }
}
