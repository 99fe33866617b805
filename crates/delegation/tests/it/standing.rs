//! Whoever is disabled ends every token that names them, whatever it is shown for, until they are enabled.

use std::sync::Arc;

use delegation::oauth::{ClientId, TokenType};
use delegation::registry::Moment;
use delegation::revocation::View;
use delegation::token::{ActorToken, Issued, SubjectToken, TokenError, TxnToken};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, moment, now};

use crate::revoked::{Judged, WORKLOAD, authentic, outside, taken};

/// A token of ours for alice: the job holds it, to which orders gave it, to whom the edge did.
fn claims() -> Value {
    let now = now().seconds();
    let act = json!({ "iss": BROKER, "sub": "orders", "act": { "iss": BROKER, "sub": "edge" } });
    json!({
        "iss": BROKER, "sub": "alice", "aud": "https://orders.internal", "iat": now, "exp": now + 60, "jti": "t-1", "client_id": "job",
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" }, "act": act, "txn": "x", "chain": ["o_1"],
        "req_wl": "job", "scope": "profile", "tctx": { "scope": "profile" },
    })
}

/// It in every form, and for whatever it is shown.
fn ours() -> Vec<Judged> {
    let subject = authentic::<SubjectToken>(BROKER, "at+jwt", &claims());
    let transaction = authentic::<TxnToken>(BROKER, "txntoken+jwt", &claims());
    let issued = |typ| authentic::<Issued>(BROKER, typ, &claims());
    let (access, txn) = (issued("at+jwt"), issued("txntoken+jwt"));
    vec![
        (
            "subject token",
            Box::new(move |moment| subject.at(moment, TokenType::AccessToken).map(drop)),
        ),
        ("transaction token", Box::new(move |moment| transaction.at(moment).map(drop))),
        (
            "access token that is asked about",
            Box::new(move |moment| access.alive_at(moment).map(drop)),
        ),
        (
            "transaction token that is asked about",
            Box::new(move |moment| txn.alive_at(moment).map(drop)),
        ),
    ]
}

/// What a client got for itself.
fn own() -> Judged {
    let now = now().seconds();
    let claims = json!({
        "iss": BROKER, "sub": "edge", "client_id": "edge", "aud": "https://edge.example", "iat": now, "exp": now + 60, "jti": "a-1",
    });
    let actor = authentic::<ActorToken>(BROKER, "at+jwt", &claims);
    (
        "own token as actor",
        Box::new(move |moment| actor.at(moment, TokenType::AccessToken).map(drop)),
    )
}

fn with(view: View) -> Moment {
    Moment {
        revocations: Arc::new(view),
        ..moment(taken())
    }
}

/// Of each way to say who is disabled: by name, as the broker reads it, and by key, as the feed tells it.
fn disabled(client: Option<&str>, subject: Option<(&str, &str)>) -> [Moment; 2] {
    let client = client.map(|id| ClientId::parse(id).unwrap());
    let subject = subject.map(|(issuer, sub)| (issuer.to_owned(), sub.to_owned()));
    let by_name = View::new(client, subject);
    let snapshot = taken();
    let by_key = by_name.keys_of_disabled(|name| snapshot.issuer_of_subjects(name));
    [with(by_name), with(View::default().with_disabled(Arc::new(by_key)))]
}

fn each(judged: &Judged, moments: &[Moment; 2], expected: Result<(), TokenError>) {
    let (what, judge) = judged;
    for (moment, known) in moments.iter().zip(["by name", "by key"]) {
        assert_eq!(judge(moment), expected, "{what}, {known}");
        assert_eq!(
            judge(&with(View::default())),
            Ok(()),
            "{what}: the same token, when they are enabled"
        );
    }
}

#[test]
fn a_token_of_ours_is_good_for_nothing_while_anybody_in_it_is_disabled() {
    for judged in &ours() {
        for client in ["job", "orders", "edge"] {
            each(judged, &disabled(Some(client), None), Err(TokenError::Revoked));
        }
        let alice = Some(("corp", "alice"));
        each(judged, &disabled(None, alice), Err(TokenError::SubjectDisabled));
        // A newer token would be no better.
        each(judged, &disabled(Some("job"), alice), Err(TokenError::SubjectDisabled));
        each(judged, &disabled(Some("stranger"), Some(("corp", "bob"))), Ok(()));
        each(judged, &disabled(Some("alice"), Some(("narrows", "alice"))), Ok(()));
    }
}

#[test]
fn a_clients_own_token_acts_for_nobody_while_it_is_disabled_as_either() {
    each(&own(), &disabled(Some("edge"), None), Err(TokenError::Revoked));
    each(&own(), &disabled(None, Some(("narrows", "edge"))), Err(TokenError::SubjectDisabled));
    each(&own(), &disabled(Some("orders"), Some(("corp", "edge"))), Ok(()));
}

#[test]
fn a_token_of_an_issuer_is_good_for_nothing_while_its_subject_is_disabled() {
    for judged in &outside() {
        let is_workloads = matches!(judged.0, "actor token" | "workload's assertion");
        let sub = if is_workloads { WORKLOAD } else { "alice" };
        each(judged, &disabled(None, Some(("corp", sub))), Err(TokenError::SubjectDisabled));
        each(judged, &disabled(None, Some(("narrows", sub))), Ok(()));
        // Its `client_id` is its issuer's word. Who shows it is another question.
        each(judged, &disabled(Some("edge"), Some(("corp", "bob"))), Ok(()));
    }
}
