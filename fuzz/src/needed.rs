//! Requests and templates: what a token must be for.

use std::sync::LazyLock;

use delegation::details::{Detail, Standing};
use delegation::identity::Attributes;
use delegation::oauth::AudienceId;
use http::{HeaderMap, HeaderValue, header};
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::{Reads, Values};
use narrows_guard::route::{Demand, Route, Rule, Service, Table};
use narrows_guard::{Body, Call, Intent, Needs};
use testkit::snapshot;

/// Built once: a target is called many thousand times.
static TABLE: LazyLock<Table> = LazyLock::new(table);

const ROUTES: [(&str, &str); 4] = [
    ("GET /tickets/{id}", "ticket:read/{id}?tenant={query.tenant}"),
    ("PATCH /tickets/{id}", "ticket:update/{id}?fields={body:keys}"),
    ("GET /files/{path:rest}", "ticket:update/{host.1}?path={path}"),
    ("GET /public", "public"),
];

/// A request, `METHOD HOST TARGET`, a line of the body's type, and the body: what is taken goes on as it came, and what it
/// needs is the detail of its route.
pub fn call(bytes: &[u8]) {
    let Some(needs) = needs(bytes) else { return };
    let [detail] = needs.details.as_slice() else {
        panic!("one detail is needed")
    };
    let action = if needs.route.starts_with("GET /tickets") {
        "read"
    } else {
        "update"
    };
    assert_eq!(
        (detail.kind(), detail.actions()),
        ("ticket", &[action.to_owned()][..]),
        "what its route says"
    );
    let again = Detail::parse_short(&detail.to_string(), TABLE.types(), Standing::Asked).expect("what was printed is read");
    assert_eq!(again, *detail, "and means the same");
}

/// Whether such a request has a route and makes a detail.
pub fn is_served(bytes: &[u8]) -> bool {
    needs(bytes).is_some()
}

fn needs(bytes: &[u8]) -> Option<Needs> {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let (first, kind, body) = (lines.next()?, lines.next()?, lines.next());
    let mut words = first.splitn(3, |byte| *byte == b' ');
    let (method, host, target) = (std::str::from_utf8(words.next()?).ok()?, words.next()?, words.next()?);
    let headers = HeaderMap::from_iter(HeaderValue::from_bytes(kind).ok().map(|kind| (header::CONTENT_TYPE, kind)));
    let body = body.map_or(Body::Absent, |body| Body::Whole(body.to_vec().into()));
    let call = Call::parse(method, host, target, &headers, body).ok()?;
    assert_eq!(call.target().as_bytes(), target, "it goes on as it came");
    match TABLE.find(&call)?.intent(&call, &Attributes::default()).ok()? {
        Intent::Public => None,
        Intent::Needs(needs) => Some(*needs),
    }
}

/// A template over arguments: whatever it is filled with, its type and actions are those of the same text with `1` for values.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let types = TABLE.types();
    let Ok(template) = Template::parse(text, types, &Reads::Arguments) else {
        return;
    };
    let arguments = br#"{"id":"a&b=/,{}%","tenant":"refund:create/1","limit":5,"regions":["eu","us"],"change":{"a,b":1,"?x=y":2}}"#;
    let arguments = delegation::json::parse_object(arguments, 8).expect("the arguments are JSON");
    let attributes = Attributes::default();
    let Ok(detail) = template.fill(&Values::of_arguments(&arguments, &attributes), types) else {
        return;
    };
    let (head, _) = text.split_once(['/', '?']).unwrap_or((text, ""));
    let same = Detail::parse_short(&format!("{head}/1"), types, Standing::Ceiling)
        .or_else(|_| Detail::parse_short(head, types, Standing::Ceiling))
        .expect("type and actions are read without values");
    assert_eq!(
        (detail.kind(), detail.actions()),
        (same.kind(), same.actions()),
        "values change neither"
    );
}

fn table() -> Table {
    let types = snapshot().types;
    let route = |(key, rule): &(&str, &str)| {
        let pattern = Pattern::parse(key).expect("the key is a pattern");
        let reads = Reads::Request(pattern.variables());
        let detail = Template::parse(rule, &types, &reads).ok();
        let rule = match detail {
            None => Rule::Public,
            detail => Rule::Needs(Box::new(Demand {
                detail,
                ..Demand::default()
            })),
        };
        Route::new((*key).to_owned(), pattern, rule)
    };
    let hosts = ["tickets.internal", "*.shelves.internal"].into_iter();
    let service = Service {
        name: "tickets".to_owned(),
        hosts: hosts.map(|host| HostPattern::parse(host).expect("a host")).collect(),
        audience: Some(AudienceId::parse("https://tickets.internal").expect("an audience")),
        routes: ROUTES.iter().map(route).collect(),
    };
    Table::build(vec![service], types).expect("the routes have ranks")
}
