//! A request whose route depends on how strictly a path is read has none.

use narrows_guard::Refused;
use narrows_guard::live::{Modes, Recheck};
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Demand, Route, Rule, Table};
use narrows_guard::surplus::Excess;
use proptest::prelude::*;
use serde_json::json;
use testkit::snapshot;

use crate::guarded::{at, bearer, build, claims, settings, token, word};
use crate::service::{asked, demand, route, service, table};
use crate::told::{broker, caller, live};

/// The name of the one route of a request, or the reason of the refusal.
fn only(table: &Table, method: &str, target: &str) -> Result<String, &'static str> {
    let only = table.only(&asked(method, target));
    only.map(|matched| matched.route().name().to_owned()).map_err(|refused| refused.reason())
}

/// GWY-020 GWY-022.
#[test]
fn what_a_less_strict_reader_takes_for_another_route_is_refused() {
    let table = table(&[
        ("GET /{path:rest}", "public"),
        ("HEAD /{path:rest}", "public"),
        ("HEAD /open", "public"),
        ("GET /admin/{id}", "ticket:update/{id}"),
        ("GET /kiosk", "ticket:list"),
        ("GET /list", "ticket:list"),
        ("GET /list.css", "public"),
        ("GET /open", "ticket:list"),
        ("GET /v1.2", "ticket:list"),
        ("GET /healthz", "public"),
        ("GET /tickets/{id}", "ticket:read/{id}"),
        ("GET /tickets/new", "scope profile"),
        ("GET /tickets/{id}/notes", "ticket:read/{id}"),
        ("PUT /tickets/{id}", "ticket:read/{id}"),
    ]);
    let (refused, rest, ticket) = (Err("malformed_request"), Ok("GET /{path:rest}"), Ok("GET /tickets/{id}"));
    let rows = [
        ("GET", "/admin/1", Ok("GET /admin/{id}")),
        ("GET", "/%61dmin/1", Ok("GET /admin/{id}")),
        ("GET", "/admin/ABC", Ok("GET /admin/{id}")),
        ("GET", "/admin/1.json", Ok("GET /admin/{id}")),
        ("GET", "/ADMIN/1", refused),
        ("GET", "/Admin/1", refused),
        ("GET", "/%41dmin/1", refused),
        ("GET", "/admin/1/", refused),
        ("GET", "/ADMIN/1/?a=b", refused),
        ("GET", "/admin/1/2", rest),
        ("GET", "/admins/1", rest),
        ("GET", "/admin", rest),
        ("GET", "/admin/", rest),
        // A last segment without what may be its extension, or several; a dot at the end makes none.
        ("GET", "/list", Ok("GET /list")),
        ("GET", "/list.json", refused),
        ("GET", "/list.tar.gz", refused),
        ("GET", "/LIST.JSON/", refused),
        ("GET", "/list.", refused),
        ("GET", "/v1.2.json", refused),
        ("GET", "/v1.3", rest),
        ("GET", "/.list", rest),
        ("GET", "/lists.json", rest),
        ("GET", "/a/list.json", rest),
        ("GET", "/list.json/a", rest),
        ("GET", "/list.css", Ok("GET /list.css")),
        ("GET", "/list.CSS", refused),
        // What other alphabets have for ASCII letters.
        ("GET", "/k%C4%B1o%C5%BFk", refused),
        ("GET", "/%E2%84%AA%C4%B0OSK", refused),
        ("GET", "/ki%C3%B6sk", rest),
        // HEAD is answered by what there is for GET, where that is not written otherwise for it; and nothing the other way round.
        ("HEAD", "/admin/1", refused),
        ("HEAD", "/Admin/1/", refused),
        ("HEAD", "/open", Ok("HEAD /open")),
        ("GET", "/open", Ok("GET /open")),
        ("HEAD", "/anything", Ok("HEAD /{path:rest}")),
        // The same is asked by the route that it may be taken for.
        ("GET", "/HEALTHZ", rest),
        ("GET", "/healthz/", rest),
        ("HEAD", "/healthz", Ok("HEAD /{path:rest}")),
        // A value is what it is, where it is not another route's literal.
        ("GET", "/tickets/ABC", ticket),
        ("GET", "/tickets/NEWS", ticket),
        ("GET", "/tickets/NEW", refused),
        ("GET", "/tickets/New.html", refused),
        ("GET", "/tickets/new", Ok("GET /tickets/new")),
        ("GET", "/tickets/NEW/notes", Ok("GET /tickets/{id}/notes")),
        // No other route of this method; and methods differ by case.
        ("PUT", "/tickets/NEW", Ok("PUT /tickets/{id}")),
        ("PUT", "/TICKETS/1", Err("no_route")),
        ("get", "/ADMIN/1", Err("no_route")),
    ];
    for (method, target, expected) in rows {
        assert_eq!(only(&table, method, target), expected.map(str::to_owned), "{method} {target}");
    }
    let refused = table.only(&asked("GET", "/ADMIN/1")).unwrap_err();
    let (own, other) = ("GET /{path:rest}".to_owned(), "GET /admin/{id}".to_owned());
    assert_eq!(refused, Refused::Resembles { own, other });
}

/// Where both spellings are written, neither was overlooked.
#[test]
fn a_path_that_is_written_as_it_comes_is_its_routes() {
    let table = table(&[
        ("GET /Admin", "public"),
        ("GET /admin", "ticket:list"),
        ("GET /open/", "public"),
        ("GET /open", "ticket:list"),
        ("GET /{path:rest}", "public"),
    ]);
    for path in ["/Admin", "/admin", "/open/", "/open"] {
        assert_eq!(only(&table, "GET", path), Ok(format!("GET {path}")));
    }
    for path in ["/ADMIN", "/admin/", "/Open"] {
        assert_eq!(only(&table, "GET", path), Err("malformed_request"), "{path}");
    }
}

/// Any reader between the strictest and the least strict counts: one that knows no slash at the end, or no extension.
#[test]
fn no_reader_is_passed_over_for_one_that_is_less_strict_still() {
    let table = table(&[
        ("GET /{path:rest}", "public"),
        ("GET /admin/{id}", "ticket:read/{id}"),
        ("GET /admin/help", "public"),
    ]);
    assert_eq!(only(&table, "GET", "/Admin/help.html"), Err("malformed_request"));
}

/// What one route asks for, beside a route that asks for nothing else than this.
#[test]
fn routes_ask_for_the_same_where_all_of_it_is() {
    let wide = |change: fn(&mut Demand)| {
        let mut demand = demand("GET /{kind}/{id}", "ticket:update/{id}");
        change(&mut demand);
        demand
    };
    let beside = |own: Demand| {
        let needs = |key: &str, demand| Route::new(key.to_owned(), Pattern::parse(key).unwrap(), Rule::Needs(Box::new(demand)));
        let routes = vec![
            needs("GET /admin/{id}", demand("GET /admin/{id}", "ticket:update/{id}")),
            needs("GET /{kind}/{id}", own),
        ];
        let table = Table::build(vec![service("one", &["tickets.internal"], routes)], snapshot().types).unwrap();
        only(&table, "GET", "/ADMIN/1").is_ok()
    };
    let same: [fn(&mut Demand); 4] = [
        |_| {},
        |demand| demand.body_max = Some(7),
        |demand| demand.stream = true,
        |demand| demand.mode = Some(narrows_guard::route::Mode::Enforce),
    ];
    let others: [fn(&mut Demand); 12] = [
        |demand| demand.detail = crate::service::demand("GET /{kind}/{id}", "ticket:read/{id}").detail,
        |demand| demand.detail = crate::service::demand("GET /{kind}/{id}", "ticket:update/{kind}").detail,
        |demand| demand.scope = delegation::oauth::Scope::parse("profile").ok(),
        |demand| demand.onward = demand.detail.iter().cloned().collect(),
        |demand| demand.max_auth_age = Some(std::time::Duration::from_secs(60)),
        |demand| demand.acr = Some("strong".to_owned()),
        |demand| demand.connection = Some("crm".to_owned()),
        |demand| demand.upgrade = Some(narrows_guard::route::Upgrade::WebSocket),
        |demand| demand.query_rest = narrows_guard::route::Rest::Pass,
        |demand| demand.body_rest = narrows_guard::route::Rest::Pass,
        |demand| demand.only = vec!["page".to_owned()],
        |demand| demand.wider = ["limit".to_owned()].into(),
    ];
    for (at, change) in same.into_iter().enumerate() {
        assert!(beside(wide(change)), "{at}");
    }
    for (at, change) in others.into_iter().enumerate() {
        assert!(!beside(wide(change)), "{at}");
    }
}

/// One variable, which stands for another part of the path.
#[test]
fn a_variable_in_another_place_asks_for_something_else() {
    let rows = [
        ("GET /{id}/b", "GET /a/{id}", "/A/b"),
        ("GET /files/{id:rest}", "GET /files/{id}", "/files/a/"),
    ];
    for (own, other, target) in rows {
        let table = table(&[(own, "ticket:read/{id}"), (other, "ticket:read/{id}")]);
        assert_eq!(only(&table, "GET", target), Err("malformed_request"), "{own} {other}");
    }
}

/// Two services at one host whose tokens are for different audiences.
#[test]
fn a_token_for_somebody_else_is_something_else() {
    let mut other = service("other", &["tickets.internal"], vec![route("GET /list", "ticket:list")]);
    let wide = service("wide", &["tickets.internal"], vec![route("GET /{path}", "ticket:list")]);
    let found = |other: &narrows_guard::route::Service| {
        let table = Table::build(vec![wide.clone(), other.clone()], snapshot().types).unwrap();
        only(&table, "GET", "/LIST").is_ok()
    };
    assert!(found(&other));
    other.audience = delegation::oauth::AudienceId::parse("https://orders.internal").ok();
    assert!(!found(&other));
}

/// GWY-020 GWY-022: whoever checks, and whatever token is shown.
#[tokio::test]
async fn a_guard_refuses_it_too_and_says_why_to_whoever_runs_it() {
    let mut settings = settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({}));
    settings.service.routes.push(route("GET /{path:rest}", "public"));
    let guard = build(settings.clone());
    let broker = broker();
    let live = live(settings, Recheck::Never, Modes::default(), &broker);
    for (target, expected) in [
        ("/r/7", "allowed"),
        ("/R/7", "malformed_request"),
        ("/r/7/", "malformed_request"),
        ("/elsewhere", "public"),
    ] {
        let (call, headers) = (asked("GET", target), bearer(&token(&claims())));
        let moment = at();
        let verdict = guard.check(&call, &headers, &moment);
        assert_eq!(word(&verdict), expected, "{target}");
        if let narrows_guard::check::Verdict::Refused(refusal) = verdict {
            let why = "`GET /{path:rest}` is for it, and a less strict reader takes it for `GET /r/{id}`, which asks for something else";
            assert_eq!((refusal.status().as_u16(), refusal.why()), (400, why));
            assert!(!format!("{:?}", refusal.challenge()).contains("/r/"));
        }
        let decision = live.decide(&call, &headers, caller()).await;
        assert_eq!(crate::told::word(&decision), expected, "{target}");
    }
    assert_eq!(broker.0.refusals().len(), 2);
}

/// What a reader makes of a route and a request who forgives case, a slash at the end, an extension, and HEAD.
mod reader {
    fn parts(path: &str) -> Vec<&str> {
        path.trim_end_matches('/').split('/').skip(1).collect()
    }

    fn is_with_ending(segment: &str, name: &str) -> bool {
        let ending = segment.strip_prefix(name).unwrap_or_default();
        ending.starts_with('.') && (!name.contains('.') || ending.matches('.').count() == 1)
    }

    fn eats(pieces: &[&str], segments: &[&str]) -> bool {
        match (pieces, segments) {
            ([], []) => true,
            ([rest], [_, ..]) if rest.ends_with(":rest}") => true,
            ([piece, pieces @ ..], [segment, segments @ ..]) => {
                let ends = segments.is_empty() && is_with_ending(segment, piece);
                (piece.starts_with('{') || piece == segment || ends) && eats(pieces, segments)
            }
            _ => false,
        }
    }

    pub(super) fn takes(key: &str, method: &str, path: &str) -> bool {
        let (own, pattern) = key.split_once(' ').unwrap();
        let (pattern, path) = (pattern.to_lowercase(), path.to_lowercase());
        (own == method || (own, method) == ("GET", "HEAD")) && eats(&parts(&pattern), &parts(&path))
    }

    /// What goes before what: the smaller.
    pub(super) fn rank(key: &str) -> String {
        let class = |part: &&str| match (part.ends_with(":rest}"), part.starts_with('{')) {
            (true, _) => 'c',
            (_, true) => 'b',
            _ => 'a',
        };
        parts(key).iter().map(class).collect()
    }
}

fn key() -> impl Strategy<Value = String> {
    let segment = prop_oneof![4 => Just("a"), 3 => Just("b"), 1 => Just("B"), 1 => Just("a.x"), 3 => Just("{}")];
    let end = prop_oneof![4 => Just(""), 1 => Just("/"), 1 => Just("/{r:rest}")];
    let segments = proptest::collection::vec(segment, 0..4);
    (prop_oneof![4 => Just("GET"), 1 => Just("HEAD")], segments, end).prop_map(|(method, segments, end)| {
        let mut key = format!("{method} ");
        for (at, segment) in segments.iter().enumerate() {
            key.push('/');
            key.push_str(&segment.replace("{}", &format!("{{v{at}}}")));
        }
        if segments.is_empty() && end.is_empty() {
            key + "/"
        } else {
            key + end
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn whoever_reads_less_strictly_finds_no_other_demand_before_it(
        routes in proptest::collection::btree_map(key(), 0..3_usize, 1..10),
        paths in proptest::collection::vec("(/(a|b|A|B|a\\.x|A\\.X|b\\.x\\.y|c)){0,4}/?", 8),
    ) {
        const RULES: [&str; 3] = ["public", "ticket:list", "scope profile"];
        let written = routes.iter().map(|(key, rule)| route(key, RULES[*rule])).collect();
        let table = Table::build(vec![service("one", &["tickets.internal"], written)], snapshot().types).unwrap();
        for path in paths.iter().filter(|path| !path.is_empty()) {
            for method in ["GET", "HEAD"] {
                let call = asked(method, path);
                let Some(own) = table.find(&call).map(|matched| matched.route().name()) else {
                    prop_assert_eq!(table.only(&call).unwrap_err(), Refused::NoRoute);
                    continue;
                };
                let rank = reader::rank(own);
                let mut before = routes.iter().filter(|(key, _)| reader::takes(key, method, path) && reader::rank(key) < rank);
                let other = before.find(|(_, rule)| **rule != routes[own]);
                let only = table.only(&call).map(|matched| matched.route().name());
                prop_assert_eq!(only.is_err(), other.is_some(), "{} {} of {:?}: {:?}", method, path, routes, other);
            }
        }
    }
}
