//! Asking policy again about a token: what it is told, and what it is never asked.

use std::collections::BTreeSet;

use delegation::identity::{Attributes, Subject, SubjectKind};
use delegation::oauth::{ClientId, Reason, Scope, TokenType};
use delegation::registry::{Moment, Snapshot};
use delegation::time::Timestamp;
use delegation::token::{SubjectToken, Unverified};
use issuance::audit::{Kind, Record, Transaction};
use issuance::exchange::Kept;
use issuance::policy;
use issuance::recheck::Recheck;
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, FixedPolicy, moment, now, snapshot};

fn claims() -> Value {
    let now = now().seconds();
    json!({
        "iss": BROKER, "sub": "alice", "aud": "https://orders.internal", "iat": now - 20, "exp": now + 40, "jti": "t-1", "client_id": "orders",
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" }, "txn": "x", "chain": ["o_1"], "auth_time": now - 90, "acr": "gold",
        "act": { "iss": BROKER, "sub": "orders", "act": { "iss": BROKER, "sub": "edge" } }, "scope": "profile",
        "authorization_details": [{ "type": "ticket", "actions": ["read", "update"], "identifier": "1" }],
        "onward": [{ "type": "refund", "actions": ["create"], "identifier": "9" }],
    })
}

fn kept() -> Kept {
    let transaction = Transaction {
        txn: "x".to_owned(),
        subject: Subject {
            issuer_name: "corp".to_owned(),
            iss: CORP.to_owned(),
            sub: "alice".to_owned(),
        },
        kind: SubjectKind::User,
        attributes: Attributes {
            groups: BTreeSet::from(["support".to_owned()]),
            ..Attributes::default()
        },
        requested_by: Some("web".to_owned()),
        began: Timestamp::from_seconds(now().seconds() - 30),
        forget_at: now(),
    };
    Kept {
        transaction: Some(transaction),
        task: None,
    }
}

fn proposed(moment: &Moment, claims: &Value, kept: &Kept, details: Option<&str>, scope: &str) -> Result<Recheck, Reason> {
    let issuer = FakeIssuer::es256(BROKER);
    let token = Unverified::<SubjectToken>::parse(&issuer.sign("at+jwt", claims)).unwrap();
    let token = token.authenticate(&issuer.key_set()).unwrap();
    let token = token.at(moment, TokenType::AccessToken).unwrap();
    let scopes = scope.split_whitespace().map(|scope| Scope::parse(scope).unwrap()).collect();
    let mut record = Record::new("d".to_owned(), now(), Kind::Guard);
    Recheck::propose(moment, &token, kept, details.map(str::to_owned), scopes, &mut record)
}

const NEEDS: &str = r#"[{"type":"ticket","actions":["read"],"identifier":"1"}]"#;

#[test]
fn policy_is_told_what_an_exchange_would_tell_it_and_asked_what_the_request_needs_alone() {
    let moment = moment(snapshot());
    let recheck = proposed(&moment, &claims(), &kept(), Some(NEEDS), "profile").unwrap();
    let said = recheck.inquiry().to_json();
    let expected = json!({
        "client": "orders", "issuer_name": "corp", "iss": CORP, "sub": "alice", "kind": "user", "audience": "https://orders.internal",
        "now": now().millis(), "expires_in": 60, "subject_age_seconds": 30, "requested_by": "web", "chain": ["edge"],
        "sender_constrained": false, "auth_age_seconds": 90, "acr": "gold",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&said[name], value, "{name}");
    }
    assert!(
        said["attributes"].to_string().contains("support"),
        "as the transaction began with them"
    );
    assert_eq!(
        said["questions"].as_array().unwrap().len(),
        2,
        "one action and one scope, of all that the token holds"
    );
    let mut record = Record::new("d".to_owned(), now(), Kind::Guard);
    assert!(policy::decide(&FixedPolicy::allow(), recheck, &mut record).is_ok());
}

#[test]
fn it_is_never_wider_than_the_token_and_never_nothing() {
    let now = moment(snapshot());
    for (details, scope, reason) in [
        (None, "", Reason::NothingAsked),
        (Some("[]"), "", Reason::NothingAsked),
        (
            Some(r#"[{"type":"ticket","actions":["read"],"identifier":"2"}]"#),
            "",
            Reason::WiderThanSubject,
        ),
        (
            Some(r#"[{"type":"ticket","actions":["search"],"identifier":"1"}]"#),
            "",
            Reason::WiderThanSubject,
        ),
        (
            Some(r#"[{"type":"refund","actions":["create"],"identifier":"9"}]"#),
            "",
            Reason::WiderThanSubject,
        ),
        (Some(r#"[{"type":"nothing","actions":["read"]}]"#), "", Reason::UnknownType),
        (Some("["), "", Reason::MalformedDetails),
    ] {
        assert_eq!(
            proposed(&now, &claims(), &kept(), details, scope).err(),
            Some(reason),
            "{details:?} {scope}"
        );
    }
    // Not what the audience gives to those who ask for nothing, either.
    let mut snapshot = snapshot();
    for audience in snapshot.audiences.values_mut() {
        let text = r#"[{"type":"ticket","actions":["read"],"identifier":"1"}]"#;
        audience.defaults = delegation::details::Detail::parse_array(text, &snapshot.types).unwrap();
    }
    let generous = moment(snapshot);
    for nothing in [None, Some("[]")] {
        let why = proposed(&generous, &claims(), &kept(), nothing, "").err();
        assert_eq!(why, Some(Reason::NothingAsked), "{nothing:?}");
    }
}

#[test]
fn whoever_holds_the_token_is_in_good_standing_and_what_is_kept_of_it_is_its_own() {
    let orders = || ClientId::parse("orders").unwrap();
    let with = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = snapshot();
        change(&mut snapshot);
        moment(snapshot)
    };
    let usual = with(&|_| ());
    let ended = with(&|snapshot| snapshot.clients.get_mut(&orders()).unwrap().ends = Some(now()));
    let gone = with(&|snapshot| drop(snapshot.clients.remove(&orders())));
    for (moment, why) in [(ended, "ended"), (gone, "gone")] {
        assert_eq!(
            proposed(&moment, &claims(), &kept(), Some(NEEDS), "").err(),
            Some(Reason::SubjectTokenRevoked),
            "{why}"
        );
    }
    let closed = with(&|snapshot| snapshot.audiences.values_mut().for_each(|audience| audience.clients = Some(BTreeSet::new())));
    assert_eq!(
        proposed(&closed, &claims(), &kept(), Some(NEEDS), "").err(),
        Some(Reason::AudienceClosed)
    );
    assert_eq!(
        proposed(&usual, &claims(), &Kept::default(), Some(NEEDS), "").err(),
        Some(Reason::StoreUnavailable)
    );
    let mut of_another = kept();
    of_another.transaction.as_mut().unwrap().subject.sub = "bob".to_owned();
    assert_eq!(
        proposed(&usual, &claims(), &of_another, Some(NEEDS), "").err(),
        Some(Reason::StoreUnavailable)
    );
    let mut of_a_task = claims();
    of_a_task["task"] = json!("w-1");
    assert_eq!(
        proposed(&usual, &of_a_task, &kept(), Some(NEEDS), "").err(),
        Some(Reason::StoreUnavailable),
        "its task is not known"
    );
}
