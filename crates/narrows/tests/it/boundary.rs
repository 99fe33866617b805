//! A boundary of the running program: its own proxy, and the door for nginx, Traefik and Caddy.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::FakeIssuer;

use crate::front::Front;
use crate::guard::on_record;
use crate::served::Served;
use crate::{corp, echo};

pub(crate) struct Edge {
    served: Served,
    pub(crate) proxy: SocketAddr,
    pub(crate) door: SocketAddr,
    token: String,
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Edge {
    fn start() -> Self {
        Self::of(&corp::issuer(), "")
    }

    pub(crate) fn of(issuer: &FakeIssuer, routes: &str) -> Self {
        Self::with(issuer, routes, "")
    }

    /// With these routes beside the usual ones, and these keys beside those of the boundary.
    pub(crate) fn with(issuer: &FakeIssuer, routes: &str, keys: &str) -> Self {
        Self::before(&format!("http://{}", echo::start()), issuer, routes, keys)
    }

    /// In front of another backend.
    pub(crate) fn before(upstream: &str, issuer: &FakeIssuer, routes: &str, keys: &str) -> Self {
        let served = Served::start(|folder| {
            corp::trust(folder, issuer);
            Front::before(upstream).routes(routes).boundary(keys).add(folder);
            let updates = r#"@id("edge-updates") permit (principal == Workload::"edge", action == Action::"ticket:update", resource is Detail::Ticket);"#;
            std::fs::write(folder.join("policies/second.cedar"), updates).unwrap();
        });
        let token = corp::token(issuer, "tickets.full", "support", 600);
        Self {
            proxy: served.door("proxy"),
            door: served.door("forward_auth"),
            served,
            token,
        }
    }

    pub(crate) fn get(&self, target: &str, headers: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\n{headers}\r\n");
        echo::ask(self.proxy, &request)
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn bearer(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.token)
    }

    /// What is told of a record, once it is there: that of refusals that are counted together is written when their second is over.
    pub(crate) fn why(&self, id: &str) -> String {
        on_record(self.served.path(), id);
        crate::run::narrows(self.served.path(), &["why", id], "").out
    }

    fn asked(&self, headers: &str) -> String {
        echo::ask(self.door, &format!("GET /check HTTP/1.1\r\nconnection: close\r\n{headers}\r\n"))
    }
}

pub(crate) fn status(reply: &str) -> u16 {
    reply.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

pub(crate) fn header<'r>(reply: &'r str, name: &str) -> Option<&'r str> {
    let head = reply.split("\r\n\r\n").next().unwrap_or_default();
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
}

pub(crate) fn body(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

pub(crate) fn problem(reply: &str) -> Value {
    serde_json::from_str(body(reply)).unwrap_or_default()
}

pub(crate) fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// S1: the upstream sees another issuer, its own audience, this one action, the edge as actor, and nothing of the caller's token.
#[test]
fn the_upstream_gets_a_token_for_this_very_request_and_nothing_of_the_callers() {
    let edge = Edge::start();
    let spoofed = "narrows-subject: eve\r\nnarrows_subject: eve\r\nx-forwarded-for: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\nx-real-ip: 6.6.6.6\r\ndpop: x\r\n";
    let reply = edge.get("/tickets/42?full=1", &(edge.bearer() + spoofed));
    assert_eq!(status(&reply), 200, "{reply}");
    let seen = body(&reply);
    assert!(seen.starts_with("GET /tickets/42?full=1 HTTP/1.1\r\n"), "{seen}");
    let signature = edge.token.rsplit('.').next().unwrap();
    assert!(
        !reply.contains(signature) && !reply.contains("eve") && !reply.contains("6.6.6.6"),
        "{reply}"
    );
    assert_eq!(header(&reply, "narrows-subject"), None, "the backend says nothing in our name");
    assert_eq!(header(seen, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(seen, "host"), Some("tickets.internal"));
    let token = header(seen, "authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap();
    let claims = claims(token);
    assert_eq!(claims["aud"], "https://tickets.internal");
    assert_eq!(
        claims["authorization_details"],
        json!([{ "type": "ticket", "actions": ["read"], "identifier": "42" }])
    );
    assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&json!("alice"), &json!("edge")));
}

/// The trace of the caller is the upstream's, and nobody's is begun for it.
#[test]
fn a_trace_goes_on_and_one_that_cannot_be_read_begins_anew() {
    let edge = Edge::start();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let state = "tracestate: vendor=1\r\n";
    for (sent, goes_on) in [
        (format!("traceparent: {trace}\r\n{state}"), true),
        (format!("traceparent: {trace}x\r\n{state}"), false),
        (state.to_owned(), false),
    ] {
        let reply = edge.get("/tickets/42", &(edge.bearer() + &sent));
        assert_eq!(status(&reply), 200, "{reply}");
        let seen = body(&reply);
        assert_eq!(header(seen, "traceparent") == Some(trace), goes_on, "{seen}");
        assert_eq!(header(seen, "tracestate"), goes_on.then_some("vendor=1"), "{seen}");
        assert_eq!(header(seen, "traceparent").map(str::len), Some(trace.len()), "{seen}");
    }
}

#[test]
fn a_public_route_takes_no_token_on_and_what_has_no_route_goes_nowhere() {
    let edge = Edge::start();
    let reply = edge.get("/healthz", &edge.bearer());
    assert_eq!((status(&reply), header(body(&reply), "authorization")), (200, None), "{reply}");
    let reply = edge.get("/admin", &edge.bearer());
    assert_eq!((status(&reply), &problem(&reply)["reason"]), (403, &json!("no_route")));
    assert_eq!(header(&reply, "www-authenticate"), None);
    let id = problem(&reply)["decision_id"].as_str().unwrap().to_owned();
    let told = crate::run::narrows(edge.served.path(), &["why", &id, "--json"], "");
    assert!(told.out.contains("\"/admin\"") && told.out.contains("\"front\""), "{told:?}");
}

#[test]
fn why_tells_the_request_and_the_mend_of_what_a_boundary_refuses() {
    let routes = "\"GET /fresh/{id}\" = { detail = \"ticket:read/{id}\", max_auth_age = \"5m\" }";
    let edge = Edge::of(&corp::issuer(), routes);
    let rows = [
        ("/tickets", edge.bearer(), "no_route", "mend         ask for a route that there is"),
        (
            "/tickets/42",
            String::new(),
            "no_token",
            "mend         send the caller's access token",
        ),
        (
            "/tickets/42",
            "authorization: Basic YTpi\r\n".to_owned(),
            "malformed_request",
            "mend         send it in the one form",
        ),
        (
            "/fresh/42",
            edge.bearer(),
            "insufficient_user_authentication",
            "mend         let the person sign in again",
        ),
    ];
    for (path, headers, reason, mend) in rows {
        let reply = edge.get(path, &headers);
        let problem = problem(&reply);
        assert_eq!(problem["reason"], reason, "{reply}");
        let story = edge.why(problem["decision_id"].as_str().unwrap());
        let asked = format!("boundary     front\nrequest      GET tickets.internal{path}\n");
        assert!(story.contains(&asked) && story.contains(mend), "{reason}\n{story}");
        assert!(!story.contains("write a permit"), "policy is not to be changed\n{story}");
        let near = "near it      GET /tickets/{id}  at narrows.toml:";
        assert_eq!(story.contains(near), reason == "no_route", "{story}");
    }
}

/// GWY-047: a bad token is not the same as none, and nobody without one passes where one is needed.
#[test]
fn refusals_have_the_statuses_and_challenges_of_the_contract() {
    let edge = Edge::start();
    let metadata = "resource_metadata=\"https://edge.example/.well-known/oauth-protected-resource\"";
    let rows = [
        ("/tickets/42", String::new(), 401, "no_token", Some("Bearer resource_metadata")),
        (
            "/tickets/42",
            "authorization: Bearer x.y.z\r\n".to_owned(),
            401,
            "subject_token_invalid",
            Some("error=\"invalid_token\""),
        ),
        (
            "/tickets/42",
            "authorization: Basic YTpi\r\n".to_owned(),
            400,
            "malformed_request",
            None,
        ),
        ("/tickets/42", edge.bearer() + &edge.bearer(), 400, "malformed_request", None),
        ("/tickets/42?access_token=x", edge.bearer(), 400, "malformed_request", None),
        ("/tickets/../admin", edge.bearer(), 400, "malformed_request", None),
        ("/tickets/%2e%2e", edge.bearer(), 400, "malformed_request", None),
        ("//tickets/42", edge.bearer(), 400, "malformed_request", None),
    ];
    for (target, headers, expected, reason, challenge) in rows {
        let reply = edge.get(target, &headers);
        assert_eq!(
            (status(&reply), &problem(&reply)["reason"]),
            (expected, &json!(reason)),
            "{target} {headers}: {reply}"
        );
        let found = header(&reply, "www-authenticate");
        match challenge {
            None => assert_eq!(found, None, "{target}"),
            Some(part) => assert!(
                found.is_some_and(|found| found.contains(part) && found.contains(metadata)),
                "{found:?}"
            ),
        }
        assert_eq!(header(&reply, "cache-control"), Some("no-store"));
    }
    let page = edge.get("/tickets/42", "accept: text/html,application/xhtml+xml\r\n");
    assert!(
        status(&page) == 401 && header(&page, "content-type").unwrap().starts_with("text/html"),
        "{page}"
    );
    let described = edge.get("/.well-known/oauth-protected-resource", "");
    let described = problem(&described);
    assert_eq!(described["authorization_servers"], json!(["https://login.corp.example"]));
    assert_eq!(described["resource"], json!("https://edge.example"));
}

#[test]
fn the_door_of_other_proxies_says_the_same_in_their_words() {
    let edge = Edge::start();
    let traefik = |method: &str, uri: &str, host: &str| {
        format!("host: auth.internal\r\nx-forwarded-method: {method}\r\nx-forwarded-uri: {uri}\r\nx-forwarded-host: {host}\r\n")
    };
    let nginx = |method: &str, uri: &str| format!("host: tickets.internal\r\nx-original-method: {method}\r\nx-original-uri: {uri}\r\n");
    for asked in [traefik("GET", "/tickets/42", "tickets.internal"), nginx("GET", "/tickets/42")] {
        let reply = edge.asked(&(asked + &edge.bearer()));
        assert_eq!(status(&reply), 200, "{reply}");
        let token = header(&reply, "authorization").unwrap().strip_prefix("Bearer ").unwrap();
        assert_eq!(claims(token)["authorization_details"][0]["identifier"], "42");
    }
    let public = edge.asked(&(nginx("GET", "/healthz") + &edge.bearer()));
    assert_eq!((status(&public), header(&public, "authorization")), (200, None));
    let reply = edge.asked(&(traefik("GET", "/a//b", "tickets.internal") + &edge.bearer()));
    assert_eq!((status(&reply), header(&reply, "narrows-status")), (400, None));
    let reply = edge.asked(&(nginx("GET", "/a//b") + &edge.bearer()));
    assert_eq!(
        (status(&reply), header(&reply, "narrows-status")),
        (403, Some("400")),
        "nginx would make 500 of 400"
    );
    let reply = edge.asked(&nginx("GET", "/tickets/42"));
    assert_eq!((status(&reply), header(&reply, "narrows-status")), (401, Some("401")));

    let good = traefik("GET", "/tickets/42", "tickets.internal");
    let refused = [
        "host: tickets.internal\r\n".to_owned(),
        "host: tickets.internal\r\nx-original-uri: /tickets/42\r\n".to_owned(),
        "host: a\r\nx-forwarded-method: GET\r\nx-forwarded-uri: /tickets/42\r\n".to_owned(),
        good.clone() + "x-forwarded-uri: /tickets/42\r\n",
        good.clone() + "x-original-method: GET\r\n",
        nginx("GET", "/tickets/42") + "x-forwarded-uri: /tickets/43\r\n",
        nginx("GET", "/tickets/42") + "x-forwarded-host: other.internal\r\n",
        good.clone() + "x-original-method: GET\r\nx-original-uri: /tickets/43\r\n",
        good.clone() + "x-original-method: GET\r\nx-original-uri: /tickets/42\r\n",
        traefik("GET", "/tickets/42", "tickets.internal, other.internal"),
        traefik("GET, POST", "/tickets/42", "tickets.internal"),
        good.clone() + "narrows-subject: eve\r\n",
        good + "x_forwarded_uri: /tickets/43\r\n",
    ];
    for asked in refused {
        let reply = edge.asked(&(asked.clone() + &edge.bearer()));
        assert!(
            matches!(status(&reply), 400 | 403) && header(&reply, "authorization").is_none(),
            "{asked}\n{reply}"
        );
    }
}

const LIVE: &str = r#"
"GET /stream" = { detail = "ticket:read/1", stream = true }
"GET /socket" = { detail = "ticket:read/2", upgrade = "websocket" }
"#;

/// Whether the other side ended it: our patience did not.
pub(crate) fn has_ended(read: std::io::Result<usize>) -> bool {
    let waited_for = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
    read.err().is_none_or(|error| !waited_for.contains(&error.kind()))
}

pub(crate) fn revoke_alice(edge: &Edge) {
    let revoked = crate::run::narrows(edge.served.path(), &["revoke", "--subject", "corp|alice"], "");
    assert_eq!(revoked.code, 0, "{revoked:?}");
}

/// GWY-034: what was asked once is not good for ever.
#[test]
fn a_stream_breaks_off_when_its_token_is_revoked() {
    let edge = Edge::of(&corp::issuer(), LIVE);
    let mut stream = echo::open(
        edge.proxy,
        &format!("GET /stream HTTP/1.1\r\nhost: tickets.internal\r\n{}\r\n", edge.bearer()),
    );
    let begun = echo::until(&mut stream, "first");
    assert!(begun.starts_with("HTTP/1.1 200"), "{begun}");
    revoke_alice(&edge);
    let mut rest = Vec::new();
    assert!(has_ended(stream.read_to_end(&mut rest)));
    assert!(
        !String::from_utf8_lossy(&rest).contains("0\r\n\r\n"),
        "it was cut, and does not look whole"
    );
}

#[test]
fn a_web_socket_opens_where_a_route_says_so_and_closes_when_its_token_is_revoked() {
    let edge = Edge::of(&corp::issuer(), LIVE);
    let asks = format!(
        "host: tickets.internal\r\nconnection: Upgrade\r\nupgrade: websocket\r\n{}",
        edge.bearer()
    );
    let mut socket = echo::open(edge.proxy, &format!("GET /socket HTTP/1.1\r\n{asks}\r\n"));
    assert!(echo::until(&mut socket, "\r\n\r\n").starts_with("HTTP/1.1 101"));
    socket.write_all(b"to and fro").unwrap();
    assert!(echo::until(&mut socket, "to and fro").ends_with("to and fro"));
    revoke_alice(&edge);
    let mut rest = Vec::new();
    assert!(has_ended(socket.read_to_end(&mut rest)));
    assert!(rest.is_empty());
    // Elsewhere it is an ordinary request, and nothing of the upgrade goes on.
    let other = corp::issuer();
    let edge = Edge::of(&other, "");
    let reply = edge.get(
        "/tickets/1",
        &format!(
            "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP\r\n{}",
            edge.bearer()
        ),
    );
    assert_eq!(status(&reply), 200, "{reply}");
    assert_eq!(
        (header(body(&reply), "upgrade"), header(body(&reply), "http2-settings")),
        (None, None),
        "GWY-031"
    );
}

#[test]
fn what_a_route_reads_of_a_body_is_what_goes_on() {
    let routes = r#"
"PATCH /tickets/{id}" = { detail = "ticket:update/{id}?fields={body:keys}", body_max = "1KiB" }
"#;
    let edge = Edge::of(&corp::issuer(), routes);
    let patch = |body: &str, more: &str| {
        let head = format!(
            "host: tickets.internal\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        echo::ask(
            edge.proxy,
            &format!("PATCH /tickets/42 HTTP/1.1\r\n{head}{}{more}\r\n{body}", edge.bearer()),
        )
    };
    let reply = patch(r#"{ "status":"closed" }"#, "");
    assert_eq!(status(&reply), 200, "{reply}");
    let seen = body(&reply);
    assert!(seen.ends_with("\r\n\r\n{ \"status\":\"closed\" }"), "byte for byte: {seen}");
    let token = header(seen, "authorization").unwrap().strip_prefix("Bearer ").unwrap();
    assert_eq!(claims(token)["authorization_details"][0]["fields"], json!(["status"]));
    let refused = [
        (r#"{"status":1,"status":2}"#.to_owned(), "", 400, "malformed_request"),
        ("{".to_owned(), "", 400, "malformed_request"),
        (r#"{"status":1}"#.to_owned(), "content-encoding: gzip\r\n", 400, "malformed_request"),
        (format!(r#"{{"a":"{}"}}"#, "x".repeat(2000)), "", 413, "too_large"),
    ];
    for (sent, more, expected, reason) in refused {
        let reply = patch(&sent, more);
        assert_eq!(
            (status(&reply), &problem(&reply)["reason"]),
            (expected, &json!(reason)),
            "{sent}: {reply}"
        );
    }
}

/// RFC 9470: the caller is told how the person must sign in.
#[test]
fn a_route_that_wants_a_stronger_sign_in_says_so() {
    let edge = Edge::of(
        &corp::issuer(),
        "\"GET /safe\" = { detail = \"ticket:read/1\", max_auth_age = \"5m\", acr = \"phr\" }\n",
    );
    let reply = edge.get("/safe", &edge.bearer());
    assert_eq!(
        (status(&reply), &problem(&reply)["reason"]),
        (401, &json!("insufficient_user_authentication")),
        "{reply}"
    );
    let challenge = header(&reply, "www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"insufficient_user_authentication\"") && challenge.contains("acr_values=\"phr\", max_age=300"),
        "{challenge}"
    );
}

#[test]
fn nobody_but_its_peers_asks_the_door_of_other_proxies() {
    let edge = Edge::with(&corp::issuer(), "", "peers = [\"10.0.0.0/8\"]");
    let good = "host: tickets.internal\r\nx-original-method: GET\r\nx-original-uri: /healthz\r\n";
    assert_eq!(status(&edge.asked(good)), 403);
    assert_eq!(status(&edge.get("/healthz", "")), 200, "the own proxy is for everybody");
}

/// GWY-020 GWY-022: the service may take it for a ticket.
#[test]
fn what_a_less_strict_service_takes_for_another_route_does_not_reach_it() {
    let edge = Edge::of(&corp::issuer(), "\n\"GET /{path:rest}\" = \"public\"\n");
    assert_eq!(status(&edge.get("/about", "")), 200);
    assert_eq!(status(&edge.get("/tickets/42", &edge.bearer())), 200);
    let reply = edge.get("/TICKETS/42", "");
    let story = edge.why(problem(&reply)["decision_id"].as_str().unwrap());
    let both = "between      `GET /{path:rest}` is for it, and a less strict reader takes it for `GET /tickets/{id}`";
    assert!(story.contains(both), "{story}");
    for target in ["/TICKETS/42", "/tickets/42/", "/%54ickets/42"] {
        for headers in [String::new(), edge.bearer()] {
            let reply = edge.get(target, &headers);
            assert_eq!(
                (status(&reply), &problem(&reply)["reason"]),
                (400, &"malformed_request".into()),
                "{reply}"
            );
        }
    }
}

/// GWY-022, GWY-025: one host, whoever reads it.
#[test]
fn a_request_that_names_two_hosts_is_for_neither() {
    let edge = Edge::start();
    let absolute = |host: &str| {
        let request = format!("GET http://{host}/healthz HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\n\r\n");
        status(&echo::ask(edge.proxy, &request))
    };
    assert_eq!(absolute("other.internal"), 400);
    assert_eq!(absolute("tickets.internal"), 200);
    let twice = "GET /healthz HTTP/1.1\r\nhost: tickets.internal\r\nhost: other.internal\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&echo::ask(edge.proxy, twice)), 400);
    let unknown = "GET /healthz HTTP/1.1\r\nhost: other.internal\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&echo::ask(edge.proxy, unknown)), 403);
}

/// GWY-026: a header for one connection is not on the next, and nobody can make ours one of those.
#[test]
fn what_a_client_says_of_its_connection_stays_there() {
    let edge = Edge::start();
    let asks = format!(
        "{}connection: close, x-own\r\nx-own: 1\r\nkeep-alive: 5\r\nte: trailers\r\n",
        edge.bearer()
    );
    let reply = edge.get("/tickets/42", &asks);
    let seen = body(&reply);
    assert!(
        header(seen, "authorization").is_some_and(|value| value.starts_with("Bearer ")),
        "{reply}"
    );
    for name in ["x-own", "keep-alive", "te"] {
        assert_eq!(header(seen, name), None, "{name}");
    }
    // Of what was decided on nobody makes a thing of this connection: at every door the call is refused.
    for name in ["authorization", "content-type", "host", "cookie", "x-forwarded-for"] {
        let reply = edge.get("/tickets/42", &format!("{}connection: {name}\r\n", edge.bearer()));
        assert_eq!(
            (status(&reply), &problem(&reply)["reason"]),
            (400, &json!("malformed_request")),
            "{name}"
        );
    }
    for codings in [
        "x, chunked",
        "chunked, chunked",
        ",chunked",
        "chunked\r\ntransfer-encoding: chunked",
    ] {
        let coded = format!(
            "POST /tickets/42 HTTP/1.1\r\nhost: tickets.internal\r\n{}connection: close\r\ntransfer-encoding: {codings}\r\n\r\n0\r\n\r\n",
            edge.bearer()
        );
        let reply = echo::ask(edge.proxy, &coded);
        assert_eq!(status(&reply), 400, "{codings}: {reply}");
    }
    let smuggled = format!(
        "POST /tickets/42 HTTP/1.1\r\nhost: tickets.internal\r\n{}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nhost: tickets.internal\r\n\r\n",
        edge.bearer()
    );
    let reply = echo::ask(edge.proxy, &smuggled);
    assert!(matches!(status(&reply), 400 | 403) && !reply.contains("GET /admin"), "{reply}");
}

#[test]
fn a_bound_token_and_a_switch_that_nobody_asked_for_go_nowhere() {
    let edge = Edge::of(&corp::issuer(), "\"GET /socket\" = \"ticket:read/2\"");
    let reply = edge.get("/tickets/42", &format!("authorization: DPoP {}\r\n", edge.token));
    assert_eq!((status(&reply), &problem(&reply)["reason"]), (401, &json!("invalid_dpop_proof")));
    let challenge = header(&reply, "www-authenticate").unwrap();
    assert!(
        challenge.starts_with("Bearer error=\"invalid_token\", error_description=\"DPoP is not served;"),
        "{challenge}"
    );
    let asks = format!("connection: Upgrade\r\nupgrade: websocket\r\n{}", edge.bearer());
    let reply = edge.get("/socket", &asks);
    assert_eq!(
        (status(&reply), &problem(&reply)["reason"]),
        (502, &json!("upstream_unavailable")),
        "{reply}"
    );
}

#[test]
fn an_upstream_that_is_away_is_told_apart_from_a_refusal() {
    let edge = Edge::start();
    let config = edge.served.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let backend = text.split("upstream = \"http://").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let before = edge.served.ready()["config_version"].clone();
    std::fs::write(&config, text.replace(&backend, &free().to_string())).unwrap();
    edge.served.until("another upstream", |ready| ready["config_version"] != before);
    let reply = edge.get("/healthz", "");
    assert_eq!(
        (status(&reply), &problem(&reply)["reason"]),
        (502, &json!("upstream_unavailable")),
        "{reply}"
    );
}

/// nginx and Caddy show no body: what would have to be looked into is refused (GWY-013, GWY-046).
#[test]
fn a_door_that_is_shown_no_body_lets_nothing_on_that_needs_a_look_at_it() {
    let routes = r#""PATCH /tickets/{id}" = { detail = "ticket:update/{id}?fields={body:keys}", body_max = "16" }
"POST /healthz" = "public""#;
    let edge = Edge::of(&corp::issuer(), routes);
    let asked = |method: &str, uri: &str, media: &str, body: &str| {
        let named = format!("host: a\r\nx-forwarded-method: {method}\r\nx-forwarded-uri: {uri}\r\nx-forwarded-host: tickets.internal\r\n");
        let framed = format!("content-type: {media}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let reply = echo::ask(
            edge.door,
            &format!("POST / HTTP/1.1\r\nconnection: close\r\n{named}{}{framed}", edge.bearer()),
        );
        let problem = problem(&reply);
        let reason = problem["reason"].as_str().unwrap_or_default().to_owned();
        let is_hidden = problem["detail"].as_str().unwrap_or_default().contains("did not show it whole");
        assert_eq!(is_hidden, reason == "unread_input", "{problem}");
        (status(&reply), reason)
    };
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let unread = (400, "unread_input".to_owned());
    assert_eq!(asked("PATCH", "/tickets/42", json, ""), unread);
    assert_eq!(asked("POST", "/healthz", form, ""), unread, "a token may hide in it");
    assert_eq!(asked("POST", "/healthz", form, "access_token=x").0, 400);
    assert_eq!(asked("POST", "/healthz", form, "a=b").0, 200);
    assert_eq!(asked("POST", "/healthz", json, "").0, 200);
    assert_eq!(
        asked("PATCH", "/tickets/42", json, "{\"state\":\"0123456789\"}").0,
        413,
        "past what the route takes"
    );
}

/// The token stands in one place: what goes on holds nothing of it, and neither does the record.
#[test]
fn a_token_that_is_shown_twice_goes_nowhere_and_is_in_no_record() {
    let edge = Edge::of(&corp::issuer(), "\"POST /notes\" = \"ticket:read/1\"");
    let token = edge.token.clone();
    let reply = edge.get(&format!("/tickets/{token}"), &edge.bearer());
    assert_eq!(status(&reply), 400, "{reply}");
    let id = problem(&reply)["decision_id"].as_str().unwrap().to_owned();
    let record = on_record(edge.served.path(), &id);
    assert!(!record.contains(token.rsplit('.').next().unwrap()), "{record}");
    // Nor where no credential, or none that can be read, came with it.
    for headers in ["", "authorization: Basic YTpi\r\n"] {
        let reply = edge.get(&format!("/tickets/{token}"), headers);
        let id = problem(&reply)["decision_id"].as_str().unwrap().to_owned();
        let record = on_record(edge.served.path(), &id);
        assert!(record.contains("/tickets/…"), "{record}");
        assert!(!record.contains(token.rsplit('.').next().unwrap()), "{record}");
    }
    let repeated = [
        ("/tickets/42", "cookie: session="),
        ("/tickets/42", "x-access-token: "),
        ("/tickets/42", "sec-websocket-protocol: bearer, "),
        ("/healthz", "cookie: session="),
    ];
    for (target, header) in repeated {
        let reply = edge.get(target, &format!("{}{header}{token}\r\n", edge.bearer()));
        assert_eq!(
            (status(&reply), &problem(&reply)["reason"]),
            (400, &json!("malformed_request")),
            "{target} {header}"
        );
    }
    let reply = edge.get(&format!("/tickets/42?jwt={token}"), &edge.bearer());
    assert_eq!(status(&reply), 400, "{reply}");
}

/// Nobody's body is waited for who shows no token where one is needed.
#[test]
fn who_shows_no_token_is_told_before_the_body_has_come() {
    let routes = "\"PATCH /tickets/{id}\" = { detail = \"ticket:update/{id}?fields={body:keys}\" }";
    let edge = Edge::of(&corp::issuer(), routes);
    let head = "PATCH /tickets/42 HTTP/1.1\r\nhost: tickets.internal\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    let mut stream = echo::open(edge.proxy, head);
    assert!(echo::until(&mut stream, "no_token").starts_with("HTTP/1.1 401"));
}
