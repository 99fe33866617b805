//! No question makes an answer that Envoy would read in another way than it is meant.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::exchanger::GOOD;
use crate::ext_authz::Door;

/// One of these, or anything.
fn often(likely: &[&str]) -> impl Strategy<Value = String> + use<> {
    let likely: Vec<_> = likely.iter().map(|&text| text.to_owned()).collect();
    prop_oneof![4 => select(likely), 1 => "[ -~]{0,12}", 1 => any::<String>()]
}

prop_compose! {
    fn line()(
        key in often(&[":method", ":path", ":authority", "authorization", "Authorization", "host", "x-envoy-auth-partial-body", "content-type",
            "narrows-subject", "dpop"]),
        value in often(&["GET", "/healthz", "/tickets/1", "tickets.internal", &format!("Bearer {GOOD}"), "false", "application/json", ""]),
    ) -> (String, String) {
        (key, value)
    }
}

prop_compose! {
    fn http()(
        method in often(&["GET", "GET", "POST", ""]),
        path in often(&["/healthz", "/tickets/1", "/tickets", ""]),
        host in often(&["tickets.internal", "tickets.internal", ""]),
        token in option::weighted(0.7, Just(format!("Bearer {GOOD}"))),
        lines in vec(line(), 0..4),
        as_lines in any::<bool>(),
        raw_body in option::of(vec(any::<u8>(), 0..8)),
        body in option::of(often(&[r#"{"id":"1"}"#])),
        size in prop_oneof![Just(-1), Just(0), Just(10), any::<i64>()],
    ) -> HttpRequest {
        let mut http = HttpRequest {
            method, path, host, size, body: body.unwrap_or_default(), raw_body: raw_body.unwrap_or_default(), ..HttpRequest::default()
        };
        let lines = lines.into_iter().chain(token.map(|token| ("authorization".to_owned(), token)));
        if as_lines {
            let line = |(key, value): (String, String)| HeaderValue { key, raw_value: value.into_bytes(), ..HeaderValue::default() };
            http.header_map = Some(HeaderMap { headers: lines.map(line).collect() });
        } else {
            http.headers = lines.collect();
        }
        http
    }
}

fn ask(http: Option<HttpRequest>, context: HashMap<String, String>) -> (CheckResponse, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut door = Door::open();
    let request = CheckRequest {
        attributes: Some(AttributeContext {
            request: http.map(|http| Request {
                time: None,
                http: Some(http),
            }),
            context_extensions: context,
            ..AttributeContext::default()
        }),
    };
    let reply = runtime.block_on(door.ask(request)).unwrap();
    (reply, door.decided())
}

proptest! {
    #[test]
    fn an_answer_says_one_thing(http in option::weighted(0.98, http()), route in option::weighted(0.1, often(&["GET /healthz"]))) {
        let sent: Vec<String> = http.iter().flat_map(|http| {
            let lines = http.header_map.iter().flat_map(|map| &map.headers).map(|line| line.key.to_ascii_lowercase());
            lines.chain(http.headers.keys().map(|key| key.to_ascii_lowercase()))
        }).collect();
        let (reply, decided) = ask(http, route.into_iter().map(|route| ("route".to_owned(), route)).collect());
        let status = reply.status.unwrap();
        match reply.http_response.unwrap() {
            HttpResponse::OkResponse(ok) => {
                prop_assert_eq!(status.code, 0);
                let set: Vec<_> = ok.headers.into_iter().map(|each| each.header.unwrap()).collect();
                let removes = |name: &str| ok.headers_to_remove.iter().any(|removed| removed == name);
                if set.is_empty() {
                    // A public route: nothing was decided by the broker, and no token goes on.
                    prop_assert_eq!(decided, "");
                    prop_assert!(removes("authorization") || !sent.contains(&"authorization".to_owned()));
                } else {
                    prop_assert_eq!(set.len(), 1);
                    prop_assert_eq!(&set[0].key, "authorization");
                    prop_assert_eq!(&set[0].value, &format!("Bearer minted:{decided}"));
                    prop_assert!(!removes("authorization"));
                }
                for spoofed in ["narrows-subject", "dpop"] {
                    prop_assert_eq!(removes(spoofed), sent.contains(&spoofed.to_owned()));
                }
            }
            HttpResponse::DeniedResponse(denied) => {
                prop_assert!(matches!(status.code, 7 | 16));
                let status = denied.status.unwrap().code;
                prop_assert!((400..600).contains(&status));
                prop_assert!(!decided.is_empty(), "every refusal is on record");
                prop_assert!(denied.headers.iter().all(|each| each.header.as_ref().is_some_and(|header| header.key != "authorization")));
            }
            HttpResponse::ErrorResponse(error) => prop_assert!(false, "{:?}", error),
        }
    }
}

#[test]
fn an_empty_question_is_refused() {
    let (reply, decided) = ask(None, HashMap::new());
    assert!(matches!(reply.http_response, Some(HttpResponse::DeniedResponse(_))), "{reply:?}");
    assert_eq!((reply.status.unwrap().code, decided.as_str()), (7, "malformed_request"));
}
