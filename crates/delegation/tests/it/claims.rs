//! Hostile claims. Each row names the attack that it tries.

use delegation::oauth::TokenType;
use delegation::registry::{Moment, Profile, Snapshot};
use delegation::token::{SubjectToken, TokenError, Unverified};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, moment, now, snapshot, user_claims};

fn at(moment: &Moment, typ: &str, claims: &Value, declared: TokenType) -> Result<String, TokenError> {
    let issuer = FakeIssuer::es256(claims["iss"].as_str().unwrap_or(CORP));
    let token = issuer.sign(typ, claims);
    let Ok(token) = Unverified::<SubjectToken>::parse(&token) else {
        return Err(TokenError::Invalid("shape"));
    };
    let authentic = token.authenticate(&issuer.key_set()).unwrap();
    authentic.at(moment, declared).map(|verified| verified.subject.to_string())
}

fn access(claims: &Value) -> Result<String, TokenError> {
    at(&moment(snapshot()), "at+jwt", claims, TokenType::AccessToken)
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = user_claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = user_claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn changed(change: impl FnOnce(&mut Snapshot)) -> Moment {
    let mut snapshot = snapshot();
    change(&mut snapshot);
    moment(snapshot)
}

#[track_caller]
fn invalid(id: &str, outcome: Result<String, TokenError>) {
    assert!(matches!(outcome, Err(TokenError::Invalid(_))), "{id}: {outcome:?}");
}

#[test]
fn a_right_token_holds() {
    assert_eq!(access(&user_claims()), Ok("corp|alice".to_owned()));
}

#[test]
fn a_date_of_the_wrong_type_is_invalid_and_never_absent() {
    let wrong = [
        json!("never"),
        json!("9999999999"),
        json!(true),
        json!([]),
        json!({}),
        Value::Null,
        json!(1.5e9),
        json!(1_780_003_600.999),
        json!(-1),
    ];
    for value in wrong {
        invalid("CLM-001", access(&with("exp", value.clone())));
        invalid("CLM-002", access(&with("nbf", value.clone())));
        invalid("CLM-004", access(&with("iat", value.clone())));
        invalid("CLM-034", access(&with("auth_time", value)));
    }
    for huge in [
        json!(1e308),
        json!(9_223_372_036_854_775_808_u64),
        json!(u64::MAX),
        json!(1_i64 << 53),
    ] {
        invalid("CLM-005", access(&with("exp", huge)));
    }
}

#[test]
fn a_missing_required_claim_is_invalid() {
    for name in ["iss", "sub", "aud", "exp", "iat"] {
        invalid("CLM-004 CLM-010", access(&without(name)));
    }
    assert!(access(&without("jti")).is_ok(), "the five are enough without a profile");
}

#[test]
fn times_are_looked_at_without_leeway_for_expiry() {
    let now = now().seconds();
    assert_eq!(access(&with("exp", json!(now))), Err(TokenError::Expired));
    assert_eq!(access(&with("exp", json!(now - 3))), Err(TokenError::Expired));
    assert!(access(&with("exp", json!(now + 1))).is_ok());
    assert!(access(&with("iat", json!(now + 30))).is_ok(), "leeway for iat");
    invalid("CLM-007", access(&with("iat", json!(now + 31))));
    invalid("CLM-007", access(&with("iat", json!(now + 3600))));
    invalid("CLM-007", access(&with("nbf", json!(now + 31))));
    invalid("CLM-008", access(&with("nbf", json!(now + 3600))));
    let mut backwards = with("iat", json!(now + 20));
    backwards["exp"] = json!(now + 19);
    invalid("CLM-008", access(&backwards));
}

#[test]
fn a_token_that_would_begin_when_it_has_ended_contradicts_itself() {
    // CLM-008: each of the two dates alone would pass, `nbf` by its leeway.
    let now = now().seconds();
    let ends = |nbf: i64| {
        let mut claims = with("exp", json!(now + 20));
        claims["nbf"] = json!(nbf);
        claims
    };
    assert!(access(&ends(now + 19)).is_ok());
    for nbf in [now + 20, now + 21] {
        assert_eq!(access(&ends(nbf)), Err(TokenError::Invalid("its times contradict each other")));
    }
}

#[test]
fn less_than_a_second_is_expired() {
    let mut late = moment(snapshot());
    late.now = delegation::time::Timestamp::from_millis(now().millis() + 1);
    assert_eq!(
        at(&late, "at+jwt", &with("exp", json!(now().seconds() + 1)), TokenType::AccessToken),
        Err(TokenError::Expired)
    );
}

#[test]
fn audiences_and_issuers_compare_byte_for_byte() {
    for iss in [
        "https://login.corp.example/",
        "HTTPS://login.corp.example",
        "https://login.corp.example:443",
        "https://login.corp.example@evil",
        "https://login.c\u{43e}rp.example",
        "https://login%2ecorp.example",
        "http://login.corp.example",
    ] {
        invalid("CLM-014 CLM-016", access(&with("iss", json!(iss))));
    }
    for aud in [
        json!([]),
        json!(""),
        json!([""]),
        json!(7),
        json!({}),
        json!([7]),
        json!([testkit::EDGE_AUDIENCE, 7]),
        Value::Null,
    ] {
        invalid("CLM-010", access(&with("aud", aud)));
    }
}

#[test]
fn a_subject_is_what_its_issuer_calls_it() {
    let mut two = snapshot();
    let mut other = two.issuers[CORP].clone();
    other.name = "partner".to_owned();
    other.issuer = "https://t2.example".to_owned();
    other.sub_prefix = "partner:".to_owned();
    two.issuers.insert(other.issuer.clone(), other);
    let moment = moment(two);
    let mut claims = user_claims();
    claims["iss"] = json!("https://t2.example");
    claims["email"] = json!("alice@corp.example");
    assert_eq!(
        at(&moment, "at+jwt", &claims, TokenType::AccessToken),
        Ok("partner|alice".to_owned()),
        "CLM-019 CLM-022"
    );
    for (sub, subject) in [
        ("j\u{fc}rgen", "corp|j\u{fc}rgen"),
        ("ju\u{308}rgen", "corp|ju\u{308}rgen"),
        ("Alice", "corp|Alice"),
        ("alice ", "corp|alice "),
    ] {
        assert_eq!(access(&with("sub", json!(sub))), Ok(subject.to_owned()), "CLM-020");
    }
    invalid(
        "prefix of another issuer",
        at(&moment, "at+jwt", &with("sub", json!("partner:alice")), TokenType::AccessToken),
    );
    for sub in [
        json!(""),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("\u{7f}"),
        json!("x".repeat(256)),
        json!(7),
        json!(["alice"]),
        json!("orders"),
    ] {
        invalid("an impossible sub, or a client's", access(&with("sub", sub)));
    }
}

#[test]
fn the_declared_type_binds() {
    let moment = moment(snapshot());
    invalid("CLM-023", at(&moment, "JWT", &user_claims(), TokenType::AccessToken));
    invalid("CLM-023", at(&moment, "at+jwt", &user_claims(), TokenType::IdToken));
    let lenient = changed(|snapshot| {
        let typ = &mut snapshot.issuers.get_mut(CORP).unwrap().typ;
        (typ.jwt, typ.absent) = (true, true);
    });
    assert!(at(&lenient, "JWT", &user_claims(), TokenType::AccessToken).is_ok());
    for mark in ["at_hash", "c_hash", "events"] {
        invalid("CLM-023", at(&lenient, "JWT", &with(mark, json!("x")), TokenType::AccessToken));
    }
    invalid(
        "CLM-023: scopes and a client",
        at(&lenient, "JWT", &user_claims(), TokenType::IdToken),
    );
    for mark in ["nonce", "at_hash", "c_hash"] {
        assert!(
            at(&lenient, "JWT", &with(mark, json!("x")), TokenType::IdToken).is_ok(),
            "{mark} is of id_tokens alone"
        );
    }
    invalid("CLM-023: no scope", at(&lenient, "JWT", &without("scope"), TokenType::AccessToken));
    invalid(
        "CLM-023: no client",
        at(&lenient, "JWT", &without("client_id"), TokenType::AccessToken),
    );
}

#[test]
fn an_issuer_uses_the_typ_that_its_entry_names_and_no_other() {
    let issuer = FakeIssuer::es256(CORP);
    let nameless = serde_json::json!({ "alg": "ES256", "kid": "k1" }).to_string();
    let tokens = [
        issuer.sign("at+jwt", &user_claims()),
        issuer.sign("JWT", &user_claims()),
        issuer.sign_raw(nameless.as_bytes(), user_claims().to_string().as_bytes()),
    ];
    for named in 0..3 {
        let moment = changed(|snapshot| {
            let typ = &mut snapshot.issuers.get_mut(CORP).unwrap().typ;
            (typ.at_jwt, typ.jwt, typ.absent) = (named == 0, named == 1, named == 2);
        });
        for (shown, token) in tokens.iter().enumerate() {
            let token = Unverified::<SubjectToken>::parse(token).unwrap().authenticate(&issuer.key_set()).unwrap();
            assert_eq!(
                token.at(&moment, TokenType::AccessToken).is_ok(),
                shown == named,
                "{shown} where {named} is named"
            );
        }
    }
}

#[test]
fn a_payload_is_as_deep_as_the_longest_chain_and_what_hangs_on_it() {
    // `max_chain` is 8 here, and the claims set itself is one level.
    let nested = |levels: usize| (1..levels).fold(json!([]), |inner, _| json!([inner]));
    assert!(access(&with("extra", nested(15))).is_ok());
    invalid("JWS-024", access(&with("extra", nested(16))));
    let read = |levels| Unverified::<SubjectToken>::parse(&FakeIssuer::es256(CORP).sign("at+jwt", &with("extra", nested(levels)))).is_ok();
    assert!(read(63) && !read(64), "deeper ones are not even read");
}

#[test]
fn typ_is_compared_as_a_media_type_and_other_kinds_are_refused() {
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert!(
            at(&moment(snapshot()), typ, &user_claims(), TokenType::AccessToken).is_ok(),
            "CLM-025: {typ}"
        );
    }
    for typ in [
        "at+JWT ",
        "",
        "JWT",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "statuslist+jwt",
        "client-authentication+jwt",
        "txntoken+jwt",
        "oauth-id-jag+jwt",
    ] {
        invalid(
            "CLM-025 CLM-026 CLM-028",
            at(&moment(snapshot()), typ, &user_claims(), TokenType::AccessToken),
        );
    }
}

#[test]
fn scopes_follow_the_grammar() {
    for scope in [
        json!({ "a": 1 }),
        json!("a  b"),
        json!("a b\tc"),
        json!("a\u{0}"),
        json!("a\u{a0}b"),
        json!([1]),
        json!(["a b"]),
        json!(7),
        Value::Null,
    ] {
        invalid("CLM-031", access(&with("scope", scope)));
    }
    for scope in [json!("tickets.full"), json!(["tickets.full"]), json!("")] {
        assert!(access(&with("scope", scope)).is_ok());
    }
}

#[test]
fn an_application_is_no_person() {
    for name in ["azp", "client_id", "cid", "appid"] {
        invalid("speaks for an application", access(&with(name, json!("alice"))));
    }
}

#[test]
fn the_marks_of_vendors_stand_each_for_itself() {
    let by = |profile, marks: &[(&str, Value)]| {
        let moment = changed(|snapshot| snapshot.issuers.get_mut(CORP).unwrap().profile = Some(profile));
        let mut claims = user_claims();
        for (name, value) in marks {
            claims[*name] = value.clone();
        }
        at(&moment, "at+jwt", &claims, TokenType::AccessToken)
    };
    let (azp, sid) = (("azp", json!("web")), ("sid", json!("s-1")));
    let named = |name: &str| by(Profile::Keycloak, &[azp.clone(), sid.clone(), ("preferred_username", json!(name))]);
    assert!(named("alice").is_ok());
    invalid("a service account by its name alone", named("service-account-web"));
    assert!(by(Profile::Auth0, &[("gty", json!(["password", "refresh_token"]))]).is_ok());
    invalid("a grant that is no string", by(Profile::Auth0, &[("gty", json!(["password", 7]))]));
}

#[test]
fn step_up_claims_of_the_wrong_type_are_invalid() {
    invalid("CLM-034", access(&with("acr", json!(["phr"]))));
    invalid("CLM-034", access(&with("amr", json!("pwd"))));
    invalid("CLM-034", access(&with("amr", json!(["pwd", 7]))));
}

#[test]
fn a_key_bound_token_needs_its_proof() {
    assert_eq!(access(&with("cnf", json!({ "jkt": "x" }))), Err(TokenError::ProofMissing));
    for cnf in [json!({ "x5t#S256": "x" }), json!("x"), json!({}), Value::Null] {
        invalid("POP", access(&with("cnf", cnf)));
    }
}

#[test]
fn mapped_claims_are_there_and_right_or_the_token_is_not() {
    invalid("wrong type", access(&with("groups", json!("support"))));
    invalid("left out", access(&with("_claim_names", json!({ "groups": "src1" }))));
    invalid("left out", access(&with("_claim_names", json!([]))));
    invalid("left out", access(&with("hasgroups", json!(true))));
    invalid("left out", access(&with("groups:src1", json!("x"))));
    let required = changed(|snapshot| snapshot.issuers.get_mut(CORP).unwrap().attributes.get_mut("groups").unwrap().optional = false);
    invalid("absent", at(&required, "at+jwt", &without("groups"), TokenType::AccessToken));
}

#[test]
fn reserved_claims_of_an_outside_token_mean_nothing() {
    let issuer = FakeIssuer::es256(CORP);
    let mut claims = user_claims();
    for (name, value) in [
        ("act", json!({ "iss": BROKER, "sub": "admin" })),
        ("txn", json!("t")),
        ("task", json!("t")),
        ("onward", json!([{ "type": "refund" }])),
        ("authorization_details", json!([{ "type": "refund" }])),
        ("chain", json!(["x"])),
    ] {
        claims[name] = value;
    }
    let token = Unverified::<SubjectToken>::parse(&issuer.sign("at+jwt", &claims))
        .unwrap()
        .authenticate(&issuer.key_set())
        .unwrap();
    let moment = moment(snapshot());
    let verified = token.at(&moment, TokenType::AccessToken).unwrap();
    assert!(
        verified.act.is_none() && verified.txn.is_none() && verified.onward.is_empty(),
        "CLM-035"
    );
    assert!(verified.authority.details.iter().all(|detail| detail.kind() == "ticket"), "CLM-035");
    assert_eq!(verified.chain.len(), 1, "CLM-035");
}

#[test]
fn two_signatures_over_one_token_are_one_token() {
    // ES256 signatures are random, so signing twice gives twins; a malleated one is a twin too.
    let issuer = FakeIssuer::es256(CORP);
    let chain = |claims: &Value| {
        let token = issuer.sign("at+jwt", claims);
        let authentic = Unverified::<SubjectToken>::parse(&token).unwrap().authenticate(&issuer.key_set()).unwrap();
        let moment = moment(snapshot());
        (token, authentic.at(&moment, TokenType::AccessToken).unwrap().chain.clone())
    };
    for claims in [without("jti"), user_claims()] {
        let ((one, first), (other, second)) = (chain(&claims), chain(&claims));
        assert_ne!(one, other);
        assert_eq!(first, second, "JWS-031");
    }
}
