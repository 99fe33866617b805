//! `snippet` for backends that check for themselves: for which services one is printed, and what it goes by. `scripts/backends` runs
//! what is printed.

use serde_json::{Value, json};

use crate::run::{narrows, root};
use crate::snippet::{block, installation};

const KINDS: [&str; 3] = ["fastapi", "express", "java"];
const READ: &str = r#""GET /tickets/{id}" = "ticket:read/{id}""#;

const GUARD: &str = r#"
[[clients]]
id       = "guard"
receives = ["https://tickets.internal"]
auth     = { method = "client_secret_basic", secret_sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
[[detail_types]]
type         = "\u00e4`${x}'''"
entity       = "Odd"
actions.read = { identifier = "required", constraints = ["tenant"] }
constraints  = { tenant = "equal" }
[[guards]]
service = "tickets"
client  = "guard"
listen  = "127.0.0.1:8441"
excess  = "none"
fixed   = { tenant = "\"a\\" }
"#;

/// A service with these keys and routes.
fn service(name: &str, keys: &str, routes: &str) -> String {
    let table = format!("[[services]]\nname = \"{name}\"\nhosts = [\"{name}.internal\"]\nupstream = \"http://127.0.0.1:1\"\n");
    format!("{table}{keys}\n[services.routes]\n{routes}\n")
}

fn tickets(routes: &str) -> String {
    service("tickets", "audience = \"https://tickets.internal\"", routes)
}

/// Why nothing is printed, for each of the languages the same.
fn told(more: &str, arguments: &[&str]) -> String {
    let folder = installation(more);
    let refusals = KINDS.map(|kind| {
        let ran = narrows(folder.path(), &[&["snippet", kind], arguments].concat(), "");
        assert!(ran.code != 0 && ran.out.is_empty(), "{ran:?}");
        ran.err
    });
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
    refusals[0].clone()
}

/// The rules that a middleware goes by.
fn rules(more: &str, kind: &str) -> Value {
    let ran = narrows(installation(more).path(), &["snippet", kind, "--service", "tickets"], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let (_, behind) = ran.out.split_once("\n{\n").unwrap();
    let (inside, _) = behind.split_once("\n}\n").unwrap();
    let text = format!("{{{inside}}}");
    // A text block of Java reads escapes itself.
    let text = if kind == "java" { text.replace(r"\\", r"\") } else { text };
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_middleware_is_for_one_service() {
    assert!(told("", &[]).contains("there is no service"));
    let two = tickets(READ) + &service("other", "", r#""GET /" = "public""#);
    assert!(told(&two, &[]).contains("--service: tickets, other"), "{}", told(&two, &[]));
    assert!(told(&two, &["--service", "zz"]).contains("no service `zz`"));
    assert!(told(&two, &["--service", "other"]).contains("nothing to check"));
    assert!(told(&tickets(READ), &["--boundary", "front"]).contains("--service"));
    let ran = narrows(
        installation(&tickets(READ)).path(),
        &["snippet", "nginx", "--service", "tickets"],
        "",
    );
    assert!(ran.code != 0 && ran.err.contains("--boundary"), "{ran:?}");
}

#[test]
fn what_no_middleware_can_check_is_not_printed() {
    let audience = |keys: &str| {
        let audience = format!("[[audiences]]\nid = \"https://a.internal\"\ndetails = [\"ticket\"]\n{keys}\n");
        audience + &service("tickets", "audience = \"https://a.internal\"", READ)
    };
    assert!(told(&audience("token = \"opaque\""), &[]).contains("a guard before this backend"));
    assert!(told(&audience("token = \"txn\""), &[]).contains("no access tokens"));
    assert!(rules(&audience("token = \"jwt\""), "fastapi")["routes"].is_array());
    let reads = tickets(r#""GET /mine" = "ticket:update/1?fields={subject.groups}""#);
    assert!(told(&reads, &[]).contains("`GET /mine` of service `tickets` reads an attribute"));
}

/// A guard in the backend's own process is a client of the broker.
#[test]
fn a_guard_of_ones_own_needs_a_client() {
    let printed = |more: &str| narrows(installation(&(tickets(READ) + more)).path(), &["snippet", "axum"], "");
    let without = printed("");
    assert!(without.code != 0 && without.err.contains("[[guards]]"), "{without:?}");
    let with = printed(GUARD);
    assert_eq!(with.code, 0, "{}", with.err);
    for part in [
        r#"const CLIENT: &str = "guard";"#,
        "excess: Excess::None,",
        r#"BTreeMap::from([("tenant".to_owned(), "\"a\\".into())])"#,
        "max_lifetime: Duration::from_secs(120),",
        "recheck: Recheck::Never,",
        r#"route("GET /tickets/{id}", "GET /tickets/{id}", (Some("ticket:read/{id}"), &[]), Demand::default(), types)?,"#,
    ] {
        assert!(with.out.contains(part), "{part}\n{}", with.out);
    }
}

/// The page shows what is printed, and this program is built and linted like any other.
#[test]
fn what_is_printed_for_axum_is_a_program() {
    let page = std::fs::read_to_string(root().join("docs/integrations/axum.md")).unwrap();
    let program = std::fs::read_to_string(root().join("crates/guard/examples/axum/tickets_guard.rs")).unwrap();
    assert!(block(&page, "rust") == program, "docs/integrations/axum.md and the example differ");
}

/// Whoever says to observe is told that this does not, in the text and beside it; and nobody else.
#[test]
fn whoever_says_to_observe_is_told_that_this_enforces() {
    let until = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap();
    let observe = format!("mode = \"observe\"\nobserve_until = \"{until}\"\n");
    let route = READ.replace("\"ticket:read/{id}\"", "{ detail = \"ticket:read/{id}\", mode = \"observe\" }");
    let keys = "audience = \"https://tickets.internal\"\n";
    let cases = [
        (tickets(READ) + GUARD, None),
        (tickets(READ) + GUARD + &observe, Some("guards[0].mode:")),
        (
            service("tickets", &(keys.to_owned() + &observe), READ) + GUARD,
            Some("services.tickets.mode:"),
        ),
        (
            service("tickets", &format!("{keys}observe_until = \"{until}\""), &route) + GUARD,
            Some("services.tickets.routes.\"GET /tickets/{id}\".mode:"),
        ),
    ];
    for (tables, key) in cases {
        let folder = installation(&tables);
        for kind in KINDS.iter().chain(&["axum"]) {
            let ran = narrows(folder.path(), &["snippet", kind], "");
            assert_eq!(ran.code, 0, "{ran:?}");
            assert!(ran.out.contains("from the first request on"), "{kind}");
            assert!(!ran.out.contains("warning: "), "{kind}: what is printed is a program");
            match key {
                Some(key) => assert!(ran.err.contains(key) && ran.err.contains("enforces"), "{kind}: {}", ran.err),
                None => assert_eq!(ran.err, "", "{kind}"),
            }
        }
    }
}

#[test]
fn every_language_goes_by_the_same_rules() {
    let all = KINDS.map(|kind| rules(&(tickets(READ) + GUARD), kind));
    assert!(all[0] == all[1] && all[0] == all[2], "{all:?}");
    let rules = &all[0];
    assert_eq!(rules["excess"], "none");
    assert_eq!(rules["fixed"], json!({ "tenant": "\"a\\" }));
    assert_eq!(rules["max_lifetime"], 120, "the audience's own");
    assert_eq!(rules["jwks_uri"], "http://127.0.0.1:8420/oauth2/jwks");
    assert!(rules["types"]["\u{e4}`${x}'''"].is_object());
    assert_eq!(rules["refusals"]["overbroad_token"][0], 401);
    let alternatives = |key: &str| rules[key].as_str().unwrap().split('|').collect::<Vec<_>>();
    for name in [
        "narrows(-.*)?",
        "script-name",
        "x-accel(-.*)?",
        "proxy",
        "remote-user",
        "x-forwarded-user",
    ] {
        assert!(alternatives("forged").contains(&name), "{name}");
    }
    for name in ["x-forwarded(-.*)?", "client-cert", "x-ssl-client(-.*)?", "x-real-ip"] {
        assert!(alternatives("of_proxies").contains(&name), "{name}");
    }
    let without = self::rules(&tickets(READ), "fastapi");
    assert_eq!((&without["excess"], &without["fixed"]), (&json!("same_resource"), &json!({})));
}

#[test]
fn routes_stand_in_the_order_in_which_they_go_before_each_other() {
    let routes = r#"
"GET /{all:rest}"       = "ticket:read/{all}"
"GET /{a}/new"          = "ticket:read/{a}"
"GET /tickets/{id}"     = "ticket:read/{id}"
"GET /tickets/new"      = "ticket:list"
"GET /tickets/{x:rest}" = "ticket:read/{x}"
"#;
    let rules = rules(&tickets(routes), "express");
    let routes = rules["routes"].as_array().unwrap();
    let names: Vec<_> = routes.iter().map(|route| route["route"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "GET /tickets/new",
            "GET /tickets/{id}",
            "GET /tickets/{x:rest}",
            "GET /{a}/new",
            "GET /{all:rest}"
        ]
    );
}

/// A reader to whom case, slashes and extensions are of no account finds these first; and nothing is wrong where both ask for the same.
#[test]
fn a_route_knows_which_others_a_less_strict_reader_finds_first() {
    let routes = r#"
"GET /{all:rest}"      = "public"
"HEAD /{all:rest}"     = "public"
"POST /{all:rest}"     = "public"
"GET /open"            = "public"
"GET /list/"           = "ticket:list"
"GET /admin/{id}"      = "ticket:read/{id}"
"GET /{kind}/{id}"     = "ticket:read/{id}"
"GET /of/{id}/{who}"   = "ticket:read/{id}"
"GET /{who}/{id}/{by}" = "ticket:read/{id}"
"GET /on/{who}/{id}"   = "ticket:read/{id}"
"POST /to/{id}"        = { detail = "ticket:read/{id}", body_max = "1KiB" }
"POST /{kind}/{id}"    = "ticket:read/{id}"
"#;
    let rules = rules(&tickets(routes), "express");
    let routes = rules["routes"].as_array().unwrap();
    let name = |route: &Value| route["route"].as_str().unwrap().to_owned();
    let unlike = |key: &str| -> Vec<String> {
        let own = routes.iter().find(|route| route["route"] == key).unwrap();
        let mut names: Vec<_> = own["unlike"]
            .as_array()
            .unwrap()
            .iter()
            .map(|at| name(&routes[at.as_u64().unwrap() as usize]))
            .collect();
        names.sort();
        names
    };
    let of_rest = [
        "GET /admin/{id}",
        "GET /list/",
        "GET /of/{id}/{who}",
        "GET /on/{who}/{id}",
        "GET /{kind}/{id}",
        "GET /{who}/{id}/{by}",
    ];
    assert_eq!(unlike("GET /{all:rest}"), of_rest, "what is public too is no other");
    assert_eq!(unlike("HEAD /{all:rest}"), of_rest, "by GET, where there is no HEAD");
    assert_eq!(unlike("POST /{all:rest}"), ["POST /to/{id}", "POST /{kind}/{id}"]);
    assert_eq!(
        unlike("GET /{who}/{id}/{by}"),
        ["GET /on/{who}/{id}"],
        "of another place of the path"
    );
    for key in [
        "GET /open",
        "GET /list/",
        "GET /admin/{id}",
        "GET /{kind}/{id}",
        "POST /{kind}/{id}",
    ] {
        assert!(unlike(key).is_empty(), "{key}");
    }
}

/// Whose `excess` it is, where there are several.
#[test]
fn whoever_has_several_guards_is_told_by_which_this_goes() {
    let second = "[[guards]]\nservice = \"tickets\"\nclient = \"guard\"\nlisten = \"127.0.0.1:8442\"\nexcess = \"any\"\n";
    let folder = installation(&(tickets(READ) + GUARD + second));
    for kind in KINDS {
        let ran = narrows(folder.path(), &["snippet", kind], "");
        assert!(ran.code == 0 && ran.out.contains("excess = \"none\""), "{ran:?}");
        assert!(
            ran.err.contains("2 guards") && ran.err.contains("127.0.0.1:8441"),
            "{kind}: {}",
            ran.err
        );
    }
}
