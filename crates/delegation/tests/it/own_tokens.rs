//! Our own tokens, shown to us again.

use delegation::oauth::{ClientId, TokenType};
use delegation::token::{Authentic, SubjectToken, TokenError, Unverified};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, moment, now, snapshot, user_claims};

fn own_claims() -> Value {
    let now = now().seconds();
    json!({
        "iss": BROKER, "sub": "alice", "aud": "https://orders.internal", "iat": now, "exp": now + 60, "jti": "t-1", "client_id": "edge",
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" }, "act": { "iss": BROKER, "sub": "edge" }, "txn": "x", "chain": ["o_1"],
        "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "1" }],
    })
}

fn authentic(iss: &str, typ: &str, claims: &Value) -> Authentic<SubjectToken> {
    let issuer = FakeIssuer::es256(iss);
    let token = Unverified::<SubjectToken>::parse(&issuer.sign(typ, claims)).unwrap();
    token.authenticate(&issuer.key_set()).unwrap()
}

fn at(typ: &str, claims: &Value, declared: TokenType) -> Result<Vec<String>, TokenError> {
    let moment = moment(snapshot());
    authentic(BROKER, typ, claims).at(&moment, declared).map(|verified| verified.chain.clone())
}

#[test]
fn a_token_of_another_issuer_is_never_active_and_was_issued_to_none_of_our_clients() {
    let moment = moment(snapshot());
    let ours = authentic(BROKER, "at+jwt", &own_claims());
    assert!(ours.active_at(&moment).is_some());
    assert_eq!(ours.issued_to(&moment), Some(("t-1", ClientId::parse("edge").unwrap())));
    let theirs = authentic(CORP, "at+jwt", &user_claims());
    assert!(theirs.at(&moment, TokenType::AccessToken).is_ok(), "it holds");
    assert!(theirs.active_at(&moment).is_none() && theirs.issued_to(&moment).is_none());
}

#[test]
fn a_dead_token_of_ours_is_not_active_and_still_has_an_owner() {
    let moment = moment(snapshot());
    let mut claims = own_claims();
    claims["iat"] = json!(now().seconds() - 60);
    claims["exp"] = json!(now().seconds());
    let dead = authentic(BROKER, "at+jwt", &claims);
    assert!(dead.active_at(&moment).is_none());
    assert!(dead.issued_to(&moment).is_some(), "what came from it may live");
}

#[test]
fn the_chain_grows_by_the_token_itself() {
    assert_eq!(
        at("at+jwt", &own_claims(), TokenType::AccessToken),
        Ok(vec!["o_1".to_owned(), "t-1".to_owned()])
    );
    assert!(at("at+jwt", &own_claims(), TokenType::Jwt).is_ok());
}

#[test]
fn whether_a_token_is_good_once_is_true_or_false_and_nothing_else() {
    let single_use = |value: Value| {
        let (moment, mut claims) = (moment(snapshot()), own_claims());
        claims["single_use"] = value;
        let token = authentic(BROKER, "at+jwt", &claims);
        token.at(&moment, TokenType::AccessToken).map(|verified| verified.single_use).ok()
    };
    assert_eq!(single_use(json!(true)), Some(true));
    assert_eq!(single_use(json!(false)), Some(false));
    for wrong in [json!("true"), json!(1), json!(null), json!([])] {
        assert_eq!(single_use(wrong.clone()), None, "{wrong}");
    }
    // What an outside token says of that binds nobody here.
    let mut claims = user_claims();
    claims["single_use"] = json!(true);
    let outside = authentic(CORP, "at+jwt", &claims);
    assert!(!outside.at(&moment(snapshot()), TokenType::AccessToken).unwrap().single_use);
}

#[test]
fn our_own_token_is_an_access_token_and_nothing_else() {
    assert!(at("at+jwt", &own_claims(), TokenType::IdToken).is_err());
    assert!(at("JWT", &own_claims(), TokenType::Jwt).is_err());
}

#[test]
fn every_claim_that_we_wrote_is_still_checked() {
    let deep = (0..9).fold(json!(null), |inner, _| {
        if inner.is_null() {
            json!({ "iss": "i", "sub": "s" })
        } else {
            json!({ "iss": "i", "sub": "s", "act": inner })
        }
    });
    let rows = [
        ("act", deep),
        ("act", json!("edge")),
        ("act", json!({ "sub": "edge" })),
        ("act", json!({ "iss": "", "sub": "edge" })),
        ("act", json!({ "iss": BROKER, "sub": "" })),
        ("act", json!({ "iss": BROKER, "sub": "edge", "exp": 1 })),
        ("chain", json!("o_1")),
        ("txn", json!(7)),
        ("sub_id", json!({ "iss": "https://gone.example", "sub": "alice" })),
        ("sub_id", json!("alice")),
        ("sub_id", json!({ "iss": CORP, "sub": "" })),
        ("sub_id", json!({ "iss": CORP, "sub": "a\u{7}" })),
        ("authorization_details", json!([{ "type": "gone", "actions": ["x"] }])),
        ("authorization_details", json!({})),
        ("scope", json!(["a"])),
        ("cnf", json!({ "x5t#S256": "x" })),
        ("may_act", json!("c2")),
        ("may_act", json!([])),
        ("may_act", json!({ "sub": ["c1", "c2"] })),
    ];
    for (name, value) in rows {
        let mut claims = own_claims();
        claims[name] = value.clone();
        assert!(
            matches!(at("at+jwt", &claims, TokenType::AccessToken), Err(TokenError::Invalid(_))),
            "TEX-037 TEX-041: {name} {value}"
        );
    }
    for name in ["sub_id", "txn", "client_id", "jti"] {
        let mut claims = own_claims();
        claims.as_object_mut().unwrap().remove(name);
        assert!(at("at+jwt", &claims, TokenType::AccessToken).is_err(), "no {name}");
    }
}
