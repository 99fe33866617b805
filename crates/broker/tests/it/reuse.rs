//! Tokens that are handed out again: the same answers as without, and every one on record.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use broker::front_door::{self, Refused, Seen};
use delegation::oauth::{Form, Reason};
use issuance::mint::Minted;
use serde_json::Value;

use crate::installation::{ASSERTION_TYPE, Installation, RULES, encode};

/// A number below `most`, the next of a sequence that is the same in every run (xorshift).
fn below(state: &mut u64, most: u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state % most).unwrap()
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(crate) async fn ask(narrows: &Installation, boundary: &str, changes: &[(&str, &str)]) -> Result<Minted, Refused> {
    ask_from(narrows, boundary, HERE, changes).await
}

async fn ask_from(narrows: &Installation, boundary: &str, from: IpAddr, changes: &[(&str, &str)]) -> Result<Minted, Refused> {
    let mut form = narrows.form();
    for (name, value) in changes {
        form.insert((*name).to_owned(), (*value).to_owned());
    }
    let pairs: Vec<_> = form.into_iter().collect();
    let form = Form::parse(encode(&pairs).as_bytes()).unwrap();
    let seen = Seen {
        boundary,
        acting: None,
        from,
        is_callers_own: true,
        request: None,
        step_up: Default::default(),
        observed: false,
        greeted: None,
    };
    front_door::exchange(&narrows.broker, &seen, &form, None).await
}

pub(crate) fn jti(minted: &Minted) -> String {
    use base64::Engine;
    let claims = minted.token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_boundary_gets_the_same_token_for_the_same_request_and_each_time_is_on_record() {
    let narrows = Installation::start().await;
    let token = narrows.user_token();
    let first = ask(&narrows, "edge", &[("subject_token", &token)]).await.unwrap();
    for _ in 0..5 {
        let again = ask(&narrows, "edge", &[("subject_token", &token)]).await.unwrap();
        assert!(again.token == first.token && again.expires_in <= first.expires_in);
    }
    narrows.broker.close().await;
    let records = narrows.records().await;
    let of: Vec<_> = records.iter().filter(|record| record["jti"] == jti(&first)).collect();
    assert_eq!(of.len(), 6);
    assert_eq!(of.iter().filter(|record| record["reason"] == "reused").count(), 5);
    assert!(of.iter().all(|record| record["txn"] == of[0]["txn"] && record["decision"] == "allow"));
    narrows.stop().await;
}

/// GWY-044.
#[tokio::test]
async fn whatever_is_different_gets_a_token_of_its_own() {
    let narrows = Installation::start().await;
    let (token, other) = (narrows.user_token(), narrows.user_token());
    let first = ask(&narrows, "edge", &[("subject_token", &token)]).await.unwrap();
    let list = r#"[{"type":"ticket","actions":["read"],"identifier":"43"}]"#;
    let onward = r#"[{"type":"ticket","actions":["read"],"identifier":"42"}]"#;
    for change in [
        ("subject_token", other.as_str()),
        ("authorization_details", list),
        ("onward", onward),
        ("scope", "profile"),
        ("expires_in", "30"),
        ("audience", "https://orders.internal"),
    ] {
        let minted = ask(&narrows, "edge", &[("subject_token", &token), change]).await.unwrap();
        assert_ne!(jti(&minted), jti(&first), "{change:?}");
    }
    let elsewhere = ask(&narrows, "another", &[("subject_token", &token)]).await.unwrap();
    assert_ne!(jti(&elsewhere), jti(&first), "another boundary");
    let from = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let from = ask_from(&narrows, "edge", from, &[("subject_token", &token)]).await.unwrap();
    assert_ne!(jti(&from), jti(&first), "policy was told another address");
    let (at_endpoint, and_again) = (
        narrows.exchange(&[("subject_token", &token)]).await,
        narrows.exchange(&[("subject_token", &token)]).await,
    );
    assert_ne!(
        at_endpoint.claims()["jti"],
        and_again.claims()["jti"],
        "the token endpoint mints each time"
    );
    narrows.stop().await;
}

#[tokio::test]
async fn an_assertion_is_used_up_by_a_reuse_too() {
    let narrows = Installation::start().await;
    let token = narrows.user_token();
    let with = async |assertion: &str| {
        let changes = [
            ("subject_token", token.as_str()),
            ("client_id", ""),
            ("client_secret", ""),
            ("client_assertion", assertion),
            ("client_assertion_type", ASSERTION_TYPE),
        ];
        ask(&narrows, "edge", &changes).await
    };
    let (one, two) = (narrows.assertion(&[]), narrows.assertion(&[]));
    let first = with(&one).await.unwrap();
    assert_eq!(jti(&with(&two).await.unwrap()), jti(&first));
    for shown_again in [&one, &two] {
        let refused = with(shown_again).await.unwrap_err();
        assert_eq!(refused.reason, Reason::ClientAuthenticationFailed);
    }
    narrows.stop().await;
}

#[tokio::test]
async fn nothing_is_handed_out_again_under_a_key_that_signs_no_more() {
    let narrows = Installation::start().await;
    let token = narrows.user_token();
    let first = ask(&narrows, "edge", &[("subject_token", &token)]).await.unwrap();
    narrows.rotate(delegation::time::Timestamp::from_seconds(crate::installation::seconds())).await;
    narrows.broker.tend().await;
    let after = ask(&narrows, "edge", &[("subject_token", &token)]).await.unwrap();
    assert_ne!(jti(&after), jti(&first));
    narrows.stop().await;
}

#[tokio::test]
async fn a_change_of_configuration_or_policy_hands_nothing_out_again() {
    let narrows = Installation::start().await;
    let token = narrows.user_token();
    let asked = async || jti(&ask(&narrows, "edge", &[("subject_token", &token)]).await.unwrap());
    let at_start = asked().await;
    // The same rules over the same parties, under another version of the policies, then of the configuration too.
    narrows.swap(RULES, broker::Rates::default(), narrows.entries()).await;
    let (other_policy, again) = (asked().await, asked().await);
    assert_eq!(other_policy, again);
    let mut in_force = narrows.in_force(RULES, broker::Rates::default());
    std::sync::Arc::make_mut(&mut in_force.snapshot).config_version = "c-2".to_owned();
    let settings = broker::Settings::clone(&narrows.broker.settings());
    narrows.broker.swap(settings, in_force, narrows.entries()).await.unwrap();
    let other_configuration = asked().await;
    let all: std::collections::BTreeSet<_> = [at_start, other_policy, other_configuration].into();
    assert_eq!(all.len(), 3);
    narrows.stop().await;
}

fn note(round: usize) -> issuance::audit::Record {
    let now = delegation::time::Timestamp::from_seconds(1);
    issuance::audit::Record::new(format!("standing-{round}"), now, issuance::audit::Kind::Operator)
}

/// Random requests, each asked twice between random changes: at one boundary, where tokens are handed out again, and at
/// one that nobody asked at before, where none can be.
#[tokio::test]
async fn decisions_are_the_same_with_reuse_and_without() {
    let narrows = Installation::start().await;
    let mut rng = 0x9E37_79B9_7F4A_7C15;
    let stricter = format!("{RULES}\n@id(\"no-profile\") forbid (principal, action == Action::\"scope:profile\", resource);");
    let rates = broker::Rates {
        per_client: NonZeroU32::MAX,
        per_address: NonZeroU32::MAX,
    };
    let store = broker::store::Store::open(&narrows.broker.settings().store).await.unwrap();
    let tokens: Vec<_> = (0..3).map(|_| narrows.user_token()).collect();
    let alice = broker::store::Party::Subject {
        issuer_name: "corp".to_owned(),
        sub: "alice".to_owned(),
    };
    let (mut reused, mut allowed, mut denied) = (0, 0, 0);
    let mut last = std::collections::BTreeSet::new();
    for round in 0..300 {
        match below(&mut rng, 20) {
            0 => narrows.swap(&stricter, rates, narrows.entries()).await,
            1 => narrows.swap(RULES, rates, narrows.entries()).await,
            2 | 3 => {
                let standing = [broker::store::Standing::Disabled, broker::store::Standing::Enabled][below(&mut rng, 2)];
                store.set_standing(&alice, standing, note(round)).await.unwrap();
                narrows.broker.tend().await;
            }
            4 => {
                store.set_standing(&alice, broker::store::Standing::Enabled, note(round)).await.unwrap();
                narrows.broker.tend().await;
            }
            _ => {}
        }
        let identifier = ["42", "13", "7"][below(&mut rng, 3)];
        let details = format!(r#"[{{"type":"ticket","actions":["read"],"identifier":"{identifier}"}}]"#);
        let changes = [
            ("subject_token", tokens[below(&mut rng, 3)].as_str()),
            ("authorization_details", details.as_str()),
            ("scope", ["", "profile"][below(&mut rng, 2)]),
            (
                "audience",
                ["https://tickets.internal", "https://orders.internal", "gone"][below(&mut rng, 3)],
            ),
        ];
        let with = ask(&narrows, "edge", &changes).await;
        let without = ask(&narrows, &format!("edge-{round}"), &changes).await;
        match (with, without) {
            (Ok(with), Ok(without)) => {
                assert_eq!(with.authority, without.authority, "{changes:?}");
                assert!(with.expires_in <= without.expires_in);
                allowed += 1;
                reused += usize::from(!last.insert(jti(&with)));
            }
            (Err(with), Err(without)) => {
                assert_eq!(with.reason, without.reason, "{changes:?}");
                denied += 1;
            }
            (with, without) => panic!("{changes:?}: {with:?} {without:?}"),
        }
    }
    assert!(reused > 20 && allowed > 40 && denied > 40, "{reused} {allowed} {denied}");
    narrows.stop().await;
}
