//! A path is taken only if every reader takes it for the same.

use http::HeaderMap;
use narrows_guard::hygiene::path::Path;
use narrows_guard::{Body, Call};
use proptest::prelude::*;

use crate::service::{asked, table};

fn parse(target: &[u8]) -> Option<Call> {
    Call::parse("GET", b"tickets.internal", target, &HeaderMap::new(), Body::Absent).ok()
}

#[track_caller]
fn refused(targets: &[&str]) {
    for target in targets {
        assert!(parse(target.as_bytes()).is_none(), "{target}");
    }
}

/// GWY-016.
#[test]
fn dot_segments_are_refused() {
    refused(&[
        "/public/../admin",
        "/./admin",
        "/admin/.",
        "/admin/..",
        "/..",
        "/.",
        "/..%20/admin",
        "/a/.%20",
    ]);
}

/// GWY-017.
#[test]
fn dots_and_slashes_in_disguise_are_refused() {
    refused(&[
        "/%2e%2e/admin",
        "/%2E%2E%2Fadmin",
        "/.%2e/admin",
        "/a%2eb",
        "/%252e%252e/admin",
        "/..%c0%afadmin",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%5Cb",
    ]);
}

/// What is decided about ` 42` must not be done to 42.
#[test]
fn a_segment_neither_begins_nor_ends_with_what_readers_trim() {
    refused(&[
        "/tickets/%2042",
        "/tickets/42%20",
        "/%20",
        "/tickets/%C2%A042",
        "/tickets/42%E3%80%80",
        "/tickets/%EF%BB%BF42",
        "/42%20/comments",
    ]);
    assert_eq!(parse(b"/4%202/%E2%80%8B7").unwrap().path().segments(), ["4 2", "\u{200b}7"]);
}

#[test]
fn a_method_has_at_most_32_bytes() {
    let parse = |method: &str| Call::parse(method, b"tickets.internal", b"/a", &HeaderMap::new(), Body::Absent).is_ok();
    assert!(parse(&"M".repeat(32)) && !parse(&"M".repeat(33)));
}

/// GWY-017.
#[test]
fn what_a_second_decoding_would_change_is_refused() {
    refused(&["/a%252fb", "/%2541dmin", "/%25%32%66", "/%25252e"]);
    // A percent sign that begins no escape is a character like any other.
    assert_eq!(parse(b"/100%25").unwrap().path().segments(), ["100%"]);
    assert_eq!(parse(b"/100%25zz").unwrap().path().segments(), ["100%zz"]);
}

/// GWY-019.
#[test]
fn empty_segments_are_refused_but_for_the_last() {
    refused(&["//admin/secret", "/admin//secret", "/admin//", "//"]);
    assert_eq!(parse(b"/admin/").unwrap().path().segments(), ["admin", ""]);
    assert_eq!(parse(b"/").unwrap().path().segments(), [""]);
}

/// GWY-020.
#[test]
fn parameters_of_segments_are_refused_and_a_last_slash_is_another_path() {
    refused(&[
        "/admin;x=1/users",
        "/admin;/..;/",
        "/admin%3bx=1",
        "/admin%3B",
        "/admin\\users",
        "/\\admin",
    ]);
    let table = table(&[("GET /admin", "public")]);
    assert!(table.find(&asked("GET", "/admin")).is_some());
    assert!(table.find(&asked("GET", "/admin/")).is_none());
}

/// GWY-008.
#[test]
fn fragments_are_refused_raw_and_encoded() {
    refused(&["/foo#bar", "/foo/secret%23/bar", "/foo?x=1#bar", "#", "/%3Fx", "/a%3fb"]);
}

/// GWY-023.
#[test]
fn bytes_that_are_no_visible_characters_are_refused_raw_and_encoded() {
    for byte in (0..=0x20).chain(0x7f..=0xff) {
        let named = [b"/a", &[byte][..], b"b"].concat();
        let asked = [b"/a?b=", &[byte][..]].concat();
        assert!(parse(&named).is_none() && parse(&asked).is_none(), "{byte:#x}");
    }
    refused(&[
        "/%00",
        "/a%0d%0ab",
        "/a%09",
        "/%7f",
        "/%1F",
        "/%c2%85",
        "/%ff",
        "/%c3",
        "/%ed%a0%80",
    ]);
    assert_eq!(parse("/caf%C3%A9".as_bytes()).unwrap().path().segments(), ["café"]);
}

#[test]
fn broken_escapes_are_refused() {
    refused(&["/%", "/%2", "/%zz", "/a%2", "/%+1", "/%u0041"]);
}

#[test]
fn a_target_is_in_origin_form_and_no_longer_than_16_kib() {
    refused(&["", "*", "admin", "http://tickets.internal/admin", "tickets.internal:443", "?x=1"]);
    let long = |length: usize| format!("/{}", "a".repeat(length - 1));
    assert!(parse(long(16 * 1024).as_bytes()).is_some());
    assert!(parse(long(16 * 1024 + 1).as_bytes()).is_none());
}

#[test]
fn a_path_by_itself_is_as_strict() {
    for path in ["", "a", "/a b", "/a?b", "/a#b", "/é", "/a\n"] {
        assert!(Path::parse(path).is_err(), "{path:?}");
    }
}

#[test]
fn a_method_is_a_token() {
    for method in ["", "GET /", "GE T", "GET\r\nX: y", "GÉT"] {
        assert!(
            Call::parse(method, b"a", b"/", &HeaderMap::new(), Body::Absent).is_err(),
            "{method}"
        );
    }
}

/// Paths made of what attacks are made of.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("public"),
        Just("admin"),
        Just("health"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2F"),
        Just("%5c"),
        Just("\\"),
        Just(";"),
        Just("%3b"),
        Just("?"),
        Just("#"),
        Just("%23"),
        Just("%25"),
        Just("2e"),
        Just("%252f"),
        Just("%61"),
        Just("dmin"),
        Just("%00"),
        Just("a"),
        Just("="),
        Just("&"),
        Just("%c0%af"),
        Just("//"),
    ];
    proptest::collection::vec(piece, 0..9).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// The segments that a very obliging program makes of a target: it cuts, decodes until nothing changes, cuts again, turns
/// backslashes, drops parameters, merges and climbs.
fn obliging(target: &str) -> Vec<String> {
    let mut text = target.split(['?', '#']).next().unwrap().to_owned();
    loop {
        let decoded = decoded(&text);
        if decoded == text {
            break;
        }
        text = decoded;
    }
    let text = text.split(['?', '#', '\0']).next().unwrap().replace('\\', "/");
    let mut segments: Vec<String> = Vec::new();
    for segment in text.split('/') {
        match segment.split(';').next().unwrap() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            plain => segments.push(plain.to_owned()),
        }
    }
    segments
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        let escape = match behind {
            [high, low, ..] if *first == b'%' => std::str::from_utf8(&[*high, *low]).ok().and_then(|two| u8::from_str_radix(two, 16).ok()),
            _ => None,
        };
        bytes.push(escape.unwrap_or(*first));
        if escape.is_some() {
            rest = &behind[2..];
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever a program behind makes of the path, it is the route that was decided on.
    #[test]
    fn no_input_makes_an_unknown_route_pass(target in hostile()) {
        let table = table(&[("GET /public/{x:rest}", "public"), ("GET /admin/health", "public"), ("GET /a", "public")]);
        let Some(call) = parse(target.as_bytes()) else { return Ok(()) };
        let Some(found) = table.find(&call) else { return Ok(()) };
        let segments = obliging(&target);
        let known = match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["public", _, ..] => "GET /public/{x:rest}",
            ["admin", "health"] => "GET /admin/health",
            ["a"] => "GET /a",
            _ => "none",
        };
        prop_assert_eq!(known, found.route().name());
    }

    #[test]
    fn what_is_taken_goes_on_byte_for_byte(target in hostile(), noise in "[ -~]{0,20}") {
        for target in [target, format!("/{noise}")] {
            let Some(call) = parse(target.as_bytes()) else { continue };
            prop_assert_eq!(call.target(), target.as_str());
            let query = call.query().map(|query| format!("?{query}")).unwrap_or_default();
            prop_assert_eq!(format!("{}{query}", call.path().raw()), target);
        }
    }
}
