//! A broker in another process: what it is asked, what of its replies is believed, and what becomes of silence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use boundary::remote::{Remote, Replies};
use boundary::{Exchanger as _, Granted, Refused, Seen};
use delegation::oauth::Reason;
use narrows_guard::link::Link;
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::fake_broker::{FakeBroker, Says, Signs, claims, detail, front, granted, link, needs, now, seen};

/// No wait of a test is longer.
const BOUND: Duration = Duration::from_secs(60);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, what).await.unwrap()
}

async fn ask(remote: &Remote<Signs>) -> Result<Granted, Refused> {
    within(remote.exchange(&seen(), "the.callers.token".into(), &needs())).await
}

/// The reason of a refusal that nobody put on record.
fn unavailable(asked: Result<Granted, Refused>) -> bool {
    asked.is_err_and(|refused| refused.reason == Reason::StoreUnavailable && !refused.decision_id.is_empty())
}

/// The boundary `front` over `link`.
fn over(link: Arc<Link<Signs>>) -> Remote<Signs> {
    Remote::new(Arc::new(Replies::new(link, Arc::new(testkit::snapshot()))), "front".to_owned())
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_token_that_is_what_was_asked_for_goes_on_and_the_question_says_all() {
    let broker = FakeBroker::start().await;
    let remote = front(&[broker.address]);
    let token = broker.token();
    broker.says(granted(&token));
    let granted = ask(&remote).await.unwrap();
    assert_eq!(granted.token, token);
    assert!(granted.expires_in > Duration::ZERO && granted.expires_in <= Duration::from_secs(60));

    let mut stepped = needs();
    stepped.max_auth_age = Some(Duration::from_secs(90));
    stepped.acr = Some("phr".to_owned());
    stepped.onward = vec![detail("ticket:read/43")];
    let _ = within(remote.exchange(&seen(), "the.callers.token".into(), &stepped)).await;
    let asked = broker.asked();
    let usual = json!({
        "subject_token": "the.callers.token", "audience": "https://tickets.internal",
        "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "42" }],
        "request": { "method": "GET", "host": "tickets.internal", "path": "/tickets/42" },
        "client_ip": "192.0.2.7", "is_callers_own": true,
    });
    assert_eq!(asked[0], ("front/exchange".to_owned(), usual.clone()));
    let mut more = usual;
    more["max_auth_age"] = json!(90);
    more["acr"] = json!("phr");
    more["onward"] = json!([{ "type": "ticket", "actions": ["read"], "identifier": "43" }]);
    assert_eq!(asked[1].1, more);
}

fn with(changes: &Value) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

fn details(texts: &[&str]) -> Value {
    texts.iter().map(|text| detail(text).to_json()).collect()
}

#[tokio::test]
async fn what_is_not_the_brokers_word_for_exactly_this_request_goes_nowhere() {
    let broker = FakeBroker::start().await;
    let remote = front(&[broker.address]);
    let signed = |changes: Value| broker.keys.sign("at+jwt", &with(&changes));
    let good = broker.token();
    let (body, signature) = good.rsplit_once('.').unwrap();
    let payload = body.split_once('.').unwrap().1;
    let mut none = broker.keys.sign_raw(br#"{"alg":"none","typ":"at+jwt"}"#, claims().to_string().as_bytes());
    let rows = [
        ("another key of the same name", FakeIssuer::es256(BROKER).sign("at+jwt", &claims())),
        ("another issuer", signed(json!({ "iss": CORP }))),
        (
            "a shared secret",
            broker.keys.hs256(broker.keys.jwks().to_string().as_bytes(), &claims()),
        ),
        ("no algorithm", none.clone()),
        ("no signature", {
            none.truncate(none.rfind('.').unwrap() + 1);
            none
        }),
        ("another payload under the signature", {
            let other = signed(json!({ "sub": "eve" }));
            format!("{}.{signature}", other.rsplit_once('.').unwrap().0)
        }),
        (
            "another header",
            format!("eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.{payload}.{signature}"),
        ),
        ("another kind", broker.keys.sign("JWT", &claims())),
        ("another audience", signed(json!({ "aud": "https://orders.internal" }))),
        (
            "two audiences",
            signed(json!({ "aud": ["https://tickets.internal", "https://orders.internal"] })),
        ),
        ("another client's", signed(json!({ "client_id": "orders" }))),
        ("expired", signed(json!({ "iat": now() - 60, "exp": now() - 1 }))),
        ("from tomorrow", signed(json!({ "iat": now() + 86_400, "exp": now() + 86_460 }))),
        ("for a day", signed(json!({ "exp": now() + 86_400 }))),
        (
            "another ticket",
            signed(json!({ "authorization_details": details(&["ticket:read/43"]) })),
        ),
        (
            "another action",
            signed(json!({ "authorization_details": details(&["ticket:update/42"]) })),
        ),
        (
            "one action more",
            signed(json!({ "authorization_details": details(&["ticket:read,update/42"]) })),
        ),
        (
            "one ticket more",
            signed(json!({ "authorization_details": details(&["ticket:read/42", "ticket:read/43"]) })),
        ),
        ("nothing", signed(json!({ "authorization_details": [] }))),
        (
            "a constraint that nobody asked for",
            signed(json!({ "authorization_details": details(&["ticket:read/42?tenant=acme"]) })),
        ),
        ("a scope", signed(json!({ "scope": "profile" }))),
        ("something onward", signed(json!({ "onward": details(&["ticket:read/42"]) }))),
        ("bound to a key", signed(json!({ "cnf": { "jkt": "x" } }))),
        ("opaque", format!("nrwa_{}", "x".repeat(43))),
        ("no token", "x".to_owned()),
        ("empty", String::new()),
    ];
    for (what, token) in rows {
        broker.says(granted(&token));
        assert!(unavailable(ask(&remote).await), "{what}");
    }
    for (status, said) in [
        (200, json!({})),
        (200, json!({ "granted": { "access_token": [good] } })),
        (200, json!({ "granted": good })),
        (201, json!({ "granted": { "access_token": good } })),
        (403, json!({ "granted": { "access_token": good } })),
        (500, json!({})),
    ] {
        broker.says(Says::Reply(status, said.clone()));
        assert!(unavailable(ask(&remote).await), "{status} {said}");
    }
    broker.says(granted(&good));
    assert!(ask(&remote).await.is_ok(), "and the right one goes on");
}

/// Who signed a token is remembered; what it is for is asked each time.
#[tokio::test]
async fn a_token_that_went_on_before_goes_nowhere_with_another_request() {
    let broker = FakeBroker::start().await;
    let remote = front(&[broker.address]);
    broker.says(granted(&broker.token()));
    for _ in 0..3 {
        assert!(ask(&remote).await.is_ok());
    }
    let mut other = needs();
    other.details = vec![detail("ticket:read/43")];
    assert!(unavailable(within(remote.exchange(&seen(), "t".into(), &other)).await));
    // The same claims under another signature are another token.
    broker.says(granted(&FakeIssuer::es256(BROKER).sign("at+jwt", &claims())));
    assert!(unavailable(ask(&remote).await));
}

/// Whoever stands between answers one caller with what another was given; it is signed, and for the same request.
#[tokio::test]
async fn a_token_that_came_of_another_callers_goes_nowhere() {
    let broker = FakeBroker::start().await;
    let remote = front(&[broker.address]);
    let callers = |issuer: &str, jti: &str| {
        let claims = json!({ "iss": issuer, "sub": "alice", "aud": "https://edge.example", "iat": now(), "exp": now() + 60, "jti": jti });
        FakeIssuer::es256(issuer).sign("at+jwt", &claims)
    };
    let (outside, ours) = (callers(CORP, "c-1"), callers(BROKER, "b-1"));
    let named = |issuer: &str, jti: &str| delegation::token::chain_entry(issuer, Some(jti), "");
    let chains = [
        (&outside, json!([named(CORP, "c-1")]), true),
        (&outside, json!([named(CORP, "c-2")]), false),
        (&outside, json!([named(CORP, "c-1"), "b-1"]), false),
        (&outside, json!([]), false),
        (&outside, Value::Null, false),
        (&ours, json!([named(CORP, "c-1"), "b-1"]), true),
        (&ours, json!([named(CORP, "c-1"), "b-2"]), false),
    ];
    for (shown, chain, goes) in chains {
        broker.says(granted(&broker.token_of(&chain)));
        let asked = within(remote.exchange(&seen(), shown.as_str().into(), &needs())).await;
        assert_eq!(asked.is_ok(), goes, "{chain}");
        assert!(goes || unavailable(asked), "{chain}");
    }
}

#[tokio::test]
async fn what_is_remembered_of_a_token_ends_with_the_key_that_signed_it() {
    let broker = FakeBroker::start().await;
    let remote = front(&[broker.address]);
    let known = broker.token();
    broker.says(granted(&known));
    assert!(ask(&remote).await.is_ok());
    broker.publishes(FakeIssuer::es256(BROKER).jwks());
    assert!(ask(&remote).await.is_ok(), "nobody has looked yet");
    // Five minutes pass, for the keys alone.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(301)).await;
    tokio::time::resume();
    // One that nobody has seen is judged by the old keys until the new ones are here.
    within(async {
        broker.says(granted(&broker.token()));
        while ask(&remote).await.is_ok() {
            broker.says(granted(&broker.token()));
        }
    })
    .await;
    broker.says(granted(&known));
    assert!(unavailable(ask(&remote).await));
}

/// The clocks of two machines are never the same.
#[tokio::test]
async fn a_token_of_a_clock_that_is_a_little_ahead_is_taken() {
    let broker = FakeBroker::start().await;
    let remote = front(&[broker.address]);
    broker.says(granted(
        &broker.keys.sign("at+jwt", &with(&json!({ "iat": now() + 3, "exp": now() + 60 }))),
    ));
    assert!(ask(&remote).await.is_ok());
}

#[tokio::test]
async fn refusals_come_with_their_reason_and_their_record() {
    let broker = FakeBroker::start().await;
    let remote = front(&[broker.address]);
    let refused = |reason: &str, id: &str| Says::Reply(200, json!({ "refused": { "reason": reason, "decision_id": id } }));
    broker.says(refused("policy_denied", "d-1"));
    let expected = Refused {
        reason: Reason::PolicyDenied,
        decision_id: "d-1".to_owned(),
    };
    assert_eq!(ask(&remote).await.unwrap_err(), expected);
    assert_eq!(within(remote.refuse(&seen(), Reason::NoRoute)).await, expected);
    let (path, body) = broker.asked().pop().unwrap();
    assert_eq!((path.as_str(), &body["reason"]), ("front/refusals", &json!("no_route")));
    assert_eq!(body["request"]["path"], "/tickets/42");
    // What people are shown is an id, or nothing of the kind.
    for (reason, id) in [
        ("because", "d-1"),
        ("policy_denied", "<b>"),
        ("policy_denied", ""),
        ("policy_denied", &"d".repeat(65)),
    ] {
        broker.says(refused(reason, id));
        let refused = within(remote.refuse(&seen(), Reason::NoRoute)).await;
        assert_eq!(refused.reason, Reason::StoreUnavailable, "{reason} {id}");
        assert!(unavailable(ask(&remote).await), "{reason} {id}");
        assert_ne!(refused.decision_id, id);
    }
    broker.says(granted(&broker.token()));
    assert_eq!(
        within(remote.refuse(&seen(), Reason::NoRoute)).await.reason,
        Reason::StoreUnavailable,
        "what is refused is never granted"
    );
}

#[tokio::test]
async fn one_connection_serves_every_ask() {
    let broker = FakeBroker::start().await;
    let link = link(&[broker.address], BOUND, BOUND);
    link.tend().await;
    assert!(link.is_ready());
    let remote = over(link);
    broker.says(granted(&broker.token()));
    for _ in 0..50 {
        assert!(ask(&remote).await.is_ok());
    }
    assert_eq!((broker.asked().len(), broker.bearers(), broker.connections()), (50, 1, 1));
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_not_waited_for_past_the_deadline() {
    // One that answers nothing at all, and one that gives keys and a token and then falls silent.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = FakeBroker::start().await;
    for (address, is_known) in [(silent.local_addr().unwrap(), false), (broker.address, true)] {
        let link = link(&[address], Duration::from_millis(150), BOUND);
        if is_known {
            link.tend().await;
            assert!(link.is_ready());
        }
        broker.says(Says::Nothing);
        let remote = over(link.clone());
        assert!(unavailable(ask(&remote).await));
        assert_eq!(
            within(remote.refuse(&seen(), Reason::NoToken)).await.reason,
            Reason::StoreUnavailable
        );
        assert!(!link.is_ready());
    }
}

#[tokio::test]
async fn an_address_that_says_nothing_is_not_asked_first_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = FakeBroker::start().await;
    broker.says(granted(&broker.token()));
    let link = link(&[silent.local_addr().unwrap(), broker.address], Duration::from_millis(500), BOUND);
    let remote = over(link);
    assert!(unavailable(ask(&remote).await));
    within(async { while ask(&remote).await.is_err() {} }).await;
}

#[tokio::test]
async fn another_address_is_asked_where_nothing_was_sent_and_only_there() {
    let broker = FakeBroker::start().await;
    broker.says(granted(&broker.token()));
    let remote = front(&[nobody().await, broker.address]);
    assert!(ask(&remote).await.is_ok());
    assert!(ask(&remote).await.is_ok());

    // This one gives a token, reads the question, and hangs up: it may have decided.
    let hangs_up = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = front(&[hangs_up.local_addr().unwrap(), broker.address]);
    let before = broker.asked().len();
    let reads = async {
        let mut questions = 0;
        while questions == 0 {
            let (mut stream, _) = hangs_up.accept().await.unwrap();
            let mut request = vec![0; 16 * 1024];
            let count = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..count]).into_owned();
            if text.starts_with("POST /oauth2/token") {
                let token = r#"{"access_token":"own-0","expires_in":300}"#;
                let reply = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{token}",
                    token.len()
                );
                tokio::io::AsyncWriteExt::write_all(&mut stream, reply.as_bytes()).await.unwrap();
            } else {
                questions += usize::from(text.starts_with("POST /v1/"));
            }
        }
    };
    let (asked, ()) = tokio::join!(ask(&remote), within(reads));
    assert!(unavailable(asked));
    assert_eq!(broker.asked().len(), before, "nobody else was asked the same");
    assert!(ask(&remote).await.is_ok(), "the next one is asked elsewhere");
}

#[tokio::test]
async fn a_token_of_ours_that_is_taken_no_more_is_replaced_once() {
    let broker = FakeBroker::start().await;
    let remote = front(&[broker.address]);
    broker.says(granted(&broker.token()));
    assert!(ask(&remote).await.is_ok());
    assert_eq!(broker.bearers(), 1);
    broker.takes_from(1);
    assert!(ask(&remote).await.is_ok());
    assert_eq!(broker.bearers(), 2);
    broker.takes_from(usize::MAX);
    assert!(unavailable(ask(&remote).await));
    assert_eq!(broker.bearers(), 3);
}

#[tokio::test]
async fn a_response_goes_on_while_its_token_is_alive_and_ends_with_it() {
    let broker = FakeBroker::start().await;
    let remote = front(&[broker.address]);
    let token = broker.token();
    broker.says(granted(&token));
    let granted = ask(&remote).await.unwrap();
    broker.says(Says::Reply(200, json!({ "alive": true })));
    let looks = || broker.asked().iter().filter(|(path, _)| path == "front/alive").count();
    let looked_twice = async {
        while looks() < 2 {
            tokio::task::yield_now().await;
        }
    };
    within(async {
        tokio::select! {
            _ = remote.ended(&granted) => panic!("its token is alive"),
            () = looked_twice => {}
        }
    })
    .await;
    assert_eq!(broker.asked().last().unwrap().1, json!({ "token": token }));
    for said in [json!({ "alive": false }), json!({ "alive": "true" }), json!({})] {
        broker.says(Says::Reply(200, said));
        assert_eq!(within(remote.ended(&granted)).await, Reason::SubjectTokenRevoked);
    }
    let expired = Granted {
        expires_in: Duration::ZERO,
        ..granted
    };
    assert_eq!(within(remote.ended(&expired)).await, Reason::SubjectTokenExpired);
}

#[tokio::test]
async fn a_response_does_not_go_on_when_nobody_can_say_whether_it_may() {
    let broker = FakeBroker::start().await;
    let link = link(&[broker.address], BOUND, Duration::from_millis(600));
    let remote = over(link);
    broker.says(granted(&broker.token()));
    let granted = ask(&remote).await.unwrap();
    for (silence, why) in [
        (Says::Nothing, Reason::RevocationViewStale),
        (
            Says::Reply(503, json!({ "reason": "store_unavailable" })),
            Reason::RevocationViewStale,
        ),
        (Says::Reply(401, json!({})), Reason::StoreUnavailable),
    ] {
        broker.says(silence);
        assert_eq!(within(remote.ended(&granted)).await, why);
    }
}

#[tokio::test]
async fn an_address_inside_the_network_is_refused_unless_it_is_named() {
    let refused = std::panic::catch_unwind(|| link(&["10.1.2.3:443".parse().unwrap()], BOUND, BOUND));
    assert!(refused.is_err(), "http to another machine, and a private address");
}

#[tokio::test]
async fn what_is_only_observed_is_asked_for_as_such_and_nothing_else_is_believed_of_it() {
    let broker = FakeBroker::start().await;
    let remote = front(&[broker.address]);
    let observed = Seen { observed: true, ..seen() };
    let observe = async || within(remote.observe(&observed, "the.callers.token".into(), &needs())).await;
    broker.says(Says::Reply(200, json!({ "observed": true })));
    assert_eq!(observe().await, Ok(()));
    let (what, asked) = broker.asked().pop().unwrap();
    assert_eq!((what.as_str(), &asked["observed"]), ("front/exchange", &json!(true)));
    broker.says(granted(&broker.token()));
    assert_eq!(
        observe().await.unwrap_err().reason,
        Reason::StoreUnavailable,
        "nobody asked for a token"
    );
    let refused = json!({ "reason": "no_route", "decision_id": "d-1" });
    broker.says(Says::Reply(200, json!({ "refused": refused })));
    assert_eq!(observe().await.unwrap_err().decision_id, "d-1");
    within(remote.refuse(&observed, Reason::NoRoute)).await;
    let (what, asked) = broker.asked().pop().unwrap();
    assert_eq!((what.as_str(), &asked["observed"]), ("front/refusals", &json!(true)));
    // What is enforced does not say so.
    broker.says(granted(&broker.token()));
    ask(&remote).await.unwrap();
    assert_eq!(broker.asked().pop().unwrap().1.get("observed"), None);
}
