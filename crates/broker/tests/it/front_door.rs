//! What a boundary of this process asks, and what of it is on record.

use std::net::{IpAddr, Ipv4Addr};

use broker::front_door::{self, Refused, Seen};
use broker::store::{Party, Standing, Store};
use delegation::oauth::{ClientId, Form, Reason};
use issuance::audit::{Kind, Record, RequestLine};
use issuance::mint::Minted;
use serde_json::json;

use crate::installation::{Installation, encode};

async fn ask(narrows: &Installation, changes: &[(&str, &str)]) -> Result<Minted, Refused> {
    let mut form = narrows.form();
    form.retain(|name, _| !name.starts_with("client_"));
    for (name, value) in changes {
        form.insert((*name).to_owned(), (*value).to_owned());
    }
    let pairs: Vec<_> = form.into_iter().collect();
    let form = Form::parse(encode(&pairs).as_bytes()).unwrap();
    front_door::exchange(&narrows.broker, &seen(&edge()), &form, None).await
}

fn edge() -> ClientId {
    ClientId::parse("edge").unwrap()
}

fn seen(acting: &ClientId) -> Seen<'_> {
    Seen {
        boundary: "front",
        acting: Some(acting),
        from: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        request: Some(RequestLine {
            method: "GET".to_owned(),
            host: "tickets.internal".to_owned(),
            path: "/tickets/42".to_owned(),
        }),
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
