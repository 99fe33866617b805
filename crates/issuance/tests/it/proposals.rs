//! What may be asked, by whom, from which token.

use delegation::identity::{Subject, SubjectKind};
use delegation::oauth::{ClientId, Reason, TokenType};
use delegation::registry::{AuthMethod, AuthenticatedClient, Ceiling, ClientAuth, Receives};
use delegation::revocation::View;
use delegation::token::{Authentic, ClientAssertion, IdJag, SubjectToken, Unverified};
use issuance::audit::{Kind, Record, Transaction, UseKind};
use issuance::exchange::Exchange;
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, moment, now, snapshot, user_claims};

use crate::road::{asked, client, corp_token, fresh, propose};

fn outcome(id: &str, claims: &Value, form: &str) -> Result<i64, Reason> {
    let moment = moment(snapshot());
    propose(&moment, id, &corp_token(claims), None, form)
        .0
        .map(|exchange| exchange.inquiry().expires_in)
}

fn read(id: &str) -> String {
    format!(r#"audience=https://tickets.internal&authorization_details=[{{"type":"ticket","actions":["read"],"identifier":"{id}"}}]"#)
}

#[test]
fn only_a_client_that_it_is_addressed_to_exchanges_a_token() {
    assert_eq!(outcome("edge", &user_claims(), &read("1")), Ok(120));
    assert_eq!(
        outcome("orders", &user_claims(), &read("1")),
        Err(Reason::SubjectTokenNotForClient),
        "TEX-016"
    );
    assert_eq!(
        outcome("stranger", &user_claims(), &read("1")),
        Err(Reason::SubjectTokenNotForClient),
        "TEX-017 TEX-019"
    );
    for aud in [
        "https://edge.example/",
        "https://EDGE.example",
        "https://edge.example.evil",
        "https://edge.example#x",
        // A Cyrillic e.
        "https://\u{435}dge.example",
    ] {
        let mut claims = user_claims();
        claims["aud"] = json!(aud);
        claims["azp"] = json!("edge");
        assert_eq!(
            outcome("edge", &claims, &read("1")),
            Err(Reason::SubjectTokenNotForClient),
            "CLM-013: {aud}"
        );
    }
    let mut claims = user_claims();
    claims["aud"] = json!(["api.orders", "https://edge.example", "evil"]);
    assert_eq!(
        outcome("edge", &claims, &read("1")),
        Ok(120),
        "CLM-011: one of its values is enough"
    );
}

#[test]
fn an_audience_bound_to_an_issuer_binds() {
    let mut snapshot = snapshot();
    let receives = |issuer: &str| {
        vec![Receives {
            issuer_name: Some(issuer.to_owned()),
            audience: "https://edge.example".to_owned(),
        }]
    };
    let id = ClientId::parse("stranger").unwrap();
    snapshot.clients.get_mut(&id).unwrap().receives = receives("corp");
    let bound = moment(snapshot.clone());
    assert!(propose(&bound, "stranger", &corp_token(&user_claims()), None, &read("1")).0.is_ok());
    snapshot.clients.get_mut(&id).unwrap().receives = receives("other");
    let bound = moment(snapshot);
    assert_eq!(
        propose(&bound, "stranger", &corp_token(&user_claims()), None, &read("1")).0.map(drop),
        Err(Reason::SubjectTokenNotForClient),
        "TEX-032"
    );
}

#[test]
fn may_act_names_the_client_or_refuses() {
    for (may_act, fits) in [
        (json!({ "sub": "edge" }), true),
        (json!({ "client_id": "edge" }), true),
        (json!({ "sub": "edge", "iss": BROKER }), true),
        (json!({ "sub": "orders" }), false),
        (json!({ "client_id": "orders", "sub": "edge" }), false),
        (json!({ "sub": "edge", "iss": CORP }), false),
        (json!({}), false),
    ] {
        let mut claims = user_claims();
        claims["may_act"] = may_act.clone();
        let expected = if fits { Ok(120) } else { Err(Reason::MayActMismatch) };
        assert_eq!(outcome("edge", &claims, &read("1")), expected, "TEX-037: {may_act}");
    }
}

#[test]
fn what_is_asked_is_covered_whole_or_refused_whole() {
    let wider = [
        r#"audience=https://orders.internal&authorization_details=[{"type":"refund","actions":["create"],"identifier":"1","amount":5}]"#,
        r#"audience=https://orders.internal&authorization_details=[{"type":"ticket","actions":["read"],"identifier":"1"},{"type":"refund","actions":["create"],"identifier":"1"}]"#,
        "audience=https://tickets.internal&scope=profile",
        "audience=https://tickets.internal&scope=admin",
        // The token has this scope, and the audience does not know it.
        "audience=https://tickets.internal&scope=tickets.full",
        r#"audience=https://tickets.internal&onward=[{"type":"refund","actions":["create"],"identifier":"1"}]"#,
    ];
    for form in wider {
        assert_eq!(
            outcome("edge", &user_claims(), form),
            Err(Reason::WiderThanSubject),
            "TEX-001: {form}"
        );
    }
}

#[test]
fn a_token_whose_scopes_are_not_mapped_says_so() {
    let mut claims = user_claims();
    claims["scope"] = json!("tickets.other");
    let moment = moment(snapshot());
    let (outcome, record) = propose(&moment, "edge", &corp_token(&claims), None, &read("1"));
    assert_eq!(outcome.map(drop), Err(Reason::ScopeNotMapped));
    assert_eq!(
        record.inputs["unmapped_scopes"],
        json!(["tickets.other"]),
        "the story names the scope"
    );
    claims.as_object_mut().unwrap().remove("scope");
    assert_eq!(
        super::proposals::outcome("edge", &claims, &read("1")),
        Err(Reason::WiderThanSubject)
    );
}

#[test]
fn an_id_token_has_no_authority_of_its_own() {
    let mut claims = user_claims();
    claims["aud"] = json!("https://edge.example");
    // What shows an access token is not in an id_token.
    for name in ["client_id", "scope"] {
        claims.as_object_mut().unwrap().remove(name);
    }
    let issuer = FakeIssuer::es256(CORP);
    let token = Unverified::parse(&issuer.sign("JWT", &claims)).unwrap().authenticate(&issuer.key_set()).unwrap();
    let mut under_policy = snapshot();
    let scope = moment(snapshot());
    assert_eq!(
        propose(&scope, "edge", &token, None, &read("1")).0.map(drop),
        Err(Reason::WiderThanSubject),
        "TEX-050"
    );
    under_policy.issuers.get_mut(CORP).unwrap().ceiling = Ceiling::Policy;
    let policy = moment(under_policy);
    assert!(
        propose(&policy, "edge", &token, None, &read("1")).0.is_ok(),
        "policy is the ceiling"
    );
}

#[test]
fn there_is_exactly_one_known_open_audience() {
    let both = r"audience=https://tickets.internal&audience=https://tickets.internal&scope=profile";
    assert_eq!(outcome("edge", &user_claims(), both), Err(Reason::SeveralAudiences), "TEX-007");
    let disagree = "audience=https://tickets.internal&resource=https://orders.internal&scope=profile";
    assert_eq!(outcome("edge", &user_claims(), disagree), Err(Reason::SeveralAudiences), "TEX-007");
    for unknown in [
        "audience=payments",
        "resource=https://a.test/%23x",
        "resource=/x",
        "resource=https://a@b",
        "resource=javascript:",
        "audience=https://tickets.internal/",
    ] {
        assert_eq!(
            outcome("edge", &user_claims(), &format!("{unknown}&scope=profile")),
            Err(Reason::UnknownAudience),
            "TEX-005 TEX-008: {unknown}"
        );
    }
    let mut closed = snapshot();
    for audience in closed.audiences.values_mut() {
        audience.clients = Some([ClientId::parse("orders").unwrap()].into());
    }
    let closed = moment(closed);
    assert_eq!(
        propose(&closed, "edge", &corp_token(&user_claims()), None, &read("1")).0.map(drop),
        Err(Reason::AudienceClosed),
        "TEX-005"
    );
}

#[test]
fn nothing_asked_is_refused_unless_there_are_defaults() {
    assert_eq!(
        outcome("edge", &user_claims(), "audience=https://tickets.internal"),
        Err(Reason::NothingAsked),
        "TEX-002"
    );
    assert_eq!(
        outcome("edge", &user_claims(), "audience=https://tickets.internal&authorization_details=[]"),
        Err(Reason::NothingAsked)
    );
    let mut with_defaults = snapshot();
    let list = delegation::details::Detail::parse_short("ticket:list", &with_defaults.types, delegation::details::Standing::Asked).unwrap();
    for audience in with_defaults.audiences.values_mut() {
        audience.defaults = vec![list.clone()];
    }
    let moment = moment(with_defaults);
    let (proposed, record) = propose(
        &moment,
        "edge",
        &corp_token(&user_claims()),
        None,
        "audience=https://tickets.internal",
    );
    assert!(proposed.is_ok());
    assert_eq!(record.asked.details, vec![list]);
}

#[test]
fn details_belong_to_the_audience() {
    let refund = r#"audience=https://tickets.internal&authorization_details=[{"type":"refund","actions":["create"],"identifier":"1"}]"#;
    assert_eq!(outcome("edge", &user_claims(), refund), Err(Reason::UnknownType));
    let elsewhere = r#"audience=https://tickets.internal&authorization_details=[{"type":"ticket","actions":["read"],"identifier":"1","locations":["https://orders.internal"]}]"#;
    assert_eq!(outcome("edge", &user_claims(), elsewhere), Err(Reason::MalformedDetails));
}

#[test]
fn a_life_is_capped_and_never_outlives_the_subject_token() {
    assert_eq!(outcome("edge", &user_claims(), &format!("{}&expires_in=3600", read("1"))), Ok(120));
    assert_eq!(outcome("edge", &user_claims(), &format!("{}&expires_in=5", read("1"))), Ok(5));
    let mut claims = user_claims();
    claims["exp"] = json!(now().seconds() + 7);
    assert_eq!(outcome("edge", &claims, &read("1")), Ok(7), "TEX-011");
}

#[test]
fn more_questions_than_policy_is_asked_are_malformed() {
    let detail = |id: usize| json!({ "type": "ticket", "actions": ["read", "update"], "identifier": id.to_string() });
    let many: Vec<_> = (0..32).map(detail).collect();
    let form = |extra: &str| {
        format!(
            "audience=https://tickets.internal&authorization_details={}{extra}",
            Value::from(many.clone())
        )
    };
    assert_eq!(outcome("edge", &user_claims(), &form("")), Ok(120));
    let onward = r#"&onward=[{"type":"ticket","actions":["read"],"identifier":"1"}]"#;
    assert_eq!(outcome("edge", &user_claims(), &form(onward)), Err(Reason::MalformedDetails));
}

#[test]
fn a_client_asks_for_itself_without_an_actor() {
    let moment = moment(snapshot());
    let mut record = Record::new("d".to_owned(), now(), Kind::Exchange);
    let exchange = Exchange::propose_for_itself(&moment, &client(&moment, "orders"), &asked(&read("1")), fresh("o"), &mut record).unwrap();
    assert_eq!(exchange.inquiry().subject.subject.to_string(), "narrows|orders");
    assert!(record.actor.is_empty() && record.chain.is_empty());
}

#[test]
fn one_of_our_own_tokens_needs_what_was_kept_of_its_transaction() {
    let issuer = FakeIssuer::es256(BROKER);
    let now = now().seconds();
    let claims = json!({
        "iss": BROKER, "sub": "alice", "aud": "https://orders.internal", "iat": now, "exp": now + 60, "jti": "t", "client_id": "edge",
        "sub_id": { "iss": CORP, "sub": "alice" }, "txn": "x", "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "1" }],
    });
    let token = Unverified::<SubjectToken>::parse(&issuer.sign("at+jwt", &claims));
    let token = token.unwrap().authenticate(&issuer.key_set()).unwrap();
    let moment = moment(snapshot());
    assert!(token.at(&moment, TokenType::AccessToken).is_ok());
    assert_eq!(
        propose(&moment, "orders", &token, None, &read("1")).0.map(drop),
        Err(Reason::StoreUnavailable),
        "unknown is never nothing"
    );
}

/// The token that the edge got for the order service, and the transaction that was kept.
fn for_orders() -> (Value, Transaction) {
    let now = now().seconds();
    let claims = json!({
        "iss": BROKER, "sub": "alice", "aud": "https://orders.internal", "iat": now, "exp": now + 60, "jti": "t-1", "client_id": "edge",
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" }, "act": { "iss": BROKER, "sub": "edge" }, "txn": "x", "chain": ["o_1"],
        "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "1" }],
    });
    let kept = Transaction {
        txn: "x".to_owned(),
        subject: Subject {
            issuer_name: "corp".to_owned(),
            iss: CORP.to_owned(),
            sub: "alice".to_owned(),
        },
        kind: SubjectKind::User,
        attributes: Default::default(),
        requested_by: None,
        began: delegation::time::Timestamp::from_seconds(now - 5),
        forget_at: delegation::time::Timestamp::from_seconds(now + 60),
    };
    (claims, kept)
}

fn own_token(claims: &Value) -> Authentic<SubjectToken> {
    let issuer = FakeIssuer::es256(BROKER);
    Unverified::parse(&issuer.sign("at+jwt", claims)).unwrap().authenticate(&issuer.key_set()).unwrap()
}

#[test]
fn our_own_token_is_exchanged_by_the_service_that_it_is_for_and_by_nobody_else() {
    // TEX-016
    let (claims, kept) = for_orders();
    let moment = moment(snapshot());
    let by = |id: &str| propose(&moment, id, &own_token(&claims), Some(&kept), &read("1")).0.map(drop);
    assert_eq!(by("orders"), Ok(()));
    for other in ["edge", "stranger"] {
        assert_eq!(by(other), Err(Reason::SubjectTokenNotForClient), "{other}");
    }
}

#[test]
fn a_transaction_that_is_kept_for_somebody_else_is_none() {
    let (claims, mut kept) = for_orders();
    kept.subject.sub = "bob".to_owned();
    let moment = moment(snapshot());
    let (proposed, _) = propose(&moment, "orders", &own_token(&claims), Some(&kept), &read("1"));
    assert_eq!(proposed.map(drop), Err(Reason::StoreUnavailable));
}

#[test]
fn a_workloads_credential_is_no_subject_token_whomever_else_it_is_addressed_to() {
    let addressed = |audiences: Value, authenticates_workloads| {
        let mut snapshot = snapshot();
        snapshot.issuers.get_mut(CORP).unwrap().authenticates_workloads = authenticates_workloads;
        let mut claims = user_claims();
        claims["aud"] = audiences;
        propose(&moment(snapshot), "edge", &corp_token(&claims), None, &read("1")).0.map(drop)
    };
    let both = json!([testkit::EDGE_AUDIENCE, BROKER]);
    assert_eq!(addressed(both.clone(), false), Ok(()));
    assert_eq!(addressed(both, true), Err(Reason::SubjectTokenNotForClient));
    assert_eq!(addressed(json!([testkit::EDGE_AUDIENCE]), true), Ok(()));
}

#[test]
fn a_client_that_is_disabled_as_a_subject_gets_nothing_for_itself() {
    let mut disabled = moment(snapshot());
    disabled.revocations = std::sync::Arc::new(View::new([], [("narrows".to_owned(), "edge".to_owned())]));
    let mut record = Record::new("d".to_owned(), now(), Kind::Exchange);
    let edge = client(&disabled, "edge");
    let proposed = Exchange::propose_for_itself(&disabled, &edge, &asked(&read("1")), fresh("x"), &mut record);
    assert_eq!(proposed.map(drop), Err(Reason::SubjectDisabled));
}

#[test]
fn an_assertion_is_used_up_under_its_own_client_and_kept_past_its_expiry() {
    let mut snapshot = snapshot();
    let edge = ClientId::parse("edge").unwrap();
    snapshot.clients.get_mut(&edge).unwrap().auth = vec![ClientAuth {
        method: AuthMethod::PrivateKeyJwt { keys: "k".to_owned() },
        until: None,
    }];
    let moment = moment(snapshot);
    let issuer = FakeIssuer::es256("edge");
    let exp = now().seconds() + 60;
    let claims = json!({ "iss": "edge", "sub": "edge", "aud": BROKER, "iat": now().seconds(), "exp": exp, "jti": "a-1" });
    let token = Unverified::<ClientAssertion>::parse(&issuer.sign("JWT", &claims)).unwrap();
    let authentic = token.authenticate(&issuer.key_set()).unwrap();
    let verified = authentic.at(&moment).unwrap();
    let client = AuthenticatedClient::by_assertion(&moment, &verified, "k").unwrap();
    let uses = issuance::exchange::uses(&client);
    let [used] = uses.as_slice() else {
        unreachable!("one assertion is used")
    };
    assert_eq!((used.issuer.as_str(), used.id.as_str()), ("edge", "a-1"));
    assert!(used.forget_at.seconds() >= exp + 60, "clocks of two nodes differ");
}

#[test]
fn a_grant_is_used_up_under_its_issuer_and_kept_past_its_expiry() {
    let mut snapshot = snapshot();
    snapshot.issuers.get_mut(CORP).unwrap().token_types.insert(TokenType::IdJag);
    let moment = moment(snapshot);
    let issuer = FakeIssuer::es256(CORP);
    let (iat, exp) = (now().seconds(), now().seconds() + 60);
    let claims = json!({ "iss": CORP, "sub": "alice", "aud": BROKER, "client_id": "edge", "iat": iat, "exp": exp, "jti": "g-1" });
    let token = Unverified::<IdJag>::parse(&issuer.sign("oauth-id-jag+jwt", &claims)).unwrap();
    let authentic = token.authenticate(&issuer.key_set()).unwrap();
    let grant = authentic.at(&moment).unwrap();
    let uses = issuance::exchange::uses_by_grant(&client(&moment, "edge"), &grant);
    let [used] = uses.as_slice() else {
        unreachable!("one grant is used")
    };
    assert_eq!((used.kind, used.issuer.as_str(), used.id.as_str()), (UseKind::IdJag, CORP, "g-1"));
    assert!(used.forget_at.seconds() >= exp + 60, "clocks of two nodes differ");
    let others = issuance::exchange::uses_by_grant(&client(&moment, "orders"), &grant);
    assert!(others.is_empty(), "who steals a grant uses it up for nobody");
}
