//! What a client may not send on.

use http::{HeaderMap, HeaderName, HeaderValue};
use narrows_guard::hygiene::headers::{ProxyHeaders, clean, removed, strange};
use narrows_guard::{Body, Call};

use crate::service::table;

fn name(text: &str) -> HeaderName {
    HeaderName::from_bytes(text.as_bytes()).unwrap()
}

#[track_caller]
fn go(names: &[&str], proxy_headers: ProxyHeaders) {
    for text in names {
        assert!(!removed(&name(text), proxy_headers), "{text}");
    }
}

#[track_caller]
fn stay_behind(names: &[&str]) {
    for text in names {
        for proxy_headers in [ProxyHeaders::Removed, ProxyHeaders::Kept] {
            assert!(removed(&name(text), proxy_headers), "{text}, {proxy_headers:?}");
        }
    }
}

/// GWY-001.
#[test]
fn identity_that_a_client_claims_stays_behind() {
    stay_behind(&[
        "Narrows-Subject",
        "Narrows-Issuer",
        "narrows-actor",
        "NARROWS-TASK",
        "Narrows-Anything-New",
        "Narrows",
        "Txn-Token",
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "Proxy-Authorization",
    ]);
}

/// GWY-001: who asks, and by what certificate, as any proxy might tell it.
#[test]
fn who_asks_is_for_no_client_to_say_in_any_products_words() {
    let names = [
        "Remote-User",
        "REMOTE_USER",
        "Remote-Groups",
        "X-Remote-User",
        "X-Remote-Extra-Scopes",
        "X-Forwarded-Preferred-Username",
        "X-WEBAUTH-USER",
        "X-Auth-Request-Email",
        "X-MS-CLIENT-PRINCIPAL-ID",
        "Tailscale-User-Login",
        "Client-Cert",
        "Client_Cert_Chain",
        "X-Client-Cert",
        "X-SSL-Client-S-DN",
        "ssl-client-verify",
        "X-ARR-ClientCert",
    ];
    stay_behind(&names);
    for text in names {
        assert!(removed(&name(text), ProxyHeaders::KeptOfEnvoy), "{text}");
    }
    assert!(removed(&name("X-Forwarded-Client-Cert"), ProxyHeaders::Removed));
    go(
        &["Remote", "X-Auth-Token", "X-Api-Key", "X-User", "Client-Certain", "X-Ssl"],
        ProxyHeaders::Removed,
    );
}

/// GWY-005: what makes of a request one for another path or host, or of the answer another file, and where a program is to ask.
#[test]
fn another_path_host_or_file_is_for_no_client_to_say() {
    stay_behind(&[
        "Script-Name",
        "SCRIPT_NAME",
        "X-Script-Name",
        "X_Script_Name",
        "Path-Info",
        "PATH_INFO",
        "Path-Translated",
        "X-ProxyContextPath",
        "X-Host",
        "X-HTTP-Host-Override",
        "X-Accel-Mapping",
        "X-Accel-Redirect",
        "X-Sendfile-Type",
        "Proxy",
        "Proxy_",
    ]);
    go(&["Script", "Path", "X-Path-Info", "Proxy-Status", "Host"], ProxyHeaders::Removed);
}

/// What is observed has another way to learn who asks, and keeps it.
#[test]
fn what_says_who_asks_makes_no_other_request_of_what_is_observed() {
    for text in [
        "Remote-User",
        "X_Remote_User",
        "X-Forwarded-User",
        "Client-Cert",
        "X-SSL-Client-Cert",
        "Accept",
    ] {
        assert!(!strange(&name(text), ProxyHeaders::Removed), "{text}");
    }
    for text in [
        "SCRIPT_NAME",
        "X-Script-Name",
        "Path-Info",
        "X-Accel-Mapping",
        "Proxy",
        "Narrows-Subject",
        "X-Forwarded-For",
    ] {
        assert!(strange(&name(text), ProxyHeaders::Removed), "{text}");
    }
    assert!(!strange(&name("X-Forwarded-For"), ProxyHeaders::Kept));
}

/// GWY-002.
#[test]
fn other_spellings_of_these_names_stay_behind() {
    stay_behind(&[
        "Narrows_Subject",
        "narrows.subject",
        "Narrows_Subject_Name",
        "Txn_Token",
        "Txn.Token",
        "X_Forwarded_For",
        "X.Forwarded-For",
        "X-Forwarded_Uri",
        "X_Original_URI",
        "X_HTTP_Method_Override",
        "Authorization_",
        "_Authorization",
        "Authorization.",
        "DPoP_",
        ".dpop",
        "Narrows~Subject",
        "Narrows!Subject",
        "Narrows|Subject",
        "Txn*Token",
        "X^Forwarded`For",
        "Authorization~",
    ]);
}

/// GWY-002: by what was decided on nobody reads anything else.
#[test]
fn other_spellings_of_what_was_decided_on_stay_behind() {
    stay_behind(&[
        "Content_Type",
        "Content.Type",
        "Content_Encoding",
        "Content_Length",
        "content~length",
        "Cookie_",
        "Host_",
        "Transfer_Encoding",
        "Transfer.Encoding",
        "Connection_",
        "Upgrade_",
        "_TE",
        "Trailer.",
        "Keep_Alive",
        "Proxy_Connection",
    ]);
    go(
        &[
            "Content-Type",
            "Content-Length",
            "Transfer-Encoding",
            "Keep-Alive",
            "Content_Language",
        ],
        ProxyHeaders::Removed,
    );
}

/// GWY-004.
#[test]
fn an_address_stays_behind_in_whatever_name_some_product_reads_it() {
    let names = [
        "X-Real-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "Client-IP",
    ];
    for text in names {
        for proxy_headers in [ProxyHeaders::Removed, ProxyHeaders::KeptOfEnvoy] {
            assert!(removed(&name(text), proxy_headers), "{text}, {proxy_headers:?}");
        }
    }
    go(&names, ProxyHeaders::Kept);
    stay_behind(&["X_Real_IP", "CF.Connecting.IP"]);
}

/// GWY-026.
#[test]
fn nobody_makes_what_was_decided_on_a_thing_of_one_connection() {
    let parse = |lines: &[&'static [u8]]| {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("connection", HeaderValue::from_bytes(line).unwrap());
        }
        Call::parse("GET", b"tickets.internal", b"/a", &headers, Body::Absent).is_ok()
    };
    for line in [
        &b"authorization"[..],
        b"close, Authorization",
        b"close,\tcontent-type ",
        b"\xff, host",
        b"content-length",
        b"content-encoding",
        b"cookie",
        b"DPoP",
        b"x-forwarded-for",
        b"narrows-subject",
        b"x_real_ip",
        b"script_name",
        b"remote-user",
        b"client-cert",
    ] {
        assert!(!parse(&[line]), "{}", String::from_utf8_lossy(line));
    }
    assert!(!parse(&[b"close", b"host"]), "in another line");
    assert!(parse(&[b"close", b"keep-alive, TE, x-own, upgrade, http2-settings"]));
}

/// GWY-004.
#[test]
fn addresses_that_a_client_claims_stay_behind() {
    let proxys_own = [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Uri",
        "X-Original-URI",
    ];
    for text in proxys_own {
        assert!(removed(&name(text), ProxyHeaders::Removed), "{text}");
    }
    go(&proxys_own, ProxyHeaders::Kept);
    // Envoy sets some of them and leaves the others as the client sent them.
    let envoys_own = [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Envoy-External-Address",
        "X-Envoy-Internal",
    ];
    go(&envoys_own, ProxyHeaders::KeptOfEnvoy);
    for text in [
        "X-Forwarded-Host",
        "X-Forwarded-Uri",
        "X-Forwarded-Method",
        "X-Original-URI",
        "X-Forwarded-User",
    ] {
        assert!(removed(&name(text), ProxyHeaders::KeptOfEnvoy), "{text}");
    }
    // No proxy that we stand behind sets these itself, so they are the client's wherever they come from.
    stay_behind(&[
        "Forwarded",
        "X-Forwarded-Prefix",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X_Rewrite_URL",
        "X-Envoy-Original-Path",
        "X-Envoy-Retry-On",
        "X-Envoy-Upstream-Alt-Stat-Name",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ]);
}

#[test]
fn what_is_the_clients_own_goes_on() {
    let own = [
        "Accept",
        "Authorization",
        "DPoP",
        "Content-Type",
        "Cookie",
        "Host",
        "Traceparent",
        "X-Request-Id",
        "X-Narrow",
        "X-Original",
        "Narrowsness",
    ];
    go(&own[..9], ProxyHeaders::Removed);
    go(&own[10..], ProxyHeaders::Kept);
}

#[test]
fn cleaning_takes_every_line_and_leaves_the_rest() {
    let mut headers = HeaderMap::new();
    for (text, value) in [
        ("narrows-subject", "a"),
        ("narrows-subject", "b"),
        ("x_forwarded_for", "c"),
        ("x-forwarded-for", "d"),
        ("accept", "e"),
        ("accept", "f"),
    ] {
        headers.append(name(text), HeaderValue::from_static(value));
    }
    let mut kept = headers.clone();
    clean(&mut headers, ProxyHeaders::Removed);
    assert_eq!(
        headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["accept", "accept"]
    );
    clean(&mut kept, ProxyHeaders::Kept);
    assert_eq!(kept.len(), 3);
    assert_eq!(kept["x-forwarded-for"], "d");
}

/// GWY-005.
#[test]
fn a_header_never_says_what_the_path_or_host_is() {
    let table = table(&[("GET /public", "public"), ("GET /admin", "ticket:list")]);
    let mut headers = HeaderMap::new();
    for text in [
        "x-forwarded-uri",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-envoy-original-path",
    ] {
        headers.insert(name(text), HeaderValue::from_static("/public"));
    }
    headers.insert("x-http-method-override", HeaderValue::from_static("POST"));
    headers.insert("x-forwarded-host", HeaderValue::from_static("elsewhere.internal"));
    let call = Call::parse("GET", b"tickets.internal", b"/admin", &headers, Body::Absent).unwrap();
    assert_eq!(table.find(&call).unwrap().route().name(), "GET /admin");
    assert_eq!(
        (call.method().as_str(), call.target(), call.host().name()),
        ("GET", "/admin", "tickets.internal")
    );
}
