//! Questions without a token: refused for the reasons of an exchange, and told to policy like one.

use std::collections::BTreeSet;

use delegation::details::ConstraintOrder;
use delegation::identity::Risk;
use delegation::oauth::{ClientId, GrantType, Reason, Scope};
use delegation::registry::{Moment, Snapshot};
use delegation::revocation::{Key, MarkKind, Revocation, Revoked, View};
use delegation::time::Timestamp;
use issuance::audit::{self, Decision, Kind, Record};
use issuance::evaluation::{About, Evaluation, StatedAction, StatedCircumstances, StatedParty, StatedRequest, Statement};
use issuance::policy::{self, Inquiry, Question};
use serde_json::{Map, Value, json};
use testkit::{CORP, Fails, FixedPolicy, MemoryJournal, moment, now, snapshot};

fn id(client: &str) -> ClientId {
    ClientId::parse(client).unwrap()
}

/// A question in AuthZEN's words.
struct Asked {
    subject: StatedParty,
    about: StatedAction,
    circumstances: StatedCircumstances,
}

/// May alice read ticket 1 at the tickets' audience?
fn statement() -> Statement {
    of(|_| {})
}

fn of(change: impl FnOnce(&mut Asked)) -> Statement {
    let mut asked = Asked {
        subject: StatedParty {
            kind: "user".to_owned(),
            id: "alice".to_owned(),
            issuer: None,
            properties: Map::new(),
        },
        about: StatedAction {
            action: "read".to_owned(),
            action_properties: Map::new(),
            kind: "ticket".to_owned(),
            identifier: "1".to_owned(),
            resource_properties: Map::new(),
            audience: Some("https://tickets.internal".to_owned()),
        },
        circumstances: StatedCircumstances::default(),
    };
    change(&mut asked);
    Statement {
        subject: asked.subject,
        about: About::Action(asked.about),
        circumstances: asked.circumstances,
    }
}

fn members(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

fn ask(moment: &Moment, client: &str, statement: &Statement) -> Result<Inquiry, Reason> {
    let mut record = Record::new("d-1".to_owned(), moment.now, Kind::Exchange);
    let proposed = Evaluation::propose(moment, &id(client), statement, &mut record);
    proposed.map(|asked| asked.inquiry().clone()).map_err(|not_asked| not_asked.reason)
}

fn outcome(statement: &Statement) -> Result<i64, Reason> {
    ask(&moment(snapshot()), "edge", statement).map(|inquiry| inquiry.expires_in)
}

/// The one detail that policy is asked about, in JSON.
fn detail(statement: &Statement) -> Result<Value, Reason> {
    ask(&moment(snapshot()), "edge", statement).map(|inquiry| match inquiry.questions.as_slice() {
        [Question::Detail { detail, onward: false, .. }] => detail.to_json(),
        other => json!(format!("{other:?}")),
    })
}

#[test]
fn a_question_is_refused_for_the_reasons_of_an_exchange() {
    assert_eq!(outcome(&statement()), Ok(120));
    type Case = (&'static str, fn(&mut Asked), Reason);
    let cases: [Case; 11] = [
        (
            "no such kind",
            |asked| asked.subject.kind = "group".to_owned(),
            Reason::SubjectTokenInvalid,
        ),
        (
            "a workload",
            |asked| asked.subject.kind = "workload".to_owned(),
            Reason::SubjectTokenInvalid,
        ),
        ("no such type", |asked| asked.about.kind = "invoice".to_owned(), Reason::UnknownType),
        (
            "no such action",
            |asked| asked.about.action = "burn".to_owned(),
            Reason::UnknownAction,
        ),
        (
            "no such audience",
            |asked| asked.about.audience = Some("https://x".to_owned()),
            Reason::UnknownAudience,
        ),
        (
            "no name of one",
            |asked| asked.about.audience = Some(String::new()),
            Reason::UnknownAudience,
        ),
        (
            "a type that is not understood there",
            |asked| {
                asked.about.kind = "refund".to_owned();
                asked.about.action = "create".to_owned();
            },
            Reason::UnknownType,
        ),
        (
            "one of two audiences",
            |asked| asked.about.audience = None,
            Reason::SeveralAudiences,
        ),
        (
            "nothing that is read",
            |asked| asked.about.identifier = "*".to_owned(),
            Reason::MalformedDetails,
        ),
        (
            "a resource that is listed",
            |asked| asked.about.action = "list".to_owned(),
            Reason::MalformedDetails,
        ),
        (
            "a long chain",
            |asked| asked.circumstances.chain = vec![id("orders"); 8],
            Reason::ChainTooLong,
        ),
    ];
    for (why, change, reason) in cases {
        assert_eq!(outcome(&of(change)), Err(reason), "{why}");
    }
    let nowhere = of(|asked| {
        asked.about.audience = None;
        asked.about.kind = "invoice".to_owned();
    });
    assert_eq!(outcome(&nowhere), Err(Reason::UnknownType));
    assert_eq!(outcome(&of(|asked| asked.circumstances.chain = vec![id("orders"); 7])), Ok(120));
}

#[test]
fn the_audience_that_is_not_stated_is_the_only_one_that_it_can_be() {
    let refund = of(|asked| {
        asked.about.audience = None;
        asked.about.kind = "refund".to_owned();
        asked.about.action = "create".to_owned();
    });
    let found = ask(&moment(snapshot()), "edge", &refund).map(|inquiry| inquiry.audience);
    assert_eq!(found.as_deref(), Ok("https://orders.internal"));
    // One that is closed to the client is none of its.
    let mut closed = snapshot();
    let tickets = closed.audiences.values_mut().find(|each| each.id.as_str() == "https://tickets.internal").unwrap();
    tickets.clients = Some([id("orders")].into());
    let ticket = of(|asked| asked.about.audience = None);
    let found = ask(&moment(closed.clone()), "edge", &ticket).map(|inquiry| inquiry.audience);
    assert_eq!(found.as_deref(), Ok("https://orders.internal"));
    assert_eq!(
        ask(&moment(closed.clone()), "edge", &statement()).map(drop),
        Err(Reason::AudienceClosed),
        "nor if it is stated"
    );
    for audience in closed.audiences.values_mut() {
        audience.clients = Some(BTreeSet::new());
    }
    assert_eq!(ask(&moment(closed), "edge", &ticket).map(drop), Err(Reason::UnknownAudience));
}

#[test]
fn properties_are_the_constraints_of_the_action_and_no_others() {
    let read = json!({ "type": "ticket", "actions": ["read"], "identifier": "1" });
    let with = |resource: Value, action: Value| {
        detail(&of(|asked| {
            asked.about.resource_properties = members(resource);
            asked.about.action_properties = members(action);
        }))
    };
    let mut bounded = read.clone();
    bounded["tenant"] = json!("blue");
    assert_eq!(with(json!({ "tenant": "blue" }), json!({})), Ok(bounded.clone()));
    assert_eq!(with(json!({}), json!({ "tenant": "blue" })), Ok(bounded.clone()));
    assert_eq!(with(json!({ "tenant": "blue" }), json!({ "tenant": "blue" })), Ok(bounded));
    assert_eq!(
        with(json!({ "tenant": "blue" }), json!({ "tenant": "red" })),
        Err(Reason::MalformedDetails),
        "two words for one thing"
    );
    for malformed in [json!(null), json!(1.5), json!([]), json!({ "a": 1 }), json!("")] {
        assert_eq!(
            with(json!({ "tenant": malformed }), json!({})),
            Err(Reason::MalformedDetails),
            "malformed is not absent: {malformed}"
        );
    }
    // Not declared, or another action's, or a member of details: nothing that bounds reading.
    let others = json!({ "owner": "bob", "limit": 3, "type": "refund", "actions": ["list"], "identifier": "2", "locations": ["x"] });
    assert_eq!(with(others.clone(), others), Ok(read));
    let list = of(|asked| {
        asked.about.action = "list".to_owned();
        asked.about.identifier = "*".to_owned();
    });
    assert_eq!(detail(&list), Ok(json!({ "type": "ticket", "actions": ["list"] })));
}

#[test]
fn who_could_have_no_token_now_is_refused() {
    let with = |view: View| Moment {
        revocations: view.into(),
        ..moment(snapshot())
    };
    let asked = |moment: &Moment| ask(moment, "edge", &statement()).map(drop);
    let disabled = View::new([], [("corp".to_owned(), "alice".to_owned())]);
    assert_eq!(asked(&with(disabled)), Err(Reason::SubjectDisabled));
    assert_eq!(asked(&with(View::new([id("edge")], []))), Err(Reason::ClientAuthenticationFailed));
    assert_eq!(
        ask(&moment(snapshot()), "gone", &statement()).map(drop),
        Err(Reason::ClientAuthenticationFailed)
    );

    // Whatever was issued in this second or before is dead.
    for (kind, key) in [
        (MarkKind::Subject, Key::of_pair(CORP, "alice")),
        (MarkKind::Issuer, Key::of(CORP)),
        (MarkKind::Client, Key::of("edge")),
    ] {
        for (at, expected) in [(now().seconds(), Err(Reason::SubjectTokenRevoked)), (now().seconds() - 1, Ok(()))] {
            let revoked = Revoked::default();
            revoked.add(&Revocation::new(
                kind,
                key,
                Timestamp::from_seconds(at),
                std::time::Duration::from_secs(600),
            ));
            assert_eq!(asked(&with(View::default().beside(revoked.into()))), expected, "{kind:?}");
        }
    }

    let with_client = |change: fn(&mut Snapshot)| {
        let mut snapshot = snapshot();
        change(&mut snapshot);
        ask(&moment(snapshot), "edge", &statement()).map(drop)
    };
    let ended = with_client(|snapshot| snapshot.clients.get_mut(&id("edge")).unwrap().ends = Some(now()));
    assert_eq!(ended, Err(Reason::ClientAuthenticationFailed));
    let for_itself_alone = with_client(|snapshot| {
        snapshot.clients.get_mut(&id("edge")).unwrap().grants = [GrantType::ClientCredentials].into();
    });
    assert_eq!(for_itself_alone, Err(Reason::UnauthorizedClient));
}

#[test]
fn a_client_that_asks_about_itself_needs_the_grant_for_that() {
    let mut snapshot = snapshot();
    snapshot.clients.get_mut(&id("edge")).unwrap().grants = [GrantType::TokenExchange].into();
    let moment = moment(snapshot);
    let about = |sub: &str, chain: &[&str]| {
        let statement = of(|asked| {
            asked.subject.kind = "workload".to_owned();
            asked.subject.id = sub.to_owned();
            asked.circumstances.chain = chain.iter().map(|each| id(each)).collect();
        });
        ask(&moment, "edge", &statement).map(|inquiry| inquiry.subject.subject.to_string())
    };
    assert_eq!(about("edge", &[]), Err(Reason::UnauthorizedClient));
    assert_eq!(
        about("edge", &["orders"]).as_deref(),
        Ok("narrows|edge"),
        "its own token came back to it"
    );
    assert_eq!(about("orders", &[]).as_deref(), Ok("narrows|orders"));
}

#[test]
fn policy_is_told_what_is_stated_and_what_we_know() {
    let mut view = moment(snapshot());
    view.revocations = View::default().with_risks([(("corp".to_owned(), "alice".to_owned()), Risk::High)]).into();
    let statement = of(|asked| {
        asked.subject.properties = members(json!({ "groups": ["support"], "risk": "low" }));
        asked.circumstances = StatedCircumstances {
            client_ip: Some("192.0.2.7".parse().unwrap()),
            chain: vec![id("orders")],
            requested_by: Some("web".to_owned()),
            acr: Some("high".to_owned()),
            auth_age_seconds: Some(30),
            subject_age_seconds: 60,
            expires_in: Some(45),
        };
    });
    let inquiry = ask(&view, "edge", &statement).unwrap();
    let inputs = inquiry.to_json();
    for (name, value) in [
        ("client", json!("edge")),
        ("iss", json!(CORP)),
        ("sub", json!("alice")),
        ("risk", json!("high")),
        ("audience", json!("https://tickets.internal")),
        ("now", json!(now().millis())),
        ("expires_in", json!(45)),
        ("subject_age_seconds", json!(60)),
        ("requested_by", json!("web")),
        ("chain", json!(["orders"])),
        ("client_ip", json!("192.0.2.7")),
        ("auth_age_seconds", json!(30)),
        ("acr", json!("high")),
    ] {
        assert_eq!(inputs[name], value, "{name}");
    }
    assert_eq!(inputs["attributes"]["groups"], json!(["support"]));
    assert!(
        Inquiry::from_json(&inputs, &view.snapshot.types).is_some(),
        "enough to decide again"
    );
    let long = of(|asked| asked.circumstances.expires_in = Some(u64::MAX));
    assert_eq!(outcome(&long), Ok(120), "the audience's bound is a bound here too");
}

#[tokio::test]
async fn an_answer_is_a_record_that_names_no_token() {
    let moment = moment(snapshot());
    let journal = MemoryJournal::new(Fails::Never);
    let mut record = Record::new("d-1".to_owned(), moment.now, Kind::Exchange);
    let asked = Evaluation::propose(&moment, &id("edge"), &statement(), &mut record).unwrap();
    let permit = policy::decide(&FixedPolicy::allow(), asked, &mut record).unwrap();
    let recorded = audit::commit(&journal, permit, record).await;
    assert_eq!(recorded.map(|recorded| recorded.index()), Ok(0));
    let record = journal.records().remove(0);
    assert_eq!((record.decision, record.reason.as_str()), (Decision::Allow, "permitted"));
    assert_eq!((record.jti, record.txn), (None, None));
    assert_eq!(record.asked.details.len(), 1);
    assert_eq!(record.inputs["ceiling"], json!("policy"));
}

#[test]
fn a_set_may_be_stated_where_the_order_takes_one() {
    let mut snapshot = snapshot();
    let mut types: Vec<_> = snapshot.types.iter().cloned().collect();
    let ticket = types.iter_mut().find(|each| each.name == "ticket").unwrap();
    assert_eq!(ticket.constraints.get("region"), Some(&ConstraintOrder::OneOf));
    ticket.actions.get_mut("read").unwrap().constraints.insert("region".to_owned());
    snapshot.types = types.into_iter().collect();
    let statement = of(|asked| asked.about.resource_properties = members(json!({ "region": ["eu", "us"] })));
    let inquiry = ask(&moment(snapshot), "edge", &statement).unwrap();
    assert!(inquiry.to_json()["questions"].to_string().contains(r#""region":["eu","us"]"#));
}

#[test]
fn a_whole_request_is_asked_about_in_its_own_words() {
    let about = |details: Option<&str>, onward: Option<&str>, scopes: &[&str]| Statement {
        about: About::Request(StatedRequest {
            audience: "https://tickets.internal".to_owned(),
            details: details.map(str::to_owned),
            onward: onward.map(str::to_owned),
            scopes: scopes.iter().map(|each| Scope::parse(each).unwrap()).collect(),
        }),
        ..statement()
    };
    let (read, refund) = (
        r#"[{"type":"ticket","actions":["read"],"identifier":"1"}]"#,
        r#"[{"type":"refund","actions":["create"],"identifier":"2"}]"#,
    );
    let inquiry = ask(&moment(snapshot()), "edge", &about(Some(read), Some(refund), &["profile"])).unwrap();
    assert_eq!(inquiry.questions.len(), 3);
    for (details, scopes, reason) in [
        (None, &[][..], Reason::NothingAsked),
        (Some("[5]"), &[], Reason::MalformedDetails),
        (Some(refund), &[], Reason::UnknownType),
        (Some(read), &["admin"], Reason::WiderThanSubject),
    ] {
        assert_eq!(outcome(&about(details, None, scopes)), Err(reason), "{details:?}");
    }
}
