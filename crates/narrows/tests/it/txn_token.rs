//! A service whose audience has transaction tokens, behind every door of the running program.

use std::collections::HashMap;

use envoy_types::pb::envoy::service::auth::v3::OkHttpResponse;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use serde_json::json;

use crate::boundary::claims;
use crate::front::Front;
use crate::run::narrows;
use crate::served::Served;
use crate::{corp, echo, ext_authz};

/// What every transaction token of ours begins with.
const BEGINS: &str = "eyJ0eXAiOiJ0eG50b2tlbitqd3QiLCJraWQiOiJucnct";
/// What a client might send to be taken for somebody.
const SPOOFED: &str = "txn-token: eve\r\ntxn_token: eve\r\ntxn.token: eve\r\n";

struct Edge {
    served: Served,
    token: String,
}

impl Edge {
    fn start() -> Self {
        let (issuer, backend) = (corp::issuer(), echo::start());
        let served = Served::start(|folder| {
            corp::trust(folder, &issuer);
            let life = "max_lifetime = \"2m\"";
            Front::before(&format!("http://{backend}")).add_changed(folder, |text| {
                assert!(text.contains(life));
                text.replace(life, &format!("{life}\ntoken = \"txn\""))
            });
        });
        Self {
            token: corp::token(&issuer, "tickets.full", "support", 600),
            served,
        }
    }

    fn ask(&self, door: &str, path: &str, headers: &str) -> String {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\nauthorization: Bearer {}\r\n{headers}\r\n",
            self.token
        );
        echo::ask(self.served.door(door), &head)
    }

    fn check(&self, path: &str) -> OkHttpResponse {
        let mut headers = HashMap::from([("authorization".to_owned(), format!("Bearer {}", self.token))]);
        for name in ["txn-token", "txn_token"] {
            headers.insert(name.to_owned(), "eve".to_owned());
        }
        let reply = ext_authz::check(self.served.door("ext_authz_grpc"), path, headers);
        let Some(HttpResponse::OkResponse(ok)) = reply.http_response else {
            panic!("{reply:?}")
        };
        ok
    }
}

/// The values of every header whose name could be read as `name`.
fn all<'r>(head: &'r str, name: &str) -> Vec<&'r str> {
    let folded = |found: &str| found.to_ascii_lowercase().replace(['_', '.'], "-") == name;
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| folded(found)).map(|(_, value)| value).collect()
}

fn parts(reply: &str) -> (&str, &str) {
    reply.split_once("\r\n\r\n").unwrap()
}

#[test]
fn the_own_proxy_sends_one_token_in_its_own_header_and_no_authorization() {
    // TT-11, PX-01.
    let edge = Edge::start();
    let reply = edge.ask("proxy", "/tickets/42", SPOOFED);
    let (head, seen) = parts(&reply);
    assert!(head.starts_with("HTTP/1.1 200 "), "{reply}");
    assert!(all(seen, "authorization").is_empty() && !seen.contains("eve"), "{seen}");
    let [token] = all(seen, "txn-token")[..] else { panic!("{seen}") };
    assert!(token.starts_with(BEGINS), "{token}");
    let claims = claims(token);
    assert_eq!(
        (&claims["aud"], &claims["scope"], &claims["req_wl"]),
        (&json!("https://tickets.internal"), &json!("ticket:read/42"), &json!("edge"))
    );
    assert!(
        !seen.contains(edge.token.rsplit('.').next().unwrap()),
        "nothing of the caller's token"
    );

    let reply = edge.ask("proxy", "/healthz", SPOOFED);
    let (head, seen) = parts(&reply);
    assert!(head.starts_with("HTTP/1.1 200 "), "{reply}");
    assert!(all(seen, "authorization").is_empty() && all(seen, "txn-token").is_empty(), "{seen}");

    // A boundary takes access tokens: this one, alive and from us, is none.
    let shown = format!("GET /tickets/42 HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n");
    let refused = echo::ask(edge.served.door("proxy"), &shown);
    assert!(
        refused.starts_with("HTTP/1.1 401 ") && refused.contains("subject_token_invalid"),
        "{refused}"
    );
    assert!(!edge.served.log().contains(token.rsplit('.').next().unwrap()), "no log holds it");
}

#[test]
fn the_doors_of_other_proxies_hand_it_over_in_their_words() {
    let edge = Edge::start();
    let about = "x-original-method: GET\r\nx-original-uri: /tickets/42\r\n";
    let reply = edge.ask("forward_auth", "/check", about);
    let (head, _) = parts(&reply);
    assert!(head.starts_with("HTTP/1.1 200 "), "{reply}");
    assert!(all(head, "authorization").is_empty(), "the proxy removes the client's: {head}");
    assert!(matches!(all(head, "txn-token")[..], [token] if token.starts_with(BEGINS)), "{head}");
    let refused = edge.ask("forward_auth", "/check", &(about.to_owned() + "txn-token: eve\r\n"));
    assert!(
        refused.starts_with("HTTP/1.1 403 ") && refused.contains("malformed_request"),
        "{refused}"
    );

    let reply = edge.ask("ext_authz_http", "/tickets/42", SPOOFED);
    let (head, _) = parts(&reply);
    assert!(head.starts_with("HTTP/1.1 200 "), "{reply}");
    assert!(all(head, "authorization").is_empty(), "{head}");
    assert!(matches!(all(head, "txn-token")[..], [token] if token.starts_with(BEGINS)), "{head}");
    let mut removed: Vec<_> = all(head, "x-envoy-auth-headers-to-remove")[0].split(',').collect();
    removed.sort_unstable();
    assert_eq!(
        removed,
        ["authorization", "txn.token", "txn_token"],
        "all but what is written over: Envoy removes after it sets"
    );

    let ok = edge.check("/tickets/42");
    let set: Vec<_> = ok.headers.iter().map(|option| (option.append_action, option.header.clone().unwrap())).collect();
    let [(2, header)] = &set[..] else { panic!("{set:?}") };
    assert_eq!((header.key.as_str(), header.value.starts_with(BEGINS)), ("txn-token", true));
    let mut removed = ok.headers_to_remove;
    removed.sort_unstable();
    assert_eq!(removed, ["authorization", "txn_token"]);
    let public = edge.check("/healthz");
    let mut removed = public.headers_to_remove;
    removed.sort_unstable();
    assert!(public.headers.is_empty());
    assert_eq!(removed, ["authorization", "txn-token", "txn_token"], "nothing takes its place");
}

#[test]
fn the_commands_get_one_show_it_in_words_and_end_it() {
    let edge = Edge::start();
    let asked = |verb: &[&str], input: &str| {
        let ran = narrows(edge.served.path(), verb, input);
        (ran.code, ran.out)
    };
    let exchange = [
        "exchange",
        "--client",
        "edge",
        "--key",
        "edge.key",
        "--audience",
        "https://tickets.internal",
    ];
    let (code, token) = asked(&[&exchange[..], &["--details", "ticket:read/42"]].concat(), &edge.token);
    assert_eq!((code, token.trim().starts_with(BEGINS)), (0, true));
    let (code, words) = asked(&["inspect"], &token);
    assert_eq!(code, 0, "{words}");
    for line in [
        "a transaction token",
        "Txn-Token",
        "may        read ticket 42",
        "verified   signed by",
    ] {
        assert!(words.contains(line), "{line}: {words}");
    }
    // Nobody receives this audience, so nobody may have it replaced; that it is told so shows that it was taken for what it is.
    let shown = [&exchange[..], &["--subject-token-type", "txn_token", "--details", "ticket:read/42"]].concat();
    let told = narrows(edge.served.path(), &shown, &token);
    assert_ne!(told.code, 0);
    assert!(format!("{told:?}").contains("subject_token_not_for_client"), "{told:?}");
    assert_eq!(asked(&["leak", "report"], &token).0, 0);
    let told = narrows(edge.served.path(), &shown, &token);
    assert!(format!("{told:?}").contains("subject_token_revoked"), "{told:?}");
}
