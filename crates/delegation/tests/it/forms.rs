//! Forms and requests.

use delegation::oauth::{AudienceId, ClientCredentialsRequest, ClientId, Form, FormError, Reason, TokenExchangeRequest};

const TYPE: &str = "urn:ietf:params:oauth:token-type:";

fn exchange(extra: &str) -> Result<TokenExchangeRequest, Reason> {
    let body = format!("subject_token=t&subject_token_type={TYPE}access_token&audience=a{extra}");
    TokenExchangeRequest::parse(&Form::parse(body.as_bytes()).unwrap())
}

#[test]
fn a_parameter_may_be_there_once() {
    assert_eq!(Form::parse(b"scope=a&scope=b").unwrap_err(), FormError::Repeated, "TEX-056");
    assert_eq!(Form::parse(b"client_id=a&client_id=a").unwrap_err(), FormError::Repeated, "TEX-056");
    assert_eq!(
        Form::parse(b"scope=&scope=b").unwrap().get("scope"),
        Some("b"),
        "empty ones are dropped first"
    );
    assert_eq!(Form::parse(b"audience=a&audience=b").unwrap().all("audience").len(), 2);
}

#[test]
fn a_form_is_utf_8_and_hides_nothing() {
    for body in [&b"a=%"[..], b"a=%zz", b"a=%ff", b"a=\xff", b"audience=a%00b", b"a=%1b"] {
        assert_eq!(Form::parse(body).unwrap_err(), FormError::Malformed, "TEX-056: {body:?}");
    }
    let many = |count: usize| (0..count).map(|at| format!("p{at}=1")).collect::<Vec<_>>().join("&");
    assert!(Form::parse(many(64).as_bytes()).is_ok());
    assert_eq!(Form::parse(many(65).as_bytes()).unwrap_err(), FormError::Malformed);
}

#[test]
fn names_of_clients_and_audiences_have_a_length_and_characters() {
    for (good, text) in [
        (true, "edge".to_owned()),
        (true, "c".repeat(255)),
        (false, "c".repeat(256)),
        (false, String::new()),
        (false, "two words".to_owned()),
        (false, "\u{435}dge".to_owned()),
        (false, "a\u{7f}".to_owned()),
    ] {
        assert_eq!(ClientId::parse(&text).is_ok(), good, "{text:?}");
    }
    for (good, text) in [
        (true, "https://orders.internal/caf\u{e9}".to_owned()),
        (true, "a".repeat(1024)),
        (false, "a".repeat(1025)),
        (false, String::new()),
        (false, "a\nb".to_owned()),
    ] {
        assert_eq!(AudienceId::parse(&text).is_ok(), good, "{text:?}");
    }
}

#[test]
fn token_types_are_known_or_refused() {
    for kind in ["saml2", "refresh_token", "ACCESS_TOKEN", "access_token%20", "gone"] {
        let body = format!("subject_token=t&subject_token_type={TYPE}{kind}&audience=a");
        let refused = TokenExchangeRequest::parse(&Form::parse(body.as_bytes()).unwrap()).map(drop);
        assert_eq!(refused, Err(Reason::UnsupportedTokenType), "TEX-046 TEX-047: {kind}");
    }
    for kind in ["saml2", "id_token", "refresh_token", "x"] {
        assert_eq!(
            exchange(&format!("&requested_token_type={TYPE}{kind}")).map(drop),
            Err(Reason::UnsupportedTokenType),
            "TEX-049"
        );
    }
    assert!(exchange(&format!("&requested_token_type={TYPE}jwt")).is_ok());
}

#[test]
fn an_actor_token_comes_with_its_type() {
    assert_eq!(exchange("&actor_token=t").map(drop), Err(Reason::MalformedRequest));
    assert_eq!(
        exchange(&format!("&actor_token_type={TYPE}jwt")).map(drop),
        Err(Reason::MalformedRequest)
    );
    assert!(exchange(&format!("&actor_token=t&actor_token_type={TYPE}jwt")).is_ok());
}

#[test]
fn a_life_is_a_number_of_seconds() {
    for bad in ["0", "-1", "1.5", "+5", "5s", "0x5"] {
        assert_eq!(
            exchange(&format!("&expires_in={bad}")).map(drop),
            Err(Reason::MalformedRequest),
            "{bad}"
        );
    }
    assert_eq!(exchange("&expires_in=60").unwrap().asked.expires_in, Some(60));
    for long in ["99999999999999999999", "0000000000000000000000000060"] {
        assert!(exchange(&format!("&expires_in={long}")).is_ok(), "{long}");
    }
}

#[test]
fn scopes_follow_the_grammar() {
    for bad in ["a%20%20b", "%20a", "a%20", "a%09b", "%22", "a%5Cb", "a%C2%A0b"] {
        assert_eq!(
            exchange(&format!("&scope={bad}")).map(drop),
            Err(Reason::MalformedScope),
            "TEX-004: {bad}"
        );
    }
    assert_eq!(
        exchange("&scope=orders:*").unwrap().asked.scopes.len(),
        1,
        "a wildcard is a character"
    );
}

#[test]
fn no_target_is_malformed_and_nobody_elses_token_goes_into_client_credentials() {
    let none = format!("subject_token=t&subject_token_type={TYPE}access_token");
    assert_eq!(
        TokenExchangeRequest::parse(&Form::parse(none.as_bytes()).unwrap()).map(drop),
        Err(Reason::MalformedRequest),
        "TEX-010"
    );
    for other in ["subject_token=t", "actor_token=t"] {
        let form = Form::parse(format!("audience=a&{other}").as_bytes()).unwrap();
        assert_eq!(ClientCredentialsRequest::parse(&form).map(drop), Err(Reason::MalformedRequest));
    }
}
