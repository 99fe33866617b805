//! A request is for one host.

use http::{HeaderMap, HeaderValue, header};
use narrows_guard::hygiene::host::Host;
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::{Matched, Table};
use narrows_guard::{Body, Call};
use testkit::snapshot;

use crate::service::{needed, route, service};

fn to(host: &str) -> Option<Call> {
    Call::parse("GET", host.as_bytes(), b"/a", &HeaderMap::new(), Body::Absent).ok()
}

#[test]
fn a_host_that_two_readers_could_read_in_two_ways_is_refused() {
    for host in [
        "",
        "t1,t2",
        "t1, t2",
        "t1 t2",
        " t1",
        "t1\t",
        "user@t1",
        "t1@t2",
        "t1\0",
        "t1\r\n",
        "t1.",
        ".t1",
        "t1..internal",
        ".",
        "t1:",
        "t1:x",
        "t1:80:90",
        "t1:+80",
        "t1:65536",
        ":80",
        "t1/path",
        "t1?x",
        "t1#x",
        "t1%2e",
        "t\u{e9}",
        "[::1",
        "::1",
        "[::1]x",
        "[t1]",
        "*.t1",
        "t1\\",
    ] {
        assert!(Host::parse(host.as_bytes()).is_err(), "{host:?}");
    }
    assert!(Host::parse(b"t\xff").is_err());
    assert!(Host::parse("a".repeat(256).as_bytes()).is_err());
}

/// GWY-022.
#[test]
fn hosts_compare_in_lower_case_and_without_their_port() {
    let host = Host::parse(b"API.Orders.Test:8443").unwrap();
    assert_eq!((host.name(), host.port()), ("api.orders.test", Some(8443)));
    assert_eq!(host.to_string(), "api.orders.test:8443");
    let host = Host::parse(b"[::1]:80").unwrap();
    assert_eq!((host.name(), host.port()), ("[::1]", Some(80)));
    assert_eq!(Host::parse(b"[2001:DB8::1]").unwrap().name(), "[2001:db8::1]");
}

#[test]
fn two_host_lines_are_refused() {
    let mut headers = HeaderMap::new();
    headers.append(header::HOST, HeaderValue::from_static("t1"));
    assert!(Call::parse("GET", b"t1", b"/a", &headers, Body::Absent).is_ok());
    headers.append(header::HOST, HeaderValue::from_static("t1"));
    assert!(Call::parse("GET", b"t1", b"/a", &headers, Body::Absent).is_err());
}

#[test]
fn a_pattern_is_a_host_without_a_port_or_one_label_before_it() {
    for text in ["", "*", "*.", "*.*.a", "a.*", "a:80", "http://a", "a/", "*a", "a.", "a b"] {
        assert!(HostPattern::parse(text).is_err(), "{text}");
    }
    assert_eq!(HostPattern::parse("*.Tickets.internal").unwrap().to_string(), "*.tickets.internal");
    assert_eq!(HostPattern::parse("Tickets.internal").unwrap().to_string(), "tickets.internal");
}

fn two_services() -> Table {
    let named = service(
        "named",
        &["one.tickets.internal"],
        vec![route("GET /a", "ticket:list"), route("GET /b", "public")],
    );
    let below = vec![route("GET /a", "ticket:read/{host.1}"), route("GET /c", "public")];
    Table::build(vec![service("below", &["*.tickets.internal"], below), named], snapshot().types).unwrap()
}

#[test]
fn exactly_one_label_stands_before_a_pattern_and_is_a_value() {
    let table = two_services();
    let found = |host| to(host).and_then(|call| table.find(&call).map(|matched| matched.service().name.clone()));
    assert_eq!(found("two.tickets.internal").as_deref(), Some("below"));
    assert_eq!(found("a.b.tickets.internal"), None);
    assert_eq!(found("tickets.internal"), None);
    assert_eq!(found("two.tickets.internal.evil.test"), None);
    assert_eq!(needed(&table, &to("TWO.tickets.internal:80").unwrap()).unwrap(), "ticket:read/two");
}

#[test]
fn a_named_host_goes_before_a_pattern_and_is_its_services_alone() {
    let table = two_services();
    let find = |path: &str| {
        let call = Call::parse("GET", b"one.tickets.internal", path.as_bytes(), &HeaderMap::new(), Body::Absent).unwrap();
        table.find(&call).as_ref().map(Matched::service).map(|service| service.name.clone())
    };
    assert_eq!(find("/a").as_deref(), Some("named"));
    // The pattern has a route for it, and the named service has none: it is no request for the other service.
    assert_eq!(find("/c"), None);
}
