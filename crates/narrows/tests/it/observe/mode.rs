//! Who observes: a boundary, a service, a route, and until when; and what slips by none of them that enforces.

use serde_json::Value;

use super::{CLOSE, Edge, day, observe};

/// An enforcing service stays one behind a boundary that observes, however a request to it is written.
#[test]
fn the_most_specific_word_holds_and_nothing_slips_by_it() {
    let edge = Edge::start("mode = \"enforce\"", "", &observe());
    for target in ["/tickets/42", "//tickets/42", "/nowhere", "/tickets/42;x"] {
        assert_ne!(edge.get(target, ""), 200, "{target}");
    }
    assert_eq!(edge.get("/tickets/42", &edge.token), 200);
    assert!(edge.observed().is_empty());
    // What is nobody's has nowhere to go.
    let request = b"GET / HTTP/1.1\r\nhost: other.internal\r\nconnection: close\r\n\r\n";
    assert_eq!(edge.sent(request).0, 403);
}

#[test]
fn a_route_that_observes_does_so_alone_and_a_day_that_has_come_enforces() {
    let routes = "\"GET /exports/{id}\" = { detail = \"ticket:read/{id}\", mode = \"observe\" }";
    let edge = Edge::start(&format!("observe_until = \"{}\"", day(1)), routes, "");
    assert_eq!(edge.get("/exports/7", ""), 200);
    assert_eq!(edge.get("/tickets/42", ""), 401);
    assert_eq!(edge.get("/nowhere", ""), 403);
    let parts = edge.served.ready()["observing"].clone();
    assert_eq!(parts[0]["part"], "route GET /exports/{id} of tickets", "{parts}");

    let edge = Edge::start("", "", &format!("mode = \"observe\"\nobserve_until = \"{}\"", day(0)));
    assert_eq!(edge.get("/tickets/42", ""), 401);
    assert_eq!(edge.served.ready()["observing"], Value::Array(Vec::new()));
    let checked = crate::run::narrows(edge.served.path(), &["check", "--offline"], "");
    let told = checked.out + &checked.err;
    assert_eq!(checked.code, 0, "{told}");
    assert!(told.contains("has come, so it enforces"), "{told}");
}

/// What one message asks for, no other refuses.
#[test]
fn the_day_of_a_boundary_that_enforces_is_that_of_its_routes() {
    let routes = "\"GET /exports/{id}\" = { detail = \"ticket:read/{id}\", mode = \"observe\" }";
    let edge = Edge::start("", routes, &format!("observe_until = \"{}\"", day(1)));
    assert_eq!(edge.get("/exports/7", ""), 200);
    assert_eq!(edge.get("/tickets/42", ""), 401);
    let ready = edge.served.ready();
    assert_eq!(ready["observing"][0]["part"], "route GET /exports/{id} of tickets", "{ready}");
    let config = edge.served.path().join("narrows.toml");
    let check = |change: &dyn Fn(String) -> String| {
        let before = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, change(before.clone())).unwrap();
        let checked = crate::run::narrows(edge.served.path(), &["check", "--offline"], "");
        std::fs::write(&config, before).unwrap();
        (checked.code, checked.out + &checked.err)
    };
    let (code, told) = check(&|text| text.replace(&day(1), "2999-01-01"));
    assert!(code != 0 && told.contains("expected a day at most 90 days ahead"), "{told}");
    let (code, told) = check(&|text| text.replace(", mode = \"observe\"", ""));
    assert!(code != 0 && told.contains("says nothing without `mode = \"observe\"`"), "{told}");
}

/// Whoever writes a route for the rest is told what it stands beside.
#[test]
fn check_warns_of_a_route_that_observes_beside_one_that_enforces() {
    let rest = "\"GET /{path:rest}\" = { detail = \"ticket:read/{path}\", mode = \"observe\" }";
    let day = format!("observe_until = \"{}\"", day(1));
    let edge = Edge::start(&day, rest, "");
    let told = crate::run::narrows(edge.served.path(), &["check"], "");
    let told = told.out + &told.err;
    assert!(told.contains("`GET /{path:rest}` observes beside `GET /tickets/{id}`"), "{told}");
    for target in ["/tickets/42/", "/TICKETS/42"] {
        assert_eq!(edge.get(target, ""), 400, "{target}");
    }
    assert_eq!(edge.get("/pages/42", ""), 200);
    let apart = Edge::start(&day, &rest.replace("{path:rest}", "pages/{path}"), "");
    let told = crate::run::narrows(apart.served.path(), &["check"], "");
    let told = told.out + &told.err;
    assert!(!told.contains("observes beside"), "{told}");
}

/// GWY-016: beside what enforces, what says another method, path or identity is decided on, and no service speaks for the boundary.
#[test]
fn beside_what_enforces_nothing_goes_on_that_says_another_thing_than_its_line() {
    let routes = "\"GET /{path:rest}\" = { detail = \"ticket:read/{path}\", mode = \"observe\" }";
    let day = format!("observe_until = \"{}\"", day(1));
    let edge = Edge::start(&day, routes, "");
    let sent = |target: &str, header: &str| edge.sent(format!("GET {target} HTTP/1.1\r\n{CLOSE}{header}\r\n").as_bytes());
    assert_eq!(sent("/pages", "accept: text/html\r\n").0, 200);
    for header in [
        "X-HTTP-Method-Override: DELETE\r\n",
        "X-Original-URL: /tickets/42\r\n",
        "SCRIPT_NAME: /pages\r\n",
        "narrows_subject: root\r\n",
        "X-Forwarded-For: 192.0.2.1\r\n",
    ] {
        assert_eq!(sent("/pages", header).0, 401, "{header}");
    }
    assert_eq!(sent("/pages?_method=DELETE", "").0, 401);
    let (status, said) = sent("/.well-known/oauth-protected-resource", "");
    assert!(status == 200 && said.contains("https://edge.example"), "{status} {said}");

    let trusted = Edge::start(&day, routes, "trusted_proxies = [\"127.0.0.1/32\"]");
    let forwarded = format!("GET /pages HTTP/1.1\r\n{CLOSE}X-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_eq!(trusted.sent(forwarded.as_bytes()).0, 200, "a proxy that is believed says so");
    let all = Edge::start("", "", &observe());
    let (_, said) = all.sent(format!("GET /.well-known/oauth-protected-resource HTTP/1.1\r\n{CLOSE}\r\n").as_bytes());
    assert!(said.starts_with("GET /.well-known/"), "{said}");
}
