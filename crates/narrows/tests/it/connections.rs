//! Upstream credentials, through the running program: who gets them, who does not, and what becomes of an echo.

use std::net::SocketAddr;
use std::path::Path;

use broker::store::{Store, StoreAddress};
use serde_json::{Value, json};
use testkit::FakeIssuer;

use crate::keyed::Keyed;
use crate::run::{Ran, narrows};
use crate::served::Served;
use crate::{corp, echo};

/// In lower case, so that it could be the name of a header too.
const KEY: &str = "sk-live-0123456789abcdef";

struct Edge {
    served: Served,
    proxy: SocketAddr,
    upstream: Keyed,
    issuer: FakeIssuer,
}

impl Edge {
    fn start(per: &str) -> Self {
        Self::with(per, "X-Api-Key", "{}", |_| ())
    }

    fn with(per: &str, header: &str, form: &str, change: impl FnOnce(&Path)) -> Self {
        let (issuer, upstream) = (corp::issuer(), Keyed::start());
        let served = Served::start(|folder| {
            corp::trust(folder, &issuer);
            let config = folder.join("narrows.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            let at = upstream.address;
            let fronts = format!(
                r#"
[[services]]
name     = "tickets"
hosts    = ["tickets.internal"]
upstream = "http://{at}"
audience = "https://tickets.internal"
[services.routes]
"GET /open"                = "ticket:read/1"
"GET /tickets/{{id}}/{{how}}" = {{ detail = "ticket:read/{{id}}", connection = "tickets-key" }}

[[connections]]
name = "tickets-key"
kind = "key"
per  = "{per}"
send = {{ origin = "http://{at}", header = "{header}", as = "{form}" }}

[[boundaries]]
name         = "front"
client       = "edge"
services     = "*"
origin       = "https://edge.example"
proxy        = "127.0.0.1:0"
forward_auth = "127.0.0.1:0"
"#
            );
            std::fs::write(&config, text + &fronts).unwrap();
            change(folder);
        });
        Self {
            proxy: served.door("proxy"),
            served,
            upstream,
            issuer,
        }
    }

    fn run(&self, arguments: &[&str], input: &str) -> Ran {
        narrows(self.served.path(), arguments, input)
    }

    fn add(&self, of: &[&str], key: &str) {
        let added = self.run(&[&["connection", "add", "tickets-key"], of].concat(), key);
        assert_eq!(added.code, 0, "{added:?}");
        assert!(!format!("{added:?}").contains(key), "it is never shown: {added:?}");
    }

    fn get(&self, how: &str) -> String {
        self.get_with(&format!("/tickets/42/{how}"), "")
    }

    fn get_with(&self, target: &str, headers: &str) -> String {
        self.get_as(&corp::token(&self.issuer, "tickets.full", "support", 600), target, headers)
    }

    fn get_as(&self, token: &str, target: &str, headers: &str) -> String {
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close, x-api-key\r\nauthorization: Bearer {token}\r\n{headers}\r\n"
        );
        echo::ask(self.proxy, &request)
    }

    fn records(&self) -> Vec<Value> {
        records(self.served.path())
    }

    /// The records of kind `connection` with this reason.
    fn told(&self, reason: &str) -> Vec<Value> {
        let is = |record: &Value| record["kind"] == "connection" && record["reason"] == reason;
        self.records().into_iter().filter(is).collect()
    }
}

/// All that is on record in the store of the broker in `folder`.
pub(crate) fn records(folder: &Path) -> Vec<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let texts = runtime.block_on(async {
        let store = Store::open(&StoreAddress::sqlite(folder.join("narrows.db"))).await.unwrap();
        store.records(0, 1_000).await.unwrap()
    });
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

fn status(reply: &str) -> u16 {
    reply.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

fn reason(reply: &str) -> String {
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    problem["reason"].as_str().unwrap_or_default().to_owned()
}

fn stars() -> String {
    "*".repeat(KEY.len())
}

#[test]
fn the_upstream_gets_the_kept_key_in_place_of_whatever_the_client_sent() {
    let edge = Edge::start("all");
    edge.add(&[], &format!("{KEY}\n"));
    let mine = "x-api-key: mine\r\nX-Api-Key: mine too\r\nx_api_key: mine\r\nx.api-key: mine\r\nx-api_key: mine\r\n";
    let reply = edge.get_with(
        "/tickets/42/plain",
        &format!("{mine}accept-encoding: gzip, br\r\nrange: bytes=0-3\r\nif-range: \"x\"\r\n"),
    );
    assert_eq!(status(&reply), 200, "{reply}");
    let seen = edge.upstream.seen().pop().unwrap();
    assert_eq!(edge.upstream.last("x-api-key"), [KEY], "{seen}");
    assert!(!seen.contains("mine"), "{seen}");
    let token = edge.upstream.last("authorization").pop().unwrap();
    let claims = crate::boundary::claims(token.strip_prefix("Bearer ").unwrap());
    assert_eq!(claims["aud"], "https://tickets.internal", "our token goes on beside it");
    assert_eq!(edge.upstream.last("accept-encoding"), ["identity"], "{seen}");
    assert_eq!(
        (edge.upstream.last("range"), edge.upstream.last("if-range")),
        (vec![], vec![]),
        "{seen}"
    );
    // Another route of the same upstream gets none.
    assert_eq!(status(&edge.get_with("/open", "x-other: 1\r\n")), 200);
    assert!(!edge.upstream.seen().pop().unwrap().contains(KEY));
}

#[test]
fn a_key_in_authorization_takes_the_place_of_our_token() {
    let edge = Edge::with("all", "Authorization", "Token {}", |_| ());
    edge.add(&[], KEY);
    assert_eq!(status(&edge.get("plain")), 200);
    assert_eq!(edge.upstream.last("authorization"), [format!("Token {KEY}")]);
}

/// A client may not say who asks; a connection may.
#[test]
fn a_key_may_be_in_a_header_that_says_who_asks_and_that_of_the_client_goes_nowhere() {
    let edge = Edge::with("all", "X-Remote-User", "{}", |_| ());
    edge.add(&[], KEY);
    let reply = edge.get_with(
        "/tickets/42/plain",
        "x-remote-user: mine\r\nX_Remote_User: mine\r\nscript_name: mine\r\n",
    );
    assert_eq!(status(&reply), 200, "{reply}");
    assert_eq!(edge.upstream.last("x-remote-user"), [KEY]);
    assert_eq!(status(&edge.get_with("/open", "x-remote-user: mine\r\n")), 200);
    assert!(edge.upstream.seen().iter().all(|seen| !seen.contains("mine")));
}

/// GWY-037: not to another origin either.
#[test]
fn a_redirect_is_passed_on_and_the_key_follows_it_nowhere() {
    let edge = Edge::start("all");
    edge.add(&[], KEY);
    let reply = edge.get("moved");
    assert_eq!(status(&reply), 302, "{reply}");
    assert_eq!(edge.upstream.seen().len(), 1);
}

/// What an upstream says back is cut out of head and body, however it is cut into pieces, and that is on record before it goes on.
#[test]
fn an_echo_of_the_key_is_cut_and_on_record() {
    let edge = Edge::start("all");
    edge.add(&[], KEY);
    let mut echoes = 0;
    for (how, expected) in [
        ("header", format!("x-was: you sent {}.\r\n", stars())),
        ("phrase", "nothing here".to_owned()),
        ("body", format!("you sent {0}, and {0}!", stars())),
        ("base64", "Basic ".to_owned()),
        ("drip", String::new()),
    ] {
        let reply = edge.get(how);
        assert_eq!(status(&reply), 200, "{how}: {reply}");
        let joined: String = reply.replace("\r\n1\r\n", "");
        for text in [&reply, &joined] {
            assert!(
                !text.to_ascii_lowercase().contains(KEY) && !text.contains("MDEyMzQ1"),
                "{how}: {text}"
            );
        }
        if how == "drip" {
            let (_, chunks) = reply.split_once("\r\n\r\n").unwrap();
            assert_eq!(
                dechunked(chunks),
                format!("data: {}\n\ndata: kept\n\ndata: {}", stars(), KEY.split_at(6).0),
                "{reply}"
            );
        } else {
            assert!(reply.contains(&expected), "{how}: {reply}");
        }
        echoes += 1;
        let told = edge.told("echo_cut");
        assert_eq!(told.len(), echoes, "{how}: once for each response");
        let last = &told[echoes - 1];
        assert_eq!(
            (&last["request"]["path"], &last["boundary"], &last["inputs"]["connection"]),
            (&json!(format!("/tickets/42/{how}")), &json!("front"), &json!("tickets-key"))
        );
        assert!(!last.to_string().contains(KEY));
    }
}

/// The data of a chunked body.
fn dechunked(mut chunks: &str) -> String {
    let mut data = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        let (piece, behind) = rest.split_at(size);
        data.push_str(piece);
        chunks = behind.strip_prefix("\r\n").unwrap();
    }
    data
}

#[test]
fn a_response_that_cannot_be_searched_does_not_go_on() {
    let edge = Edge::start("all");
    edge.add(&[], KEY);
    for how in ["gzip", "coded"] {
        let reply = edge.get(how);
        assert_eq!(
            (status(&reply), reason(&reply).as_str()),
            (502, "upstream_unavailable"),
            "{how}: {reply}"
        );
        assert!(!reply.contains(KEY));
    }
}

#[test]
fn without_a_kept_key_nothing_goes_on_and_the_record_says_why() {
    let edge = Edge::start("all");
    let reply = edge.get_with("/tickets/42/plain", "x-other: mine\r\n");
    assert_eq!((status(&reply), reason(&reply).as_str()), (503, "store_unavailable"), "{reply}");
    assert!(
        !reply.to_ascii_lowercase().contains("retry-after") && reply.contains("is not to be had"),
        "no retry brings a key that is not kept: {reply}"
    );
    assert_eq!(edge.upstream.seen().len(), 0, "not without it, and not with the client's own");
    let record = edge.records().pop().unwrap();
    assert_eq!(
        (&record["decision"], &record["inputs"]["connection"]),
        (&json!("deny"), &json!("tickets-key"))
    );
    assert!(
        record["inputs"]["credential"].as_str().unwrap().contains("`narrows connection add tickets-key`"),
        "{record}"
    );
    let why = edge.run(&["why", record["id"].as_str().unwrap()], "");
    assert!(
        why.out
            .contains("no credential is kept for everybody; add one with `narrows connection add tickets-key`"),
        "{why:?}"
    );
    let log = edge.served.log();
    assert!(log.contains("a request is refused: no credential is kept for everybody"), "{log}");
    assert!(
        why.out.contains("mend         see `not sent on`") && !why.out.contains("write a permit"),
        "{why:?}"
    );

    // Added, replaced and forgotten, each for the next request.
    edge.add(&[], KEY);
    assert_eq!(status(&edge.get("plain")), 200);
    assert_eq!(edge.records().pop().unwrap()["inputs"]["connection"], "tickets-key");
    let again = edge.run(&["connection", "add", "tickets-key"], "sk-another-0123");
    assert!(again.code == 1 && again.err.contains("connection rotate"), "{again:?}");
    let file = edge.served.path().join("next");
    std::fs::write(&file, "sk-another-0123\n").unwrap();
    let rotated = edge.run(&["connection", "rotate", "tick", "--file", "next", "--json"], "");
    assert_eq!((rotated.code, rotated.out.contains("rotated")), (0, true), "{rotated:?}");
    assert_eq!(status(&edge.get("plain")), 200);
    assert_eq!(edge.upstream.last("x-api-key"), ["sk-another-0123"]);
    let dry = edge.run(&["connection", "remove", "tick", "--dry-run"], "");
    assert_eq!((dry.code, status(&edge.get("plain"))), (0, 200), "{dry:?}");
    let dry = edge.run(&["connection", "rotate", "tickets-key", "--dry-run"], "");
    assert!(dry.out.starts_with("would rotate the credential"), "{dry:?}");
    assert_eq!(
        edge.run(&["connection", "remove", "tickets-key", "--reason", "it leaked"], "").code,
        0
    );
    assert_eq!(edge.told("connection_removed")[0]["inputs"]["why"], "it leaked");
    assert_eq!(status(&edge.get("plain")), 503);
    for (reason, count) in [("connection_added", 1), ("connection_rotated", 1), ("connection_removed", 1)] {
        assert_eq!(edge.told(reason).len(), count, "{reason}");
    }
}

/// Policy is asked first: who is refused learns nothing of what is kept, and a credential comes out of the store for nobody.
#[test]
fn who_may_not_is_told_so_whether_a_key_is_kept_or_not() {
    let edge = Edge::start("all");
    let ask = |scope: &str, group: &str| {
        let reply = edge.get_as(&corp::token(&edge.issuer, scope, group, 600), "/tickets/42/plain", "");
        (status(&reply), reason(&reply))
    };
    let ask = || (ask("profile", "support"), ask("tickets.full", "visitors"));
    let before = ask();
    assert_eq!((before.0.0, &before.1), (403, &(403, "policy_denied".to_owned())), "{before:?}");
    edge.add(&[], KEY);
    assert_eq!(ask(), before);
}

#[test]
fn each_person_and_each_client_has_a_key_of_their_own() {
    let edge = Edge::start("user");
    let wrong = edge.run(&["connection", "add", "tickets-key"], KEY);
    assert!(wrong.code == 1 && wrong.err.contains("--user ISS SUB"), "{wrong:?}");
    edge.add(&["--user", "corp", "bob"], "sk-bobs-0123456789");
    let reply = edge.get("plain");
    assert_eq!((status(&reply), edge.upstream.seen().len()), (503, 0), "alice has none: {reply}");
    let why = edge.run(&["why", edge.records().pop().unwrap()["id"].as_str().unwrap()], "");
    let mend = "no credential is kept for alice of https://login.corp.example; add one with \
                `narrows connection add tickets-key --user https://login.corp.example alice`";
    assert!(why.out.contains(mend), "{why:?}");
    edge.add(&["--user", "https://login.corp.example", "alice"], KEY);
    assert_eq!(status(&edge.get("plain")), 200);
    assert_eq!(edge.upstream.last("x-api-key"), [KEY]);
    let listed = edge.run(&["connection", "list", "--json"], "");
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let subs: Vec<_> = listed.as_array().unwrap().iter().map(|each| each["user"]["sub"].as_str().unwrap()).collect();
    assert_eq!(subs, ["alice", "bob"]);
    assert!(!listed.to_string().contains("sk-"), "{listed}");

    let orders = "\n[[clients]]\nid   = \"orders\"\nauth = { method = \"client_secret_basic\", secret_sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\" }\n";
    let edge = Edge::with("client", "X-Api-Key", "{}", |folder| {
        let config = folder.join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text + orders).unwrap();
    });
    edge.add(&["--client", "orders"], "sk-orders-0123456789");
    assert_eq!(status(&edge.get("plain")), 503);
    edge.add(&["--client", "edge"], KEY);
    assert_eq!(status(&edge.get("plain")), 200);
    assert_eq!(edge.upstream.last("x-api-key"), [KEY]);
}

/// ADR 0056: no other proxy is given the key, and without it the request does not go on.
#[test]
fn at_the_doors_of_other_proxies_such_a_route_does_not_exist() {
    let edge = Edge::start("all");
    edge.add(&[], KEY);
    let token = corp::token(&edge.issuer, "tickets.full", "support", 600);
    let ask = |path: &str| {
        let named = format!("host: a\r\nx-forwarded-method: GET\r\nx-forwarded-uri: {path}\r\nx-forwarded-host: tickets.internal\r\n");
        let asked = format!("GET /check HTTP/1.1\r\nconnection: close\r\n{named}authorization: Bearer {token}\r\n\r\n");
        echo::ask(edge.served.door("forward_auth"), &asked)
    };
    let reply = ask("/tickets/42/plain");
    assert_eq!((status(&reply), reason(&reply).as_str()), (403, "no_route"), "{reply}");
    assert!(!reply.contains(KEY));
    let record = edge.records().pop().unwrap();
    let why = edge.run(&["why", record["id"].as_str().unwrap()], "");
    assert!(why.out.contains("is for it: if the route has `connection`"), "{why:?}");
    let explained = edge.run(&["explain", "GET", "https://tickets.internal/tickets/42/plain"], "");
    assert!(
        explained.out.contains("connection   tickets-key: through `proxy` alone") && explained.out.contains("answer no_route"),
        "{explained:?}"
    );
    assert_eq!(status(&ask("/open")), 200);
    let checked = edge.run(&["check"], "");
    assert!(
        checked.code == 0 && checked.out.contains("which no other proxy gets"),
        "{checked:?}"
    );
}

/// GWY-038: a key is bound to where it was added for. Another line in the configuration does not lead it elsewhere.
#[test]
fn a_configuration_that_names_another_place_does_not_get_the_key_there() {
    let edge = Edge::start("all");
    edge.add(&[], KEY);
    let evil = Keyed::start();
    let config = edge.served.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let before = edge.served.ready()["config_version"].clone();
    std::fs::write(&config, text.replace(&edge.upstream.address.to_string(), &evil.address.to_string())).unwrap();
    edge.served.until("another upstream", |ready| ready["config_version"] != before);
    assert_eq!(status(&edge.get("plain")), 503);
    assert_eq!(evil.seen().len(), 0);
    let record = edge.records().pop().unwrap();
    assert!(
        record["inputs"]["credential"].as_str().unwrap().contains("another origin"),
        "{record}"
    );
    let listed = edge.run(&["connection", "list", "--json"], "");
    assert!(listed.out.contains("\"ready\":false"), "{listed:?}");
}

/// No byte of it lies or goes anywhere but to the upstream.
#[test]
fn the_key_is_in_no_file_no_log_no_metric_and_no_backup() {
    let edge = Edge::start("all");
    edge.add(&[], KEY);
    let mut said = String::new();
    for how in ["plain", "body", "header", "gzip", "drip"] {
        said += &edge.get(how);
    }
    for arguments in [
        &["connection", "list"][..],
        &["connection", "list", "--json"],
        &["config", "show", "--effective"],
        &["check"],
        &["backup", "all.backup"],
    ] {
        let ran = edge.run(arguments, "");
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        said += &format!("{ran:?}");
    }
    said += &edge.served.get("/metrics");
    said += &edge.served.get("/readyz");
    assert!(!said.to_ascii_lowercase().contains(KEY));
    let mut files = 0;
    for file in glob::glob(edge.served.path().join("**/*").to_str().unwrap())
        .unwrap()
        .map(Result::unwrap)
        .filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "{}", file.display());
        files += 1;
    }
    assert!(files > 5 && edge.served.path().join("all.backup").is_file());

    // What was backed up is put on requests where it is restored, with the same key file.
    let (from, key_file) = (edge.served.path().join("all.backup"), edge.served.path().join("narrows.key"));
    let restored = Served::start(|folder| {
        std::fs::copy(&key_file, folder.join("narrows.key")).unwrap();
        std::fs::copy(edge.served.path().join("corp.jwks.json"), folder.join("corp.jwks.json")).unwrap();
        let text = std::fs::read_to_string(edge.served.path().join("narrows.toml")).unwrap();
        std::fs::write(
            folder.join("narrows.toml"),
            text.replace(&edge.served.address.to_string(), "127.0.0.1:8420"),
        )
        .unwrap();
        let ran = narrows(folder, &["restore", from.to_str().unwrap()], "");
        assert_eq!(ran.code, 0, "{ran:?}");
    });
    let again = Edge {
        proxy: restored.door("proxy"),
        served: restored,
        ..edge
    };
    let listed = again.run(&["connection", "list", "--json"], "");
    assert!(listed.out.contains("\"ready\":true"), "{listed:?}");
    // What was issued before a restore is dead.
    let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let claims = json!({
        "iss": "https://login.corp.example", "sub": "alice", "aud": "api://shop", "iat": now + 2, "exp": now + 600, "jti": "two",
        "client_id": "web", "scope": "tickets.full", "groups": ["support"],
    });
    let reply = again.get_as(&again.issuer.sign("at+jwt", &claims), "/tickets/42/plain", "");
    assert_eq!(
        (status(&reply), again.upstream.last("x-api-key")),
        (200, vec![KEY.to_owned()]),
        "{reply}"
    );
}

/// `/v1/connections`: kept by an admin, listed for an auditor, read back by nobody; the same verbs ask it from afar.
#[test]
fn operators_keep_list_and_forget_keys_from_afar() {
    let edge = Edge::start("user");
    let token = |name: &str, role: &str| {
        let added = edge.run(&["operator", "add", name, "--role", role, "--json"], "");
        let added: Value = serde_json::from_str(&added.out).unwrap();
        added["token"].as_str().unwrap().to_owned()
    };
    std::fs::write(edge.served.path().join("admin"), token("ada", "admin")).unwrap();
    std::fs::write(edge.served.path().join("auditor"), token("otto", "auditor")).unwrap();
    let url = format!("http://{}", edge.served.address);
    let afar = |who: &str, arguments: &[&str], input: &str| {
        let with = ["--url", url.as_str(), "--token-file", who];
        edge.run(&[&["connection"], arguments, &with].concat(), input)
    };
    let alice = ["--user", "https://login.corp.example", "alice"];
    let refused = afar("auditor", &[&["add", "tickets-key"], &alice[..]].concat(), KEY);
    assert!(refused.code == 1 && refused.err.contains("not_permitted"), "{refused:?}");
    for (arguments, key, why) in [
        (vec!["add", "tickets-key"], KEY, "per user"),
        (
            vec!["add", "other-key", alice[0], alice[1], alice[2]],
            KEY,
            "no such issuer, client or connection",
        ),
        (
            vec!["add", "tickets-key", alice[0], "https://nobody.example", "alice"],
            KEY,
            "unknown_party",
        ),
    ] {
        let refused = afar("admin", &arguments, key);
        assert!(
            refused.code == 1 && refused.err.contains(why) && !refused.err.contains(KEY),
            "{refused:?}"
        );
    }
    assert_eq!(status(&edge.get("plain")), 503);
    let added = afar("admin", &[&["add", "tickets-key"], &alice[..]].concat(), KEY);
    assert!(
        added.code == 0 && added.out.contains("is added") && !added.out.contains(KEY),
        "{added:?}"
    );
    assert_eq!(status(&edge.get("plain")), 200);
    let rotated = afar("admin", &[&["rotate", "tickets-key"], &alice[..]].concat(), "sk-another-0123");
    assert!(rotated.code == 0 && rotated.out.contains("is rotated"), "{rotated:?}");
    assert_eq!(status(&edge.get("plain")), 200);
    assert_eq!(edge.upstream.last("x-api-key"), ["sk-another-0123"]);
    let listed = afar("auditor", &["list", "--json"], "");
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!((&listed[0]["user"]["sub"], &listed[0]["ready"]), (&json!("alice"), &json!(true)));
    assert!(!listed.to_string().contains("sk-"), "{listed}");
    assert_eq!(afar("admin", &["list"], "").code, 1, "an admin is no auditor");
    let refused = afar("auditor", &[&["remove", "tickets-key"], &alice[..]].concat(), "");
    assert!(refused.code == 1 && refused.err.contains("not_permitted"), "{refused:?}");
    let body =
        format!(r#"{{"name":"tickets-key","user":{{"iss":"https://login.corp.example","sub":"alice"}},"secret":"{KEY}","users":[]}}"#);
    let admin = std::fs::read_to_string(edge.served.path().join("admin")).unwrap();
    let post = format!(
        "POST /v1/connections HTTP/1.1\r\nhost: broker\r\nconnection: close\r\nauthorization: Bearer {admin}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = echo::ask(edge.served.address, &post);
    assert!(
        status(&reply) == 400 && reply.contains("not known") && !reply.contains(KEY),
        "{reply}"
    );
    let dry = afar("admin", &[&["rotate", "tickets-key", "--dry-run"], &alice[..]].concat(), "");
    assert!(dry.out.contains("to rotate the credential"), "{dry:?}");
    let removed = afar(
        "admin",
        &[&["remove", "tickets-key", "--reason", "it leaked"], &alice[..]].concat(),
        "",
    );
    assert_eq!(removed.code, 0, "{removed:?}");
    assert_eq!(edge.told("connection_removed")[0]["inputs"]["why"], "it leaked");
    let again = afar("admin", &[&["remove", "tickets-key"], &alice[..]].concat(), "");
    assert!(again.code == 1 && again.err.contains("not_found"), "{again:?}");
    assert_eq!(status(&edge.get("plain")), 503);
    let told = edge.told("connection_added");
    assert_eq!((told.len(), &told[0]["inputs"]["operator"]), (1, &json!("ada")), "{told:?}");
    assert!(!edge.records().iter().any(|record| record.to_string().contains("sk-")));
}

/// A credential of a client that there is none of would never be found, and look as if it were kept.
#[test]
fn nothing_is_kept_for_a_client_that_the_configuration_does_not_know() {
    let edge = Edge::start("client");
    let added = edge.run(&["operator", "add", "ada", "--role", "admin", "--json"], "");
    let added: Value = serde_json::from_str(&added.out).unwrap();
    std::fs::write(edge.served.path().join("admin"), added["token"].as_str().unwrap()).unwrap();
    let url = format!("http://{}", edge.served.address);
    let add = ["connection", "add", "tickets-key", "--client", "nobody"];
    let refused = edge.run(&[&add[..], &["--url", &url, "--token-file", "admin"]].concat(), KEY);
    assert!(
        refused.code == 1 && refused.err.contains("no such issuer, client or connection"),
        "{refused:?}"
    );
    let refused = edge.run(&add, KEY);
    assert!(
        refused.code == 1 && refused.err.contains("there is no client `nobody`"),
        "{refused:?}"
    );
    assert_eq!(edge.told("connection_added").len(), 0);
}

/// What the old key file encrypts a running broker encrypts with the new one, and then the old one is not needed.
#[test]
fn a_new_key_file_takes_credentials_over() {
    let edge = Edge::with("all", "X-Api-Key", "{}", |folder| {
        let added = narrows(folder, &["connection", "add", "tickets-key"], KEY);
        assert_eq!(added.code, 0, "{added:?}");
        let new = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [7; 32]);
        std::fs::write(folder.join("new.key"), new).unwrap();
        let config = folder.join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains("\"narrows.key\""));
        std::fs::write(&config, text.replace("\"narrows.key\"", "[\"new.key\", \"narrows.key\"]")).unwrap();
    });
    edge.served.until("credentials are encrypted anew", |_| edge.told("connection_resealed").len() == 1);
    assert_eq!(status(&edge.get("plain")), 200);
    assert_eq!(edge.upstream.last("x-api-key"), [KEY]);
}
