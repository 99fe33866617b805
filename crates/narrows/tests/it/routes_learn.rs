//! `routes learn`: what it prints is taken as it is, whatever stands in the log.

use std::fmt::Write as _;
use std::path::Path;

use crate::run::narrows;

/// An installation with a service that has no routes yet, and the log beside it.
fn installation(log: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    std::fs::write(folder.path().join("access.log"), log).unwrap();
    folder
}

/// What `check` says of the installation with `routes` pasted behind a service, for whose audience these types are named.
fn check(folder: &Path, routes: &str, types: &[&str]) -> (i32, String) {
    let config = folder.join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let named: String = types.iter().fold(String::new(), |mut list, name| {
        let _ = write!(list, ", \"{name}\"");
        list
    });
    let text = text.replace("[\"ticket\"]", &format!("[\"ticket\"{named}]"));
    let service = "[[services]]\nname = \"shop\"\nhosts = [\"shop.example\"]\nupstream = \"http://127.0.0.1:9\"\naudience = \"https://tickets.internal\"\n";
    std::fs::write(&config, format!("{text}\n{service}{routes}\n")).unwrap();
    let ran = narrows(folder, &["check", "--offline"], "");
    (ran.code, ran.out + &ran.err)
}

#[test]
fn what_is_learned_from_a_log_of_any_format_can_be_pasted() {
    let log = r#"192.0.2.1 - - [26/Nov/2026:10:00:00 +0000] "GET /orders/7?coupon=SECRET HTTP/1.1" 200 512 "-" "curl"
192.0.2.1 - - [26/Nov/2026:10:00:01 +0000] "GET /orders/8 HTTP/1.1" 200 512 "-" "curl"
192.0.2.1 - - [26/Nov/2026:10:00:01 +0000] "POST /orders HTTP/1.1" 201 512 "-" "curl"
[2026-11-26T10:00:00.000Z] "GET /tickets/42 HTTP/1.1" 200 - 0 12 3 2 "-" "curl" "id" "shop.example" "10.0.0.1:80"
[2026-11-26T10:00:00.000Z] "DELETE /tickets/42 HTTP/1.1" 204 - 0 12 3 2 "-" "curl" "id" "shop.example" "10.0.0.1:80"
{"request":{"method":"OPTIONS","host":"shop.example","uri":"/orders?x=SECRET"},"status":204}
{"RequestMethod":"GET","RequestPath":"/me","DownstreamStatus":200}
192.0.2.1 - - [26/Nov/2026:10:00:01 +0000] "GET /wp-admin HTTP/1.1" 404 512 "-" "scanner"
nonsense
"#;
    let folder = installation(log.as_bytes());
    let ran = narrows(folder.path(), &["routes", "learn", "--from", "access.log"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    for line in [
        "# Learned from 7 requests; 1 that were answered as mistakes and 1 that could not be read are left out.",
        "\"GET /orders/{id}\" = \"order:read/{id}\" # 2 times",
        "\"POST /orders\" = \"order:create\" # 1 times",
        "\"GET /tickets/{id}\" = \"ticket:read/{id}\" # 1 times",
        "# \"DELETE /tickets/{id}\" = \"ticket:delete/{id}\" # 1 times",
        "# \"OPTIONS /orders\" = \"public\" # 1 times",
        "type = \"order\"",
    ] {
        assert!(ran.out.lines().any(|found| found == line), "{line}\n{}", ran.out);
    }
    assert!(!ran.out.contains("SECRET") && !ran.out.contains("wp-admin"), "{}", ran.out);
    let (code, told) = check(folder.path(), &ran.out, &["order", "me"]);
    assert_eq!(code, 0, "{told}\n{}", ran.out);
    let ran = narrows(
        folder.path(),
        &["routes", "learn", "--from", "access.log", "--json", "--at-least", "2"],
        "",
    );
    let learned: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(learned["routes"].as_array().unwrap().len(), 1, "{learned}");
}

/// An empty table would be read as a service that nobody asks.
#[test]
fn a_log_that_nothing_can_be_learned_from_is_no_table() {
    let failed = "192.0.2.1 - - [26/Nov/2026:10:00:01 +0000] \"GET /wp-admin HTTP/1.1\" 404 512 \"-\" \"scanner\"\n";
    for (log, counted) in [
        ("", "0 were answered as mistakes, and 0 lines"),
        ("nonsense\nmore\n", "0 were answered as mistakes, and 2 lines"),
        (failed, "1 were answered as mistakes, and 0 lines"),
    ] {
        let folder = installation(log.as_bytes());
        for more in [&[][..], &["--json"]] {
            let ran = narrows(folder.path(), &[&["routes", "learn", "--from", "access.log"], more].concat(), "");
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
            assert!(ran.err.contains("access.log") && ran.err.contains(counted), "{ran:?}");
        }
    }
}

/// Whoever sends requests writes the log: none of it can end a string of the TOML, add a key, or be shown where it may hold a secret.
#[test]
fn a_hostile_log_breaks_nothing() {
    let paths = [
        "/a\"]\\n[[clients]]\\nid=\"eve",
        "/a\\x22 = \\x22public",
        "/{id}/{id}",
        "/{x:rest}/y",
        "/%00/%22/%0a",
        "/..;/admin",
        "/a#b=\"c",
        "/\u{202e}gpj",
        "/'''/\"\"\"",
        "/subjects/7/actions/8/true/9",
        "/id/7/id/8/id/9",
        "/path/1/path/2",
        "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p",
        "/orders/nrwo_8fK2mXq9ZpLw0aRtSECRETSECRET",
        "/-/-/_",
        "/.well-known/acme-challenge/x",
        "//evil.example/x",
        "/t\u{1b}[31m",
    ];
    let mut log = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        for method in ["GET", "G\"T", "PUT", "A\u{0}B", "get"] {
            log.extend(format!("x - - [t] \"{method} {path} HTTP/1.1\" 200 {at}\n").bytes());
        }
        let uri = serde_json::Value::from(*path);
        log.extend(format!("{{\"request\":{{\"method\":\"GET\",\"uri\":{uri}}},\"status\":200}}\n").bytes());
        log.extend([b"\xff\xfe\"] \"GET /\xc3\x28 HTTP/1.1\" 200\r\n".as_slice(), b"\x00\n"].concat());
    }
    for number in 0..50_000_u32 {
        log.extend(
            format!(
                "x - - [t] \"GET /w{}/{:x}z HTTP/1.1\" 200 1\n",
                number % 977,
                number.wrapping_mul(2_654_435_761)
            )
            .bytes(),
        );
    }
    let folder = installation(&log);
    let ran = narrows(folder.path(), &["routes", "learn", "--from", "access.log"], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        !ran.out.contains("SECRET") && !ran.out.contains("eve") && !ran.out.contains('\u{1b}'),
        "{}",
        ran.out
    );
    let parsed: toml::Table = toml::from_str(&ran.out).unwrap();
    let mut tables: Vec<_> = parsed.keys().map(String::as_str).collect();
    tables.sort_unstable();
    assert_eq!(tables, ["detail_types", "services"]);
    assert!(ran.out.lines().count() < 2_000, "{} lines", ran.out.lines().count());
    let types: Vec<_> = parsed["detail_types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| each["type"].as_str().unwrap().to_owned())
        .collect();
    let types: Vec<_> = types.iter().map(String::as_str).collect();
    let (code, told) = check(folder.path(), &ran.out, &types);
    assert_eq!(code, 0, "{told}");
}
