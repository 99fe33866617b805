//! What a task may be opened for, how long it and its tokens live, and what policy is asked about it.

use std::time::Duration;

use delegation::oauth::{ClientId, Form, Reason, TokenExchangeRequest, TokenType};
use delegation::registry::{Audience, Moment};
use delegation::token::{ActorToken, Authentic, OpaqueForm, OpaqueKind, Unverified};
use issuance::audit::{Entry, Kind, Record};
use issuance::exchange::Exchange;
use issuance::policy::{Inquiry, Proposal, Question};
use issuance::task::{FreshTask, KeptTask, Opening, TaskChange};
use serde_json::{Value, json};
use testkit::{BROKER, FakeIssuer, moment, now, snapshot, user_claims};

use crate::road::{client, corp_token, fresh};

const TASK: &str = "urn:narrows:params:oauth:token-type:task";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const READ: &str = r#"audience=https://tickets.internal&authorization_details=[{"type":"ticket","actions":["read"],"identifier":"1"}]"#;
const ORDERS: &str = "https://orders.internal";

/// A task that the edge proposes to open for whom `claims` are about: what policy is asked, and what would be kept.
fn proposed(
    moment: &Moment,
    claims: &Value,
    actor: Option<&Authentic<ActorToken>>,
    form: &str,
) -> Result<(Vec<Inquiry>, Entry, KeptTask), Reason> {
    let body = format!("subject_token=t&subject_token_type={JWT}&requested_token_type={TASK}&{form}");
    let request = TokenExchangeRequest::parse(&Form::parse(body.as_bytes()).unwrap()).unwrap();
    let (token, edge) = (corp_token(claims), client(moment, "edge"));
    let subject = token.at(moment, TokenType::Jwt).unwrap();
    let actor = actor.map(|actor| actor.at(moment, TokenType::AccessToken).unwrap());
    let (asked, wanted) = (&request.asked, request.opens.as_ref().unwrap());
    let mut record = Record::new("d-1".to_owned(), moment.now, Kind::Task);
    let fresh = FreshTask {
        id: "task-1".to_owned(),
        token: OpaqueForm::make(OpaqueKind::Task, &[7; 32]),
        txn: "txn-1".to_owned(),
    };
    let opening = Opening::propose(moment, &edge, &subject, actor.as_ref(), None, asked, wanted, fresh, &mut record)?;
    let entry = opening.entry(record);
    let Some(TaskChange::Opens { task, .. }) = &entry.task else {
        unreachable!("it opens a task: {:?}", entry.task)
    };
    let task = KeptTask::clone(task);
    Ok((opening.inquiries().to_vec(), entry, task))
}

/// How the proposal ends.
fn outcome(moment: &Moment, form: &str) -> Result<(), Reason> {
    proposed(moment, &user_claims(), None, form).map(drop)
}

/// A token by which this client acts, for so many seconds.
fn acting(name: &str, life: i64) -> Authentic<ActorToken> {
    let now = now().seconds();
    let claims = json!({ "iss": BROKER, "sub": name, "client_id": name, "aud": ORDERS, "iat": now, "exp": now + life, "jti": "a-1" });
    let issuer = FakeIssuer::es256(BROKER);
    let token = Unverified::<ActorToken>::parse(&issuer.sign("at+jwt", &claims)).unwrap();
    token.authenticate(&issuer.key_set()).unwrap()
}

fn id(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

/// A moment at which the edge may open tasks for orders, with this change to the audience of tickets.
fn with_delegates(change: impl FnOnce(&mut Audience)) -> Moment {
    let mut snapshot = snapshot();
    snapshot.clients.get_mut(&id("edge")).unwrap().delegates = [id("orders")].into();
    let tickets = snapshot.audiences.values_mut().find(|audience| audience.id.as_str() != ORDERS);
    change(tickets.unwrap());
    moment(snapshot)
}

#[test]
fn a_task_and_its_tokens_end_with_what_they_come_from() {
    let moment = moment(snapshot());
    let mut claims = user_claims();
    claims["exp"] = json!(now().seconds() + 7200);
    let (short, soon) = (acting("edge", 40), acting("edge", 20));
    for (actor, form, life) in [
        (None, "expires_in=99999", 3600),
        (None, "expires_in=50", 50),
        (Some(&short), "expires_in=50", 40),
        (None, "expires_in=99999&deferred=true", 86_400),
    ] {
        let (_, entry, task) = proposed(&moment, &claims, actor, &format!("{READ}&{form}")).unwrap();
        assert_eq!(task.expires_at, now().plus(Duration::from_secs(life)), "{form}");
        assert!(
            entry.begins.unwrap().forget_at >= task.expires_at,
            "{form}: what is known of the subject is kept"
        );
    }
    let (_, entry, task) = proposed(&moment, &claims, None, &format!("{READ}&expires_in=50")).unwrap();
    let kept = entry.begins.unwrap();
    let redeemed = |actor: Option<&Authentic<ActorToken>>| {
        let body = format!("subject_token=t&subject_token_type={TASK}&{READ}");
        let request = TokenExchangeRequest::parse(&Form::parse(body.as_bytes()).unwrap()).unwrap();
        let edge = client(&moment, "edge");
        let open = task.shown_by(&moment, &edge, &request.attempt)?;
        let actor = actor.map(|actor| actor.at(&moment, TokenType::AccessToken).unwrap());
        let mut record = Record::new("d-2".to_owned(), moment.now, Kind::Exchange);
        let token = Exchange::propose_by_task(
            &moment,
            &edge,
            &open,
            actor.as_ref(),
            &kept,
            &request.asked,
            fresh("t"),
            &mut record,
        )?;
        Ok(token.inquiry().expires_in)
    };
    assert_eq!(redeemed(None), Ok(50), "no longer than the task");
    assert_eq!(redeemed(Some(&soon)), Ok(20));
    assert_eq!(
        redeemed(Some(&acting("orders", 40))),
        Err(Reason::ActorTokenNotForClient),
        "another's"
    );
}

#[test]
fn a_task_gives_few_tokens_unless_more_are_asked_for() {
    let moment = moment(snapshot());
    for (form, most) in [
        ("", 100),
        ("&deferred=true", 1),
        ("&max_tokens=250", 250),
        ("&deferred=true&max_tokens=3", 3),
    ] {
        let (_, _, task) = proposed(&moment, &user_claims(), None, &format!("{READ}{form}")).unwrap();
        assert_eq!(task.max_tokens, most, "{form}");
    }
}

#[test]
fn a_task_is_for_whom_its_subject_token_names_and_where_its_actor_may_go() {
    let for_orders = format!("{READ}&actor=orders");
    let moment = with_delegates(|_| {});
    let mut claims = user_claims();
    claims["may_act"] = json!({ "client_id": "orders" });
    let ends = |form: &str| proposed(&moment, &claims, None, form).map(drop);
    assert_eq!((ends(&for_orders), ends(READ)), (Ok(()), Err(Reason::MayActMismatch)));
    // An audience is closed to whoever redeems the task, not to whoever opens it.
    for (open_to, direct, handed_over) in [
        ("edge", Ok(()), Err(Reason::AudienceClosed)),
        ("orders", Err(Reason::AudienceClosed), Ok(())),
    ] {
        let moment = with_delegates(|tickets| tickets.clients = Some([id(open_to)].into()));
        let found = (outcome(&moment, READ), outcome(&moment, &for_orders));
        assert_eq!(found, (direct, handed_over), "{open_to}");
    }
    // The chain of its tokens has room for both of them.
    for (longest, direct, handed_over) in [(2, Ok(()), Ok(())), (1, Ok(()), Err(Reason::ChainTooLong))] {
        let mut snapshot = snapshot();
        snapshot.max_chain = longest;
        snapshot.clients.get_mut(&id("edge")).unwrap().delegates = [id("orders")].into();
        let moment = testkit::moment(snapshot);
        assert_eq!(
            (outcome(&moment, READ), outcome(&moment, &for_orders)),
            (direct, handed_over),
            "{longest}"
        );
    }
}

#[test]
fn every_part_of_a_task_is_understood_by_one_of_its_audiences() {
    let moment = moment(snapshot());
    let at = |audiences: &str, asked: &str| outcome(&moment, &format!("{audiences}&{asked}"));
    let (tickets, both) = (
        "audience=https://tickets.internal",
        format!("audience=https://tickets.internal&audience={ORDERS}"),
    );
    let refund = r#"authorization_details=[{"type":"refund","actions":["create"],"identifier":"1"}]"#;
    assert_eq!(at(tickets, refund), Err(Reason::UnknownType));
    assert_eq!(at(&both, refund), Err(Reason::WiderThanSubject), "it is known, and not hers");
    let located =
        |place: &str| format!(r#"authorization_details=[{{"type":"ticket","actions":["read"],"identifier":"1","locations":["{place}"]}}]"#);
    assert_eq!(at(tickets, &located(ORDERS)), Err(Reason::MalformedDetails));
    assert_eq!(at(&both, &located(ORDERS)), Ok(()));
    assert_eq!(
        at(&both, "scope=tickets.full"),
        Err(Reason::WiderThanSubject),
        "hers, and no audience knows it"
    );
    assert_eq!(at(&both, "scope="), Err(Reason::NothingAsked));
}

#[test]
fn policy_is_asked_about_the_task_and_whatever_could_come_of_it() {
    let moment = moment(snapshot());
    let mut claims = user_claims();
    claims["scope"] = json!("tickets.full profile");
    let both = format!("audience=https://tickets.internal&audience={ORDERS}");
    let asked = format!(
        r#"{both}&deferred=true&scope=profile&authorization_details=[{{"type":"ticket","actions":["read"],"identifier":"1","locations":["{ORDERS}"]}}]&onward=[{{"type":"ticket","actions":["update"],"identifier":"2"}}]"#
    );
    let (inquiries, ..) = proposed(&moment, &claims, None, &asked).unwrap();
    let told = |question: &Question| match question {
        Question::Task => "task".to_owned(),
        Question::Defer => "defer".to_owned(),
        Question::Scope(scope) => scope.to_string(),
        Question::Detail { action, onward, .. } => format!("{action} {onward}"),
    };
    let told: Vec<_> = inquiries
        .iter()
        .map(|inquiry| (inquiry.audience.as_str(), inquiry.questions.iter().map(told).collect::<Vec<_>>()))
        .collect();
    // What is for one place is asked about there alone.
    let (at_orders, at_tickets) = (
        ["task", "defer", "read false", "update true", "profile"],
        ["task", "defer", "update true", "profile"],
    );
    assert_eq!(
        told,
        [
            (ORDERS, at_orders.map(str::to_owned).to_vec()),
            ("https://tickets.internal", at_tickets.map(str::to_owned).to_vec()),
        ]
    );
    // All questions are counted together.
    let detail = |number: usize| json!({ "type": "ticket", "actions": ["read", "update"], "identifier": number.to_string() });
    let details = Value::from_iter((0..16).map(detail));
    let ends = |audiences: &str| proposed(&moment, &claims, None, &format!("{audiences}&authorization_details={details}")).map(drop);
    assert_eq!(ends("audience=https://tickets.internal"), Ok(()));
    assert_eq!(ends(&both), Err(Reason::MalformedDetails));
}
