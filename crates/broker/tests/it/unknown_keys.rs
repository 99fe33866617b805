//! Floods of tokens whose keys nobody knows, from twenty clients that are known, beside honest traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::Rates;
use delegation::oauth::ClientId;
use delegation::registry::{AuthMethod, Client, ClientAuth, SecretDigest, Snapshot};
use delegation::token::{Algorithm, sha256};
use fetch::KeySource;
use http::StatusCode;
use serde_json::{Value, json};
use testkit::{CORP, FakeIssuer};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::installation::{Installation, Plan, encode};

const CLIENTS: usize = 20;
/// Requests of each client that are under way at once, over one connection: more in all than the broker works on at a time.
const AT_ONCE: usize = 40;
/// What no honest `kid` holds.
const MARK: &str = "nobodys-key";

/// How many requests each of those sends one after the other; more with the long run.
fn rounds() -> usize {
    std::env::var("NARROWS_FLOOD").map_or(1, |text| text.parse().unwrap())
}

/// What the key server answers with.
#[derive(Clone, Debug)]
enum Answer {
    Keys(Value),
    Failure,
    /// Nothing, until another answer is set.
    Nothing,
}

/// The corporate issuer's key server, on loopback.
#[derive(Clone)]
struct KeyServer {
    answer: watch::Sender<Answer>,
    asked: Arc<AtomicUsize>,
    url: String,
}

impl KeyServer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            answer: watch::Sender::new(Answer::Failure),
            asked: Arc::default(),
            url: format!("http://{}/jwks", listener.local_addr().unwrap()),
        };
        let routes = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        server
    }

    fn answers(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until it was asked so often.
    async fn is_asked(&self, times: usize) {
        while self.asked() < times {
            tokio::task::yield_now().await;
        }
    }
}

async fn answer(State(server): State<KeyServer>) -> Response {
    server.asked.fetch_add(1, Ordering::SeqCst);
    let mut answers = server.answer.subscribe();
    let answer = answers.wait_for(|answer| !matches!(answer, Answer::Nothing)).await.unwrap().clone();
    match answer {
        Answer::Keys(jwks) => jwks.to_string().into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A broker that knows corp's keys from a server of its own, and twenty clients who mean no good.
struct Flooded {
    narrows: Installation,
    server: KeyServer,
    clients: Vec<reqwest::Client>,
    sent: Arc<AtomicUsize>,
}

fn with_twenty_more(snapshot: &mut Snapshot) {
    for number in 0..CLIENTS {
        let id = ClientId::parse(&format!("noisy-{number}")).unwrap();
        let like = snapshot.clients.get(&ClientId::parse("stranger").unwrap()).unwrap();
        let client = Client {
            id: id.clone(),
            auth: vec![ClientAuth {
                method: AuthMethod::SecretPost(SecretDigest::from_bytes(sha256(b"noisy-secret"))),
                until: None,
            }],
            ..like.clone()
        };
        snapshot.clients.insert(id, client);
    }
}

impl Flooded {
    /// Corp's keys are known already: one honest token was exchanged.
    async fn start() -> Self {
        let server = KeyServer::start().await;
        // Limits for each client would stop such a flood sooner; what is tried here is what stands behind them.
        let many = std::num::NonZeroU32::new(1_000_000).unwrap();
        let narrows = Installation::of(Plan {
            change: Box::new(with_twenty_more),
            rates: Rates {
                per_client: many,
                per_address: many,
            },
            corp: Some(KeySource::Uri(server.url.parse().unwrap())),
            ..Plan::default()
        })
        .await;
        server.answers(Answer::Keys(narrows.issuer.jwks()));
        let client = || reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
        let flooded = Self {
            clients: (0..CLIENTS).map(|_| client()).collect(),
            sent: Arc::default(),
            narrows,
            server,
        };
        flooded.honest().await;
        assert_eq!(flooded.server.asked(), 1, "the first fetch");
        flooded
    }

    /// Starts the flood; each task gives how many of its requests were refused as they must be.
    fn flood(&self, rounds: usize) -> JoinSet<usize> {
        let mut flood = JoinSet::new();
        for (number, client) in self.clients.iter().enumerate() {
            for _ in 0..AT_ONCE {
                let (client, url, sent) = (client.clone(), format!("{}/oauth2/token", self.narrows.url), Arc::clone(&self.sent));
                let token = self.narrows.user_token();
                let mut form = self.narrows.form();
                form.insert("client_id".to_owned(), format!("noisy-{number}"));
                form.insert("client_secret".to_owned(), "noisy-secret".to_owned());
                flood.spawn(async move {
                    let mut refused = 0;
                    for _ in 0..rounds {
                        form.insert("subject_token".to_owned(), of_nobody(&token, sent.fetch_add(1, Ordering::SeqCst)));
                        let pairs: Vec<_> = form.clone().into_iter().collect();
                        let request = client.post(&url).header("content-type", "application/x-www-form-urlencoded").body(encode(&pairs));
                        let reply: Value = serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap();
                        refused += usize::from(reply["reason"] == "subject_token_invalid");
                    }
                    refused
                });
            }
        }
        flood
    }

    /// One honest exchange.
    async fn honest(&self) {
        let reply = self.narrows.exchange(&[]).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
    }

    /// Plays the flood to its end, with honest traffic beside it for as long as it lasts.
    async fn withstand(&self, rounds: usize) {
        let mut flood = self.flood(rounds);
        let (mut refused, mut honest) = (0, 0);
        while !flood.is_empty() || honest < 20 {
            self.honest().await;
            honest += 1;
            while let Some(task) = flood.try_join_next() {
                refused += task.unwrap();
            }
        }
        assert_eq!(refused, CLIENTS * AT_ONCE * rounds, "every one of them is told the same");
    }

    async fn stop(self) {
        self.narrows.stop().await;
    }
}

/// `token` with a `kid` that no one has.
fn of_nobody(token: &str, number: usize) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": format!("{MARK}-{number}") });
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

/// Time passes for the keys; nothing is under way meanwhile.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// At most one fetch in each thirty seconds that a flood lasted, however slow this machine is.
fn allowed(began: Instant) -> usize {
    1 + usize::try_from(began.elapsed().as_secs() / 30).unwrap()
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_one_fetch_in_thirty_seconds_and_no_honest_request() {
    // DOS-001
    let flooded = Flooded::start().await;
    for _ in 0..2 {
        let (before, began) = (flooded.server.asked(), Instant::now());
        flooded.withstand(rounds()).await;
        let fetches = flooded.server.asked() - before;
        assert!((1..=allowed(began)).contains(&fetches), "{fetches} fetches");
        later(31).await;
    }
    flooded.stop().await;
}

#[tokio::test]
async fn a_key_server_that_fails_under_the_flood_takes_no_good_key_along() {
    // DOS-002
    let flooded = Flooded::start().await;
    flooded.server.answers(Answer::Failure);
    let began = Instant::now();
    flooded.withstand(rounds()).await;
    assert!((1..=allowed(began)).contains(&(flooded.server.asked() - 1)));
    let (_, _, ready) = flooded.narrows.get("/readyz").await;
    assert!(ready.contains("answered 500"), "operators are told: {ready}");
    flooded.honest().await;
    flooded.stop().await;
}

#[tokio::test]
async fn a_key_server_that_hangs_under_the_flood_holds_up_no_honest_request() {
    // DOS-002
    let flooded = Flooded::start().await;
    flooded.server.answers(Answer::Nothing);
    let mut flood = flooded.flood(1);
    flooded.server.is_asked(2).await;
    // All but those who wait for the fetch are answered while it hangs, and so is everybody honest.
    let mut refused = 0;
    while refused < CLIENTS * AT_ONCE - 128 {
        refused += flood.join_next().await.unwrap().unwrap();
        if refused % 50 == 0 {
            flooded.honest().await;
        }
    }
    flooded.honest().await;
    assert_eq!(flooded.server.asked(), 2);
    flooded.server.answers(Answer::Failure);
    while let Some(task) = flood.join_next().await {
        refused += task.unwrap();
    }
    assert_eq!(refused, CLIENTS * AT_ONCE);
    flooded.honest().await;
    flooded.stop().await;
}

#[tokio::test]
async fn whoever_hangs_up_while_keys_are_fetched_does_not_make_the_next_one_fetch_again() {
    // DOS-001
    let flooded = Flooded::start().await;
    flooded.server.answers(Answer::Nothing);
    let connections = async || {
        let (_, _, metrics) = flooded.narrows.get("/metrics").await;
        let line = metrics.lines().find(|line| line.starts_with("narrows_connections ")).unwrap().to_owned();
        line.split(' ').next_back().unwrap().parse::<u64>().unwrap()
    };
    let before = connections().await;
    for round in 0..20 {
        let token = of_nobody(&flooded.narrows.user_token(), round);
        let mut form = flooded.narrows.form();
        form.insert("subject_token".to_owned(), token);
        let pairs: Vec<_> = form.into_iter().collect();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.post(format!("{}/oauth2/token", flooded.narrows.url)).body(encode(&pairs));
        let asking = tokio::spawn(request.header("content-type", "application/x-www-form-urlencoded").send());
        if round == 0 {
            flooded.server.is_asked(2).await;
        } else {
            while connections().await == before {}
        }
        asking.abort();
        while connections().await > before {}
    }
    assert_eq!(flooded.server.asked(), 2);
    flooded.server.answers(Answer::Keys(flooded.narrows.issuer.jwks()));
    flooded.honest().await;
    flooded.stop().await;
}

#[tokio::test]
async fn keys_that_corp_rotates_under_the_flood_are_found_when_thirty_seconds_have_passed() {
    // DOS-004: the flood takes the one fetch right before the keys change.
    let flooded = Flooded::start().await;
    let began = Instant::now();
    flooded.withstand(1).await;
    let next = FakeIssuer::new(CORP, "k2", Algorithm::Es256);
    flooded.server.answers(Answer::Keys(json!({ "keys": [flooded.narrows.issuer.jwk(), next.jwk()] })));
    let with_next = async || {
        let token = next.sign("at+jwt", &flooded.narrows.user_claims());
        flooded.narrows.exchange(&[("subject_token", &token)]).await
    };
    if began.elapsed() < Duration::from_secs(25) {
        assert_eq!(
            with_next().await.text("reason"),
            "subject_token_invalid",
            "nothing is fetched before its time"
        );
    }
    later(31).await;
    let before = flooded.server.asked();
    let mut flood = flooded.flood(rounds());
    drop(flood.join_next().await);
    // Whatever comes first makes the broker look, and from then on the new key is as good as the old one.
    while !flood.is_empty() {
        let reply = with_next().await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        flooded.honest().await;
        while flood.try_join_next().is_some() {}
    }
    let fetches = flooded.server.asked() - before;
    assert!((1..=allowed(began)).contains(&fetches), "{fetches} fetches");
    flooded.stop().await;
}

#[tokio::test]
async fn nothing_of_an_unknown_key_is_kept() {
    // DOS-005
    let flooded = Flooded::start().await;
    let remembered = || {
        let held = format!("{:?}", flooded.narrows.broker);
        let (_, from) = held.split_once("remembered: ").unwrap();
        from.split_once('}').unwrap().0.to_owned()
    };
    // What is remembered of a token is a digest, in which no mark could be found: so it is counted.
    let before = remembered();
    assert!(before.contains("subjects: Memory(1)"), "the honest one: {before}");
    let refused: usize = flooded.flood(rounds()).join_all().await.into_iter().sum();
    assert_eq!(refused, CLIENTS * AT_ONCE * rounds());
    assert_eq!(remembered(), before);
    flooded.withstand(rounds()).await;
    let held = format!("{:?}", flooded.narrows.broker);
    assert!(
        held.contains("\"k1\""),
        "what the broker holds can be seen, the known key for one: {held}"
    );
    assert!(!held.contains(MARK), "{held}");
    let records = flooded.narrows.records().await;
    assert!(!records.iter().any(|record| record.to_string().contains(MARK)));
    flooded.stop().await;
}
