//! Requests with tokens, and what a guard says to each in every mode, as JSON: what a backend that checks for itself, in whatever
//! language, is compared with (`scripts/backends`).
//!
//! `verdicts ISSUER NOW`: whose tokens they are, and the second since the epoch around which they hold.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "it is for tests")]

#[path = "verdicts/bodies.rs"]
mod bodies;
#[path = "verdicts/keys.rs"]
mod keys;
#[path = "verdicts/lenient.rs"]
mod lenient;
#[path = "verdicts/repeated.rs"]
mod repeated;
#[path = "verdicts/requests.rs"]
mod requests;
#[path = "verdicts/service.rs"]
mod service;
#[path = "verdicts/surplus.rs"]
mod surplus;
#[path = "verdicts/tokens.rs"]
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delegation::oauth::Reason;
use delegation::revocation::View;
use delegation::time::Timestamp;
use delegation::token::{Algorithm, KeySet};
use http::{HeaderMap, HeaderName, HeaderValue};
use narrows_guard::check::{At, Refusal, Verdict};
use narrows_guard::hygiene::headers::{ProxyHeaders, removed};
use narrows_guard::{Body, Call, Guard};
use serde_json::{Map, Value, json};
use testkit::FakeIssuer;

use service::{AUDIENCE, MODES};

/// What is known without a body.
const UNREAD: [Reason; 6] = [
    Reason::NoToken,
    Reason::NoRoute,
    Reason::SubjectTokenInvalid,
    Reason::SubjectTokenExpired,
    Reason::SubjectTokenNotForClient,
    Reason::InvalidDpopProof,
];

/// One request, with a token or without.
#[derive(Clone)]
pub(crate) struct Row {
    name: String,
    method: &'static str,
    host: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
    /// The token that is judged in place of the one that is shown: without the exception that a backend does not honour.
    judged_by: Option<String>,
}

impl Row {
    pub(crate) fn new(name: &str, method: &'static str, target: &str) -> Self {
        Self {
            name: name.to_owned(),
            method,
            host: "tickets.internal",
            target: target.to_owned(),
            headers: Vec::new(),
            body: None,
            judged_by: None,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn at(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn sending(mut self, kind: &str, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self.with("content-type", kind)
    }

    pub(crate) fn judged_by(self, token: String) -> Self {
        Self {
            judged_by: Some(token),
            ..self
        }
    }

    /// Its headers, with this token in place of the one that is shown.
    fn headers(&self, judged_by: Option<&String>) -> HeaderMap {
        let value = |name: &str, value: &str| match judged_by {
            Some(token) if name == "authorization" => format!("Bearer {token}"),
            _ => value.to_owned(),
        };
        let header =
            |(name, text): &(&'static str, String)| (HeaderName::from_static(name), HeaderValue::try_from(value(name, text)).unwrap());
        let mut headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static(self.host))]);
        for (name, value) in self.headers.iter().map(header) {
            headers.append(name, value);
        }
        headers
    }

    /// What a middleware says that was printed: it refuses what a door takes off, and reads no body before the token is one.
    fn verdict(&self, guard: &Guard, at: &At) -> Value {
        let headers = self.headers(self.judged_by.as_ref());
        if headers.keys().any(|name| removed(name, ProxyHeaders::Removed)) {
            return refused(&Refusal::from(Reason::MalformedRequest));
        }
        let hidden = self.judged(guard, at, &self.target, &headers, Body::Hidden);
        if UNREAD.iter().any(|reason| hidden.get("reason") == Some(&json!(reason.as_str()))) {
            return hidden;
        }
        self.judged(guard, at, &self.target, &headers, self.whole())
    }

    /// What the layer says: it honours exceptions, and waits for nobody's body to no route or who shows no token where one is
    /// needed.
    fn verdict_of_layer(&self, guard: &Guard, at: &At) -> Value {
        // Its server has read the absolute form for it, which has the same host here, and has left a fragment behind.
        let target = self.target.split('#').next().unwrap();
        let target = target.strip_prefix(&format!("http://{}", self.host)).unwrap_or(target);
        let headers = self.headers(None);
        let hidden = self.judged(guard, at, target, &headers, Body::Hidden);
        if [Reason::NoToken, Reason::NoRoute]
            .iter()
            .any(|reason| hidden.get("reason") == Some(&json!(reason.as_str())))
        {
            return hidden;
        }
        self.judged(guard, at, target, &headers, self.whole())
    }

    fn whole(&self) -> Body {
        match self.body.as_deref() {
            None | Some("") => Body::Absent,
            Some(body) => Body::Whole(Bytes::copy_from_slice(body.as_bytes())),
        }
    }

    fn judged(&self, guard: &Guard, at: &At, target: &str, headers: &HeaderMap, body: Body) -> Value {
        let Ok(call) = Call::parse(self.method, self.host.as_bytes(), target.as_bytes(), headers, body) else {
            return refused(&Refusal::from(Reason::MalformedRequest));
        };
        match guard.check(&call, headers, at) {
            Verdict::Public => json!({ "status": 200 }),
            Verdict::Allowed(allowed) => json!({ "status": 200, "subject": allowed.sub, "route": allowed.needs().route }),
            // Whether it was used the broker alone can tell.
            Verdict::Unspent(_) => refused(&Refusal::from(Reason::SubjectTokenInvalid)),
            Verdict::Refused(refusal) => refused(&refusal),
        }
    }

    fn to_json(&self, guards: &[(&str, Guard)], at: &At) -> Value {
        let each = |judge: &dyn Fn(&Guard) -> Value| -> Map<_, _> {
            guards.iter().map(|(mode, guard)| ((*mode).to_owned(), judge(guard))).collect()
        };
        let verdicts = each(&|guard| self.verdict(guard, at));
        let of_layer = each(&|guard| self.verdict_of_layer(guard, at));
        json!({
            "name": self.name, "method": self.method, "host": self.host, "target": self.target, "headers": self.headers,
            "body": self.body, "verdicts": verdicts, "of_layer": of_layer,
        })
    }
}

fn refused(refusal: &Refusal) -> Value {
    let challenge = refusal.challenge().map(|value| value.to_str().unwrap().to_owned());
    json!({ "status": refusal.status().as_u16(), "reason": refusal.reason.as_str(), "challenge": challenge })
}

/// Who signs, and when.
pub(crate) struct Broker {
    pub(crate) issuer: String,
    pub(crate) now: i64,
    pub(crate) keys: Vec<FakeIssuer>,
    /// Keys that are published with something wrong, or odd; each is named after that.
    pub(crate) unfit: Vec<FakeIssuer>,
}

impl Broker {
    /// What a right token for `GET /tickets/7` says.
    pub(crate) fn claims(&self) -> Value {
        json!({
            "iss": self.issuer, "sub": "alice", "aud": AUDIENCE, "iat": self.now - 30, "exp": self.now + 500, "jti": "t-1",
            "client_id": "edge", "sub_id": { "format": "iss_sub", "iss": "https://login.corp.example", "sub": "alice" },
            "act": { "iss": self.issuer, "sub": "agent" }, "txn": "x-1", "chain": ["o_1"], "task": "k-1",
            "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "7" }],
        })
    }

    /// The same with other claims; one that is `null` is left out.
    pub(crate) fn with(&self, changes: &Value) -> Value {
        let mut claims = self.claims();
        let members = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                members.remove(name);
            } else {
                members.insert(name.clone(), value.clone());
            }
        }
        claims
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.keys[0].sign("at+jwt", claims)
    }

    /// A token that differs from the right one in these claims.
    pub(crate) fn token(&self, changes: &Value) -> String {
        self.sign(&self.with(changes))
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, issuer, now] = arguments.as_slice() else {
        panic!("usage: verdicts ISSUER NOW");
    };
    let algorithms = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];
    let keys = algorithms
        .iter()
        .enumerate()
        .map(|(at, algorithm)| FakeIssuer::new(issuer, &format!("k{at}"), *algorithm));
    let broker = Broker {
        issuer: issuer.clone(),
        now: now.parse().unwrap(),
        keys: keys.collect(),
        unfit: keys::unfit(issuer),
    };
    let unfit = broker.unfit.iter().map(keys::published);
    let jwks = json!({ "keys": broker.keys.iter().map(FakeIssuer::jwk).chain(unfit).collect::<Vec<_>>() });
    let set = Arc::new(KeySet::parse(issuer, jwks.to_string().as_bytes(), &algorithms).unwrap());
    let guards: Vec<_> = MODES.iter().map(|mode| (mode.name, mode.guard(issuer, &set))).collect();
    let at = At {
        now: Timestamp::from_seconds(broker.now),
        view: Arc::new(View::default()),
        view_age: Duration::ZERO,
    };
    // A key that is published later, and a token that it signed.
    let next = FakeIssuer::new(issuer, "next", Algorithm::Es256);
    let rows = [
        tokens::rows(&broker),
        surplus::rows(&broker),
        requests::rows(&broker),
        repeated::rows(&broker),
        bodies::rows(&broker),
        lenient::rows(&broker),
    ]
    .concat();
    let rows: Vec<_> = rows.iter().map(|row| row.to_json(&guards, &at)).collect();
    let next_token = next.sign(
        "at+jwt",
        &broker.with(&json!({ "authorization_details": service::acme(&["ticket:read/7"]) })),
    );
    println!(
        "{}",
        json!({ "jwks": jwks, "rows": rows, "next": { "jwk": next.jwk(), "token": next_token } })
    );
}
