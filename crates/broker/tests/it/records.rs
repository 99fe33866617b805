//! What is on record: every decision, and never a token.

use broker::Listener;
use serde_json::Value;

use crate::engine::{Engine, on_both_engines};
use crate::installation::Installation;

on_both_engines!(
    every_decision_is_on_record_before_it_is_answered,
    no_token_and_no_secret_is_ever_on_record,
    strangers_are_counted_together_and_the_sums_are_right,
    counts_that_could_not_be_written_are_written_later,
);

async fn every_decision_is_on_record_before_it_is_answered(engine: Engine) {
    let narrows = Installation::on(engine).await;
    let allowed = narrows.exchange(&[]).await;
    let denied = narrows.exchange(&[("audience", "gone")]).await;
    let stranger = narrows.exchange(&[("client_secret", "wrong")]).await;
    let records = narrows.records().await;
    let by_id = |reply: &crate::installation::Reply| {
        records.iter().find(|record| record["id"] == reply.body["decision_id"]).cloned().unwrap_or_default()
    };
    assert_eq!(by_id(&denied)["reason"], "unknown_audience");
    assert_eq!(by_id(&stranger)["kind"], "client_auth");
    let issued = records.iter().find(|record| record["decision"] == "allow").unwrap();
    assert_eq!(issued["jti"], allowed.claims()["jti"]);
    assert_eq!(issued["rules"], serde_json::json!(["tickets-are-read"]));
    for (at, record) in records.iter().enumerate() {
        assert_eq!(record["index"], serde_json::json!(at), "no gap");
    }
    narrows.stop().await;
}

async fn no_token_and_no_secret_is_ever_on_record(engine: Engine) {
    let narrows = Installation::on(engine).await;
    let token = narrows.user_token();
    let assertion = narrows.assertion(&[]);
    let issued = narrows.exchange(&[("subject_token", &token)]).await;
    narrows
        .exchange(&[
            ("client_id", ""),
            ("client_secret", ""),
            ("client_assertion", &assertion),
            ("client_assertion_type", crate::installation::ASSERTION_TYPE),
        ])
        .await;
    narrows.exchange(&[("subject_token", &format!("{token}x"))]).await;
    let text = narrows.records().await.iter().map(Value::to_string).collect::<String>();
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for secret in [
        signature(&token),
        signature(issued.text("access_token")),
        signature(&assertion),
        "edge-secret".to_owned(),
    ] {
        assert!(!text.contains(&secret));
    }
    narrows.stop().await;
}

async fn strangers_are_counted_together_and_the_sums_are_right(engine: Engine) {
    let narrows = Installation::on(engine).await;
    for _ in 0..40 {
        assert_eq!(narrows.exchange(&[("client_secret", "wrong")]).await.status, 401);
    }
    narrows.count_up().await;
    let records = narrows.records().await;
    let strangers: Vec<_> = records.iter().filter(|record| record["kind"] == "client_auth").collect();
    let sum: u64 = strangers.iter().map(|record| record.get("count").and_then(Value::as_u64).unwrap_or(1)).sum();
    assert_eq!(sum, 40);
    narrows.stop().await;
}

/// How many refusals of strangers the log tells of.
async fn counted(narrows: &Installation) -> u64 {
    let records = narrows.records().await;
    let strangers = records.iter().filter(|record| record["kind"] == "client_auth");
    strangers.map(|record| record.get("count").and_then(Value::as_u64).unwrap_or(1)).sum()
}

async fn counts_that_could_not_be_written_are_written_later(engine: Engine) {
    let narrows = Installation::on(engine).await;
    for _ in 0..20 {
        assert_eq!(narrows.exchange(&[("client_secret", "wrong")]).await.status, 401);
    }
    narrows.engine.run("ALTER TABLE records RENAME TO away").await;
    narrows.count_up().await;
    narrows.engine.run("ALTER TABLE away RENAME TO records").await;
    narrows.count_up().await;
    assert_eq!(counted(&narrows).await, 20);
    narrows.count_up().await;
    assert_eq!(counted(&narrows).await, 20, "once");
    narrows.stop().await;
}

#[tokio::test]
async fn refusals_of_strangers_say_at_which_door_each_for_itself() {
    let narrows = Installation::start().await;
    let mut ids = Vec::new();
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        let reply = narrows.about(path, "nobody", "x").await;
        assert_eq!(reply.status, 401, "{path}");
        ids.push((format!("POST {path}"), reply.text("decision_id").to_owned()));
    }
    let (status, _, body) = narrows.get("/v1/subjects").await;
    assert_eq!(status, 401, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    ids.push(("GET /v1/subjects".to_owned(), body["decision_id"].as_str().unwrap().to_owned()));
    let records = narrows.records().await;
    for (asked, id) in ids {
        let record = records
            .iter()
            .find(|record| record["id"] == id.as_str())
            .unwrap_or_else(|| panic!("{asked} has none of its own"));
        assert_eq!(record["inputs"]["asked"], asked.as_str());
    }
    narrows.stop().await;
}

#[tokio::test]
async fn an_address_of_version_four_is_one_whichever_socket_it_comes_through() {
    let narrows = Installation::start().await;
    let socket = tokio::net::TcpListener::bind("[::]:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/oauth2/token", socket.local_addr().unwrap().port());
    let routes = broker::routes(&narrows.broker, true);
    let listener = Listener::new(socket, None, 100);
    let serving = tokio::spawn(broker::serve(listener, routes, std::future::pending()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let reply = http.post(url).body("").send().await.unwrap();
    assert_eq!(reply.status(), 400);
    let records = narrows.records().await;
    let refused = records.iter().find(|record| record["reason"] == "malformed_request").unwrap();
    assert_eq!(refused["client_ip"], "127.0.0.1");
    serving.abort();
    narrows.stop().await;
}
