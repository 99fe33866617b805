//! What a boundary of this process asks, and what of it is on record.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use broker::Rates;
use broker::front_door::{self, Refused, Seen, StepUp, Watched};
use broker::store::{Party, Standing, Store};
use delegation::oauth::{ClientId, Form, Reason};
use issuance::audit::{Kind, Record, RequestLine};
use issuance::mint::Minted;
use serde_json::json;

use crate::engine::Engine;
use crate::installation::{Installation, Plan, encode, seconds};

async fn ask(narrows: &Installation, changes: &[(&str, &str)]) -> Result<Minted, Refused> {
    ask_of(narrows, changes, StepUp::default()).await
}

async fn ask_of(narrows: &Installation, changes: &[(&str, &str)], step_up: StepUp) -> Result<Minted, Refused> {
    let mut form = narrows.form();
    form.retain(|name, _| !name.starts_with("client_"));
    for (name, value) in changes {
        form.insert((*name).to_owned(), (*value).to_owned());
    }
    let pairs: Vec<_> = form.into_iter().collect();
    let form = Form::parse(encode(&pairs).as_bytes()).unwrap();
    let edge = edge();
    let seen = Seen { step_up, ..seen(&edge) };
    front_door::exchange(&narrows.broker, &seen, &form, None).await
}

pub(crate) fn edge() -> ClientId {
    ClientId::parse("edge").unwrap()
}

pub(crate) fn seen(acting: &ClientId) -> Seen<'_> {
    Seen {
        boundary: "front",
        acting: Some(acting),
        from: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        is_callers_own: true,
        request: Some(RequestLine {
            method: "GET".to_owned(),
            host: "tickets.internal".to_owned(),
            path: "/tickets/42".to_owned(),
        }),
        step_up: StepUp::default(),
        observed: false,
        greeted: None,
    }
}

#[tokio::test]
async fn it_acts_as_its_client_without_a_credential_and_the_request_is_on_record() {
    let narrows = Installation::start().await;
    let minted = ask(&narrows, &[]).await.unwrap();
    assert!(minted.expires_in > 0);
    let refused = ask(
        &narrows,
        &[("authorization_details", r#"[{"type":"refund","actions":["create"]}]"#)],
    )
    .await
    .unwrap_err();
    let no_route = front_door::refuse(&narrows.broker, &seen(&edge()), Reason::NoRoute).await;
    assert_eq!(no_route.reason, Reason::NoRoute);
    let records = narrows.records().await;
    let request = json!({ "method": "GET", "host": "tickets.internal", "path": "/tickets/42" });
    let decided: Vec<_> = records.iter().filter(|record| record["boundary"] == "front").collect();
    assert_eq!(decided.len(), 3);
    assert!(
        decided
            .iter()
            .all(|record| record["request"] == request && record["client"] == "edge" && record["kind"] == "exchange")
    );
    assert_eq!(
        (&decided[0]["decision"], &decided[1]["id"]),
        (&json!("allow"), &json!(refused.decision_id))
    );
    assert_eq!(
        (&decided[2]["reason"], &decided[2]["id"]),
        (&json!("no_route"), &json!(no_route.decision_id))
    );
    narrows.stop().await;
}

#[tokio::test]
async fn a_client_that_is_disabled_acts_at_no_boundary() {
    let narrows = Installation::start().await;
    let store = Store::open(&narrows.broker.settings().store).await.unwrap();
    let note = Record::new("d-1".to_owned(), delegation::time::Timestamp::from_seconds(1), Kind::Operator);
    store.set_standing(&Party::Client(edge()), Standing::Disabled, note).await.unwrap();
    narrows.broker.tend().await;
    assert_eq!(ask(&narrows, &[]).await.unwrap_err().reason, Reason::ClientAuthenticationFailed);
    narrows.stop().await;
}

/// A stream that is open asks nothing more: what it was asked with must not outlive who asked.
#[tokio::test]
async fn what_a_client_holds_open_ends_when_it_is_disabled() {
    let narrows = Installation::start().await;
    let minted = ask(&narrows, &[]).await.unwrap();
    let watched = Watched::of(&narrows.broker, &minted.token).await.unwrap();
    assert!(watched.holds(&narrows.broker));
    let store = Store::open(&narrows.broker.settings().store).await.unwrap();
    let note = Record::new("d-1".to_owned(), delegation::time::Timestamp::from_seconds(1), Kind::Operator);
    store.set_standing(&Party::Client(edge()), Standing::Disabled, note).await.unwrap();
    narrows.broker.tend().await;
    assert!(!watched.holds(&narrows.broker));
    let ended = front_door::ended(&narrows.broker, &minted.token);
    let why = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    assert_eq!(why, Reason::ClientAuthenticationFailed);
    narrows.stop().await;
}

#[tokio::test]
async fn a_client_whose_entry_has_ended_acts_at_no_boundary() {
    let narrows = Installation::on_with(Engine::sqlite(), |snapshot| {
        snapshot.clients.get_mut(&edge()).unwrap().ends = Some(delegation::time::Timestamp::from_seconds(seconds() - 1));
    })
    .await;
    assert_eq!(ask(&narrows, &[]).await.unwrap_err().reason, Reason::ClientAuthenticationFailed);
    narrows.stop().await;
}

/// Whoever shows a token that nobody signed has not shown who they are.
#[tokio::test]
async fn what_anybody_could_have_sent_is_counted_together() {
    let narrows = Installation::start().await;
    for _ in 0..20 {
        assert_eq!(
            ask(&narrows, &[("subject_token", "x")]).await.unwrap_err().reason,
            Reason::SubjectTokenInvalid
        );
        front_door::refuse(&narrows.broker, &seen(&edge()), Reason::NoRoute).await;
    }
    narrows.broker.close().await;
    let records = narrows.records().await;
    for reason in ["subject_token_invalid", "no_route"] {
        let of: Vec<_> = records.iter().filter(|record| record["reason"] == reason).collect();
        assert!(of.len() <= 6, "{reason}: {}", of.len());
        let sum: u64 = of.iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum();
        assert_eq!(sum, 20, "{reason}");
        assert!(of.iter().all(|record| record["inputs"]["asked"] == "boundary front"));
    }
    narrows.stop().await;
}

/// RFC 9470: what the token does not say did not happen.
#[tokio::test]
async fn a_person_who_signed_in_too_long_ago_or_too_weakly_is_told_so() {
    let narrows = Installation::start().await;
    let token = |auth_time: Option<i64>, acr: Option<&str>| {
        let mut claims = narrows.user_claims();
        claims["auth_time"] = json!(auth_time);
        claims["acr"] = json!(acr);
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        narrows.issuer.sign("at+jwt", &claims)
    };
    let recent = |seconds| StepUp {
        max_auth_age: Some(Duration::from_secs(seconds)),
        acr: None,
    };
    let strong = StepUp {
        max_auth_age: None,
        acr: Some("phr".to_owned()),
    };
    let now = seconds();
    let rows = [
        (token(Some(now - 10), None), recent(60), true),
        (token(Some(now - 100), None), recent(60), false),
        (token(None, None), recent(60), false),
        (token(Some(now + 20), None), recent(60), false),
        (token(None, Some("phr")), strong.clone(), true),
        (token(None, Some("pwd")), strong.clone(), false),
        (token(None, None), strong, false),
    ];
    for (token, step_up, allowed) in rows {
        let asked = ask_of(&narrows, &[("subject_token", &token)], step_up.clone()).await;
        let reason = asked.err().map(|refused| refused.reason);
        assert_eq!(reason, (!allowed).then_some(Reason::InsufficientUserAuthentication), "{step_up:?}");
    }
    narrows.stop().await;
}

/// The rate of the boundary's own client is everybody's: strangers are counted where they come from.
#[tokio::test]
async fn whoever_shows_nothing_too_often_is_looked_at_no_more_and_others_are() {
    let rates = Rates {
        per_client: NonZeroU32::MIN,
        per_address: NonZeroU32::new(5).unwrap(),
    };
    let narrows = Installation::of(Plan { rates, ..Plan::default() }).await;
    for _ in 0..20 {
        ask(&narrows, &[]).await.unwrap();
    }
    let reasons: Vec<_> = {
        let mut reasons = Vec::new();
        for _ in 0..40 {
            reasons.push(ask(&narrows, &[("subject_token", "x")]).await.unwrap_err().reason);
        }
        reasons
    };
    assert_eq!(reasons.first(), Some(&Reason::SubjectTokenInvalid));
    assert!(reasons.contains(&Reason::RateLimited));
    assert_eq!(
        ask(&narrows, &[]).await.unwrap_err().reason,
        Reason::RateLimited,
        "nothing from there is verified"
    );
    let edge = edge();
    let elsewhere = Seen {
        from: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)),
        ..seen(&edge)
    };
    let form = Form::parse(encode(&narrows.form().into_iter().collect::<Vec<_>>()).as_bytes()).unwrap();
    assert!(front_door::exchange(&narrows.broker, &elsewhere, &form, None).await.is_ok());
    // A proxy that many come through is not one caller.
    let through = Seen {
        is_callers_own: false,
        ..seen(&edge)
    };
    assert!(front_door::exchange(&narrows.broker, &through, &form, None).await.is_ok());
    narrows.stop().await;
}

/// Nothing is minted, begun or kept where a boundary only observes, and no caller is counted for what they show.
#[tokio::test]
async fn of_what_is_observed_there_is_a_record_and_nothing_else() {
    let rates = Rates {
        per_address: NonZeroU32::new(5).unwrap(),
        ..Rates::default()
    };
    let narrows = Installation::of(Plan { rates, ..Plan::default() }).await;
    let edge = edge();
    let observe = async |token: &str| {
        let mut form = narrows.form();
        form.retain(|name, _| !name.starts_with("client_"));
        form.insert("subject_token".to_owned(), token.to_owned());
        let form = Form::parse(encode(&form.into_iter().collect::<Vec<_>>()).as_bytes()).unwrap();
        front_door::observe(&narrows.broker, &seen(&edge), &form, None, None).await
    };
    for _ in 0..40 {
        assert_eq!(observe("x").await.unwrap_err().reason, Reason::SubjectTokenInvalid);
    }
    observe(&narrows.user_token()).await.unwrap();
    let records = narrows.records().await;
    let allowed = records.iter().find(|record| record["reason"] == "permitted").unwrap();
    assert_eq!((&allowed["decision"], &allowed["effect"]), (&json!("allow"), &json!("observed")));
    assert_eq!(allowed.get("jti"), None);
    let store = Store::open(&narrows.broker.settings().store).await.unwrap();
    let kept = store.transaction(allowed["txn"].as_str().unwrap()).await.unwrap();
    assert!(kept.is_none(), "no transaction begins");
    assert!(records.iter().all(|record| record["kind"] != "exchange" || record["effect"] == "observed"));
    // Whoever was observed is nobody's stranger elsewhere.
    assert!(ask(&narrows, &[]).await.is_ok());
    // And what is observed is looked at, whatever else came from there.
    for _ in 0..40 {
        ask(&narrows, &[("subject_token", "x")]).await.unwrap_err();
    }
    assert_eq!(ask(&narrows, &[]).await.unwrap_err().reason, Reason::RateLimited);
    observe(&narrows.user_token()).await.unwrap();
    narrows.stop().await;
}
