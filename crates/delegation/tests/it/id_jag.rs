//! ID-JAGs below HTTP: what one is evidence of, and how long one may live.

use std::sync::Arc;

use delegation::oauth::{ErrorCode, Manner, Reason, TokenType};
use delegation::registry::{Moment, Snapshot};
use delegation::revocation::View;
use delegation::token::{GrantEvidence, IdJag, SubjectToken, TokenError, Unverified};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, moment, now, snapshot};

fn taken() -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.issuers.get_mut(CORP).unwrap().token_types.insert(TokenType::IdJag);
    snapshot
}

fn claims() -> Value {
    let now = now().seconds();
    json!({
        "iss": CORP, "sub": "alice", "aud": BROKER, "client_id": "edge", "jti": "g-1", "iat": now - 10, "exp": now + 300,
        "scope": "tickets.full", "groups": ["support"], "resource": "https://tickets.internal", "azp": "web",
    })
}

fn judge(claims: &Value) -> Result<GrantEvidence, TokenError> {
    judge_under(claims, View::default())
}

fn judge_under(claims: &Value, view: View) -> Result<GrantEvidence, TokenError> {
    let issuer = FakeIssuer::es256(CORP);
    let token = Unverified::<IdJag>::parse(&issuer.sign("oauth-id-jag+jwt", claims)).unwrap();
    let moment = Moment {
        revocations: Arc::new(view),
        ..moment(taken())
    };
    token.authenticate(&issuer.key_set()).unwrap().at(&moment).map(|grant| (*grant).clone())
}

#[test]
fn it_is_evidence_of_what_a_subject_token_would_be_and_of_its_client() {
    let grant = judge(&claims()).unwrap();
    assert_eq!((grant.client.as_str(), grant.jti.as_str()), ("edge", "g-1"));
    let subject = &grant.subject;
    assert_eq!(subject.subject.to_string(), "corp|alice");
    assert_eq!(subject.resources, Some(vec!["https://tickets.internal".to_owned()]));
    assert_eq!(subject.authority.scopes.len(), 1);
    let facts = subject.facts.as_ref().unwrap();
    assert!(facts.attributes.groups.contains("support"));
    assert_eq!(facts.requested_by, None, "the outside client is not named, whatever else is");
    assert!(subject.act.is_none() && subject.txn.is_none());
}

#[test]
fn a_life_of_a_day_is_the_longest() {
    let with_life = |seconds: i64| {
        let mut claims = claims();
        claims["exp"] = json!(claims["iat"].as_i64().unwrap() + seconds);
        judge(&claims).map(drop)
    };
    assert_eq!(with_life(24 * 3600), Ok(()));
    assert_eq!(with_life(24 * 3600 + 1), Err(TokenError::Invalid("it lives too long")));
    assert_eq!(with_life(5), Err(TokenError::Expired));
}

#[test]
fn a_disabled_subject_is_disabled_in_it_too() {
    let view = View::new([], [("corp".to_owned(), "alice".to_owned())]);
    assert_eq!(judge_under(&claims(), view).map(drop), Err(TokenError::SubjectDisabled));
}

#[test]
fn neither_kind_parses_as_the_other() {
    let issuer = FakeIssuer::es256(CORP);
    assert!(Unverified::<SubjectToken>::parse(&issuer.sign("oauth-id-jag+jwt", &claims())).is_err());
    for typ in ["at+jwt", "JWT", "client-authentication+jwt"] {
        assert!(Unverified::<IdJag>::parse(&issuer.sign(typ, &claims())).is_err(), "{typ}");
    }
}

#[test]
fn what_is_wrong_with_a_grant_is_an_invalid_grant_and_nothing_else_is() {
    let by_grant = Manner {
        shows_grant: true,
        ..Manner::default()
    };
    for reason in [
        Reason::SubjectTokenInvalid,
        Reason::SubjectTokenExpired,
        Reason::SubjectTokenRevoked,
        Reason::SubjectTokenNotForClient,
        Reason::SubjectDisabled,
        Reason::MayActMismatch,
        Reason::ChainTooLong,
    ] {
        assert_eq!(reason.code(by_grant), ErrorCode::InvalidGrant, "{reason:?}");
        assert_eq!(reason.code(Manner::default()), ErrorCode::InvalidRequest, "{reason:?}");
    }
    for reason in [
        Reason::MalformedRequest,
        Reason::ActorTokenInvalid,
        Reason::PolicyDenied,
        Reason::UnknownAudience,
        Reason::ClientAuthenticationFailed,
        Reason::StoreUnavailable,
    ] {
        assert_eq!(reason.code(by_grant), reason.code(Manner::default()), "{reason:?}");
    }
}
