//! A request has one route, or none.

use std::cmp::Ordering;

use http::HeaderMap;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Route, Rule, Table, TableError};
use narrows_guard::{Body, Call};
use proptest::prelude::*;
use testkit::snapshot;

use crate::service::{asked, route, service, table};

fn found<'t>(table: &'t Table, method: &str, target: &str) -> Option<&'t str> {
    table.find(&asked(method, target)).map(|matched| matched.route().name())
}

#[test]
fn a_literal_goes_before_a_segment_and_that_before_the_remainder() {
    let table = table(&[
        ("GET /tickets/{x:rest}", "public"),
        ("GET /tickets/{id}", "public"),
        ("GET /tickets/new", "public"),
        ("GET /tickets/{id}/notes", "public"),
        ("GET /{kind}/new/notes", "public"),
        ("GET /", "public"),
    ]);
    assert_eq!(found(&table, "GET", "/tickets/new"), Some("GET /tickets/new"));
    assert_eq!(found(&table, "GET", "/tickets/7"), Some("GET /tickets/{id}"));
    assert_eq!(found(&table, "GET", "/tickets/7/x"), Some("GET /tickets/{x:rest}"));
    assert_eq!(found(&table, "GET", "/tickets/new/notes"), Some("GET /tickets/{id}/notes"));
    assert_eq!(found(&table, "GET", "/other/new/notes"), Some("GET /{kind}/new/notes"));
    assert_eq!(found(&table, "GET", "/"), Some("GET /"));
    assert_eq!(found(&table, "GET", "/tickets"), None);
    assert_eq!(
        found(&table, "GET", "/tick%65ts/n%65w"),
        Some("GET /tickets/new"),
        "compared after one decoding"
    );
}

#[test]
fn a_variable_is_never_empty() {
    let table = table(&[("GET /tickets/{id}", "public"), ("GET /files/{path:rest}", "public")]);
    assert_eq!(found(&table, "GET", "/tickets/"), None);
    assert_eq!(found(&table, "GET", "/files/"), None);
    assert_eq!(found(&table, "GET", "/files/a/"), Some("GET /files/{path:rest}"));
}

/// GWY-022.
#[test]
fn paths_and_methods_differ_by_case() {
    let table = table(&[("GET /admin", "public")]);
    assert_eq!(found(&table, "GET", "/ADMIN"), None);
    assert_eq!(found(&table, "get", "/admin"), None);
}

#[test]
fn one_method_does_not_stand_for_another() {
    let table = table(&[("GET /tickets/new", "public"), ("POST /tickets/{id}", "public")]);
    for method in ["HEAD", "OPTIONS", "PUT", "TRACE", "GETS"] {
        assert_eq!(found(&table, method, "/tickets/new"), None, "{method}");
    }
    assert_eq!(found(&table, "POST", "/tickets/new"), Some("POST /tickets/{id}"));
}

/// GWY-007.
#[test]
fn the_query_plays_no_part_in_finding_a_route() {
    let table = table(&[("GET /public/{x:rest}", "public"), ("GET /admin", "ticket:list")]);
    for target in ["/admin?x=/public/health", "/admin?/public/health", "/admin??/../public/health"] {
        assert_eq!(found(&table, "GET", target), Some("GET /admin"), "{target}");
    }
    assert_eq!(found(&table, "GET", "/other?/public/health"), None);
}

#[test]
fn another_host_has_no_route() {
    let table = table(&[("GET /a", "public")]);
    let call = Call::parse("GET", b"elsewhere.internal", b"/a", &HeaderMap::new(), Body::Absent).unwrap();
    assert!(table.find(&call).is_none());
}

#[test]
fn two_routes_of_equal_rank_are_named_and_refused() {
    let types = snapshot().types;
    let one = service("one", &["a.internal", "b.internal"], vec![route("GET /x/{id}", "public")]);
    let two = service("two", &["b.internal"], vec![route("GET /x/{other}", "public")]);
    let error = Table::build(vec![one.clone(), two], types.clone()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`GET /x/{other}` of service `two` matches what `GET /x/{id}` of service `one` matches, and neither wins; keep one"
    );
    let elsewhere = service("two", &["*.internal"], vec![route("GET /x/{other}", "public")]);
    assert!(
        Table::build(vec![one, elsewhere], types).is_ok(),
        "a host by name goes before one by pattern"
    );
}

#[test]
fn a_route_that_asks_for_nothing_and_one_without_an_audience_are_refused() {
    let types = || snapshot().types;
    let nothing = Route::new(
        "x".to_owned(),
        route("GET /x", "public").pattern().clone(),
        Rule::Needs(Box::default()),
    );
    let error = Table::build(vec![service("one", &["a.internal"], vec![nothing])], types()).unwrap_err();
    assert!(matches!(error, TableError::AsksNothing(_)));
    let mut nobody = service("one", &["a.internal"], vec![route("GET /x", "ticket:list")]);
    nobody.audience = None;
    assert!(matches!(
        Table::build(vec![nobody], types()).unwrap_err(),
        TableError::NoAudience(_)
    ));
    let twice = vec![
        route("GET /x", "public"),
        Route::new("GET /x".to_owned(), route("GET /y", "public").pattern().clone(), Rule::Public),
    ];
    assert!(matches!(
        Table::build(vec![service("one", &["a.internal"], twice)], types()).unwrap_err(),
        TableError::Name { .. }
    ));
}

#[test]
fn a_key_that_could_be_read_in_two_ways_is_no_pattern() {
    for key in [
        "GET /a//b",
        "GET /.",
        "GET /a%2fb",
        "GET /a;b",
        "GET /{a}/{a}",
        "GET /{a:rest}/b",
        "Get /a",
        " /a",
        "GET /{}",
        "GET /{a b}",
    ] {
        assert!(Pattern::parse(key).is_err(), "{key}");
    }
}

/// A request's route by looking at every route: those that match, and of them the one whose segments rank first.
fn naive<'r>(keys: &'r [String], call: &Call) -> Option<&'r String> {
    let matching = keys.iter().filter(|key| {
        let pattern = route(key, "public").pattern().clone();
        pattern.capture(call.method().as_str(), call.path()).is_some()
    });
    matching.min_by(|left, right| rank(left, right))
}

fn rank(left: &str, right: &str) -> Ordering {
    let class = |segment: &str| match segment {
        _ if segment.ends_with(":rest}") => 2,
        _ if segment.starts_with('{') => 1,
        _ => 0,
    };
    left.split('/').map(class).cmp(right.split('/').map(class))
}

fn key() -> impl Strategy<Value = String> {
    let segment = prop_oneof![3 => Just("a"), 2 => Just("b"), 2 => Just("{}")];
    let end = prop_oneof![3 => Just(""), 1 => Just("/"), 1 => Just("/{r:rest}")];
    let segments = proptest::collection::vec(segment, 1..4);
    (prop_oneof![3 => Just("GET"), 1 => Just("PUT")], segments, end).prop_map(|(method, segments, end)| {
        let mut key = format!("{method} ");
        for (at, segment) in segments.iter().enumerate() {
            key.push('/');
            key.push_str(&segment.replace("{}", &format!("{{v{at}}}")));
        }
        key + end
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_table_finds_what_looking_at_every_route_finds(
        keys in proptest::collection::btree_set(key(), 1..12),
        paths in proptest::collection::vec("(/[abc]){0,4}/?", 8),
    ) {
        let keys: Vec<_> = keys.into_iter().collect();
        let routes = keys.iter().map(|key| route(key, "public")).collect();
        let table = Table::build(vec![service("one", &["tickets.internal"], routes)], snapshot().types).unwrap();
        for path in paths.iter().filter(|path| !path.is_empty()) {
            for method in ["GET", "PUT", "HEAD"] {
                let call = asked(method, path);
                let found = table.find(&call).map(|matched| matched.route().name());
                prop_assert_eq!(found, naive(&keys, &call).map(String::as_str), "{} {} of {:?}", method, path, keys);
            }
        }
    }
}
