//! Our own transaction tokens, shown to us again: a kind of their own, and ours alone.

use delegation::oauth::{Form, JwtBearerRequest, Reason, TokenExchangeRequest, TokenType};
use delegation::token::{Authentic, Issued, SubjectToken, TokenError, TokenKind, TxnToken, Unverified};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, moment, now, snapshot};

const TYPE: &str = "urn:ietf:params:oauth:token-type:";

fn claims() -> Value {
    let now = now().seconds();
    let read = json!([{ "type": "ticket", "actions": ["read"], "identifier": "1" }]);
    json!({
        "iss": BROKER, "sub": "alice", "aud": "https://orders.internal", "iat": now, "exp": now + 60, "jti": "t-1", "client_id": "edge",
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" }, "act": { "iss": BROKER, "sub": "edge" }, "txn": "x", "chain": ["o_1"],
        "req_wl": "edge", "scope": "profile ticket:read/1", "tctx": { "scope": "profile", "authorization_details": read },
    })
}

fn authentic<K: TokenKind>(iss: &str, typ: &str, claims: &Value) -> Option<Authentic<K>> {
    let issuer = FakeIssuer::es256(iss);
    let token = Unverified::<K>::parse(&issuer.sign(typ, claims)).ok()?;
    token.authenticate(&issuer.key_set()).ok()
}

fn at(claims: &Value) -> Result<Vec<String>, TokenError> {
    let moment = moment(snapshot());
    let token = authentic::<TxnToken>(claims["iss"].as_str().unwrap(), "txntoken+jwt", claims);
    token.ok_or(TokenError::Invalid("no such token"))?.at(&moment).map(|verified| {
        assert!(verified.is_txn_token);
        let details = verified.authority.details.iter().map(ToString::to_string);
        details.chain(verified.authority.scopes.iter().map(ToString::to_string)).collect()
    })
}

#[test]
fn it_allows_what_its_context_says_and_not_what_its_purpose_reads_like() {
    assert_eq!(at(&claims()), Ok(vec!["ticket:read/1".to_owned(), "profile".to_owned()]));
    let mut wider = claims();
    wider["scope"] = json!("profile tickets.full ticket:read/2");
    assert_eq!(at(&wider), at(&claims()));
}

#[test]
fn it_holds_only_whole_alive_and_from_us() {
    for name in [
        "sub",
        "aud",
        "exp",
        "iat",
        "jti",
        "txn",
        "scope",
        "req_wl",
        "tctx",
        "client_id",
        "sub_id",
    ] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert!(matches!(at(&claims), Err(TokenError::Invalid(_))), "{name}");
    }
    for tctx in [json!("x"), json!([]), json!({ "authorization_details": {} }), json!({ "scope": 1 })] {
        let mut claims = claims();
        claims["tctx"] = tctx.clone();
        assert!(matches!(at(&claims), Err(TokenError::Invalid(_))), "{tctx}");
    }
    // TT-04, TT-10: no leeway, like every token of ours.
    let mut dead = claims();
    (dead["iat"], dead["exp"]) = (json!(now().seconds() - 60), json!(now().seconds()));
    assert_eq!(at(&dead), Err(TokenError::Expired));
    let mut theirs = claims();
    theirs["iss"] = json!(CORP);
    assert!(
        matches!(at(&theirs), Err(TokenError::Invalid(_))),
        "an issuer that is trusted for other tokens"
    );
}

#[test]
fn a_transaction_token_is_no_access_token_and_an_access_token_no_transaction_token() {
    // TT-12. The claims are right for both kinds: `typ` alone decides.
    let mut claims = claims();
    claims["authorization_details"] = claims["tctx"]["authorization_details"].clone();
    let moment = moment(snapshot());
    assert!(authentic::<SubjectToken>(BROKER, "txntoken+jwt", &claims).is_none());
    assert!(authentic::<TxnToken>(BROKER, "at+jwt", &claims).is_none());
    for typ in ["at+jwt", "txntoken+jwt", "application/txntoken+jwt"] {
        let issued = authentic::<Issued>(BROKER, typ, &claims).unwrap();
        let active = issued.active_at(&moment).unwrap();
        assert_eq!(active.token.is_txn_token, typ != "at+jwt", "{typ}");
        assert_eq!(issued.issued_to(&moment).map(|(jti, _)| jti), Some("t-1"));
    }
    for typ in ["JWT", "dpop+jwt", "secevent+jwt"] {
        assert!(authentic::<Issued>(BROKER, typ, &claims).is_none(), "{typ}");
    }
    let access = authentic::<SubjectToken>(BROKER, "at+jwt", &claims).unwrap();
    assert!(access.at(&moment, TokenType::TxnToken).is_err());
    claims["iss"] = json!(CORP);
    let theirs = authentic::<Issued>(CORP, "txntoken+jwt", &claims).unwrap();
    assert!(theirs.active_at(&moment).is_none() && theirs.issued_to(&moment).is_none());
}

#[test]
fn what_is_asked_for_binds_and_what_is_said_of_it_is_an_object() {
    let parse = |more: &str| {
        let body = format!("subject_token=t&audience=a&{more}");
        TokenExchangeRequest::parse(&Form::parse(body.as_bytes()).unwrap())
    };
    let requested = |kind: &str| {
        let form = format!("subject_token_type={TYPE}access_token&requested_token_type={TYPE}{kind}");
        parse(&form).map(|request| request.asked.requested)
    };
    assert_eq!(
        parse(&format!("subject_token_type={TYPE}access_token")).unwrap().asked.requested,
        None
    );
    assert_eq!(requested("access_token"), Ok(Some(TokenType::AccessToken)));
    assert_eq!(requested("jwt"), Ok(Some(TokenType::AccessToken)));
    assert_eq!(requested("txn_token"), Ok(Some(TokenType::TxnToken)));
    // TT-05 and TT-08: no refresh token, and nobody's own word about who the subject is.
    for kind in ["refresh_token", "self_signed", "unsigned_json", "saml2"] {
        assert_eq!(requested(kind).err(), Some(Reason::UnsupportedTokenType), "{kind}");
        let shown = parse(&format!("subject_token_type={TYPE}{kind}&requested_token_type={TYPE}txn_token"));
        assert_eq!(shown.err(), Some(Reason::UnsupportedTokenType), "{kind}");
    }
    let task = "urn:narrows:params:oauth:token-type:task";
    let made = parse(&format!("subject_token_type={TYPE}txn_token&requested_token_type={task}"));
    assert_eq!(made.err(), Some(Reason::UnsupportedTokenType), "a task of a transaction token");
    let actor = parse(&format!(
        "subject_token_type={TYPE}jwt&actor_token=t&actor_token_type={TYPE}txn_token"
    ));
    assert_eq!(
        actor.err(),
        Some(Reason::UnsupportedTokenType),
        "nobody is shown by a transaction token"
    );
    let by_grant = Form::parse(b"assertion=t&audience=a").unwrap();
    assert_eq!(
        JwtBearerRequest::parse(&by_grant).unwrap().asked.requested,
        Some(TokenType::AccessToken)
    );

    let deep = format!("{}1{}", r#"{"a":"#.repeat(9), "}".repeat(9));
    let (context, details, as_txn) = (
        "request_context",
        "request_details",
        format!("&requested_token_type={TYPE}txn_token"),
    );
    for (name, asked) in [(context, as_txn.as_str()), (context, ""), (details, &as_txn), (details, "")] {
        let said = |text: &str| {
            let text: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            parse(&format!("subject_token_type={TYPE}access_token{asked}&{name}={text}")).err()
        };
        assert_eq!(said(r#"{"req_ip":"69.151.72.123"}"#), None);
        for wrong in ["[]", "{", "\"x\"", "1", r#"{"a":1,"a":2}"#, &deep] {
            assert_eq!(said(wrong), Some(Reason::MalformedRequest), "{name}={wrong}");
        }
    }
}
