//! `/v1/revocations/stream`: everything in order, nothing twice, and an end where the truth cannot be told.

use std::time::Duration;

use broker::Role;
use broker::store::{Party, Standing};
use delegation::oauth::ClientId;
use delegation::revocation::{Key, MarkKind, Revocation};
use delegation::time::Timestamp;
use issuance::audit::{Kind, Record};
use serde_json::{Value, json};
use testkit::CORP;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::api::{operator, own_token, plan};
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, seconds};

const PATH: &str = "/v1/revocations/stream";
/// No wait of a test is longer.
const BOUND: Duration = Duration::from_secs(20);

on_both_engines!(
    every_revocation_of_every_node_is_told_in_order_and_a_reader_comes_back_where_it_was,
    a_place_that_is_not_known_is_a_gap,
    a_store_that_was_set_back_ends_the_stream,
    who_is_disabled_is_told_as_a_stream_begins_and_whenever_it_changes,
);

/// Waits for `what`, but not for ever.
async fn within<T>(otherwise: &str, what: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, what).await {
        Ok(done) => done,
        Err(_) => panic!("{otherwise}"),
    }
}

/// One event.
#[derive(Debug, PartialEq)]
struct Event {
    id: Option<i64>,
    name: String,
    data: Value,
}

/// A reader of the feed.
struct Reader {
    response: reqwest::Response,
    rest: String,
}

impl Reader {
    async fn open(narrows: &Installation, path: &str, token: &str, headers: &[(&str, &str)]) -> Self {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(headers);
        let response = narrows.open("GET", path, &all).await;
        assert_eq!(response.status().as_u16(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self {
            response,
            rest: String::new(),
        }
    }

    /// The next event of those that are not about who is disabled; none when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.any().await?;
            if event.name != "standing" {
                return Some(event);
            }
        }
    }

    /// The next event; none when the stream has ended.
    async fn any(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                let event = Event {
                    id: field("id").map(|id| id.parse().unwrap()),
                    name: field("event").unwrap().to_owned(),
                    data: serde_json::from_str(field("data").unwrap()).unwrap(),
                };
                self.rest = rest.to_owned();
                return Some(event);
            }
            let chunk = within("the feed goes silent", self.response.chunk()).await.unwrap()?;
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn of(&mut self, name: &str) -> Event {
        let found = async {
            loop {
                let event = self.any().await.unwrap();
                if event.name == name {
                    return event;
                }
            }
        };
        within(&format!("there is no {name}"), found).await
    }

    /// Reads until the stream ends.
    async fn end(mut self) {
        within("the stream goes on", async { while self.next().await.is_some() {} }).await;
    }
}

async fn revoke(narrows: &Installation, admin: &str, jti: &str) -> i64 {
    let reply = narrows.ask("POST", "/v1/revocations", admin, Some(&json!({ "jti": jti }))).await;
    assert_eq!(reply.status, 201);
    reply.body["seq"].as_i64().unwrap()
}

/// What another node, or the command line, revokes on the same store.
async fn revoke_elsewhere(narrows: &Installation, jti: &str) -> i64 {
    let now = Timestamp::from_seconds(seconds());
    let revocation = Revocation::new(MarkKind::Jti, Key::of(jti), now, Duration::from_secs(600));
    let record = Record::new(format!("elsewhere-{jti}"), now, Kind::Revocation);
    let seq = narrows.engine.open().await.revoke(&revocation, &record).await.unwrap();
    i64::try_from(seq).unwrap()
}

async fn every_revocation_of_every_node_is_told_in_order_and_a_reader_comes_back_where_it_was(engine: Engine) {
    let narrows = Installation::of(Plan { engine, ..plan() }).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let plane = own_token(&narrows, "orders", "narrows.data_plane").await;
    let first = revoke(&narrows, &admin, "a").await;
    let mut reader = Reader::open(&narrows, PATH, &plane, &[]).await;
    let told = reader.next().await.unwrap();
    let key: String = delegation::token::sha256(b"a").iter().map(|byte| format!("{byte:02x}")).collect();
    let at = told.data["at"].as_i64().unwrap();
    assert!((seconds() - 10..=seconds()).contains(&at));
    let expected = json!({ "seq": first, "kind": "jti", "key": key, "at": at });
    assert_eq!((told.id, told.name.as_str(), told.data), (Some(first), "revoked", expected));
    // A heartbeat tells the versions, and up to where everything is told.
    let beat = reader.of("heartbeat").await;
    assert_eq!(beat.id, None);
    assert_eq!(
        (&beat.data["policy_version"], &beat.data["config_version"]),
        (&json!("p-1"), &json!("c-test"))
    );
    assert_eq!(beat.data["seq"], first);

    let (second, third) = (revoke(&narrows, &admin, "b").await, revoke_elsewhere(&narrows, "c").await);
    assert_eq!(
        (reader.of("revoked").await.id, reader.of("revoked").await.id),
        (Some(second), Some(third))
    );
    drop(reader);

    // Coming back, by the query or by the header that a browser would send; the header is the later word.
    let mut again = Reader::open(&narrows, &format!("{PATH}?after={first}"), &plane, &[]).await;
    assert_eq!(
        (again.next().await.unwrap().id, again.next().await.unwrap().id),
        (Some(second), Some(third))
    );
    let last = second.to_string();
    let mut again = Reader::open(&narrows, &format!("{PATH}?after={first}"), &plane, &[("last-event-id", &last)]).await;
    assert_eq!(again.next().await.unwrap().id, Some(third));
    assert_eq!(again.next().await.unwrap().name, "heartbeat", "and nothing twice");
    let mut anew = Reader::open(&narrows, &format!("{PATH}?after=0"), &plane, &[]).await;
    assert_eq!(anew.next().await.unwrap().id, Some(first));

    // Somebody's standing is another version of it.
    let edge = Party::Client(ClientId::parse("edge").unwrap());
    let record = Record::new("off".to_owned(), Timestamp::from_seconds(seconds()), Kind::Operator);
    narrows.engine.open().await.set_standing(&edge, Standing::Disabled, record).await.unwrap();
    narrows.broker.tend().await;
    let changed = async { while again.of("heartbeat").await.data["standing_version"] == beat.data["standing_version"] {} };
    within("the version of standing stays", changed).await;
    narrows.stop().await;
}

/// INT-020.
async fn a_place_that_is_not_known_is_a_gap(engine: Engine) {
    let narrows = Installation::of(Plan { engine, ..plan() }).await;
    let admin = operator(&narrows, "ann", &[Role::Admin, Role::Auditor]).await;
    let (first, second) = (revoke(&narrows, &admin, "a").await, revoke(&narrows, &admin, "b").await);
    for unknown in [second + 1, second + 1000, i64::MAX] {
        let reply = narrows.ask("GET", &format!("{PATH}?after={unknown}"), &admin, None).await;
        assert_eq!((reply.status, reply.text("reason")), (410, "gap"), "{unknown}");
    }
    // Forgotten: whatever followed may be, too.
    narrows.engine.run(&format!("DELETE FROM revocations WHERE seq = {first}")).await;
    let reply = narrows.ask("GET", &format!("{PATH}?after={first}"), &admin, None).await;
    assert_eq!((reply.status, reply.text("reason")), (410, "gap"));
    for wrong in ["after=x", "after=-1", "after=", "after=1&after=2", "since=1"] {
        let reply = narrows.ask("GET", &format!("{PATH}?{wrong}"), &admin, None).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{wrong}");
    }
    let mut reader = Reader::open(&narrows, &format!("{PATH}?after={second}"), &admin, &[]).await;
    assert_eq!(reader.next().await.unwrap().name, "heartbeat");
    narrows.stop().await;
}

/// Under another epoch a place means something else: nobody is told that they know everything.
async fn a_store_that_was_set_back_ends_the_stream(engine: Engine) {
    let narrows = Installation::of(Plan { engine, ..plan() }).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let mut reader = Reader::open(&narrows, PATH, &auditor, &[]).await;
    reader.of("heartbeat").await;
    narrows.engine.run("UPDATE log_head SET epoch = epoch + 1").await;
    reader.end().await;
    narrows.stop().await;
}

/// One page of who is disabled.
fn standing(begins: bool, disabled: &[(&str, &str)], enabled: &[(&str, &str)]) -> Value {
    let hex = |name: &str| {
        delegation::token::sha256(name.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let said = |parties: &[(&str, &str)]| Value::from_iter(parties.iter().map(|(kind, name)| json!({ "kind": kind, "key": hex(name) })));
    json!({ "begins": begins, "disabled": said(disabled), "enabled": said(enabled) })
}

/// What another node, or the command line, does on the same store.
async fn set_elsewhere(narrows: &Installation, party: &Party, to: Standing) {
    let record = Record::new(format!("{to:?}-{party:?}"), Timestamp::from_seconds(seconds()), Kind::Operator);
    narrows.engine.open().await.set_standing(party, to, record).await.unwrap();
    narrows.broker.tend().await;
}

async fn who_is_disabled_is_told_as_a_stream_begins_and_whenever_it_changes(engine: Engine) {
    let narrows = Installation::of(Plan { engine, ..plan() }).await;
    let admin = operator(&narrows, "ann", &[Role::Admin, Role::Auditor]).await;
    let mut reader = Reader::open(&narrows, PATH, &admin, &[]).await;
    let begins = reader.any().await.unwrap();
    assert_eq!(
        (begins.id, begins.name.as_str()),
        (None, "heartbeat"),
        "of nobody it says that alone"
    );
    assert_eq!(begins.data["disabled"], 0);

    // Here, by the API: before the answer. By another process: when this one reads it.
    let subject = format!("{CORP}\nalice");
    let alice = ("subject", subject.as_str());
    assert_eq!(
        narrows.ask("POST", "/v1/subjects/corp/alice/disable", &admin, None).await.status,
        200
    );
    assert_eq!(reader.of("standing").await.data, standing(false, &[alice], &[]));
    let (edge, itself) = (
        Party::Client(ClientId::parse("edge").unwrap()),
        Party::Subject {
            issuer_name: "narrows".to_owned(),
            sub: "edge".to_owned(),
        },
    );
    set_elsewhere(&narrows, &edge, Standing::Disabled).await;
    assert_eq!(reader.of("standing").await.data, standing(false, &[("client", "edge")], &[]));
    set_elsewhere(&narrows, &itself, Standing::Disabled).await;
    let subject = format!("{}\nedge", narrows.url);
    assert_eq!(reader.of("standing").await.data, standing(false, &[("subject", &subject)], &[]));
    set_elsewhere(&narrows, &itself, Standing::Enabled).await;
    assert_eq!(reader.of("standing").await.data, standing(false, &[], &[("subject", &subject)]));

    // Whoever comes back is told all of it again, wherever they were; what is not changed is told once.
    let place = revoke(&narrows, &admin, "a").await;
    let mut again = Reader::open(&narrows, &format!("{PATH}?after={place}"), &admin, &[]).await;
    let mut begins = again.any().await.unwrap();
    let disabled = begins.data["disabled"].as_array_mut().unwrap();
    disabled.sort_by_key(|party| party["kind"].to_string());
    assert_eq!(begins.data, standing(true, &[("client", "edge"), alice], &[]));
    assert_eq!(again.any().await.unwrap().name, "heartbeat");
    assert_eq!(
        narrows.ask("POST", "/v1/subjects/corp/alice/disable", &admin, None).await.status,
        200
    );
    assert_eq!(
        narrows.ask("POST", "/v1/subjects/corp/alice/enable", &admin, None).await.status,
        200
    );
    for reader in [&mut reader, &mut again] {
        assert_eq!(reader.of("standing").await.data, standing(false, &[], &[alice]));
    }

    // Whoever an issuer's name means is told anew when it means another.
    assert_eq!(
        narrows.ask("POST", "/v1/subjects/corp/alice/disable", &admin, None).await.status,
        200
    );
    assert_eq!(reader.of("standing").await.data, standing(false, &[alice], &[]));
    let mut in_force = narrows.in_force(crate::installation::RULES, broker::Rates::default());
    let mut snapshot = delegation::registry::Snapshot::clone(&in_force.snapshot);
    let mut corp = snapshot.issuers.remove(CORP).unwrap();
    corp.issuer = "https://other.example".to_owned();
    snapshot.issuers.insert(corp.issuer.clone(), corp);
    in_force.snapshot = snapshot.into();
    let settings = broker::Settings::clone(&narrows.broker.settings());
    narrows.broker.swap(settings, in_force, narrows.entries()).await.unwrap();
    let other = ("subject", "https://other.example\nalice");
    assert_eq!(reader.of("standing").await.data, standing(false, &[other], &[alice]));
    narrows.stop().await;
}

#[tokio::test]
async fn more_who_are_disabled_than_one_event_holds_are_told_before_the_first_heartbeat() {
    let narrows = Installation::of(plan()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let many = "INSERT INTO standing_subjects (issuer_name, sub, disabled_at) \
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) SELECT 'corp', 's' || i, 1 FROM n";
    narrows.engine.run(many).await;
    narrows.broker.tend().await;
    let mut reader = Reader::open(&narrows, PATH, &auditor, &[]).await;
    let (mut keys, mut pages) = (std::collections::BTreeSet::new(), Vec::new());
    loop {
        let event = reader.any().await.unwrap();
        if event.name != "standing" {
            assert_eq!((event.name.as_str(), &event.data["disabled"]), ("heartbeat", &json!(600)));
            break;
        }
        pages.push(event.data["begins"].as_bool().unwrap());
        keys.extend(event.data["disabled"].as_array().unwrap().iter().map(|party| party["key"].to_string()));
        assert!(event.data.to_string().len() < 64 * 1024);
    }
    assert_eq!((keys.len(), pages), (600, vec![true, false, false]));
    narrows.stop().await;
}

/// Whoever was disabled since an old view was read, nobody here knows: nobody is told that they know everything.
#[tokio::test]
async fn a_view_that_is_too_old_is_told_to_nobody_as_that_of_now() {
    let max_view_age = Duration::ZERO;
    let narrows = Installation::of(Plan { max_view_age, ..plan() }).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let mut reader = Reader::open(&narrows, PATH, &auditor, &[]).await;
    let told = async {
        while let Some(event) = reader.any().await {
            assert_ne!(event.name, "heartbeat")
        }
    };
    within("the stream goes on", told).await;
    narrows.stop().await;
}

#[tokio::test]
async fn only_data_planes_and_auditors_read_it_and_only_for_as_long_as_they_may() {
    let narrows = Installation::of(plan()).await;
    let admin = operator(&narrows, "ann", &[Role::Admin, Role::Approver, Role::Responder]).await;
    // Orders without the scope; the edge with it, though its entry says nothing of data planes.
    let (bare, edge) = (
        own_token(&narrows, "orders", "profile").await,
        own_token(&narrows, "edge", "narrows.data_plane").await,
    );
    for token in [&admin, &bare, &edge] {
        let reply = narrows.ask("GET", PATH, token, None).await;
        assert_eq!((reply.status, reply.text("reason")), (403, "not_permitted"));
    }
    assert_eq!(narrows.ask("GET", PATH, "nrwo_", None).await.status, 401);

    // A token that is revoked, and a client that is disabled, end what they opened.
    let (one, other) = (
        own_token(&narrows, "orders", "narrows.data_plane").await,
        own_token(&narrows, "orders", "narrows.data_plane").await,
    );
    let (mut first, mut second) = (
        Reader::open(&narrows, PATH, &one, &[]).await,
        Reader::open(&narrows, PATH, &other, &[]).await,
    );
    first.of("heartbeat").await;
    second.of("heartbeat").await;
    assert_eq!(narrows.about("/oauth2/revoke", "orders", &one).await.status, 200);
    first.end().await;
    second.of("heartbeat").await;
    let orders = Party::Client(ClientId::parse("orders").unwrap());
    let record = Record::new("off".to_owned(), Timestamp::from_seconds(seconds()), Kind::Operator);
    narrows.engine.open().await.set_standing(&orders, Standing::Disabled, record).await.unwrap();
    narrows.broker.tend().await;
    second.end().await;
    narrows.stop().await;
}

/// CON-013: a key that is retired ends what a token of it opened.
#[tokio::test]
async fn a_retired_key_ends_the_streams_that_its_tokens_opened() {
    let narrows = Installation::of(plan()).await;
    let plane = own_token(&narrows, "orders", "narrows.data_plane").await;
    let mut reader = Reader::open(&narrows, PATH, &plane, &[]).await;
    reader.of("heartbeat").await;
    let store = narrows.engine.open().await;
    let [first] = &broker::signer::list(&store).await.unwrap()[..] else {
        panic!("one key at first")
    };
    narrows.rotate(Timestamp::from_seconds(seconds())).await;
    broker::signer::retire(&store, &first.kid, Timestamp::from_seconds(seconds())).await.unwrap();
    narrows.broker.tend().await;
    reader.end().await;
    assert_eq!(narrows.ask("GET", PATH, &plane, None).await.status, 401);
    narrows.stop().await;
}

#[tokio::test]
async fn a_broker_that_stops_ends_its_streams_and_does_not_wait_for_readers() {
    let narrows = Installation::of(plan()).await;
    let plane = own_token(&narrows, "orders", "narrows.data_plane").await;
    let mut reader = Reader::open(&narrows, PATH, &plane, &[]).await;
    reader.of("heartbeat").await;
    narrows.stop().await;
    reader.end().await;
}

/// More revocations than sockets hold.
async fn fill(narrows: &Installation) {
    let many = "INSERT INTO revocations (seq, kind, name, at, forget_at) \
                WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) \
                SELECT i, 'jti', randomblob(32), 1, 253402300799000 FROM n";
    narrows.engine.run(many).await;
}

/// Waits until the metrics have this line.
async fn gauge(narrows: &Installation, wanted: &str) {
    while !narrows.get("/metrics").await.2.lines().any(|line| line == wanted) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_dropped_where_its_connection_lives_on() {
    let narrows = Installation::of(plan()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    fill(&narrows).await;
    // By HTTP/2 one stream stands still while its connection does not.
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let slow = client.get(format!("{}{PATH}", narrows.url)).bearer_auth(&auditor).send().await.unwrap();
    assert_eq!(slow.status().as_u16(), 200);
    within("the stream is not open", gauge(&narrows, "narrows_streams 1")).await;
    within("the slow reader is kept", gauge(&narrows, "narrows_streams 0")).await;
    let asked = client.get(format!("{}/healthz", narrows.url)).send().await.unwrap();
    assert_eq!((asked.status().as_u16(), asked.version()), (200, reqwest::Version::HTTP_2));
    drop(slow);
    narrows.stop().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_dropped_and_nothing_is_kept_for_it() {
    let narrows = Installation::of(plan()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    fill(&narrows).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(narrows.url.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap();
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {auditor}\r\n\r\n");
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 64];
    slow.read_exact(&mut head).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200"));
    within("the stream is not open", gauge(&narrows, "narrows_streams 1")).await;
    within("the slow reader is kept", gauge(&narrows, "narrows_streams 0")).await;
    // Its connection goes too: this one, which asks, is the last.
    within("the connection is kept", gauge(&narrows, "narrows_connections 1")).await;
    // Others read on meanwhile, to the end.
    let mut reader = Reader::open(&narrows, &format!("{PATH}?after=199000"), &auditor, &[]).await;
    assert_eq!(reader.of("heartbeat").await.data["seq"], 200_000);
    narrows.stop().await;
}
