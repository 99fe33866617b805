//! An issuer that takes its time over opaque tokens: whoever makes us ask it holds up nobody who does not need it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use broker::{Rates, Role};
use fetch::Introspection;
use serde_json::{Value, json};
use testkit::CORP;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::{operator, plan};
use crate::boundaries::{EXCHANGE, asked, decided, observes, started_as, with};
use crate::installation::{Installation, Plan};

const ATTRIBUTES: &str = "/v1/boundaries/front/attributes";
const AT_WORK: &str = "narrows_at_work{room=\"waited_for\"}";
/// What a change may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// It takes questions, and answers none until it is let.
#[derive(Clone)]
struct Slow {
    open: Arc<AtomicUsize>,
    answers: Arc<watch::Sender<bool>>,
}

/// A question that is open, until it is answered or given up.
struct OpenQuestion(Slow);

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Slow {
    async fn start() -> (Self, Introspection) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap()).parse().unwrap();
        let slow = Self {
            open: Arc::default(),
            answers: Arc::new(watch::channel(false).0),
        };
        let routes = Router::new().route("/introspect", post(answer)).with_state(slow.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let introspection = Introspection {
            name: "corp".to_owned(),
            issuer: CORP.to_owned(),
            url,
            client_id: "narrows".to_owned(),
            client_secret: "secret".to_owned(),
        };
        (slow, introspection)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn answer(State(slow): State<Slow>) -> &'static str {
    slow.open.fetch_add(1, Ordering::SeqCst);
    let question = OpenQuestion(slow);
    let mut answers = question.0.answers.subscribe();
    let _ = answers.wait_for(|answers| *answers).await;
    r#"{"active":false}"#
}

fn slow_plan(introspection: Introspection) -> Plan {
    Plan {
        introspection: Some(introspection),
        ..plan()
    }
}

fn opaque(number: usize) -> String {
    format!("ya29.a0AfB_byC-{number:010}")
}

fn from(address: &str) -> Value {
    json!({ "client_ip": address })
}

/// So many requests with opaque tokens that nobody knows, each another one. Who is told that the issuer is not available asks again:
/// as many stay open as may, however long this takes.
fn flood(narrows: &Arc<Installation>, path: &'static str, token: &str, body: &Value, count: usize) -> JoinSet<String> {
    let mut flood = JoinSet::new();
    for number in 0..count {
        let (narrows, token) = (Arc::clone(narrows), token.to_owned());
        let body = with(body.clone(), &json!({ "subject_token": opaque(number) }));
        flood.spawn(async move {
            loop {
                let said = narrows.ask("POST", path, &token, Some(&body)).await;
                if decided(&said) != "issuer_unavailable" {
                    return decided(&said).to_owned();
                }
            }
        });
    }
    flood
}

async fn metric(narrows: &Installation, name: &str) -> usize {
    let text = narrows.open("GET", "/metrics", &[]).await.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// Waits until `holds`; the condition decides, not the time.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn a_flood_of_opaque_tokens_from_one_address_keeps_out_nobody_else() {
    let (slow, introspection) = Slow::start().await;
    let (narrows, token) = started_as(slow_plan(introspection)).await;
    let narrows = Arc::new(narrows);
    let honest = asked(&narrows);
    let mut flooding = flood(&narrows, EXCHANGE, &token, &honest, 120);
    let mut refused = 0;
    until("its share is open, the rest is refused, and nobody has a turn", async || {
        while let Some(said) = flooding.try_join_next() {
            assert_eq!(said.unwrap(), "rate_limited");
            refused += 1;
        }
        slow.open() == 64 && refused == 56 && metric(&narrows, AT_WORK).await == 0
    })
    .await;

    // Who needs no word of the issuer is not held up, from that address and from others; nor is who does, from another.
    for address in ["192.0.2.7", "192.0.2.8"] {
        let reply = narrows.ask("POST", EXCHANGE, &token, Some(&with(honest.clone(), &from(address)))).await;
        assert_eq!(decided(&reply), "granted", "{address}");
    }
    let another = with(honest.clone(), &from("192.0.2.8"));
    let mut more = flood(&narrows, ATTRIBUTES, &token, &attributes(&another), 1);
    until("it is asked for another address", async || slow.open() == 65).await;
    slow.answers.send_replace(true);
    until("all are answered", async || {
        while let Some(said) = flooding.try_join_next() {
            // Once they are known to be nothing they count for the address.
            assert!(["subject_token_invalid", "rate_limited"].contains(&said.unwrap().as_str()));
        }
        flooding.is_empty()
    })
    .await;
    assert_eq!(more.join_next().await.unwrap().unwrap(), "subject_token_invalid");
    let narrows = Arc::into_inner(narrows).unwrap();
    narrows.stop().await;
}

/// What an issuer that is away is not asked about is shown by nobody who is known: past the limit nothing more is.
#[tokio::test]
async fn tokens_that_nobody_can_be_asked_about_count_for_their_address() {
    let (_, introspection) = Slow::start().await;
    let away = Introspection {
        url: "http://127.0.0.1:1/introspect".parse().unwrap(),
        ..introspection
    };
    let rates = Rates {
        per_address: std::num::NonZeroU32::MIN,
        ..Rates::default()
    };
    let (narrows, token) = started_as(Plan { rates, ..slow_plan(away) }).await;
    let narrows = Arc::new(narrows);
    let flooding = flood(&narrows, EXCHANGE, &token, &asked(&narrows), 20);
    let told = tokio::time::timeout(PATIENCE, flooding.join_all()).await.unwrap();
    assert!(told.iter().all(|said| said == "rate_limited"), "{told:?}");
    let narrows = Arc::into_inner(narrows).unwrap();
    narrows.stop().await;
}

/// What is only observed waits in a room of its own, here for keys that do not come.
#[tokio::test]
async fn what_is_only_observed_takes_no_turn_of_what_is_waited_for() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let keys = format!("http://{}/jwks", silent.local_addr().unwrap()).parse().unwrap();
    let (narrows, token) = started_as(Plan {
        corp: Some(fetch::KeySource::Uri(keys)),
        ..plan()
    })
    .await;
    observes(&narrows, "front");
    let narrows = Arc::new(narrows);
    let observed = with(asked(&narrows), &json!({ "observed": true }));
    let asking = {
        let (narrows, token) = (Arc::clone(&narrows), token.clone());
        tokio::spawn(async move { narrows.ask("POST", EXCHANGE, &token, Some(&observed)).await.status })
    };
    until("it has a turn there", async || {
        let there = metric(&narrows, "narrows_at_work{room=\"observed\"}").await;
        there == 1 && metric(&narrows, AT_WORK).await == 0
    })
    .await;
    assert_eq!(asking.await.unwrap(), 200);
    let narrows = Arc::into_inner(narrows).unwrap();
    narrows.stop().await;
}

/// The members of a question for attributes.
fn attributes(body: &Value) -> Value {
    let mut body = body.clone();
    let members = ["request", "client_ip", "is_callers_own", "subject_token"];
    body.as_object_mut().unwrap().retain(|name, _| members.contains(&name.as_str()));
    body
}

#[tokio::test]
async fn callers_whose_addresses_nobody_knows_share_the_share_of_their_boundary() {
    let (slow, introspection) = Slow::start().await;
    let (narrows, token) = started_as(slow_plan(introspection)).await;
    let narrows = Arc::new(narrows);
    let honest = with(asked(&narrows), &json!({ "is_callers_own": false }));
    let mut floods: Vec<_> = ["192.0.2.7", "192.0.2.8"]
        .iter()
        .map(|address| flood(&narrows, EXCHANGE, &token, &with(honest.clone(), &from(address)), 50))
        .collect();
    let mut refused = 0;
    until("one share is open", async || {
        for flooding in &mut floods {
            while let Some(said) = flooding.try_join_next() {
                assert_eq!(said.unwrap(), "rate_limited");
                refused += 1;
            }
        }
        slow.open() == 64 && refused == 36
    })
    .await;
    let reply = narrows.ask("POST", EXCHANGE, &token, Some(&honest)).await;
    assert_eq!(decided(&reply), "granted");
    slow.answers.send_replace(true);
    for flooding in floods {
        flooding.join_all().await;
    }
    let narrows = Arc::into_inner(narrows).unwrap();
    narrows.stop().await;
}

#[tokio::test]
async fn what_is_only_observed_takes_no_place_of_what_is_waited_for_and_is_counted() {
    let (slow, introspection) = Slow::start().await;
    let (narrows, token) = started_as(slow_plan(introspection)).await;
    observes(&narrows, "front");
    let narrows = Arc::new(narrows);
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let honest = asked(&narrows);
    let observed = with(honest.clone(), &json!({ "observed": true }));
    let mut flooding = flood(&narrows, EXCHANGE, &token, &observed, 60);
    let mut refused = 0;
    until("those that find room are open, and the rest is counted", async || {
        while let Some(said) = flooding.try_join_next() {
            assert_eq!(said.unwrap(), "rate_limited");
            refused += 1;
        }
        slow.open() == 32 && refused == 28
    })
    .await;
    let unrecorded = "narrows_observed_total{boundary=\"front\",decision=\"unrecorded\"}";
    assert_eq!(metric(&narrows, unrecorded).await, 28);
    let own = flood(&narrows, EXCHANGE, &token, &honest, 64);
    until("who is waited for has the whole share beside it", async || slow.open() == 96).await;
    let reply = narrows.ask("POST", EXCHANGE, &token, Some(&honest)).await;
    assert_eq!(decided(&reply), "granted");
    slow.answers.send_replace(true);
    flooding.join_all().await;
    own.join_all().await;
    let report = narrows.ask("GET", "/v1/reports/observed", &auditor, None).await;
    let groups = report.body["items"].as_array().unwrap();
    assert!(
        groups.iter().all(|group| group["reason"] != "rate_limited"),
        "what found no room is on no record: {groups:?}"
    );
    assert!(!groups.is_empty());
    let narrows = Arc::into_inner(narrows).unwrap();
    narrows.stop().await;
}
