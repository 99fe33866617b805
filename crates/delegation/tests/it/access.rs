//! Our own access tokens, at the resource server that they are for.

use std::sync::Arc;
use std::time::Duration;

use delegation::details::{Detail, DetailsError, Standing};
use delegation::revocation::{Key, MarkKind, Revocation, Revoked, View};
use delegation::token::{AccessClaims, AccessToken, Authentic, TokenError, Unverified};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, now, snapshot};

fn right() -> Value {
    let now = now().seconds();
    json!({
        "iss": BROKER, "sub": "alice", "aud": "https://tickets.internal", "iat": now, "exp": now + 60, "jti": "t-2", "client_id": "edge",
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" }, "act": { "iss": BROKER, "sub": "edge" }, "txn": "x",
        "chain": ["o_1", "t-1"], "scope": "profile", "task": "k", "approval": "a-1", "single_use": true, "auth_time": now - 5, "acr": "phr",
        "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "1" }],
        "onward": [{ "type": "unheard_of", "actions": ["do"] }],
        "exception": { "id": "e-1", "authorization_details": [{ "type": "ticket", "actions": ["read"] }], "max_lifetime": 900 },
    })
}

fn authentic(typ: &str, claims: &Value) -> Option<Authentic<AccessToken>> {
    let issuer = FakeIssuer::es256(BROKER);
    Unverified::parse(&issuer.sign(typ, claims)).ok()?.authenticate(&issuer.key_set()).ok()
}

fn says(claims: &Value) -> Result<AccessClaims, TokenError> {
    authentic("at+jwt", claims).unwrap().says(&snapshot().types, 8)
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = right();
    claims[name] = value;
    claims
}

#[test]
fn an_access_token_says_what_its_resource_server_needs() {
    let said = says(&right()).unwrap();
    assert_eq!(
        (said.sub.as_str(), said.subject.iss.as_str(), said.client.as_str()),
        ("alice", CORP, "edge")
    );
    assert_eq!(said.chain, ["o_1", "t-1", "t-2"]);
    assert_eq!(
        (said.task.as_deref(), said.approval.as_deref(), said.single_use),
        (Some("k"), Some("a-1"), true)
    );
    assert_eq!(said.authority.details.len(), 1, "`onward` is no authority here");
    let exception = said.exception.unwrap();
    assert_eq!(
        (exception.id.as_str(), exception.max_lifetime),
        ("e-1", Some(Duration::from_secs(900)))
    );
    assert_eq!(exception.details[0].identifier(), None, "every resource");
}

#[test]
fn only_the_typ_of_access_tokens_is_one() {
    assert!(authentic("AT+JWT", &right()).is_some() && authentic("application/at+jwt", &right()).is_some());
    for typ in ["JWT", "", "dpop+jwt", "txntoken+jwt", "at+jwt2"] {
        assert!(authentic(typ, &right()).is_none(), "{typ}");
    }
}

#[test]
fn a_malformed_claim_is_a_bad_token_and_never_an_absent_claim() {
    let deep = (0..9).fold(
        json!({ "iss": "i", "sub": "s" }),
        |inner, _| json!({ "iss": "i", "sub": "s", "act": inner }),
    );
    for (name, value) in [
        ("onward", json!("ticket:read")),
        ("authorization_details", json!({})),
        ("authorization_details", json!([{ "type": "ticket", "actions": ["read"] }])),
        ("authorization_details", json!([{ "type": "unheard_of", "actions": ["read"] }])),
        ("scope", json!(["profile"])),
        ("scope", json!("a  b")),
        ("act", deep),
        ("act", json!("edge")),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("chain", json!("t-1")),
        ("chain", json!([7])),
        ("sub", json!("")),
        ("sub_id", json!("alice")),
        ("sub_id", json!({ "iss": CORP })),
        ("sub_id", json!({ "iss": CORP, "sub": "a\u{0}" })),
        ("sub_id", json!({ "iss": "", "sub": "alice" })),
        ("aud", json!([])),
        ("client_id", json!("")),
        ("txn", json!(null)),
        ("task", json!(1)),
        ("approval", json!({})),
        ("single_use", json!("true")),
        ("auth_time", json!("now")),
        ("nbf", json!("now")),
        ("acr", json!(1)),
        ("exception", json!("e-1")),
        ("exception", json!({})),
        ("exception", json!({ "id": "" })),
        ("exception", json!({ "id": "e", "scope": "profile" })),
        ("exception", json!({ "id": "e", "max_lifetime": 0 })),
        ("exception", json!({ "id": "e", "max_lifetime": "15m" })),
        ("exception", json!({ "id": "e", "max_lifetime": -1 })),
        ("exception", json!({ "id": "e", "max_lifetime": 1_u64 << 53 })),
        ("exception", json!({ "id": "e", "authorization_details": [{ "type": "ticket" }] })),
        ("exception", json!({ "id": "e", "authorization_details": "ticket:read" })),
    ] {
        let said = says(&with(name, value.clone()));
        assert!(matches!(said, Err(TokenError::Invalid(_))), "{name}: {value}");
    }
    let nested = (0..20).fold(json!(1), |inner, _| json!([inner]));
    assert!(says(&with("extra", nested)).is_err());
}

#[test]
fn an_access_token_is_bound_by_the_time_of_its_issuer() {
    let token = says(&right()).unwrap();
    assert!(token.in_time(now()).is_ok());
    assert!(token.in_time(now().plus(Duration::from_millis(59_000))).is_ok());
    assert_eq!(token.in_time(now().plus(Duration::from_millis(59_001))), Err(TokenError::Expired));
    for name in ["iat", "nbf"] {
        let early = says(&with(name, json!(now().seconds() + 1))).unwrap();
        assert!(matches!(early.in_time(now()), Err(TokenError::Invalid(_))), "{name}");
    }
}

#[test]
fn an_access_token_that_is_bound_to_a_key_is_told_apart() {
    let unbound = |cnf: Value| says(&with("cnf", cnf)).unwrap().unbound();
    assert_eq!(says(&right()).unwrap().unbound(), Ok(()));
    assert_eq!(unbound(json!({ "jkt": "k" })), Err(TokenError::ProofMissing));
    assert!(unbound(json!({ "x5t#S256": "k" })).is_err() && unbound(json!(null)).is_err());
}

#[test]
fn what_a_token_names_ends_it_as_its_line_does() {
    let said = says(&right()).unwrap();
    assert_eq!(*said.key(), Key::of("t-2"));
    for (kind, key) in [
        (MarkKind::Jti, Key::of("t-2")),
        (MarkKind::Jti, Key::of("t-1")),
        (MarkKind::Txn, Key::of("x")),
        (MarkKind::Task, Key::of("k")),
        (MarkKind::Client, Key::of("edge")),
    ] {
        let revoked = Arc::new(Revoked::default());
        revoked.add(&Revocation::new(kind, key, now(), Duration::from_secs(900)));
        let view = View::default().beside(revoked);
        assert_eq!((said.killed_by(&view), view.kills(&said.line())), (Some(kind), Some(kind)));
    }
    assert_eq!(said.killed_by(&View::default()), None);
}

#[test]
fn a_detail_is_filled_with_values_that_its_type_admits() {
    let types = snapshot().types;
    let sample = Detail::parse_short("ticket:read/1?tenant=acme", &types, Standing::Asked).unwrap();
    let filled = |identifier: Option<&str>, members: &[(&str, Value)]| {
        let members = members.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        sample.filled(identifier.map(str::to_owned), members, &types).map(|detail| detail.to_string())
    };
    assert_eq!(filled(None, &[]).as_deref(), Ok("ticket:read/1?tenant=acme"));
    let other = filled(Some("2"), &[("tenant", json!("other"))]);
    assert_eq!(other.as_deref(), Ok("ticket:read/2?tenant=other"));
    assert_eq!(filled(Some(""), &[]), Err(DetailsError::Malformed));
    assert_eq!(filled(None, &[("tenant", json!([]))]), Err(DetailsError::Malformed));
    assert_eq!(filled(None, &[("unheard_of", json!(1))]), Err(DetailsError::UnknownMember));
    assert_eq!(
        filled(None, &[("limit", json!(1))]),
        Err(DetailsError::UnknownMember),
        "of another action"
    );
}

#[test]
fn a_detail_is_bounded_by_what_one_of_its_actions_declares() {
    let types = snapshot().types;
    let detail = |text: &str| Detail::parse_short(text, &types, Standing::Asked).unwrap();
    let value = |text: &str| detail(text).constraints()["tenant"].clone();
    let acme = value("ticket:read/1?tenant=acme");
    let bounded = |text: &str, name: &str| detail(text).bounded(name, acme.clone(), &types).map(|detail| detail.to_string());
    assert_eq!(bounded("ticket:read/1", "tenant").as_deref(), Ok("ticket:read/1?tenant=acme"));
    assert_eq!(
        bounded("ticket:read/1?tenant=other", "tenant").as_deref(),
        Ok("ticket:read/1?tenant=acme")
    );
    assert!(bounded("ticket:list", "tenant").is_err(), "no action of it declares that");
    assert!(bounded("ticket:update/1", "limit").is_err(), "no such value");
    assert!(bounded("ticket:update/1", "unheard_of").is_err());
}
