//! What an issuer answers about an opaque token, judged.

use std::collections::BTreeSet;
use std::sync::Arc;

use delegation::oauth::TokenType;
use delegation::registry::{Moment, Profile};
use delegation::revocation::View;
use delegation::token::{Introspected, OpaqueToken, TokenError};
use serde_json::{Value, json};
use testkit::{CORP, moment, snapshot, user_claims};

fn judged(moment: &Moment, change: impl FnOnce(&mut Value), declared: TokenType) -> Result<String, TokenError> {
    let mut reply = user_claims();
    reply["active"] = json!(true);
    change(&mut reply);
    let token = OpaqueToken::parse("ya29.opaque").unwrap();
    let reply = Introspected::read(CORP, token, reply.to_string().as_bytes())?;
    reply.at(moment, declared).map(|verified| verified.subject.to_string())
}

#[test]
fn only_visible_text_that_may_be_nobody_elses_is_opaque() {
    assert!(OpaqueToken::parse("ya29.a0AfB_byC").is_some());
    for other in [
        "",
        "with space",
        "tab\t",
        "caf\u{e9}",
        "eyJhbGciOiJub25lIn0.e30.",
        "nrwa_0123456789",
    ] {
        assert!(OpaqueToken::parse(other).is_none(), "{other:?}");
    }
    assert!(OpaqueToken::parse(&"o".repeat(16 * 1024)).is_some());
    assert!(OpaqueToken::parse(&"o".repeat(16 * 1024 + 1)).is_none());
}

#[test]
fn a_reply_says_itself_that_it_is_active_and_whose_and_of_what_kind() {
    let at = moment(snapshot());
    assert_eq!(judged(&at, |_| {}, TokenType::AccessToken), Ok("corp|alice".to_owned()));
    let wrong = [
        ("active", json!(false)),
        ("active", json!("true")),
        ("iss", json!("https://other.example")),
        ("token_type", json!("refresh_token")),
        ("token_use", json!("refresh_token")),
    ];
    for (name, value) in wrong {
        let refused = judged(&at, |reply| reply[name] = value.clone(), TokenType::AccessToken);
        assert!(refused.is_err(), "{name} {value}");
    }
}

#[test]
fn it_is_an_access_token_of_an_issuer_from_which_such_are_taken() {
    assert!(judged(&moment(snapshot()), |_| {}, TokenType::Jwt).is_err());
    let mut id_tokens_alone = snapshot();
    id_tokens_alone.issuers.get_mut(CORP).unwrap().token_types = BTreeSet::from([TokenType::IdToken]);
    assert!(judged(&moment(id_tokens_alone), |_| {}, TokenType::AccessToken).is_err());
}

#[test]
fn a_reply_of_keycloak_tells_its_refresh_tokens_apart() {
    let mut snapshot = snapshot();
    snapshot.issuers.get_mut(CORP).unwrap().profile = Some(Profile::Keycloak);
    let at = moment(snapshot);
    let of_type = |typ: &str| {
        let says = |reply: &mut Value| {
            reply["typ"] = json!(typ);
            reply["azp"] = json!("web");
            reply["sid"] = json!("s-1");
        };
        judged(&at, says, TokenType::AccessToken)
    };
    assert!(of_type("Bearer").is_ok());
    assert!(of_type("Refresh").is_err() && of_type("Offline").is_err());
}

#[test]
fn a_disabled_subject_is_refused_whatever_its_issuer_says() {
    let disabled = |issuer_name: &str| Moment {
        revocations: Arc::new(View::new([], [(issuer_name.to_owned(), "alice".to_owned())])),
        ..moment(snapshot())
    };
    assert_eq!(
        judged(&disabled("corp"), |_| {}, TokenType::AccessToken),
        Err(TokenError::SubjectDisabled)
    );
    assert!(
        judged(&disabled("other"), |_| {}, TokenType::AccessToken).is_ok(),
        "another issuer's alice"
    );
}
