//! Requests without a body: paths, hosts, queries, and where a credential may stand.

use serde_json::json;

use crate::service::details;
use crate::{Broker, Row};

/// More than 255 characters.
const LONG_HOST: &str = concat!(
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.",
    "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.ddddddddddddddddddddddddddddddddddddddddddddddddd.tickets.example"
);

pub(crate) fn rows(broker: &Broker) -> Vec<Row> {
    [
        credentials(broker),
        elsewhere(broker),
        paths(broker),
        values(broker),
        people(broker),
    ]
    .concat()
}

/// Headers that only a guard or a proxy may say, and the token in a second place that a reader decodes.
fn elsewhere(broker: &Broker) -> Vec<Row> {
    let right = broker.token(&json!({}));
    let signature = right.rsplit('.').next().unwrap();
    let encoded: String = signature.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let partly = signature.replacen(signature.get(..1).unwrap(), encoded.get(..3).unwrap(), 1);
    let read = |name: &str| Row::new(name, "GET", "/tickets/7").bearer(&right);
    let to = |name: &str, target: &str| Row::new(name, "GET", target).bearer(&right);
    let mut rows = vec![
        to("the signature in the query, encoded", &format!("/tickets/7?s={encoded}")),
        to(
            "the signature in the query, with one letter encoded",
            &format!("/tickets/7?s={partly}"),
        ),
        to(
            "the signature in the query, encoded twice",
            &format!("/tickets/7?s={}", encoded.replace('%', "%25")),
        ),
        to(
            "the signature in a query of a public route, encoded",
            &format!("/healthz?s={encoded}"),
        ),
        read("the signature in a cookie, encoded").with("cookie", &format!("s={encoded}")),
        read("the token in another header, with one letter encoded").with("x-token", &partly),
    ];
    let names = [
        "narrows-subject",
        "Narrows_Task",
        "txn-token",
        "x-forwarded-for",
        "x_forwarded_host",
        "forwarded",
        "x-original-uri",
        "x-real-ip",
        "True-Client-IP",
        "cf-connecting-ipv6",
        "x-remote-addr",
        "x-envoy-internal",
        "proxy-authorization",
        "x-http-method-override",
        "x.rewrite.url",
        "script_name",
        "remote-user",
        "client-cert",
        "x-ssl-client-verify",
        "dpop_",
        "content-length",
        "content-md5",
        "x-forward",
    ];
    rows.extend(names.map(|name| read(&format!("Connection names {name}")).with("connection", &format!("close, {name}"))));
    let forged = [
        "narrows-subject",
        "narrows_subject",
        "narrows-anything",
        "txn-token",
        "x-http-method-override",
        "x_http_method_override",
        "x-http-method",
        "x-method-override",
        "x-rewrite-url",
        "x-original-url",
        "script-name",
        "script_name",
        "x-script-name",
        "path_info",
        "proxy",
        "x-accel-mapping",
        "x-sendfile-type",
        "remote-user",
        "remote_user",
        "x-forwarded-user",
        "x-remote-extra-scopes",
        "x-webauth-user",
        "x-auth-request-email",
        "authorization_",
        "dpop_",
    ];
    rows.extend(forged.map(|name| read(&format!("a header {name}")).with(name, "DELETE")));
    rows.push(Row::new("a method in a header of a public route", "GET", "/healthz").with("x-http-method-override", "DELETE"));
    rows.extend(
        ["x-method", "narrowsx", "original-url", "script", "x-auth-token", "remote"]
            .map(|name| read(&format!("a harmless header {name}")).with(name, "DELETE")),
    );
    rows
}

fn credentials(broker: &Broker) -> Vec<Row> {
    let right = broker.token(&json!({}));
    let signature = right.rsplit('.').next().unwrap().to_owned();
    let read = |name: &str| Row::new(name, "GET", "/tickets/7");
    let to = |name: &str, target: &str| Row::new(name, "GET", target);
    let by = |name: &str, value: &str| read(name).with("authorization", value);
    vec![
        read("no credential"),
        to("a public route", "/healthz"),
        to("a public route with a right token", "/healthz").bearer(&right),
        to("a public route with a bad token", "/healthz").bearer("a.b.c"),
        to("a public route with two tokens", "/healthz").bearer(&right).bearer(&right),
        to("a public route with a token in the query", "/healthz?access_token=a"),
        read("two lines").bearer(&right).bearer(&right),
        read("two lines that differ").bearer(&right).bearer("a.b.c"),
        by("two in a line", &format!("Bearer {right}, Bearer {right}")),
        by("two tokens by a blank", &format!("Bearer {right} {right}")),
        by("two blanks", &format!("Bearer  {right}")),
        by("no scheme", &right),
        by("a scheme alone", "Bearer"),
        by("Basic", "Basic YWxpY2U6c2VjcmV0"),
        by("another scheme", &format!("Token {right}")),
        by("DPoP", &format!("DPoP {right}")),
        by("dpop in lower case", &format!("dpop {right}")),
        by("the scheme in lower case", &format!("bearer {right}")),
        by("the scheme in capitals", &format!("BEARER {right}")),
        by("a token with a quote", &format!("Bearer \"{right}\"")),
        by("padding behind", &format!("Bearer {right}==")),
        by("a token of 16 KiB", &format!("Bearer {}", "a".repeat(16_384))),
        by("a token of more than 16 KiB", &format!("Bearer {}", "a".repeat(16_385))),
        to("in the query", &format!("/tickets/7?access_token={right}")),
        to("in the query beside", "/tickets/7?access_token=a").bearer(&right),
        to("in the query, by capitals", "/tickets/7?Access_Token=a").bearer(&right),
        to("in the query, encoded", "/tickets/7?access%5ftoken=a").bearer(&right),
        to("in the query, with a dot", "/tickets/7?access.token=a").bearer(&right),
        to("in the query, with a plus", "/tickets/7?access+token=a").bearer(&right),
        to("in the query, behind a semicolon", "/tickets/7?a=1;access_token=a").bearer(&right),
        to("in the query, as an array", "/tickets/7?access_token[]=a").bearer(&right),
        to("in the query, with a bracket", "/tickets/7?access[token=a").bearer(&right),
        to("in the query, after a NUL", "/tickets/7?access_token%00x=a").bearer(&right),
        to("in the query, as a value", "/tickets/7?a=access_token").bearer(&right),
        to("in the query, of another name", "/tickets/7?my_access_token=a").bearer(&right),
        to("the signature in the query", &format!("/tickets/7?s={signature}")).bearer(&right),
        read("the token in another header").bearer(&right).with("x-token", &right),
        read("the signature in a cookie").bearer(&right).with("cookie", &format!("s={signature}")),
        read("another token in another header")
            .bearer(&right)
            .with("x-token", &broker.token(&json!({ "jti": "t-2" }))),
        read("Connection names Authorization").bearer(&right).with("connection", "close, Authorization"),
        read("Connection names Cookie").bearer(&right).with("connection", "cookie"),
        read("Connection names another").bearer(&right).with("connection", "close, X-Other"),
    ]
}

fn paths(broker: &Broker) -> Vec<Row> {
    let any = broker.token(&json!({ "authorization_details": details(&["ticket:read/7", "ticket:list"]) }));
    let get = |target: &str| Row::new(&format!("GET {target}"), "GET", target).bearer(&any);
    let other = |method: &'static str, target: &str| Row::new(&format!("{method} {target}"), method, target).bearer(&any);
    let at = |host: &'static str| Row::new(&format!("at {host}"), "GET", "/tickets/7").at(host).bearer(&any);
    let targets = [
        "/tickets",
        "/tickets?",
        "/tickets?page=1",
        "/tickets/",
        "/tickets/7/",
        "/tickets/7/x",
        "/Tickets/7",
        "/tickets/7.json",
        "/",
        "/x",
        "//tickets/7",
        "/tickets//7",
        "/tickets/./7",
        "/tickets/../tickets/7",
        "/tickets/%2e%2e/tickets/7",
        "/tickets/%2E/7",
        "/tickets/7%2f",
        "/tickets%2f7",
        "/tickets/7%5c",
        "/tickets/7;a=b",
        "/tickets/7%3ba",
        "/tickets/7%3fa",
        "/tickets/7%23",
        "/tickets/%37",
        "/tickets/%2537",
        "/tickets/7%00",
        "/tickets/7%0a",
        "/tickets/7%85",
        "/tickets/%c2%85",
        "/tickets/%20",
        "/tickets/7%20",
        "/tickets/%207",
        "/tickets/7%c2%a0",
        "/tickets/%ef%bb%bf7",
        "/tickets/7%e3%80%80",
        "/tickets/7%c3%a9",
        "/tickets/7%c3",
        "/tickets/%ff",
        "/tickets/7%2",
        "/tickets/%zz",
        "/tickets/a+b",
        "/tickets/a%20b",
        "/tickets/a%2bb",
        "/healthz/",
        "/healthz/x",
        "/tickets/a%2eb",
        "/tickets/7#x",
        "http://tickets.internal/tickets/7",
        "/files",
        "/files/",
        "/tickets/7,8",
        "/tickets/*",
    ];
    let mut rows: Vec<_> = targets.iter().map(|target| get(target)).collect();
    rows.extend([
        other("HEAD", "/tickets/7"),
        other("POST", "/tickets"),
        other("OPTIONS", "/tickets/7"),
        other("HEAD", "/healthz"),
        at("tickets.internal:8080"),
        at("TICKETS.INTERNAL"),
        at("a.tickets.example"),
        at("a.b.tickets.example"),
        at("tickets.example"),
        at("other.internal"),
        at("tickets.internal."),
        at("tickets.internal:99999"),
        at("127.0.0.1"),
        at("[::1]:80"),
        at("a@tickets.internal"),
        at("tickets.internal,other.internal"),
        at("tickets_x.internal"),
        Row::new("a long target", "GET", &format!("/tickets/7?{}", "a".repeat(16_384))).bearer(&any),
        Row::new("a long method", "GETGETGETGETGETGETGETGETGETGETGET", "/tickets/7").bearer(&any),
        Row::new("a long host", "GET", "/tickets/7").bearer(&any).at(LONG_HOST),
        Row::new("two hosts", "GET", "/tickets/7").bearer(&any).with("host", "tickets.internal"),
    ]);
    rows
}

/// Values of path, query and host in details.
fn values(broker: &Broker) -> Vec<Row> {
    let get = |target: &str, held: &[&str], changes: &serde_json::Value| {
        let mut changes = changes.clone();
        changes["authorization_details"] = details(held);
        Row::new(&format!("GET {target} with {held:?}"), "GET", target).bearer(&broker.token(&changes))
    };
    let none = json!({});
    let profile = json!({ "scope": "profile" });
    let search = |target: &str| get(target, &["ticket:search?limit=5"], &none);
    let file = |target: &str| get(target, &["ticket:update/all?path=a%2Fb"], &none);
    let mut rows = vec![
        get("/tickets/new", &[], &profile),
        get("/tickets/new", &["ticket:read/new"], &profile),
        get("/tickets/new", &["ticket:read/new"], &none),
        get("/tickets/news", &["ticket:read/news"], &none),
        get("/both/7", &["ticket:read/7"], &profile),
        get("/both/7", &["ticket:read/7"], &none),
        get("/both/7", &["ticket:read/8"], &profile),
        get("/both/7", &["ticket:read/7"], &json!({ "scope": "profile openid" })),
        get("/pair/a/b", &["ticket:read/a-b"], &none),
        get("/pair/a-b/c", &["ticket:read/a-b-c"], &none),
        get("/pair/a/b-c", &["ticket:read/a-b-c"], &none),
        get("/host", &["ticket:read/tickets"], &none),
        get("/host", &["ticket:read/a"], &none).at("a.tickets.example"),
        get("/host", &["ticket:read/a"], &none),
        file("/files/a/b"),
        file("/files/a/b/c"),
        file("/files/a/bc"),
        file("/files/a"),
        file("/files/b"),
        file("/files/a/%62"),
        file("/files/a/b/%25"),
        file("/files/a/b/"),
    ];
    rows.extend(
        [
            "/search?max=5",
            "/search?max=4",
            "/search?max=6",
            "/search?max=05",
            "/search?max=-1",
            "/search?max=5.0",
            "/search?max=",
            "/search",
            "/search?max",
            "/search?max=+5",
            "/search?max=%35",
            "/search?max=%205",
            "/search?max=5%C2%A0",
            "/search?max=%EF%BB%BF5",
            "/search?max=5%E2%80%A8&page=1",
            "/search?max=5&max=5",
            "/search?m%61x=5",
            "/search?max=5&page=1",
            "/search?max=5&Max=9",
            "/search?max=5;max=9",
            "/search?max=5&m+x=1",
            "/search?max=5&",
            "/search?max=%zz",
            "/search?max=5%00",
            "/search?max=9007199254740993",
            "/search?max=99999999999999999999",
            "/find?max=5&page=1",
            "/find?max=5&MAX=9",
            "/find?max=5&max[]=9",
            "/find?max=5&a.b=1",
            "/find?max=5&page=a+b",
            "/find?max=5&max%20=9",
            "/find?max=5&=1",
            "/find?max=5&page=%ff",
            "/find?page=1",
            "/find?max=5&page=%20a%20",
            "/find?max=%E3%80%805&page=1",
        ]
        .map(search),
    );
    rows.extend(
        [
            "/some?f=a",
            "/some?f=b",
            "/some?f=a&page=2",
            "/some?f=a&size=2",
            "/some?f=a,b",
            "/some?f=a%20",
            "/some?f=%20&page=2",
            "/some?f=a&page=%202",
            "/some?f=a&F=c",
        ]
        .map(|target| get(target, &["ticket:update/7?fields=a,b"], &none)),
    );
    rows
}

/// How a person signed in.
fn people(broker: &Broker) -> Vec<Row> {
    let remove = |name: &str, changes: serde_json::Value| {
        let mut changes = changes;
        changes["authorization_details"] = details(&["ticket:update/7"]);
        Row::new(&format!("signed in {name}"), "DELETE", "/tickets/7").bearer(&broker.token(&changes))
    };
    vec![
        remove("nobody knows when or how", json!({})),
        remove("lately and strongly", json!({ "auth_time": broker.now - 30, "acr": "strong" })),
        remove("lately, nobody knows how", json!({ "auth_time": broker.now - 30 })),
        remove("lately and weakly", json!({ "auth_time": broker.now - 30, "acr": "weak" })),
        remove("long ago and strongly", json!({ "auth_time": broker.now - 3600, "acr": "strong" })),
        remove(
            "tomorrow and strongly",
            json!({ "auth_time": broker.now + 86_400, "acr": "strong" }),
        ),
        remove(
            "long ago, with too broad a token",
            json!({ "auth_time": broker.now - 3600, "acr": "strong", "scope": "profile" }),
        ),
    ]
}
