//! Opaque access tokens of our own: what the store keeps of one is a proof for who shows that one, and for nobody else.

use delegation::oauth::TokenType;
use delegation::time::Timestamp;
use delegation::token::{ActorToken, ClientAssertion, KeptToken, OpaqueForm, OpaqueKind, SubjectToken, TokenError, TokenKind};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, moment, now, snapshot};

fn claims() -> Value {
    let now = now().seconds();
    json!({
        "iss": BROKER, "sub": "alice", "aud": "https://orders.internal", "iat": now, "exp": now + 60, "jti": "t-1", "client_id": "edge",
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" }, "txn": "x", "chain": ["o_1"],
        "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "1" }],
    })
}

fn token() -> OpaqueForm {
    OpaqueForm::make(OpaqueKind::Access, &[1; 32])
}

fn kept(claims: impl ToString) -> KeptToken {
    KeptToken {
        digest: token().digest(),
        claims: claims.to_string(),
        forget_at: Timestamp::from_seconds(now().seconds() + 60),
    }
}

fn is_shown_by<K: TokenKind>(kept: &KeptToken, form: &OpaqueForm) -> bool {
    kept.shown_by::<K>(form, BROKER).is_ok()
}

#[test]
fn it_is_proved_by_its_text_alone_and_depends_on_no_keys() {
    let kept = kept(claims());
    let proof = kept.shown_by::<SubjectToken>(&token(), BROKER).unwrap();
    assert!(proof.holds_under(&FakeIssuer::es256(CORP).key_set()));
    assert_eq!(
        proof.size(),
        claims().to_string().len(),
        "what is held of it counts, not its few characters"
    );
    assert!(!is_shown_by::<SubjectToken>(&kept, &OpaqueForm::make(OpaqueKind::Access, &[2; 32])));
    // A row of another kind under the same digest, as only a mistake of ours could make it.
    let task = OpaqueForm::make(OpaqueKind::Task, &[1; 32]);
    let under_it = KeptToken {
        digest: task.digest(),
        ..kept
    };
    assert!(!is_shown_by::<SubjectToken>(&under_it, &task));
}

#[test]
fn it_is_an_access_token_and_nothing_else() {
    assert!(is_shown_by::<SubjectToken>(&kept(claims()), &token()));
    assert!(is_shown_by::<ActorToken>(&kept(claims()), &token()));
    assert!(!is_shown_by::<ClientAssertion>(&kept(claims()), &token()));
    let proof = kept(claims()).shown_by::<SubjectToken>(&token(), BROKER).unwrap();
    let at = moment(snapshot());
    let subject = proof.at(&at, TokenType::AccessToken).unwrap();
    assert_eq!(
        (subject.jti.as_deref(), &subject.chain),
        (Some("t-1"), &vec!["o_1".to_owned(), "t-1".to_owned()])
    );
    for declared in [TokenType::Jwt, TokenType::IdToken] {
        assert!(matches!(proof.at(&at, declared), Err(TokenError::Invalid(_))), "{declared:?}");
    }
}

#[test]
fn what_is_kept_must_be_whole_and_ours() {
    for missing in ["iss", "sub", "aud", "exp", "iat", "jti"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        assert!(!is_shown_by::<SubjectToken>(&kept(claims), &token()), "{missing}");
    }
    for broken in ["", "[]", "{", r#"{"iss":"a","iss":"b"}"#] {
        assert!(!is_shown_by::<SubjectToken>(&kept(broken), &token()), "{broken}");
    }
    let mut foreign = claims();
    foreign["iss"] = json!(CORP);
    assert!(
        !is_shown_by::<SubjectToken>(&kept(foreign), &token()),
        "our store vouches for our own tokens"
    );
}
