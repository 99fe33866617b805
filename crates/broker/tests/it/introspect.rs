//! `POST /oauth2/introspect`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::CORP;

use crate::installation::{Installation, encode};

const INTROSPECT: &str = "/oauth2/introspect";

/// A token that the edge got for orders, which may pass it on.
async fn token(narrows: &Installation) -> String {
    let reply = narrows.exchange(&[("audience", "https://orders.internal")]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.text("access_token").to_owned()
}

#[tokio::test]
async fn its_holder_and_its_audience_see_all_that_a_living_token_says() {
    let narrows = Installation::start().await;
    let reply = narrows.exchange(&[("audience", "https://orders.internal")]).await;
    let (token, mut claims) = (reply.text("access_token"), reply.claims());
    claims["active"] = json!(true);
    claims["token_type"] = json!("Bearer");
    for client in ["edge", "orders"] {
        let seen = narrows.about(INTROSPECT, client, token).await;
        assert_eq!((seen.status, &seen.body), (200, &claims), "{client}");
        assert_eq!(seen.headers["cache-control"], "no-store");
    }
    narrows.stop().await;
}

/// INT-002, INT-004: whatever it is that is not alive or not the caller's, the answer is the same, signed or not.
#[tokio::test]
async fn of_everything_else_nothing_is_said_but_that_it_is_not_active() {
    let narrows = Installation::start().await;
    let token = token(&narrows).await;
    let (input, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{input}.{}", signature.chars().rev().collect::<String>());
    let cases = [
        ("another client's", "stranger", token.as_str()),
        ("with a wrong signature", "edge", &forged),
        ("an outside token", "edge", &narrows.user_token()),
        ("no token", "edge", "nrwa_0"),
        ("a client assertion", "edge", &narrows.assertion(&[])),
    ];
    for (what, client, token) in cases {
        let seen = narrows.about(INTROSPECT, client, token).await;
        assert_eq!((seen.status, seen.body), (200, json!({ "active": false })), "{what}");
        let form = [
            ("client_id", client),
            ("client_secret", &format!("{client}-secret")),
            ("token", token),
        ];
        let form: Vec<_> = form.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let accept = [("accept", "application/token-introspection+jwt")];
        let (_, jwt) = narrows.post_for_text(INTROSPECT, &encode(&form), &accept).await;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap();
        assert_eq!(claims["token_introspection"], json!({ "active": false }), "{what}");
    }
    narrows.stop().await;
}

/// INT-001.
#[tokio::test]
async fn a_stranger_and_a_request_without_a_token_are_refused() {
    let narrows = Installation::start().await;
    let token = token(&narrows).await;
    let wrong = encode(&[
        ("client_id".to_owned(), "edge".to_owned()),
        ("client_secret".to_owned(), "guess".to_owned()),
        ("token".to_owned(), token),
    ]);
    let refused = narrows.post_to(INTROSPECT, &wrong, &[]).await;
    assert_eq!((refused.status, refused.text("error")), (401, "invalid_client"));
    let nothing = narrows.about(INTROSPECT, "edge", "").await;
    assert_eq!((nothing.status, nothing.text("reason")), (400, "malformed_request"));
    assert_eq!(narrows.get(INTROSPECT).await.0, 405);
    narrows.stop().await;
}

#[tokio::test]
async fn a_signed_answer_is_for_the_caller_and_verifies() {
    let narrows = Installation::start().await;
    let token = token(&narrows).await;
    let form = encode(&[
        ("client_id".to_owned(), "orders".to_owned()),
        ("client_secret".to_owned(), "orders-secret".to_owned()),
        ("token".to_owned(), token),
    ]);
    let accept = [("accept", "application/token-introspection+jwt")];
    let (media, jwt) = narrows.post_for_text(INTROSPECT, &form, &accept).await;
    assert_eq!(media, "application/token-introspection+jwt");
    let part = |at: usize| -> Value {
        let part = jwt.split('.').nth(at).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    assert_eq!(header["typ"], "token-introspection+jwt");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(narrows.url), &json!("orders")));
    assert_eq!(claims["token_introspection"]["active"], json!(true));
    assert_eq!(claims["token_introspection"]["sub_id"]["iss"], json!(CORP));
    // It is signed by us, and is nobody's access token.
    let seen = narrows.about(INTROSPECT, "orders", &jwt).await;
    assert_eq!(seen.body, json!({ "active": false }));
    for accept in ["*/*", "application/json, application/token-introspection+jwt;q=0"] {
        let (media, _) = narrows.post_for_text(INTROSPECT, &form, &[("accept", accept)]).await;
        assert_eq!(media, "application/json", "{accept}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn an_assertion_is_used_up_by_the_question_and_the_question_is_on_record() {
    let narrows = Installation::start().await;
    let token = token(&narrows).await;
    let form = encode(&[
        ("client_assertion_type".to_owned(), crate::installation::ASSERTION_TYPE.to_owned()),
        ("client_assertion".to_owned(), narrows.assertion(&[])),
        ("token".to_owned(), token),
    ]);
    assert_eq!(narrows.post_to(INTROSPECT, &form, &[]).await.body["active"], json!(true));
    let again = narrows.post_to(INTROSPECT, &form, &[]).await;
    assert_eq!((again.status, again.text("error")), (401, "invalid_client"));
    let records = narrows.records().await;
    let asked: Vec<_> = records.iter().filter(|record| record["kind"] == "introspection").collect();
    assert_eq!(
        (asked[0]["decision"].as_str(), asked[0]["client"].as_str()),
        (Some("allow"), Some("edge"))
    );
    narrows.stop().await;
}

/// INT-014: a hint says where to look first, and we have one place.
#[tokio::test]
async fn a_hint_of_the_kind_of_token_changes_nothing() {
    let narrows = Installation::start().await;
    for hint in ["access_token", "refresh_token", "no-such-kind"] {
        let token = token(&narrows).await;
        let form = |path: &'static str| {
            let pairs = [
                ("client_id", "edge"),
                ("client_secret", "edge-secret"),
                ("token", token.as_str()),
                ("token_type_hint", hint),
            ];
            let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            (path, encode(&pairs))
        };
        let ask = async |(path, form): (&str, String)| narrows.post_to(path, &form, &[]).await;
        assert_eq!(ask(form(INTROSPECT)).await.body["active"], json!(true), "{hint}");
        assert_eq!(ask(form("/oauth2/revoke")).await.status, 200, "{hint}");
        assert_eq!(ask(form(INTROSPECT)).await.body, json!({ "active": false }), "{hint}");
    }
    narrows.stop().await;
}
