//! Requests with a body.

use serde_json::json;

use crate::service::details;
use crate::{Broker, Row};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) fn rows(broker: &Broker) -> Vec<Row> {
    [patches(broker), puts(broker), others(broker), forms(broker)].concat()
}

fn sent(broker: &Broker, name: &str, method: &'static str, target: &str, held: &[&str], (kind, body): (&str, &str)) -> Row {
    let token = broker.token(&json!({ "authorization_details": details(held) }));
    Row::new(
        &format!("{method} {name}: {kind} {}", body.chars().take(60).collect::<String>()),
        method,
        target,
    )
    .sending(kind, body)
    .bearer(&token)
}

/// Member names as a set.
fn patches(broker: &Broker) -> Vec<Row> {
    let patch = |kind: &str, body: &str| {
        sent(
            broker,
            "names",
            "PATCH",
            "/tickets/7",
            &["ticket:update/7?fields=a,b"],
            (kind, body),
        )
    };
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(7), "]".repeat(7));
    let deeper = format!("{{\"a\":{}{}}}", "[".repeat(8), "]".repeat(8));
    let objects = format!("{}1{}", "{\"a\":".repeat(9), "}".repeat(9));
    let mut rows: Vec<_> = [
        &objects,
        r#"{"a":1}"#,
        r#"{"b":1,"a":{"c":2}}"#,
        r#"{"a":1,"c":2}"#,
        r#"{"c":2}"#,
        "{}",
        "",
        "[]",
        "null",
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":{"x":1,"x":2}}"#,
        r#"{"a":1}x"#,
        r#"{"a":1"#,
        r#"{"":1}"#,
        r#"{"A":1}"#,
        r#"{"a ":1}"#,
        r#"{"\ufeffb":1,"a":" x "}"#,
        r#"{"a\u0000":1}"#,
        &deep,
        &deeper,
        r#"{"a":NaN}"#,
        r#"{"a":1e999}"#,
        "{\"a\":\"\u{e9}\"}",
        r#"{"a":"\ud800"}"#,
        r#"{"__proto__":1}"#,
        "\u{feff}{\"a\":1}",
    ]
    .into_iter()
    .map(|body| patch(JSON, body))
    .collect();
    rows.extend(
        [
            "application/json; charset=utf-8",
            "application/json; charset=\"utf-8\"",
            "APPLICATION/JSON",
            "application/json;",
            "application/json; charset=utf-16",
            "application/json; charset=utf-8; x=y",
            "application/merge-patch+json",
            "text/plain",
            "application/json, text/plain",
            "application/jsonx",
        ]
        .map(|kind| patch(kind, r#"{"a":1}"#)),
    );
    rows.push(patch(JSON, r#"{"a":1}"#).with("content-encoding", "identity"));
    rows.push(patch(JSON, r#"{"a":1}"#).with("content-type", JSON));
    let token = broker.token(&json!({ "authorization_details": details(&["ticket:update/7?fields=a,b"]) }));
    rows.push(Row::new("PATCH without a body", "PATCH", "/tickets/7").bearer(&token));
    let mut bare = Row::new("PATCH without a type", "PATCH", "/tickets/7").bearer(&token);
    bare.body = Some(r#"{"a":1}"#.to_owned());
    rows.push(bare);
    rows.push(
        Row::new("PATCH that repeats its token", "PATCH", "/tickets/7")
            .sending(JSON, &format!("{{\"a\":\"{token}\"}}"))
            .bearer(&token),
    );
    let stranger = broker.token(&json!({ "aud": "https://orders.internal" }));
    rows.push(
        Row::new("PATCH of a stranger that cannot be read", "PATCH", "/tickets/7")
            .sending(JSON, "{")
            .bearer(&stranger),
    );
    rows
}

/// Members as values, deep ones too.
fn puts(broker: &Broker) -> Vec<Row> {
    let held = ["ticket:update/7?limit=5&region=eu,us&path=/a".replace("/a", "%2Fa")];
    let held: Vec<_> = held.iter().map(String::as_str).collect();
    let put = |body: &str| sent(broker, "values", "PUT", "/tickets/7", &held, (JSON, body));
    [
        r#"{"limit":5,"path":"/a/b","at":{"region":"eu"}}"#,
        r#"{"limit":5,"path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"limit":4,"path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"limit":6,"path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"limit":5,"path":"/ab","at":{"region":["us","eu"]}}"#,
        r#"{"limit":5,"path":"/a/../b","at":{"region":["us","eu"]}}"#,
        r#"{"limit":5,"path":"/a/%2e","at":{"region":["us","eu"]}}"#,
        r#"{"limit":5,"path":"/a","at":{"region":["us","eu","eu"]}}"#,
        r#"{"limit":5,"path":"/a","at":{"region":[]}}"#,
        r#"{"limit":5,"path":"/a/b ","at":{"region":"eu"}}"#,
        r#"{"limit":5,"path":" /a","at":{"region":"eu"},"note":" x\n"}"#,
        r#"{"limit":5,"path":"/a","at":{"region":"eu"},"note":" x\n"}"#,
        r#"{"limit":5,"path":"/a","at":{"region":["us","eu\u001f"]}}"#,
        r#"{"limit":5,"path":"/a","at":{"region":["us",{"eu\u00a0":1}]}}"#,
        r#"{"limit":" 5","path":"/a","at":{"region":"eu"}}"#,
        r#"{"limit":6,"path":"/a/b","at":{"region":"\u0085eu"}}"#,
        r#"{"limit":5,"path":"/a","at":{"region":["us",1]}}"#,
        r#"{"limit":5,"path":"/a","at":{"region":"de"}}"#,
        r#"{"limit":5.0,"path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"limit":"5","path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"limit":-0,"path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"limit":true,"path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"limit":null,"path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"limit":9007199254740992,"path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"limit":123456789012345678901234567890,"path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"path":"/a","at":{"region":["us","eu"]}}"#,
        r#"{"limit":5,"path":"/a"}"#,
        r#"{"limit":5,"path":"/a","at":"eu"}"#,
        r#"{"limit":5,"path":"/a","at":{"region":["us","eu"],"x":1}}"#,
        r#"{"limit":5,"path":"/a","at":{"region":["us","eu"]},"x":1}"#,
        r#"{"limit":5,"path":"/a","at":{"region":["us","eu"]},"note":{"x":1}}"#,
        r#"{"limit":5,"path":"/a","at":{"region":["us","eu"]},"note":1,"Limit":9}"#,
        r#"{"limit":5,"path":"/a","at":{"region":["us","eu"],"REGION":"de"}}"#,
    ]
    .map(put)
    .to_vec()
}

fn others(broker: &Broker) -> Vec<Row> {
    let post = |body: &str| sent(broker, "rest", "POST", "/tickets/7", &["ticket:update/7?fields=a,b"], (JSON, body));
    let refund = |body: &str| {
        sent(
            broker,
            "onward",
            "POST",
            "/refunds/7",
            &["refund:create/7?amount=100"],
            (JSON, body),
        )
    };
    let mut rows = [
        r#"{"at":{"a":1}}"#,
        r#"{"at":{"a":1},"x":2}"#,
        r#"{"at":{"a":1},"At":2}"#,
        r#"{"at":{"c":1}}"#,
        r#"{"at":{}}"#,
        r#"{"at":1}"#,
        r#"{"at":[{"a":1}]}"#,
        r#"{"x":1}"#,
    ]
    .map(post)
    .to_vec();
    rows.extend(
        [
            r#"{"amount":100,"ticket":"9"}"#,
            r#"{"amount":99,"ticket":"9"}"#,
            r#"{"amount":101,"ticket":"9"}"#,
            r#"{"amount":100}"#,
            r#"{"amount":100,"ticket":""}"#,
            r#"{"amount":100,"ticket":9}"#,
        ]
        .map(refund),
    );
    // What a route does not read may be anything.
    let read = |kind: &str, body: &str| sent(broker, "unread", "GET", "/tickets/7", &["ticket:read/7"], (kind, body));
    rows.extend([read(JSON, "{"), read("text/plain", "access_token=a")]);
    rows
}

fn forms(broker: &Broker) -> Vec<Row> {
    let form = |kind: &str, body: &str| sent(broker, "form", "GET", "/tickets/7", &["ticket:read/7"], (kind, body));
    let right = broker.token(&json!({}));
    let signature = right.rsplit('.').next().unwrap();
    let mut rows: Vec<_> = [
        "a=b",
        "access_token=a",
        "a=b&access_token=a",
        "Access_Token=a",
        "access%5Ftoken=a",
        "a=access_token",
        "access_token[]=a",
        "",
    ]
    .into_iter()
    .map(|body| form(FORM, body))
    .collect();
    rows.push(form("APPLICATION/X-WWW-FORM-URLENCODED; charset=utf-8", "access_token=a"));
    rows.push(form(FORM, "a=b").with("content-encoding", "gzip"));
    rows.push(form(FORM, "").with("content-encoding", "gzip"));
    rows.push(form("text/plain", "a=b").with("content-type", FORM));
    rows.push(
        Row::new("a form that repeats the signature", "GET", "/tickets/7")
            .sending(FORM, &format!("a={signature}"))
            .bearer(&right),
    );
    let encoded: String = signature.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for (name, method, target, kind, body) in [
        (
            "a form that repeats the signature, encoded",
            "GET",
            "/tickets/7",
            FORM,
            format!("a={encoded}"),
        ),
        (
            "a form that repeats it on a public route",
            "GET",
            "/healthz",
            FORM,
            format!("a={signature}"),
        ),
        (
            "a form that repeats it on a public route, encoded",
            "GET",
            "/healthz",
            FORM,
            format!("a={encoded}"),
        ),
        (
            "JSON that repeats it, encoded",
            "PATCH",
            "/tickets/7",
            JSON,
            format!("{{\"a\":\"{encoded}\"}}"),
        ),
        ("a form of a stranger to no route", "GET", "/x", FORM, "access_token=a".to_owned()),
    ] {
        rows.push(Row::new(name, method, target).sending(kind, &body).bearer(&right));
    }
    rows.push(Row::new("a form without a token", "GET", "/tickets/7").sending(FORM, "a=b"));
    rows.push(Row::new("a form on a public route that holds nothing", "GET", "/healthz").sending(FORM, "a=b"));
    rows.push(
        Row::new("a form in a coding on a public route", "GET", "/healthz")
            .sending(FORM, "a=b")
            .with("content-encoding", "gzip"),
    );
    rows.push(Row::new("a form that holds the only token", "GET", "/tickets/7").sending(FORM, &format!("access_token={right}")));
    rows.push(Row::new("a form on a public route", "GET", "/healthz").sending(FORM, "access_token=a"));
    rows.push(sent(
        broker,
        "form where JSON is read",
        "PATCH",
        "/tickets/7",
        &["ticket:update/7?fields=a"],
        (FORM, "a=b"),
    ));
    rows
}
