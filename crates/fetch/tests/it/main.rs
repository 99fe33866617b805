//! The outbound client against a real server on loopback.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use delegation::token::Algorithm;
use fetch::{FetchError, FetchSettings, Fetcher, IssuerEntry, IssuerKeys, KeySource};
use testkit::FakeIssuer;

/// A server whose answers a test writes, and which counts the requests for keys.
#[derive(Clone)]
struct Site {
    url: String,
    answers: Arc<Mutex<Vec<(String, u16, String)>>>,
    asked_for_keys: Arc<AtomicUsize>,
}

impl Site {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let site = Self {
            url,
            answers: Arc::default(),
            asked_for_keys: Arc::default(),
        };
        let routes = Router::new().fallback(answer).with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        site
    }

    fn says(&self, path: &str, status: u16, body: &str) {
        let mut answers = self.answers.lock().unwrap();
        answers.retain(|(known, ..)| known != path);
        answers.push((path.to_owned(), status, body.to_owned()));
    }

    fn publishes(&self, kid: &str) {
        let jwks = FakeIssuer::new(&self.url, kid, Algorithm::Es256).jwks();
        self.says("/jwks", 200, &jwks.to_string());
    }

    fn asked(&self) -> usize {
        self.asked_for_keys.load(Ordering::SeqCst)
    }

    fn entry(&self, source: KeySource) -> IssuerEntry {
        IssuerEntry {
            name: "corp".to_owned(),
            issuer: self.url.clone(),
            source,
            algorithms: vec![Algorithm::Es256],
        }
    }

    fn keys(&self, source: KeySource) -> IssuerKeys {
        IssuerKeys::new(Arc::new(fetcher()), vec![self.entry(source)])
    }

    fn at(&self, path: &str) -> KeySource {
        KeySource::Uri(format!("{}{path}", self.url).parse().unwrap())
    }
}

async fn answer(State(site): State<Site>, uri: Uri) -> Response {
    if uri.path() == "/jwks" {
        site.asked_for_keys.fetch_add(1, Ordering::SeqCst);
    }
    let found = site.answers.lock().unwrap().iter().find(|(path, ..)| path == uri.path()).cloned();
    let (_, status, body) = found.unwrap_or_else(|| (String::new(), 404, String::new()));
    let mut response = Response::new(Body::from(body.clone()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if status == 302 {
        response.headers_mut().insert("location", body.parse().unwrap());
    }
    response
}

fn fetcher() -> Fetcher {
    Fetcher::new(FetchSettings::default()).unwrap()
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_inside_or_in_the_clear() {
    // SSRF-001: a POST carries a credential, and goes nowhere that a GET would not.
    for url in [
        "https://10.0.0.1/introspect",
        "https://169.254.169.254/",
        "http://idp.example/",
        "ftp://127.0.0.1/",
    ] {
        let url = url.parse().unwrap();
        let (got, sent) = (fetcher().get(&url).await, fetcher().post_form(&url, "Basic x", String::new()).await);
        let asked = fetcher().post(&url, Some("Bearer x"), "application/json", String::new()).await;
        for outcome in [got, sent, asked.map(|answer| answer.body)] {
            assert!(matches!(outcome, Err(FetchError::Refused { .. })), "{url}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_has_its_status_and_silence_tells_whether_anything_was_sent() {
    let site = Site::start().await;
    site.says("/moved", 302, &format!("{}/good", site.url));
    site.says("/refused", 403, "why");
    site.says("/large", 200, &"x".repeat(256 * 1024 + 1));
    let post = async |url: String| fetcher().post(&url.parse().unwrap(), None, "application/json", "{}".to_owned()).await;
    let at = async |path: &str| post(format!("{}{path}", site.url)).await;
    let refused = at("/refused").await.unwrap();
    assert_eq!((refused.status, refused.body.as_slice()), (StatusCode::FORBIDDEN, &b"why"[..]));
    assert_eq!(at("/moved").await.unwrap().status, StatusCode::FOUND, "it is not followed");
    assert!(matches!(at("/large").await, Err(FetchError::TooLarge(_))));
    assert!(!format!("{refused:?}").contains("why"));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let hangs_up = async { drop(listener.accept().await.unwrap()) };
    let (answered, ()) = tokio::join!(post(url.clone()), hangs_up);
    assert!(matches!(answered, Err(FetchError::Failed { .. })), "{answered:?}");
    drop(listener);
    let answered = post(url).await;
    assert!(matches!(answered, Err(FetchError::Unreached { .. })), "{answered:?}");
}

/// Time passes, for the keys alone.
async fn later(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

#[tokio::test]
async fn redirects_large_bodies_and_plain_http_are_refused() {
    let site = Site::start().await;
    site.says("/good", 200, "{}");
    site.says("/moved", 302, &format!("{}/good", site.url));
    site.says("/large", 200, &"x".repeat(256 * 1024 + 1));
    site.says("/full", 200, &"x".repeat(256 * 1024));
    let get = async |path: &str| fetcher().get(&format!("{}{path}", site.url).parse().unwrap()).await;
    assert_eq!(get("/good").await.unwrap(), b"{}");
    assert!(get("/moved").await.unwrap_err().to_string().contains("302"));
    assert!(get("/large").await.unwrap_err().to_string().contains("256 KiB"));
    assert!(get("/full").await.is_ok());
    assert!(get("/gone").await.is_err());
    // SSRF-001, SSRF-002, SSRF-005 (above): inside addresses in every notation, before a connection is made.
    for url in [
        "http://example.com/",
        "https://2852039166/",
        "https://0xa9fea9fe/",
        "https://0251.0376.0251.0376/",
        "https://169.254.43518/",
        "https://[::ffff:169.254.169.254]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[::169.254.169.254]/",
        "https://10.1/",
        "ftp://127.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/",
        "https://[::ffff:10.0.0.1]/",
        "https://0x0a000001/",
        "http://192.168.1.1/",
    ] {
        let refused = fetcher().get(&url.parse().unwrap()).await.unwrap_err();
        assert!(matches!(refused, FetchError::Refused { .. }), "{url}: {refused}");
    }
}

#[tokio::test]
async fn discovery_takes_only_a_document_that_names_this_issuer() {
    let site = Site::start().await;
    site.publishes("k1");
    let metadata = |issuer: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{}/jwks"}}"#, site.url);
    site.says("/.well-known/openid-configuration", 200, &metadata("https://other.example"));
    assert!(
        site.keys(KeySource::Discovery).keys("corp").await.is_err(),
        "SSRF-008: another issuer's document"
    );
    site.says("/.well-known/openid-configuration", 200, &metadata(&format!("{}/", site.url)));
    assert!(site.keys(KeySource::Discovery).keys("corp").await.is_err(), "a slash more");
    site.says("/.well-known/oauth-authorization-server", 200, &metadata(&site.url));
    assert_eq!(
        site.keys(KeySource::Discovery).keys("corp").await.unwrap().len(),
        1,
        "RFC 8414 comes second"
    );
    site.says("/.well-known/oauth-authorization-server", 404, "");
    site.says("/.well-known/openid-configuration", 200, &metadata(&site.url));
    assert_eq!(site.keys(KeySource::Discovery).keys("corp").await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_in_thirty_seconds() {
    let site = Site::start().await;
    site.publishes("k1");
    let keys = site.keys(site.at("/jwks"));
    keys.keys("corp").await.unwrap();
    for _ in 0..5 {
        keys.refetch("corp").await.unwrap();
    }
    assert_eq!(site.asked(), 2, "one to begin with, one for the unknown key");
    later(Duration::from_secs(31)).await;
    keys.refetch("corp").await.unwrap();
    assert_eq!(site.asked(), 3);
}

#[tokio::test]
async fn many_at_once_fetch_once() {
    let site = Site::start().await;
    site.publishes("k1");
    let keys = Arc::new(site.keys(site.at("/jwks")));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let keys = Arc::clone(&keys);
            tokio::spawn(async move { keys.keys("corp").await.is_ok() })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert_eq!(site.asked(), 1);
}

#[tokio::test]
async fn whatever_comes_the_last_good_set_stays_for_an_hour() {
    let site = Site::start().await;
    site.publishes("k1");
    let keys = site.keys(site.at("/jwks"));
    keys.keys("corp").await.unwrap();
    for (status, body) in [(500, ""), (200, "garbage"), (200, r#"{"keys":[]}"#), (200, "{}"), (404, "")] {
        // CLI-020: the keys of clients are kept in the same way.
        site.says("/jwks", status, body);
        later(Duration::from_secs(31)).await;
        assert_eq!(keys.refetch("corp").await.unwrap().len(), 1, "{status} {body}");
        assert!(keys.status().first().unwrap().last_error.is_some());
    }
    later(Duration::from_secs(3600)).await;
    assert!(keys.keys("corp").await.is_err(), "an hour after the last success");
    site.publishes("k2");
    later(Duration::from_secs(31)).await;
    assert!(keys.refetch("corp").await.is_ok(), "and back when the issuer is");
}

#[tokio::test]
async fn an_issuer_that_is_down_touches_nobody_else() {
    let site = Site::start().await;
    site.publishes("k1");
    // A port that was free a moment ago: nobody answers there.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let down = IssuerEntry {
        name: "down".to_owned(),
        source: KeySource::Uri(format!("http://{gone}/jwks").parse().unwrap()),
        ..site.entry(site.at("/jwks"))
    };
    let keys = IssuerKeys::new(Arc::new(fetcher()), vec![down, site.entry(site.at("/jwks"))]);
    assert!(keys.keys("down").await.is_err());
    assert!(keys.keys("corp").await.is_ok());
    assert!(keys.keys("unknown").await.is_err());
}

#[tokio::test]
async fn a_changed_configuration_keeps_what_did_not_change() {
    let site = Site::start().await;
    site.publishes("k1");
    let keys = site.keys(site.at("/jwks"));
    keys.keys("corp").await.unwrap();
    let other = IssuerEntry {
        name: "other".to_owned(),
        ..site.entry(site.at("/jwks"))
    };
    let changed = keys.with_entries(vec![site.entry(site.at("/jwks")), other]);
    changed.keys("corp").await.unwrap();
    assert_eq!(site.asked(), 1, "what did not change was not fetched again");
    changed.keys("other").await.unwrap();
    assert_eq!(site.asked(), 2);
    let stricter = IssuerEntry {
        algorithms: vec![Algorithm::EdDsa],
        ..site.entry(site.at("/jwks"))
    };
    let changed = changed.with_entries(vec![stricter]);
    assert!(
        changed.keys("corp").await.is_err(),
        "keys of an algorithm that is allowed no longer"
    );
}

#[tokio::test]
async fn a_key_file_that_changed_is_in_force_with_the_configuration_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corp.json");
    let write = |kids: &[&str]| {
        let jwk = |kid: &&str| FakeIssuer::new("https://corp.example", kid, Algorithm::Es256).jwk();
        let set = serde_json::json!({ "keys": kids.iter().map(jwk).collect::<Vec<_>>() });
        std::fs::write(&path, set.to_string()).unwrap();
    };
    let entries = || {
        vec![IssuerEntry {
            name: "corp".to_owned(),
            issuer: "https://corp.example".to_owned(),
            source: KeySource::File(path.clone()),
            algorithms: vec![Algorithm::Es256],
        }]
    };
    write(&["first"]);
    let fetcher = Arc::new(Fetcher::new(FetchSettings::default()).unwrap());
    let keys = IssuerKeys::new(fetcher, entries());
    assert_eq!(keys.keys("corp").await.unwrap().len(), 1);
    assert_eq!(keys.refetch("corp").await.unwrap().len(), 1);
    write(&["first", "second"]);
    let keys = keys.with_entries(entries());
    assert_eq!(keys.keys("corp").await.unwrap().len(), 2);
    std::fs::write(&path, "{").unwrap();
    let keys = keys.with_entries(entries());
    assert_eq!(keys.keys("corp").await.unwrap().len(), 2, "the last good set stays");
}

#[tokio::test]
async fn a_set_that_is_none_is_not_taken() {
    let site = Site::start().await;
    site.publishes("k1");
    let keys = site.keys(site.at("/jwks"));
    keys.keys("corp").await.unwrap();
    let mut private = FakeIssuer::new(&site.url, "k2", Algorithm::Es256).jwks();
    *private
        .pointer_mut("/keys/0")
        .and_then(|key| key.as_object_mut())
        .unwrap()
        .entry("d")
        .or_insert("".into()) = "AAAA".into();
    let bad = [
        "<html><body>sign in</body></html>".to_owned(),
        r#"{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256","kid":"k2"}]}"#.to_owned(),
        private.to_string(),
        String::from("\u{1f}\u{8b}\u{8}\u{0} a compressed body is not unpacked"),
        format!(r#"{{"keys":[{}]}}"#, vec!["{}"; 100_000].join(",")),
    ];
    for body in bad {
        site.says("/jwks", 200, &body);
        later(Duration::from_secs(31)).await;
        assert_eq!(keys.refetch("corp").await.unwrap().len(), 1, "SSRF-010 SSRF-011");
        assert!(
            keys.status().first().unwrap().last_error.is_some(),
            "{}",
            body.chars().take(40).collect::<String>()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    // Nobody reads from the connection, and none is ever answered.
    assert!(fetcher().get(&url).await.is_err(), "SSRF-010");
    drop(listener);
}

#[tokio::test]
async fn a_stream_is_read_as_it_comes_from_where_it_may_be_and_an_answer_that_is_no_stream_is_none() {
    let site = Site::start().await;
    let fetcher = Fetcher::new(FetchSettings::default()).unwrap();
    let opened = async |url: &str| {
        let headers = [("last-event-id", "7")];
        let opened = fetcher.stream(&url.parse().unwrap(), "Bearer own", &headers).await;
        let mut stream = opened?;
        let mut read = Vec::new();
        while let Some(part) = stream.next().await? {
            read.extend_from_slice(part.as_ref());
        }
        Ok::<_, FetchError>(read)
    };
    // Larger than any document may be.
    site.says("/feed", 200, &"x".repeat(300 * 1024));
    assert_eq!(opened(&format!("{}/feed", site.url)).await.unwrap().len(), 300 * 1024);
    site.says("/feed", 410, "{}");
    let gone = opened(&format!("{}/feed", site.url)).await;
    assert!(matches!(
        gone,
        Err(FetchError::Status {
            status: StatusCode::GONE,
            ..
        })
    ));
    for refused in ["http://example.com/feed", "https://10.0.0.1/feed"] {
        assert!(matches!(opened(refused).await, Err(FetchError::Refused { .. })), "{refused}");
    }
}
