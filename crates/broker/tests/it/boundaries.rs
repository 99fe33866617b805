//! `/v1/boundaries`: what a boundary in another process asks, who may, and what is on record of it.

use std::num::NonZeroU32;

use broker::front_door::{self, Seen, StepUp};
use broker::{Observing, Rates, Role};
use delegation::oauth::{ClientId, Form, Reason};
use delegation::registry::Snapshot;
use delegation::time::Timestamp;
use issuance::audit::RequestLine;
use serde_json::{Value, json};

use crate::api::{operator, own_token, plan};
use crate::installation::{Installation, Plan, Reply, encode, seconds};

pub(crate) const EXCHANGE: &str = "/v1/boundaries/front/exchange";
pub(crate) const GREET: &str = "/v1/boundaries/front/greet";
const ATTRIBUTES: &str = "/v1/boundaries/front/attributes";
const REFUSALS: &str = "/v1/boundaries/front/refusals";
const ALIVE: &str = "/v1/boundaries/front/alive";

/// A broker at which the edge runs a data plane too.
pub(crate) async fn started(rates: Rates) -> (Installation, String) {
    started_as(Plan { rates, ..plan() }).await
}

/// The same, as planned otherwise.
pub(crate) async fn started_as(planned: Plan) -> (Installation, String) {
    let narrows = Installation::of(Plan {
        change: Box::new(move |snapshot: &mut Snapshot| {
            (planned.change)(snapshot);
            snapshot.clients.get_mut(&edge()).unwrap().data_plane = true;
        }),
        ..planned
    })
    .await;
    let token = own_token(&narrows, "edge", "narrows.data_plane").await;
    (narrows, token)
}

fn edge() -> ClientId {
    ClientId::parse("edge").unwrap()
}

pub(crate) fn seen() -> Value {
    json!({
        "request": { "method": "GET", "host": "tickets.internal", "path": "/tickets/42" },
        "client_ip": "192.0.2.7", "is_callers_own": true,
    })
}

pub(crate) fn with(mut body: Value, changes: &Value) -> Value {
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    body
}

fn line(method: &str, host: &str, path: &str) -> Value {
    json!({ "method": method, "host": host, "path": path })
}

pub(crate) fn asked(narrows: &Installation) -> Value {
    let form = narrows.form();
    let details: Value = serde_json::from_str(&form["authorization_details"]).unwrap();
    let exchange = json!({ "subject_token": form["subject_token"], "audience": form["audience"], "authorization_details": details });
    with(seen(), &exchange)
}

pub(crate) fn decided(reply: &Reply) -> &str {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.body["refused"]["reason"].as_str().unwrap_or("granted")
}

/// A record without what no two have in common.
fn alike(record: &Value) -> Value {
    let mut record = record.clone();
    let own = ["id", "time", "jti", "txn", "index", "exp"];
    record.as_object_mut().unwrap().retain(|name, _| !own.contains(&name.as_str()));
    record
}

#[tokio::test]
async fn a_boundary_elsewhere_gets_what_one_in_the_process_gets_and_the_record_is_the_same() {
    let (narrows, token) = started(Rates::default()).await;
    for changes in [&[][..], &[("authorization_details", r#"[{"type":"refund","actions":["create"]}]"#)]] {
        let mut pairs = narrows.form();
        pairs.retain(|name, _| !name.starts_with("client_"));
        pairs.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let details: Value = serde_json::from_str(&pairs["authorization_details"]).unwrap();
        let same = json!({ "authorization_details": details, "subject_token": pairs["subject_token"] });
        let form = Form::parse(encode(&pairs.into_iter().collect::<Vec<_>>()).as_bytes()).unwrap();
        let (client, from) = (edge(), "192.0.2.7".parse().unwrap());
        let here = Seen {
            boundary: "front",
            acting: Some(&client),
            from,
            is_callers_own: true,
            request: Some(RequestLine {
                method: "GET".to_owned(),
                host: "tickets.internal".to_owned(),
                path: "/tickets/42".to_owned(),
            }),
            step_up: StepUp::default(),
            observed: false,
            greeted: None,
        };
        let body = with(asked(&narrows), &same);
        let reply = narrows.ask("POST", EXCHANGE, &token, Some(&body)).await;
        match front_door::exchange(&narrows.broker, &here, &form, None).await {
            Ok(minted) => {
                let granted = &reply.body["granted"];
                assert_eq!(decided(&reply), "granted");
                assert_eq!(granted["access_token"], minted.token, "it is the same token again");
                assert!(granted["expires_in"].as_i64().unwrap() > 0);
                assert_eq!(reply.headers["cache-control"], "no-store");
            }
            Err(refused) => assert_eq!(decided(&reply), refused.reason.as_str()),
        }
    }
    narrows.broker.close().await;
    let records = narrows.records().await;
    let of_front: Vec<_> = records.iter().filter(|record| record["boundary"] == "front").collect();
    let [first, again, refused, refused_again] = of_front.as_slice() else {
        panic!("{of_front:?}")
    };
    for record in [first, again] {
        assert_eq!(
            (
                &record["client"],
                &record["client_ip"],
                &record["decision"],
                &record["request"]["path"]
            ),
            (&json!("edge"), &json!("192.0.2.7"), &json!("allow"), &json!("/tickets/42"))
        );
    }
    assert_eq!(alike(refused), alike(refused_again));
    narrows.stop().await;
}

/// Nobody else has a say in what is decided there, nor in what is on record of it.
#[tokio::test]
async fn only_the_client_that_acts_at_a_boundary_asks_for_it_and_only_as_a_data_plane() {
    let (narrows, token) = started(Rates::default()).await;
    let everything = [Role::Admin, Role::Approver, Role::Auditor, Role::Responder];
    let person = operator(&narrows, "ann", &everything).await;
    let other = own_token(&narrows, "orders", "narrows.data_plane").await;
    let no_plane = own_token(&narrows, "edge", "profile").await;
    let bodies = [
        ("exchange", asked(&narrows)),
        ("refusals", with(seen(), &json!({ "reason": "no_route" }))),
        ("attributes", with(seen(), &json!({ "subject_token": narrows.user_token() }))),
        ("alive", json!({ "token": narrows.exchange(&[]).await.text("access_token") })),
    ];
    for (what, body) in &bodies {
        let ask = async |name: &str, token: &str| {
            let reply = narrows.ask("POST", &format!("/v1/boundaries/{name}/{what}"), token, Some(body)).await;
            (reply.status, reply.text("reason").to_owned())
        };
        let refused = (403, "not_permitted".to_owned());
        assert_eq!(ask("front", &token).await.0, 200, "{what}");
        for (name, token) in [
            ("front", &other),
            ("front", &person),
            ("front", &no_plane),
            ("back", &token),
            ("none", &token),
            ("", &token),
        ] {
            assert!(matches!(ask(name, token).await.0, 403 | 404), "{what} at `{name}`");
        }
        assert_eq!(ask("front", &other).await, refused, "{what}");
        assert_eq!(ask("none", &token).await, refused, "whether there is such a boundary is not told");
        for nobody in [narrows.user_token().as_str(), "x"] {
            assert_eq!(ask("front", nobody).await, (401, "unauthenticated".to_owned()), "{what}");
        }
    }
    let records = narrows.records().await;
    let refused = records.iter().find(|record| record["reason"] == "not_permitted").unwrap();
    assert_eq!(refused["inputs"]["asked"], "POST /v1/boundaries/{name}/exchange");
    assert!(records.iter().all(|record| record["boundary"] != "back" && record["boundary"] != "none"));
    narrows.stop().await;
}

#[tokio::test]
async fn what_is_not_described_is_refused_and_nothing_is_decided() {
    let (narrows, token) = started(Rates::default()).await;
    let good = asked(&narrows);
    let rows = [
        json!({ "client_id": "orders" }),
        json!({ "subject_token": null }),
        json!({ "subject_token": "" }),
        json!({ "audience": ["https://tickets.internal"] }),
        json!({ "authorization_details": "[]" }),
        json!({ "onward": {} }),
        json!({ "scope": ["profile"] }),
        json!({ "max_auth_age": -1 }),
        json!({ "max_auth_age": "60" }),
        json!({ "acr": 1 }),
        json!({ "client_ip": "here" }),
        json!({ "client_ip": null }),
        json!({ "is_callers_own": "true" }),
        json!({ "observed": "true" }),
        json!({ "request": "GET /" }),
        json!({ "request": { "method": "GET", "host": "a" } }),
        json!({ "request": { "method": "GET", "host": "a", "path": "/", "query": "x" } }),
        json!({ "request": line("GET\n\"GET /admin\" = \"public\"\n#", "a", "/") }),
        json!({ "request": line("GET", "shop.example\n\"GET /admin/{path:rest}\" = \"public\"\n# x", "/") }),
        json!({ "request": line("GET", "a", "/\n[[clients]]") }),
    ];
    for changes in rows {
        let reply = narrows.ask("POST", EXCHANGE, &token, Some(&with(good.clone(), &changes))).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{changes}");
    }
    for (path, body) in [
        (REFUSALS, with(seen(), &json!({ "reason": "because" }))),
        (REFUSALS, with(seen(), &json!({ "reason": "no_route", "decision_id": "x" }))),
        (REFUSALS, json!({ "reason": "no_route" })),
        (ATTRIBUTES, seen()),
        (ATTRIBUTES, with(seen(), &json!({ "subject_token": "" }))),
        (GREET, seen()),
        (
            GREET,
            with(seen(), &json!({ "subject_token": "x", "audience": "https://tickets.internal" })),
        ),
        (
            ATTRIBUTES,
            with(seen(), &json!({ "subject_token": "x", "audience": "https://tickets.internal" })),
        ),
        (
            REFUSALS,
            with(
                seen(),
                &json!({ "reason": "no_route", "request": line("GET", "a\n\"GET /{path:rest}\" = \"public\"", "/") }),
            ),
        ),
        (ALIVE, json!({})),
        (ALIVE, json!({ "token": "x", "more": 1 })),
    ] {
        let reply = narrows.ask("POST", path, &token, Some(&body)).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{path} {body}");
    }
    let large = with(good.clone(), &json!({ "acr": "x".repeat(64 * 1024) }));
    assert_eq!(narrows.ask("POST", EXCHANGE, &token, Some(&large)).await.status, 413);
    assert!(narrows.records().await.iter().all(|record| record["boundary"].is_null()));
    let without_line = {
        let mut body = good;
        body.as_object_mut().unwrap().remove("request");
        body
    };
    let reply = narrows.ask("POST", EXCHANGE, &token, Some(&without_line)).await;
    assert_eq!(decided(&reply), "granted", "a line that could not be read is none");
    narrows.stop().await;
}

#[tokio::test]
async fn step_up_and_scope_and_onward_come_with_the_question() {
    let (narrows, token) = started(Rates::default()).await;
    let ask = async |changes: Value| narrows.ask("POST", EXCHANGE, &token, Some(&with(asked(&narrows), &changes))).await;
    let mut claims = narrows.user_claims();
    claims["auth_time"] = json!(seconds() - 100);
    let signed_in = narrows.issuer.sign("at+jwt", &claims);
    let of = |age: u64| json!({ "subject_token": signed_in, "max_auth_age": age });
    assert_eq!(decided(&ask(of(300)).await), "granted");
    assert_eq!(decided(&ask(of(60)).await), "insufficient_user_authentication");
    assert_eq!(decided(&ask(json!({ "acr": "phr" })).await), "insufficient_user_authentication");
    let onward = json!([{ "type": "ticket", "actions": ["read"], "identifier": "13" }]);
    assert_eq!(
        decided(&ask(json!({ "onward": onward })).await),
        "policy_denied",
        "policy is asked about it"
    );
    assert_eq!(decided(&ask(json!({ "scope": "admin" })).await), "wider_than_subject");
    narrows.stop().await;
}

#[tokio::test]
async fn a_refusal_of_the_boundarys_own_is_on_record_before_it_is_answered() {
    let (narrows, token) = started(Rates::default()).await;
    let reply = narrows.ask("POST", REFUSALS, &token, Some(&with(seen(), &json!({ "reason": "no_route" })))).await;
    assert_eq!(decided(&reply), "no_route");
    let records = narrows.records().await;
    let record = records.iter().find(|record| record["id"] == reply.body["refused"]["decision_id"]).unwrap();
    assert_eq!(
        (
            &record["boundary"],
            &record["reason"],
            &record["client"],
            &record["request"]["path"]
        ),
        (&json!("front"), &json!("no_route"), &json!("edge"), &json!("/tickets/42"))
    );
    assert_eq!(Reason::parse("no_route"), Some(Reason::NoRoute));
    narrows.stop().await;
}

#[tokio::test]
async fn a_token_is_alive_until_it_is_ended_and_only_to_the_client_that_has_it() {
    let (narrows, token) = started(Rates::default()).await;
    let reply = narrows.ask("POST", EXCHANGE, &token, Some(&asked(&narrows))).await;
    let given = reply.body["granted"]["access_token"].as_str().unwrap().to_owned();
    let is_alive = async |path: &str, bearer: &str, of: &str| {
        let reply = narrows.ask("POST", path, bearer, Some(&json!({ "token": of }))).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        reply.body["alive"].as_bool().unwrap()
    };
    assert!(is_alive(ALIVE, &token, &given).await);
    assert!(!is_alive(ALIVE, &token, &narrows.user_token()).await, "an outside token");
    assert!(!is_alive(ALIVE, &token, "x").await);
    let orders = own_token(&narrows, "orders", "narrows.data_plane").await;
    assert!(!is_alive("/v1/boundaries/back/alive", &orders, &given).await, "another client's");
    let before = narrows.records().await.len();
    assert!(is_alive(ALIVE, &token, &given).await);
    assert_eq!(narrows.records().await.len(), before, "a look is no decision");

    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let claims = Reply {
        body: json!({ "access_token": given }),
        ..reply
    }
    .claims();
    let ended = narrows.ask("POST", "/v1/revocations", &admin, Some(&json!({ "jti": claims["jti"] }))).await;
    assert_eq!(ended.status, 201);
    assert!(!is_alive(ALIVE, &token, &given).await);
    narrows.stop().await;
}

/// What policy would see of a subject is told of a token that holds, and of no other.
#[tokio::test]
async fn attributes_are_told_of_a_token_that_holds_and_a_refusal_is_on_record() {
    let (narrows, token) = started(Rates::default()).await;
    let ask = async |shown: &str| {
        let body = with(seen(), &json!({ "subject_token": shown }));
        narrows.ask("POST", ATTRIBUTES, &token, Some(&body)).await
    };
    let before = narrows.records().await.len();
    let told = ask(&narrows.user_token()).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.headers["cache-control"], "no-store");
    let (client, shown) = (edge(), narrows.user_token());
    let here = Seen {
        boundary: "front",
        acting: Some(&client),
        from: "192.0.2.7".parse().unwrap(),
        is_callers_own: true,
        request: None,
        step_up: StepUp::default(),
        observed: false,
        greeted: None,
    };
    let known = front_door::attributes(&narrows.broker, &here, &shown).await.unwrap();
    assert!(!known.groups.is_empty());
    assert_eq!(
        told.body,
        json!({ "attributes": { "values": known.values, "groups": known.groups } })
    );
    assert_eq!(narrows.records().await.len(), before, "a look is no decision");
    let mut claims = narrows.user_claims();
    claims["iat"] = json!(seconds() - 700);
    claims["exp"] = json!(seconds() - 100);
    let refused = ask(&narrows.issuer.sign("at+jwt", &claims)).await;
    assert_eq!(decided(&refused), "subject_token_expired");
    assert!(refused.body.get("attributes").is_none());
    let records = narrows.records().await;
    let record = records.iter().find(|record| record["id"] == refused.body["refused"]["decision_id"]).unwrap();
    assert_eq!(
        (&record["boundary"], &record["request"]["path"]),
        (&json!("front"), &json!("/tickets/42"))
    );
    narrows.stop().await;
}

/// The rate of the boundary's client would be everybody's who calls there.
#[tokio::test]
async fn a_boundary_has_no_rate_and_whoever_may_not_ask_has() {
    let rates = Rates {
        per_client: NonZeroU32::new(4).unwrap(),
        ..Rates::default()
    };
    let (narrows, token) = started(rates).await;
    let body = with(seen(), &json!({ "reason": "no_route" }));
    for _ in 0..20 {
        assert_eq!(narrows.ask("POST", REFUSALS, &token, Some(&body)).await.status, 200);
    }
    let orders = own_token(&narrows, "orders", "narrows.data_plane").await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(narrows.ask("POST", REFUSALS, &orders, Some(&body)).await.status);
    }
    assert!(statuses.contains(&403) && statuses.contains(&429), "{statuses:?}");
    narrows.stop().await;
}

/// The configuration says that `boundary` observes.
pub(crate) fn observes(narrows: &Installation, boundary: &str) {
    narrows.broker.set_observing(vec![Observing {
        listen: None,
        boundary: boundary.to_owned(),
        part: "boundary".to_owned(),
        until: Timestamp::from_seconds(seconds() + 3600),
    }]);
}

/// A record that says of what was refused that it went on would hide the refusal.
#[tokio::test]
async fn a_boundary_that_enforces_by_the_brokers_configuration_observes_nothing() {
    let (narrows, token) = started(Rates::default()).await;
    let bodies = [
        (EXCHANGE, with(asked(&narrows), &json!({ "observed": true }))),
        (GREET, with(seen(), &json!({ "observed": true, "subject_token": "x" }))),
        (REFUSALS, with(seen(), &json!({ "observed": true, "reason": "no_route" }))),
    ];
    for elsewhere in [false, true] {
        if elsewhere {
            observes(&narrows, "back");
        }
        for (path, body) in &bodies {
            let reply = narrows.ask("POST", path, &token, Some(body)).await;
            assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{path}");
        }
    }
    assert!(narrows.records().await.iter().all(|record| record["effect"].is_null()));
    observes(&narrows, "front");
    for (path, body) in &bodies {
        assert_eq!(narrows.ask("POST", path, &token, Some(body)).await.status, 200, "{path}");
    }
    narrows.stop().await;
}

/// What goes on anyway is decided and on record as such, and nothing is given out for it.
#[tokio::test]
async fn what_a_boundary_elsewhere_only_observes_is_on_record_and_not_minted() {
    let (narrows, token) = started(Rates::default()).await;
    let observed = json!({ "observed": true });
    observes(&narrows, "front");
    let reply = narrows.ask("POST", EXCHANGE, &token, Some(&with(asked(&narrows), &observed))).await;
    assert_eq!((reply.status, &reply.body), (200, &observed));
    let unsigned = with(asked(&narrows), &json!({ "observed": true, "subject_token": "x" }));
    let reply = narrows.ask("POST", EXCHANGE, &token, Some(&unsigned)).await;
    assert_eq!(decided(&reply), "subject_token_invalid");
    let own = with(seen(), &json!({ "observed": true, "reason": "no_route" }));
    assert_eq!(decided(&narrows.ask("POST", REFUSALS, &token, Some(&own)).await), "no_route");
    let records = narrows.records().await;
    let of_front: Vec<_> = records.iter().filter(|record| record["boundary"] == "front").collect();
    let reasons: Vec<_> = of_front.iter().map(|record| record["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["permitted", "subject_token_invalid", "no_route"]);
    assert!(of_front.iter().all(|record| record["effect"] == "observed" && record["jti"].is_null()));
    let person = operator(&narrows, "ann", &[Role::Auditor]).await;
    let report = narrows.ask("GET", "/v1/reports/observed?boundary=front", &person, None).await;
    assert_eq!((report.status, &report.body["boundaries"]), (200, &json!(["back", "front"])));
    for misspelt in ["boundary=frnt", "boundary=front&service=front"] {
        let unknown = narrows.ask("GET", &format!("/v1/reports/observed?{misspelt}"), &person, None).await;
        assert_eq!((unknown.status, unknown.text("reason")), (404, "not_found"));
    }
    let graph = narrows.ask("GET", "/v1/reports/graph", &person, None).await;
    let edges = graph.body["edges"].as_array().unwrap();
    assert!(!edges.is_empty(), "{}", graph.body);
    assert!(
        edges.iter().all(|edge| edge["boundary"] != "front"),
        "nobody was handed anything: {edges:?}"
    );
    narrows.stop().await;
}
