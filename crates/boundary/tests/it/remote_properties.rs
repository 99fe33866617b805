//! Whatever a reply is changed to, it is granted only while it says what was asked for.

use std::cell::Cell;

use boundary::Exchanger as _;
use delegation::oauth::Reason;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer};

use crate::fake_broker::{FakeBroker, TICKETS, claims, detail, front, granted, needs, now, seen};

const NAMES: [&str; 13] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "nbf",
    "client_id",
    "authorization_details",
    "scope",
    "onward",
    "sub_id",
    "cnf",
    "act",
    "jti",
];

/// What a claim is changed to.
fn value() -> impl Strategy<Value = Value> {
    let texts = vec(
        prop_oneof![
            Just(TICKETS),
            Just("https://orders.internal"),
            Just("edge"),
            Just("orders"),
            Just(BROKER),
            Just(CORP)
        ],
        1..3,
    );
    let details = vec(
        prop_oneof![
            Just("ticket:read/42"),
            Just("ticket:read/43"),
            Just("ticket:read,update/42"),
            Just("ticket:list")
        ],
        0..3,
    );
    prop_oneof![
        texts.clone().prop_map(|texts| json!(texts)),
        texts.prop_map(|texts| json!(texts[0])),
        details.prop_map(|details| details.iter().map(|text| detail(text).to_json()).collect()),
        (-100_000_i64..100_000).prop_map(|away| json!(now() + away)),
        (-700_i64..700).prop_map(|away| json!(now() + away)),
        Just(Value::Null),
        Just(json!("")),
        Just(json!({})),
        Just(json!("profile")),
    ]
}

/// Who signs the change, and as what.
#[derive(Clone, Debug)]
enum Signed {
    ByTheBroker,
    AsAnotherKind,
    ByAnotherKey,
    ByNobody,
    /// With one byte of it changed, behind the header.
    Bent(prop::sample::Index),
}

fn signed() -> impl Strategy<Value = Signed> {
    prop_oneof![
        6 => Just(Signed::ByTheBroker),
        1 => Just(Signed::AsAnotherKind),
        1 => Just(Signed::ByAnotherKey),
        1 => Just(Signed::ByNobody),
        1 => any::<prop::sample::Index>().prop_map(Signed::Bent),
    ]
}

/// Whether a payload says no more, no less and nothing else than what was asked for: read anew, and not by the code under test.
fn is_what_was_asked_for(claims: &Value) -> bool {
    let is_empty = |name: &str| claims.get(name).is_none_or(|value| *value == json!([]) || *value == json!(""));
    let times = (claims["iat"].as_i64(), claims["exp"].as_i64());
    let (Some(iat), Some(exp)) = times else { return false };
    claims["iss"] == json!(BROKER)
        && (claims["aud"] == json!(TICKETS) || claims["aud"] == json!([TICKETS]))
        && claims["client_id"] == json!("edge")
        && claims["authorization_details"] == json!([detail("ticket:read/42").to_json()])
        && is_empty("scope")
        && is_empty("onward")
        && claims.get("cnf").is_none()
        && exp > now() - 1
        && exp - iat <= 600
        && iat <= now() + 6
}

#[test]
fn no_reply_is_granted_that_is_forged_or_wider() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let broker = runtime.block_on(FakeBroker::start());
    let remote = front(&[broker.address]);
    let changes = vec((prop::sample::select(&NAMES[..]), prop::option::weighted(0.9, value())), 0..3);
    let goes_on = Cell::new(0_u32);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(512));
    runner
        .run(&(changes, signed()), |(changes, signed)| {
            let mut claims = claims();
            for (name, value) in changes {
                match value {
                    Some(value) => claims[name] = value,
                    None => drop(claims.as_object_mut().unwrap().remove(name)),
                }
            }
            let (token, is_the_brokers) = match signed {
                Signed::ByTheBroker => (broker.keys.sign("at+jwt", &claims), true),
                Signed::AsAnotherKind => (broker.keys.sign("JWT", &claims), false),
                Signed::ByAnotherKey => (FakeIssuer::es256(BROKER).sign("at+jwt", &claims), false),
                Signed::ByNobody => {
                    let whole = broker.keys.sign_raw(br#"{"alg":"none","typ":"at+jwt"}"#, claims.to_string().as_bytes());
                    (format!("{}.", whole.rsplit_once('.').unwrap().0), false)
                }
                Signed::Bent(at) => {
                    let mut bytes = broker.keys.sign("at+jwt", &claims).into_bytes();
                    let at = at.index(bytes.len());
                    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                    (String::from_utf8(bytes).unwrap(), false)
                }
            };
            broker.says(granted(&token));
            let asked = runtime.block_on(async {
                tokio::time::timeout(std::time::Duration::from_secs(60), remote.exchange(&seen(), "t".into(), &needs()))
                    .await
                    .unwrap()
            });
            match asked {
                Ok(granted) => {
                    prop_assert!(is_the_brokers && is_what_was_asked_for(&claims), "{claims}");
                    prop_assert_eq!(granted.token, token);
                    goes_on.set(goes_on.get() + 1);
                }
                Err(refused) => prop_assert_eq!(refused.reason, Reason::StoreUnavailable),
            }
            Ok(())
        })
        .unwrap();
    assert!(goes_on.get() > 20, "what is right goes on: {goes_on:?}");
}
