//! Work for later: no path gives a deferred task more than its subject could get by asking now.

use delegation::authority::Authority;
use delegation::chain::ActorChain;
use delegation::details::Detail;
use delegation::oauth::{ClientId, Form, Reason, TokenExchangeRequest, TokenType};
use delegation::registry::Moment;
use delegation::revocation::{Key, MarkKind, Revocation, Revoked, View};
use delegation::time::Timestamp;
use delegation::token::{Authentic, OpaqueForm, OpaqueKind, SubjectToken, Unverified};
use issuance::audit::{self, CommitError, Kind, Record, Transaction};
use issuance::exchange::{Exchange, Kept};
use issuance::task::{FreshTask, KeptTask, Opening, Status};
use issuance::{mint, policy};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use testkit::{BROKER, Fails, FixedPolicy, MemoryJournal, MemorySigner, moment, now, snapshot, user_claims};

use crate::road::{client, corp_token, fresh, propose};

const AUDIENCES: [&str; 2] = ["https://orders.internal", "https://tickets.internal"];
const TASK: &str = "urn:narrows:params:oauth:token-type:task";

fn id(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

/// A moment at which the edge may open tasks for orders.
fn with_delegates() -> Moment {
    let mut snapshot = snapshot();
    snapshot.clients.get_mut(&id("edge")).unwrap().delegates = [id("orders")].into();
    moment(snapshot)
}

fn details(pairs: &[(usize, usize)]) -> String {
    let detail = |(action, number): &(usize, usize)| {
        let action = ["read", "update", "search"][*action];
        json!({ "type": "ticket", "actions": [action], "identifier": number.to_string() })
    };
    Value::from_iter(pairs.iter().map(detail)).to_string()
}

fn request(form: &str) -> TokenExchangeRequest {
    TokenExchangeRequest::parse(&Form::parse(form.as_bytes()).unwrap()).unwrap()
}

/// A deferred task of alice's for orders, opened by the edge at `moment`, as it is kept, with its transaction and the journal that knows it.
fn opened(moment: &Moment, scope: &str, asked: &[(usize, usize)], both: bool, life: u64) -> Option<(KeptTask, Transaction, MemoryJournal)> {
    let mut claims = user_claims();
    claims["scope"] = json!(scope);
    let token = corp_token(&claims);
    let subject = token.at(moment, TokenType::Jwt).unwrap();
    let more = if both { "&audience=https://orders.internal" } else { "" };
    let request = request(&format!(
        "subject_token=t&subject_token_type=urn:ietf:params:oauth:token-type:jwt&requested_token_type={TASK}&deferred=true&actor=orders\
         &audience=https://tickets.internal{more}&authorization_details={}&expires_in={life}&max_tokens=5",
        details(asked)
    ));
    let mut record = Record::new("d-1".to_owned(), moment.now, Kind::Task);
    let fresh = FreshTask {
        id: "task-1".to_owned(),
        token: OpaqueForm::make(OpaqueKind::Task, &[7; 32]),
        txn: "txn-1".to_owned(),
    };
    let edge = client(moment, "edge");
    let wanted = request.opens.as_ref().unwrap();
    let opening = Opening::propose(moment, &edge, &subject, None, None, &request.asked, wanted, fresh, &mut record).ok()?;
    let kept = Transaction {
        txn: "txn-1".to_owned(),
        subject: subject.subject.clone(),
        kind: delegation::identity::SubjectKind::User,
        attributes: subject.facts.as_ref().unwrap().attributes.clone(),
        requested_by: subject.facts.as_ref().unwrap().requested_by.clone(),
        began: moment.now,
        forget_at: subject.exp,
    };
    let journal = MemoryJournal::new(Fails::Never);
    let permit = policy::decide(&FixedPolicy::allow(), opening, &mut record).unwrap();
    block_on(audit::commit(&journal, permit, record)).unwrap();
    Some((journal.task("task-1").unwrap(), kept, journal))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// What comes of `exchange` where policy allows all: a token, if `journal` takes the record.
fn token(
    moment: &Moment,
    journal: &MemoryJournal,
    signer: &MemorySigner,
    exchange: Exchange,
    mut record: Record,
) -> Result<Authentic<SubjectToken>, CommitError> {
    let permit = policy::decide(&FixedPolicy::allow(), exchange, &mut record).unwrap();
    let recorded = block_on(audit::commit(journal, permit, record))?;
    let minted = block_on(mint::mint(signer, recorded, moment.now)).unwrap();
    Ok(Unverified::parse(&minted.token).unwrap().authenticate(&signer.issuer.key_set()).unwrap())
}

/// What redeeming it as `name` proposes.
fn redeemed(moment: &Moment, task: &KeptTask, kept: &Transaction, name: &str, form: &str) -> Result<(Exchange, Record), Reason> {
    let request = request(&format!("subject_token=t&subject_token_type={TASK}&{form}"));
    let who = client(moment, name);
    let mut record = Record::new("d-2".to_owned(), moment.now, Kind::Exchange);
    let open = task.shown_by(moment, &who, &request.attempt)?;
    let exchange = Exchange::propose_by_task(moment, &who, &open, None, kept, &request.asked, fresh("later"), &mut record)?;
    Ok((exchange, record))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_deferred_task_gives_no_more_than_asking_now(
        scope in prop::sample::select(vec!["tickets.full", "profile", "tickets.full profile"]),
        first in prop::collection::vec((0..3_usize, 0..3_usize), 0..3),
        second in prop::collection::vec((0..3_usize, 0..3_usize), 0..3),
        both in any::<bool>(),
        audience in 0..2_usize,
        (life, later, wanted) in (1..100_000_u64, 0..90_000_i64, 1..900_u64),
    ) {
        let mut moment = with_delegates();
        let Some((task, kept, journal)) = opened(&moment, scope, &first, both, life) else { return Ok(()) };
        prop_assert!(task.expires_at <= now().plus(Duration::from_secs(24 * 3600)));
        moment.now = Timestamp::from_seconds(moment.now.seconds() + later);
        let form = format!("audience={}&authorization_details={}&expires_in={wanted}", AUDIENCES[audience], details(&second));
        let Ok((exchange, record)) = redeemed(&moment, &task, &kept, "orders", &form) else { return Ok(()) };

        // 1. The subject, asking now with a token as good as then, is allowed the same, and policy is asked the same of it.
        let mut claims = user_claims();
        claims["scope"] = json!(scope);
        claims["iat"] = json!(moment.now.seconds() - 10);
        claims["exp"] = json!(moment.now.seconds() + 3600);
        let (direct, _) = propose(&moment, "edge", &corp_token(&claims), None, &form);
        prop_assert!(direct.is_ok(), "redeemed, and not to be had by asking: {:?}", direct.err());
        let direct = direct.unwrap();
        let (asked, of_direct) = (exchange.inquiry(), direct.inquiry());
        prop_assert_eq!(&asked.questions, &of_direct.questions);
        prop_assert_eq!(&asked.subject, &of_direct.subject);
        prop_assert!(asked.expires_in <= of_direct.expires_in && asked.expires_in <= 60);
        prop_assert!(asked.task.as_ref().is_some_and(|task| task.deferred && task.id == "task-1"));

        // 2. The token that comes of it: what the direct one gives, for an audience of the task, within the task's end, by the
        // redeemer after the creator. Of a journal that does not know the task nothing is had.
        let signer = MemorySigner::new(BROKER);
        let stranger = MemoryJournal::new(Fails::Never);
        let direct = token(&moment, &stranger, &signer, direct, record.clone()).unwrap();
        let (again, _) = redeemed(&moment, &task, &kept, "orders", &form).unwrap();
        prop_assert!(token(&moment, &stranger, &signer, again, record.clone()).is_err());
        let given = token(&moment, &journal, &signer, exchange, record).unwrap();
        let (direct, given) = (direct.at(&moment, TokenType::AccessToken).unwrap(), given.at(&moment, TokenType::AccessToken).unwrap());
        let held = Authority { details: Detail::parse_array(&details(&second), &moment.snapshot.types).unwrap(), ..Authority::default() };
        prop_assert!(held.is_within(&direct.authority, &moment.snapshot.types).is_ok());
        prop_assert!(given.authority.is_within(&direct.authority, &moment.snapshot.types).is_ok());
        prop_assert!(held.is_within(&given.authority, &moment.snapshot.types).is_ok());
        prop_assert!(given.audiences == [AUDIENCES[audience]] && (both || audience == 1), "an audience of the task");
        prop_assert!(given.iat.seconds() == moment.now.seconds() && given.exp <= given.iat.plus(Duration::from_secs(60)));
        prop_assert!(given.exp <= task.expires_at);
        let chain = json!({ "iss": BROKER, "sub": "orders", "act": { "iss": BROKER, "sub": "edge" } });
        prop_assert_eq!(given.act.as_ref().map(ActorChain::to_claim), Some(chain));
        prop_assert_eq!((given.task.as_deref(), given.txn.as_deref()), (Some("task-1"), Some("txn-1")));
        prop_assert_eq!(journal.task("task-1").map(|task| task.tokens), Some(1));
    }
}

/// Whatever ended the task, or what it hangs from, is the reason; each is looked at when it is redeemed.
#[test]
fn a_task_is_refused_for_what_ended_it() {
    let moment = with_delegates();
    let (task, kept, _) = opened(&moment, "tickets.full", &[(0, 1)], false, 3600).unwrap();
    let form = format!("audience={}&authorization_details={}", AUDIENCES[1], details(&[(0, 1)]));
    let try_at = |moment: &Moment, task: &KeptTask, name: &str| redeemed(moment, task, &kept, name, &form).map(drop);
    assert_eq!(try_at(&moment, &task, "orders"), Ok(()));
    assert_eq!(try_at(&moment, &task, "edge"), Err(Reason::SubjectTokenNotForClient));
    for (status, reason) in [
        (Status::Completed, Reason::TaskCompleted),
        (Status::Cancelled, Reason::TaskCancelled),
    ] {
        let over = KeptTask { status, ..task.clone() };
        assert_eq!(try_at(&moment, &over, "orders"), Err(reason));
    }
    for (later, outcome) in [
        (3_599_000, Ok(())),
        (3_599_001, Err(Reason::TaskExpired)),
        (3_600_000, Err(Reason::TaskExpired)),
    ] {
        let then = Moment {
            now: now().plus(Duration::from_millis(later)),
            ..moment.clone()
        };
        assert_eq!(try_at(&then, &task, "orders"), outcome, "{later}");
    }
    let root: Value = serde_json::from_str(&task.terms).unwrap();
    let root = Key::of_entry(root["chain"][0].as_str().unwrap());
    let ends = [
        ((MarkKind::Task, Key::of("task-1")), Reason::TaskCancelled),
        ((MarkKind::Txn, Key::of("txn-1")), Reason::SubjectTokenRevoked),
        (root, Reason::SubjectTokenRevoked),
        (
            (MarkKind::Subject, Key::of_pair(testkit::CORP, "alice")),
            Reason::SubjectTokenRevoked,
        ),
        ((MarkKind::Client, Key::of("edge")), Reason::SubjectTokenRevoked),
        ((MarkKind::Client, Key::of("orders")), Reason::SubjectTokenRevoked),
        ((MarkKind::Issuer, Key::of(testkit::CORP)), Reason::SubjectTokenRevoked),
    ];
    for ((kind, key), reason) in ends {
        let revoked = Arc::new(Revoked::default());
        revoked.add(&Revocation::new(kind, key, moment.now, Duration::from_secs(600)));
        let then = Moment {
            revocations: Arc::new(View::new([], []).beside(revoked)),
            ..moment.clone()
        };
        assert_eq!(try_at(&then, &task, "orders"), Err(reason), "{kind:?}");
    }
    let disabled = Moment {
        revocations: Arc::new(View::new([], [("corp".to_owned(), "alice".to_owned())])),
        ..moment.clone()
    };
    assert_eq!(try_at(&disabled, &task, "orders"), Err(Reason::SubjectDisabled));
    assert!(task.said_at(&moment).is_some() && task.said_at(&disabled).is_none());
    // Who opened it, or acted before, is disabled.
    let mut terms: Value = serde_json::from_str(&task.terms).unwrap();
    assert_eq!(terms["act"], json!({ "iss": BROKER, "sub": "edge" }));
    terms["act"]["act"] = json!({ "iss": BROKER, "sub": "before" });
    let of_another = KeptTask {
        terms: terms.to_string(),
        ..task.clone()
    };
    assert_eq!(try_at(&moment, &of_another, "orders"), Ok(()));
    for (name, outcome) in [
        ("edge", Err(Reason::SubjectTokenRevoked)),
        ("before", Err(Reason::SubjectTokenRevoked)),
        ("stranger", Ok(())),
    ] {
        let disabled = Moment {
            revocations: Arc::new(View::new([id(name)], [])),
            ..moment.clone()
        };
        assert_eq!(try_at(&disabled, &of_another, "orders"), outcome, "{name}");
    }
    // Who opened it is no longer there, or names another actor now.
    let changed = |change: &dyn Fn(&mut delegation::registry::Snapshot)| {
        let mut snapshot = delegation::registry::Snapshot::clone(&moment.snapshot);
        change(&mut snapshot);
        Moment {
            snapshot: Arc::new(snapshot),
            ..moment.clone()
        }
    };
    let gone = changed(&|snapshot| drop(snapshot.clients.remove(&id("edge"))));
    assert_eq!(try_at(&gone, &task, "orders"), Err(Reason::SubjectTokenRevoked));
    let ended = changed(&|snapshot| snapshot.clients.get_mut(&id("edge")).unwrap().ends = Some(now()));
    assert_eq!(try_at(&ended, &task, "orders"), Err(Reason::SubjectTokenRevoked));
    let another = changed(&|snapshot| snapshot.clients.get_mut(&id("edge")).unwrap().delegates.clear());
    assert_eq!(try_at(&another, &task, "orders"), Err(Reason::SubjectTokenNotForClient));
    // What is no longer declared or trusted, or is named otherwise by now, is no evidence.
    for then in [
        changed(&|snapshot| snapshot.issuers.clear()),
        changed(&|snapshot| "other".clone_into(&mut snapshot.issuers.get_mut(testkit::CORP).unwrap().name)),
        changed(&|snapshot| snapshot.types = Default::default()),
        changed(&|snapshot| snapshot.max_chain = 0),
    ] {
        assert_eq!(try_at(&then, &task, "orders"), Err(Reason::SubjectTokenInvalid));
    }
    let shown = task.shown(&moment);
    assert!(
        shown["txn"] == "txn-1" && ["issuer_name", "issued_sub", "chain"].iter().all(|inner| shown.get(inner).is_none()),
        "{shown}"
    );
}

/// A token that hangs from a task is worth as much as the task that is kept.
#[test]
fn a_token_of_a_task_is_exchanged_while_that_task_is_open() {
    let moment = with_delegates();
    let (task, kept, journal) = opened(&moment, "tickets.full", &[(0, 1)], true, 3600).unwrap();
    let form = format!("audience={}&authorization_details={}", AUDIENCES[0], details(&[(0, 1)]));
    let (exchange, record) = redeemed(&moment, &task, &kept, "orders", &form).unwrap();
    let token = token(&moment, &journal, &MemorySigner::new(BROKER), exchange, record).unwrap();
    let subject = token.at(&moment, TokenType::AccessToken).unwrap();
    let exchanged = |task: Option<KeptTask>| {
        let kept = Kept {
            transaction: Some(kept.clone()),
            task,
        };
        let mut record = Record::new("d-3".to_owned(), moment.now, Kind::Exchange);
        let asked = crate::road::asked(&form);
        let orders = client(&moment, "orders");
        Exchange::propose(&moment, &orders, &subject, None, &kept, &asked, fresh("next"), &mut record).map(drop)
    };
    assert_eq!(exchanged(Some(task.clone())), Ok(()));
    let with_id = |id: &str| KeptTask {
        id: id.to_owned(),
        ..task.clone()
    };
    let over = KeptTask {
        status: Status::Completed,
        ..task.clone()
    };
    let unreadable = KeptTask {
        terms: "{".to_owned(),
        ..task.clone()
    };
    assert_eq!(exchanged(Some(over)), Err(Reason::SubjectTokenRevoked));
    for other in [None, Some(with_id("task-2")), Some(unreadable)] {
        assert_eq!(exchanged(other), Err(Reason::StoreUnavailable), "nothing is decided without it");
    }
}
