//! Client authentication: one credential of one client, at this moment.

use delegation::oauth::ClientId;
use delegation::registry::{AuthMethod, AuthenticatedClient, ClientAuth, Moment, WorkloadMatch};
use delegation::revocation::View;
use delegation::time::Timestamp;
use delegation::token::{ClientAssertion, TokenError, Unverified, WorkloadAssertion};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::{BROKER, CORP, FakeIssuer, moment, now, snapshot};

fn edge() -> ClientId {
    ClientId::parse("edge").unwrap()
}

fn with_method(method: AuthMethod) -> Moment {
    let mut snapshot = snapshot();
    snapshot.clients.get_mut(&edge()).unwrap().auth = vec![ClientAuth { method, until: None }];
    moment(snapshot)
}

fn assertion_claims() -> Value {
    let now = now().seconds();
    json!({ "iss": "edge", "sub": "edge", "aud": BROKER, "iat": now, "exp": now + 60, "jti": "a1" })
}

fn assert_client(typ: &str, claims: &Value) -> Result<ClientId, String> {
    let key = FakeIssuer::es256("edge");
    let moment = with_method(AuthMethod::PrivateKeyJwt {
        keys: "client/edge/0".to_owned(),
    });
    let token = Unverified::<ClientAssertion>::parse(&key.sign(typ, claims)).map_err(|error| error.to_string())?;
    let authentic = token.authenticate(&key.key_set()).map_err(|error| error.to_string())?;
    let verified = authentic.at(&moment).map_err(|error: TokenError| error.to_string())?;
    let client = AuthenticatedClient::by_assertion(&moment, &verified, "client/edge/0").map_err(|error| error.to_string())?;
    Ok(client.id().clone())
}

#[test]
fn a_right_assertion_is_a_client() {
    for typ in ["JWT", "jwt", "client-authentication+jwt"] {
        assert_eq!(assert_client(typ, &assertion_claims()), Ok(edge()));
    }
}

#[test]
fn an_assertion_counts_under_the_keys_that_the_client_names_alone() {
    let key = FakeIssuer::es256("edge");
    let moment = with_method(AuthMethod::PrivateKeyJwt {
        keys: "client/edge/0".to_owned(),
    });
    let token = Unverified::<ClientAssertion>::parse(&key.sign("JWT", &assertion_claims())).unwrap();
    let verified = token.authenticate(&key.key_set()).unwrap();
    let verified = verified.at(&moment).unwrap();
    assert!(AuthenticatedClient::by_assertion(&moment, &verified, "client/edge/0").is_ok());
    assert!(AuthenticatedClient::by_assertion(&moment, &verified, "client/orders/0").is_err());
}

#[test]
fn an_assertion_is_for_us_alone_short_and_once() {
    let now = now().seconds();
    let rows = [
        ("aud", json!(format!("{BROKER}/"))),
        ("aud", json!(format!("{BROKER}/oauth2/token"))),
        ("aud", json!([BROKER, "https://other.example"])),
        ("aud", json!([])),
        ("sub", json!("orders")),
        ("exp", json!(now + 301)),
        ("exp", json!(now)),
        ("iat", json!(now + 31)),
        ("iat", json!("now")),
        ("jti", json!(7)),
        ("jti", json!("")),
        ("jti", json!("j".repeat(256))),
        ("extra", (0..16).fold(json!(1), |inner, _| json!([inner]))),
    ];
    for (name, value) in rows {
        let mut claims = assertion_claims();
        claims[name] = value.clone();
        assert!(assert_client("JWT", &claims).is_err(), "{name} {value}");
    }
    for name in ["iss", "sub", "aud", "exp", "iat", "jti"] {
        let mut claims = assertion_claims();
        claims.as_object_mut().unwrap().remove(name);
        assert!(assert_client("JWT", &claims).is_err(), "no {name}");
    }
    let mut array = assertion_claims();
    array["aud"] = json!([BROKER]);
    assert!(assert_client("JWT", &array).is_ok());
    assert!(assert_client("at+jwt", &assertion_claims()).is_err(), "another kind");
}

#[test]
fn secrets_disabled_clients_and_ended_entries() {
    let good = moment(snapshot());
    assert!(AuthenticatedClient::by_post(&good, &edge(), "edge-secret").is_ok());
    assert!(AuthenticatedClient::by_post(&good, &edge(), "edge-secret ").is_err());
    assert!(AuthenticatedClient::by_post(&good, &ClientId::parse("gone").unwrap(), "edge-secret").is_err());
    assert!(
        AuthenticatedClient::by_basic(&good, &edge(), "edge-secret").is_err(),
        "the method binds"
    );
    let mut disabled = moment(snapshot());
    disabled.revocations = Arc::new(View::new([edge()], []));
    assert!(AuthenticatedClient::by_post(&disabled, &edge(), "edge-secret").is_err(), "TEX-026");
    let mut ended = snapshot();
    ended.clients.get_mut(&edge()).unwrap().ends = Some(now());
    assert!(AuthenticatedClient::by_post(&moment(ended), &edge(), "edge-secret").is_err());
    let mut rotated = snapshot();
    rotated.clients.get_mut(&edge()).unwrap().auth[0].until = Some(Timestamp::from_seconds(now().seconds()));
    assert!(AuthenticatedClient::by_post(&moment(rotated), &edge(), "edge-secret").is_err());
}

#[test]
fn a_workload_is_exactly_one_client() {
    let claims = |uid: &str| json!({ "iss": CORP, "sub": "system:serviceaccount:shop:orders", "aud": BROKER, "iat": now().seconds(), "exp": now().seconds() + 3600, "kubernetes.io": { "serviceaccount": { "uid": uid } } });
    let wanted = |uid: &str| WorkloadMatch {
        issuer_name: "corp".to_owned(),
        subject: "system:serviceaccount:shop:orders".to_owned(),
        claims: [("kubernetes.io.serviceaccount.uid".to_owned(), json!(uid))].into(),
    };
    let issuer = FakeIssuer::es256(CORP);
    let try_it = |moment: &Moment, claims: &Value| {
        let token = Unverified::<WorkloadAssertion>::parse(&issuer.sign("JWT", claims))
            .unwrap()
            .authenticate(&issuer.key_set())
            .unwrap();
        token.at(moment).map(|verified| verified.client.clone())
    };
    let moment = with_method(AuthMethod::WorkloadJwt(wanted("u1")));
    assert_eq!(try_it(&moment, &claims("u1")), Ok(edge()));
    assert!(try_it(&moment, &claims("u2")).is_err());
    let mut long = claims("u1");
    long["exp"] = json!(now().seconds() + 24 * 3600 + 1);
    assert!(try_it(&moment, &long).is_err());
    let mut deep = claims("u1");
    deep["extra"] = (0..16).fold(json!(1), |inner, _| json!([inner]));
    assert!(try_it(&moment, &deep).is_err());
    let mut others = snapshot();
    others.clients.get_mut(&edge()).unwrap().auth = vec![ClientAuth {
        method: AuthMethod::WorkloadJwt(WorkloadMatch {
            issuer_name: "cluster".to_owned(),
            ..wanted("u1")
        }),
        until: None,
    }];
    assert!(
        try_it(&testkit::moment(others), &claims("u1")).is_err(),
        "another issuer's workload of that name"
    );
    let mut ended = snapshot();
    ended.clients.get_mut(&edge()).unwrap().auth = vec![ClientAuth {
        method: AuthMethod::WorkloadJwt(wanted("u1")),
        until: Some(now()),
    }];
    assert!(try_it(&testkit::moment(ended), &claims("u1")).is_err(), "past `until`");
    let mut elsewhere = claims("u1");
    elsewhere["aud"] = json!([BROKER, "https://other.example"]);
    assert!(try_it(&moment, &elsewhere).is_err());
    let mut two = snapshot();
    for id in ["edge", "orders"] {
        two.clients.get_mut(&ClientId::parse(id).unwrap()).unwrap().auth = vec![ClientAuth {
            method: AuthMethod::WorkloadJwt(wanted("u1")),
            until: None,
        }];
    }
    assert!(try_it(&testkit::moment(two), &claims("u1")).is_err(), "two clients match");
}
