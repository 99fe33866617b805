//! A request has one method, to every program that reads it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use narrows_guard::{Body, Call};

use crate::guarded::{at, bearer, claims, reader, token, word};
use crate::service::{asked, needed, table};

#[test]
fn a_query_that_names_another_method_is_refused_where_its_route_does_not_read_that() {
    let table = table(&[
        ("POST /hook", "public"),
        ("POST /notes", "ticket:read/1"),
        ("POST /by", "ticket:read/{query._method}"),
    ]);
    for (target, expected) in [("/hook", "public"), ("/notes", "ticket:read/1")] {
        let answer = |query: &str| needed(&table, &asked("POST", &format!("{target}?{query}")));
        for query in ["method=PUT", "payment_method=x", "http-method-override=x", "a=_method", "", "&;="] {
            assert_eq!(answer(query).as_deref(), Ok(expected), "{query}");
        }
        for query in [
            "_method=DELETE",
            "a=b&_METHOD=x",
            "a;_method=x",
            "%5Fmethod=PUT",
            "+_method=PUT",
            ".method=PUT",
            "_method[]=PUT",
            "_method",
            "X-HTTP-Method-Override=DELETE",
            "a=b&x-http-method-override=DELETE",
            "X_Http%2DMethod.Override[]=DELETE",
        ] {
            assert_eq!(answer(query), Err("malformed_request"), "{query}");
        }
    }
    let answer = |query: &str| needed(&table, &asked("POST", &format!("/by?{query}")));
    assert_eq!(answer("_method=7").as_deref(), Ok("ticket:read/7"));
    assert_eq!(answer("_method=7&.method=8"), Err("malformed_request"));
}

#[test]
fn a_form_that_names_another_method_or_cannot_be_read_is_refused_as_far_as_it_is_shown() {
    const FIELDS: &str = "application/x-www-form-urlencoded";
    const PARTS: &str = "multipart/form-data; boundary=x";
    let table = table(&[("POST /hook", "public"), ("POST /notes", "ticket:read/1")]);
    let named = "--x\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nPUT\r\n--x--\r\n";
    let page = named.replace("_method", "page");
    let whole = |text: &str| Body::Whole(Bytes::copy_from_slice(text.as_bytes()));
    for (kind, coding, body, passes) in [
        (FIELDS, "", whole("a=b&_method=PUT"), false),
        (FIELDS, "", whole("a=b"), true),
        (PARTS, "", whole(named), false),
        (PARTS, "", whole(&page), true),
        (PARTS, "gzip", whole("?"), false),
        (PARTS, "gzip", Body::Whole(Bytes::new()), true),
        (PARTS, "gzip", Body::Absent, true),
        (PARTS, "", Body::Hidden, true),
        ("application/json", "", whole("_method=PUT"), true),
    ] {
        let mut headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        if !coding.is_empty() {
            headers.insert(HeaderName::from_static("content-encoding"), HeaderValue::from_static(coding));
        }
        for (target, expected) in [("/hook", "public"), ("/notes", "ticket:read/1")] {
            let call = Call::parse("POST", b"tickets.internal", target.as_bytes(), &headers, body.clone()).unwrap();
            let expected = if passes { Ok(expected) } else { Err("malformed_request") };
            assert_eq!(
                needed(&table, &call).as_deref().map_err(|reason| *reason),
                expected,
                "{kind} {coding} {body:?}"
            );
        }
    }
}

#[test]
fn a_guard_lets_none_on_whether_it_needs_a_token_or_not() {
    let (guard, headers) = (reader(), bearer(&token(&claims())));
    let verdict = |target: &str| {
        let call = Call::parse("GET", b"tickets.internal", target.as_bytes(), &headers, Body::Absent).unwrap();
        word(&guard.check(&call, &headers, &at()))
    };
    assert_eq!((verdict("/healthz"), verdict("/r/7")), ("public", "allowed"));
    let named = ["/healthz?_method=DELETE", "/r/7?_method=DELETE"].map(verdict);
    assert_eq!(named, ["malformed_request", "malformed_request"]);
}
