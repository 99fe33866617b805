//! Actor tokens: whom one denotes, and when it denotes nobody.

use delegation::oauth::{ClientId, TokenType};
use delegation::registry::{AuthMethod, ClientAuth, Moment, Profile, WorkloadMatch};
use delegation::token::{ActorToken, TokenError, Unverified};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, moment, now, snapshot};

fn edge() -> Option<ClientId> {
    ClientId::parse("edge").ok()
}

/// What `client_credentials` gives the edge.
fn own_claims() -> Value {
    let now = now().seconds();
    json!({
        "iss": BROKER, "sub": "edge", "client_id": "edge", "aud": "https://orders.internal", "iat": now, "exp": now + 60, "jti": "a-1",
    })
}

fn with(claims: Value, name: &str, value: Value) -> Value {
    let mut claims = claims;
    claims[name] = value;
    claims
}

fn shown(moment: &Moment, typ: &str, claims: &Value, declared: TokenType) -> Result<Option<ClientId>, TokenError> {
    let issuer = FakeIssuer::es256(claims["iss"].as_str().unwrap());
    let token = Unverified::<ActorToken>::parse(&issuer.sign(typ, claims)).unwrap();
    let token = token.authenticate(&issuer.key_set()).unwrap();
    token.at(moment, declared).map(|verified| verified.client.clone())
}

fn own(claims: &Value) -> Result<Option<ClientId>, TokenError> {
    shown(&moment(snapshot()), "at+jwt", claims, TokenType::AccessToken)
}

#[test]
fn a_clients_own_token_denotes_it_and_nobody_elses_does() {
    // TEX-034
    assert_eq!(own(&own_claims()), Ok(edge()));
    assert_eq!(own(&with(own_claims(), "sub", json!("alice"))), Ok(None), "about somebody else");
    let acting = json!({ "iss": BROKER, "sub": "orders" });
    assert_eq!(own(&with(own_claims(), "act", acting)), Ok(None), "somebody acts in it already");
}

#[test]
fn one_of_our_own_is_an_access_token_also_as_an_actor() {
    let at = |typ, declared| shown(&moment(snapshot()), typ, &own_claims(), declared);
    assert!(at("at+jwt", TokenType::Jwt).is_ok());
    assert!(at("at+jwt", TokenType::IdToken).is_err());
    assert!(at("JWT", TokenType::Jwt).is_err());
}

#[test]
fn every_claim_of_an_actor_token_is_checked() {
    let now = now().seconds();
    let deep = (0..20).fold(json!(1), |inner, _| json!([inner]));
    let over = with(with(own_claims(), "iat", json!(now - 60)), "exp", json!(now));
    assert_eq!(own(&over), Err(TokenError::Expired));
    for (name, value) in [
        ("exp", json!("soon")),
        ("iat", json!(now + 60)),
        ("nbf", json!(now + 1)),
        ("aud", json!([])),
        ("aud", json!(7)),
        ("cnf", json!({ "jkt": "abc" })),
        ("sub", json!("")),
        ("extra", deep),
    ] {
        let refused = own(&with(own_claims(), name, value.clone()));
        assert!(matches!(refused, Err(TokenError::Invalid(_))), "{name} {value}: {refused:?}");
    }
}

/// A moment at which a workload of corp's is the edge.
fn with_workload(profile: Option<Profile>) -> Moment {
    let mut snapshot = snapshot();
    snapshot.issuers.get_mut(CORP).unwrap().profile = profile;
    let wanted = WorkloadMatch {
        issuer_name: "corp".to_owned(),
        subject: "system:serviceaccount:shop:edge".to_owned(),
        claims: std::collections::BTreeMap::new(),
    };
    snapshot.clients.get_mut(&edge().unwrap()).unwrap().auth = vec![ClientAuth {
        method: AuthMethod::WorkloadJwt(wanted),
        until: None,
    }];
    moment(snapshot)
}

#[test]
fn a_workloads_token_denotes_its_client_if_it_is_what_it_was_declared_as() {
    let now = now().seconds();
    let described = json!({ "namespace": "shop", "serviceaccount": { "name": "edge", "uid": "u1" } });
    let claims = json!({
        "iss": CORP, "sub": "system:serviceaccount:shop:edge", "aud": BROKER, "iat": now, "exp": now + 60, "kubernetes.io": described,
    });
    let anywhere = with_workload(None);
    assert_eq!(shown(&anywhere, "JWT", &claims, TokenType::Jwt), Ok(edge()));
    assert!(
        shown(&anywhere, "JWT", &claims, TokenType::AccessToken).is_err(),
        "it shows no scope"
    );
    let other = with(claims.clone(), "sub", json!("system:serviceaccount:shop:other"));
    assert_eq!(shown(&anywhere, "JWT", &other, TokenType::Jwt), Ok(None));
    let cluster = with_workload(Some(Profile::Kubernetes));
    assert_eq!(shown(&cluster, "JWT", &claims, TokenType::Jwt), Ok(edge()));
    let nameless = with(
        claims,
        "kubernetes.io",
        json!({ "namespace": "shop", "serviceaccount": { "name": "edge" } }),
    );
    assert!(
        shown(&cluster, "JWT", &nameless, TokenType::Jwt).is_err(),
        "an account without `uid`"
    );
    for (namespace, name) in [("other", "edge"), ("shop", "other")] {
        let described = json!({ "namespace": namespace, "serviceaccount": { "name": name, "uid": "u1" } });
        let differs = with(nameless.clone(), "kubernetes.io", described);
        assert!(shown(&cluster, "JWT", &differs, TokenType::Jwt).is_err(), "{namespace} {name}");
    }
}
