//! `snippet`: what is printed for an installation, and what the documentation shows of it. `scripts/doors` runs it.

use std::path::Path;

use crate::run::{narrows, root};

/// The first block of a document in this language.
pub(crate) fn block(document: &str, language: &str) -> String {
    let (_, rest) = document.split_once(&format!("```{language}\n")).unwrap();
    rest.split("```").next().unwrap().to_owned()
}

/// What `init` writes, and `more`.
pub(crate) fn installation(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "\n" + more).unwrap();
    folder
}

fn printed(folder: &Path, arguments: &[&str]) -> String {
    let ran = narrows(folder, &[&["snippet"], arguments].concat(), "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out
}

#[test]
fn the_documentation_shows_what_is_printed_for_its_installation() {
    for (proxy, language) in [
        ("nginx", "nginx"),
        ("traefik", "yaml"),
        ("caddy", "caddyfile"),
        ("envoy", "yaml"),
        ("istio", "yaml"),
        ("axum", "rust"),
        ("fastapi", "python"),
        ("express", "javascript"),
        ("java", "java"),
    ] {
        let document = std::fs::read_to_string(root().join(format!("docs/integrations/{proxy}.md"))).unwrap();
        let folder = installation(&block(&document, "toml"));
        let printed = printed(folder.path(), &[proxy]);
        assert!(
            printed == block(&document, language),
            "docs/integrations/{proxy}.md is not what this prints:\n{printed}"
        );
        let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || b" _".contains(&byte));
        let mut places = printed.split("<<").skip(1).filter_map(|rest| rest.split_once(">>"));
        assert!(!places.any(|(name, _)| is_name(name)), "{proxy}: {printed}");
    }
}

#[test]
fn by_https_a_proxy_is_told_of_its_certificate_and_an_upstreams_is_verified() {
    let more = r#"
[[services]]
name     = "tickets"
hosts    = ["tickets.internal", "*.tickets.internal"]
upstream = "https://tickets.backend:9443"
[services.routes]
"GET /healthz" = "public"
[[boundaries]]
name           = "front"
client         = "edge"
services       = "*"
origin         = "https://edge.example"
forward_auth   = "127.0.0.1:8432"
ext_authz_grpc = "127.0.0.1:8431"
"#;
    let folder = installation(more);
    let rows = [
        (
            "nginx",
            vec![
                "listen 443 ssl default_server;",
                "ssl_certificate /etc/narrows/tls.crt;",
                "proxy_ssl_verify on;",
            ],
        ),
        (
            "traefik",
            vec![
                "address: \":443\"",
                "tls: {}",
                "certFile: /etc/narrows/tls.crt",
                "https://tickets.backend:9443",
            ],
        ),
        (
            "caddy",
            vec![
                "https://tickets.internal:443, https://*.tickets.internal:443 {",
                "tls /etc/narrows/tls.crt /etc/narrows/tls.key",
            ],
        ),
        (
            "envoy",
            vec![
                "port_value: 443",
                "filename: /etc/narrows/tls.crt",
                "exact: \"tickets.backend\"",
                "type: STRICT_DNS",
            ],
        ),
        (
            "istio",
            vec![
                "port: { number: 443, name: https, protocol: HTTPS }",
                "credentialName: \"narrows-front\"",
                "subjectAltNames: [\"tickets.backend\"]",
                "resolution: DNS",
                "hosts: [\"tickets.internal\", \"*.tickets.internal\"]",
            ],
        ),
    ];
    for (proxy, parts) in rows {
        let printed = printed(folder.path(), &[proxy]);
        for part in parts {
            assert!(printed.contains(part), "{proxy}: {part}\n{printed}");
        }
    }
}

/// What `upstream_tls` says of an upstream a proxy is told, which is the one that connects to it.
#[test]
fn a_proxy_trusts_and_shows_what_upstream_tls_names() {
    let ca = testkit::CertificateAuthority::new("servers");
    let own = ca.client("edge");
    let service = |name: &str, tls: &str| {
        format!(
            "[[services]]\nname = \"{name}\"\nhosts = [\"{name}.internal\"]\nupstream = \"https://{name}.backend:9443\"\n{tls}\n\
             [services.routes]\n\"GET /healthz\" = \"public\"\n"
        )
    };
    let boundary = "[[boundaries]]\nname = \"front\"\nclient = \"edge\"\nservices = \"*\"\norigin = \"http://127.0.0.1:8430\"\n\
                    forward_auth = \"127.0.0.1:8432\"\next_authz_grpc = \"127.0.0.1:8431\"\n";
    let both = "upstream_tls = { ca_file = \"ca.pem\", cert_file = \"own.crt\", key_file = \"own.key\" }";
    let one = "upstream_tls = { ca_file = \"ca.pem\" }";
    let folder = installation(&(service("both", both) + &service("one", one) + &service("none", "") + boundary));
    for (name, text) in [("ca.pem", &ca.pem), ("own.crt", &own.certificate), ("own.key", &own.key)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let at = |name: &str| folder.path().canonicalize().unwrap().join(name).display().to_string();
    let (ca, cert, key) = (at("ca.pem"), at("own.crt"), at("own.key"));
    let system = "/etc/ssl/certs/ca-certificates.crt";
    let rows = [
        (
            "nginx",
            vec![
                (format!("proxy_ssl_trusted_certificate {ca};"), 2),
                (format!("proxy_ssl_trusted_certificate {system};"), 1),
                (format!("proxy_ssl_certificate {cert};"), 1),
                (format!("proxy_ssl_certificate_key {key};"), 1),
                ("proxy_ssl_verify on;".to_owned(), 3),
            ],
        ),
        (
            "traefik",
            vec![
                ("serversTransports:".to_owned(), 1),
                ("serversTransport: \"both\"".to_owned(), 1),
                ("serversTransport: \"one\"".to_owned(), 1),
                ("serversTransport: \"none\"".to_owned(), 0),
                (format!("rootCAs: [{ca}]"), 2),
                (format!("certificates: [{{ certFile: {cert}, keyFile: {key} }}]"), 1),
            ],
        ),
        (
            "caddy",
            vec![
                (format!("tls_trust_pool file {ca}"), 2),
                (format!("tls_client_auth {cert} {key}"), 1),
                ("import narrows https://none.backend:9443\n".to_owned(), 1),
            ],
        ),
        (
            "envoy",
            vec![
                (format!("trusted_ca: {{ filename: {ca} }}"), 2),
                (format!("trusted_ca: {{ filename: {system} }}"), 1),
                (format!("certificate_chain: {{ filename: {cert} }}"), 1),
                (format!("private_key: {{ filename: {key} }}"), 1),
            ],
        ),
        (
            "istio",
            vec![
                (
                    format!("mode: MUTUAL, clientCertificate: {cert}, privateKey: {key}, sni: \"both.backend\""),
                    1,
                ),
                ("mode: SIMPLE, sni:".to_owned(), 2),
                (format!("caCertificates: {ca} }}"), 2),
                (format!("caCertificates: {system} }}"), 1),
            ],
        ),
    ];
    for (proxy, parts) in rows {
        let printed = printed(folder.path(), &[proxy]);
        for (part, times) in parts {
            assert_eq!(printed.matches(&part).count(), times, "{proxy}: {part}\n{printed}");
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    let told = |more: &str, arguments: &[&str]| {
        let ran = narrows(installation(more).path(), &[&["snippet"], arguments].concat(), "");
        assert!(ran.code != 0 && ran.out.is_empty(), "{ran:?}");
        ran.err
    };
    let boundary = |name: &str| {
        format!(
            "[[boundaries]]\nname = \"{name}\"\nclient = \"edge\"\nservices = \"*\"\norigin = \"http://127.0.0.1:1\"\nproxy = \"127.0.0.1:0\"\n"
        )
    };
    assert!(told("", &["nginx"]).contains("there is no boundary"));
    assert!(told(&boundary("one"), &["nginx"]).contains("forward_auth"));
    assert!(told(&boundary("one"), &["envoy"]).contains("ext_authz_grpc"));
    assert!(told(&boundary("one"), &["istio"]).contains("ext_authz_grpc"));
    assert!(told(&(boundary("one") + &boundary("two")), &["nginx"]).contains("--boundary: one, two"));
    assert!(told(&boundary("one"), &["nginx", "--boundary", "three"]).contains("no boundary `three`"));
    assert!(told(&boundary("one"), &["apache"]).contains("nginx, traefik, caddy, envoy"));
}

/// A boundary with these doors and keys, before one service with `routes`.
fn boundary(doors: &str, routes: &str) -> String {
    format!(
        r#"
[[services]]
name     = "tickets"
hosts    = ["tickets.internal"]
upstream = "http://127.0.0.1:9001"
audience = "https://tickets.internal"
[services.routes]
"GET /tickets/{{id}}" = "ticket:read/{{id}}"
{routes}
[[boundaries]]
name     = "front"
client   = "edge"
services = "*"
origin   = "http://127.0.0.1:8430"
login    = ["corp"]
{doors}
"#
    )
}

/// A proxy that gave up before the boundary would say nothing of why.
#[test]
fn a_proxy_waits_for_longer_than_a_broker_elsewhere_may_take() {
    let doors = "forward_auth = \"127.0.0.1:8432\"\next_authz_grpc = \"127.0.0.1:8431\"\n";
    let broker = |deadline: &str| {
        format!(
            "[broker]\nurls = [\"http://127.0.0.1:1\"]\nclient = \"edge\"\nkey = {{ file = \"edge.key\" }}\ndeadline = \"{deadline}\"\n"
        )
    };
    for (table, seconds) in [
        (String::new(), "2s"),
        (broker("150ms"), "2s"),
        (broker("1s"), "2s"),
        (broker("1500ms"), "3s"),
        (broker("5s"), "6s"),
    ] {
        let folder = installation(&(boundary(doors, "") + &table));
        for (proxy, before) in [
            ("nginx", "proxy_read_timeout "),
            ("caddy", "response_header_timeout "),
            ("envoy", "cluster_name: narrows }, timeout: "),
            ("istio", "#         timeout: "),
        ] {
            let printed = printed(folder.path(), &[proxy]);
            assert!(printed.contains(&format!("{before}{seconds}")), "{proxy} {table}\n{printed}");
        }
    }
}

/// Challenges name it, so whoever is asked for it must have it: here that is the proxy alone.
#[test]
fn without_a_door_for_http_the_proxy_says_what_the_boundary_is() {
    let folder = installation(&boundary("ext_authz_grpc = \"127.0.0.1:8431\"\n", ""));
    for (proxy, before, behind) in [
        ("envoy", "direct_response: { status: 200, body: { inline_string: '", "' } }"),
        ("istio", "directResponse: { status: 200, body: { string: '", "' } }"),
    ] {
        let printed = printed(folder.path(), &[proxy]);
        let (_, rest) = printed.split_once(before).unwrap();
        let (said, _) = rest.split_once(behind).unwrap();
        let said: serde_json::Value = serde_json::from_str(said).unwrap();
        assert_eq!(said["resource"], "http://127.0.0.1:8430");
        assert_eq!(said["authorization_servers"].as_array().map(Vec::len), Some(1));
        assert!(printed.contains("disabled: true"), "and nobody asks about it: {printed}");
        assert!(!printed.contains("narrows-metadata }"), "{printed}");
    }
    let folder = installation(&boundary(
        "ext_authz_grpc = \"127.0.0.1:8431\"\nforward_auth = \"127.0.0.1:8432\"\n",
        "",
    ));
    assert!(!printed(folder.path(), &["envoy"]).contains("direct_response"));
}

#[test]
fn a_neighbour_of_the_metadata_is_asked_about() {
    let folder = installation(&boundary("forward_auth = \"127.0.0.1:8432\"\n", ""));
    let printed = printed(folder.path(), &["nginx"]);
    let places: Vec<_> = printed.lines().map(str::trim).filter(|line| line.contains("oauth-protected-resource")).collect();
    assert_eq!(
        places,
        [
            "location = /.well-known/oauth-protected-resource {",
            "location ^~ /.well-known/oauth-protected-resource/ {"
        ]
    );
}

/// What a service answers is no question: nginx would send the request on to another address of it, with the token for this one.
#[test]
fn nginx_follows_no_answer_of_a_service_to_another_address() {
    let folder = installation(&boundary("forward_auth = \"127.0.0.1:8432\"\n", ""));
    let printed = printed(folder.path(), &["nginx"]);
    let (_, location) = printed.split_once("location / {").unwrap();
    let (location, _) = location.split_once("\n    }").unwrap();
    assert!(
        location.contains("proxy_pass http://") && location.contains("proxy_ignore_headers X-Accel-Redirect;"),
        "{printed}"
    );
}

/// Towards an https upstream Caddy says the upstream's name, where nothing is said about it.
#[test]
fn caddy_sends_on_the_host_that_was_decided_on() {
    let folder = installation(&boundary("forward_auth = \"127.0.0.1:8432\"\n", ""));
    let printed = printed(folder.path(), &["caddy"]);
    let (_, upstream) = printed.split_once("reverse_proxy {args[0]} {").unwrap();
    let (upstream, _) = upstream.split_once('}').unwrap();
    assert!(upstream.trim_end().ends_with("header_up Host {hostport"), "{printed}");
}

#[test]
fn a_proxy_that_would_listen_where_the_boundary_does_says_so() {
    for (own, meets) in [
        ("127.0.0.1:8430", true),
        ("0.0.0.0:8430", true),
        ("127.0.0.2:8430", false),
        ("127.0.0.1:8433", false),
    ] {
        let doors = format!("proxy = \"{own}\"\nforward_auth = \"127.0.0.1:8432\"\n");
        let folder = installation(&boundary(&doors, ""));
        let printed = printed(folder.path(), &["nginx"]);
        assert_eq!(
            printed.starts_with("# The boundary's own `proxy` listens on"),
            meets,
            "{own}\n{printed}"
        );
    }
}

/// A rule about the client's address would be one about the proxy's.
#[test]
fn a_proxy_that_is_not_believed_about_its_clients_is_told_of() {
    let comment = "# To policies (`context.client_ip`) and records every client has this proxy's own address, since boundary `front`";
    for (keys, door, is_told) in [
        ("", "forward_auth", true),
        ("trusted_proxies = [\"10.0.0.0/8\"]\n", "forward_auth", true),
        ("trusted_proxies = [\"127.0.0.0/8\"]\n", "forward_auth", false),
        (
            "peers = [\"10.0.0.0/8\"]\ntrusted_proxies = [\"10.1.2.3/32\"]\n",
            "forward_auth",
            false,
        ),
        ("", "ext_authz_http", true),
        ("trusted_proxies = [\"127.0.0.1/32\"]\n", "ext_authz_http", false),
        ("", "ext_authz_grpc", false),
        ("", "proxy", false),
    ] {
        let folder = installation(&boundary(&format!("{door} = \"127.0.0.1:8432\"\n{keys}"), ""));
        let ran = narrows(folder.path(), &["check"], "");
        let told = ran.out.lines().any(|line| {
            line.contains("boundaries[0].trusted_proxies: ") && line.contains(&format!("names no proxy that asks at `{door}`"))
        });
        assert_eq!((ran.code, told), (0, is_told), "{door} {keys}\n{}", ran.out);
        if door == "forward_auth" {
            for proxy in ["nginx", "traefik", "caddy"] {
                let printed = printed(folder.path(), &[proxy]);
                assert_eq!(printed.starts_with(comment), is_told, "{proxy} {keys}\n{printed}");
            }
        }
    }
    let both = "ext_authz_grpc = \"127.0.0.1:8431\"\nforward_auth = \"127.0.0.1:8432\"\n";
    let folder = installation(&boundary(both, ""));
    assert!(printed(folder.path(), &["nginx"]).starts_with(comment));
    assert!(!printed(folder.path(), &["envoy"]).contains("context.client_ip"));
}

#[test]
fn every_route_that_only_the_own_proxy_serves_is_named() {
    let more = r#"
"PATCH /tickets/{id}" = "ticket:update/{id}?fields={body:keys}"
"GET /socket" = { detail = "ticket:list", upgrade = "websocket" }
"GET /keyed" = { detail = "ticket:list", connection = "tickets-key" }

[[connections]]
name = "tickets-key"
kind = "key"
per  = "all"
send = { origin = "http://127.0.0.1:9001", header = "X-Key", as = "{}" }
"#;
    let folder = installation(&boundary("proxy = \"127.0.0.1:8433\"\nforward_auth = \"127.0.0.1:8432\"\n", more));
    for proxy in ["nginx", "caddy"] {
        let printed = printed(folder.path(), &[proxy]);
        let named: Vec<_> = printed.lines().filter(|line| line.starts_with("#   ")).collect();
        let named = named.join("\n");
        for line in [
            "PATCH /tickets/{id} of `tickets` reads the body",
            "GET /socket of `tickets` opens a WebSocket",
            "GET /keyed of `tickets` goes on with an upstream credential",
        ] {
            assert!(named.contains(line), "{proxy}: {line}\n{named}");
        }
        assert!(!named.contains("GET /tickets"), "{named}");
    }
}

/// A file without store, key file and policies is one that `narrows boundary` runs.
#[test]
fn what_boundaries_alone_run_is_right_here_too() {
    let broker = "[broker]\nurls = [\"http://127.0.0.1:1\"]\nclient = \"edge\"\nkey = { file = \"edge.key\" }\n";
    let folder = installation(&(boundary("forward_auth = \"127.0.0.1:8432\"\n", "") + broker));
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let without: Vec<_> = text.lines().filter(|line| !line.starts_with("store ")).collect();
    std::fs::write(&config, without.join("\n")).unwrap();
    std::fs::remove_file(folder.path().join("narrows.key")).unwrap();
    std::fs::remove_dir_all(folder.path().join("policies")).unwrap();

    let checked = narrows(folder.path(), &["check"], "");
    assert!(checked.code == 0 && checked.out.contains("boundaries alone"), "{checked:?}");
    assert!(printed(folder.path(), &["nginx"]).contains("auth_request"));
    let request = ["GET", "http://tickets.internal/tickets/42", "--subject", "corp|alice"];
    let explained = narrows(folder.path(), &[&["explain"], &request[..]].concat(), "");
    assert!(explained.code == 1 && explained.out.contains("GET /tickets/{id}"), "{explained:?}");
    assert!(explained.out.contains("the policies are the broker's"), "{explained:?}");

    // What `narrows boundary` would not start with is wrong here too.
    let other = without.join("\n").replace("client   = \"edge\"\nservices", "client   = \"other\"\nservices");
    std::fs::write(
        &config,
        other + "\n[[clients]]\nid = \"other\"\nauth = { method = \"private_key_jwt\", jwks_file = \"edge.jwks.json\" }\n",
    )
    .unwrap();
    let checked = narrows(folder.path(), &["check"], "");
    assert!(checked.code == 1 && checked.out.contains("boundaries[0].client"), "{checked:?}");

    // With a store it is the broker's own, which needs the rest too.
    std::fs::write(&config, text).unwrap();
    let checked = narrows(folder.path(), &["check"], "");
    assert!(checked.code == 1 && checked.out.contains("key_file"), "{checked:?}");
}

/// A WebSocket opens where a route says so, and as that very route: a pattern may match what a more particular route is for.
#[test]
fn a_web_socket_opens_through_envoy_where_a_route_says_so_and_as_that_route() {
    let more = "\"GET /rooms/{id}\" = { detail = \"ticket:read/{id}\", upgrade = \"websocket\", name = \"a \\\"live\\\" room: #1\" }\n\
                \"GET /rooms/lobby\" = \"ticket:list\"\n\
                \"PATCH /tickets/{id}\" = \"ticket:update/{id}?fields={body:keys}\"\n";
    let doors = "ext_authz_grpc = \"127.0.0.1:8431\"\nforward_auth = \"127.0.0.1:8432\"\n";
    let folder = installation(&boundary(doors, more));
    let named = "context_extensions: { route: \"a \\\"live\\\" room: #1\" }";
    let on = "upgrade_configs: [{ upgrade_type: websocket }]";
    let off = "upgrade_configs: [{ upgrade_type: websocket, enabled: false }]";

    let envoy = printed(folder.path(), &["envoy"]);
    // Nothing is on by default: it is said once, in the part of this route.
    assert_eq!(
        (envoy.matches("upgrade_configs").count(), envoy.matches(on).count()),
        (1, 1),
        "{envoy}"
    );
    let (_, part) = envoy.split_once("# GET /rooms/{id} opens a WebSocket").unwrap();
    let part = part.split("\n              # ").next().unwrap();
    for line in [
        "regex: '^/rooms/[^/]+$'",
        "name: upgrade, string_match: { exact: websocket",
        "exact: GET",
        on,
        named,
    ] {
        assert!(part.contains(line), "{line}\n{envoy}");
    }

    // Everything is on by default: each route says what it is.
    let istio = printed(folder.path(), &["istio"]);
    let mut routes: Vec<_> = istio.lines().filter_map(|line| line.trim().strip_prefix("- name: \"narrows-front")).collect();
    routes.retain(|name| !name.is_empty());
    let patches: Vec<_> = istio.split("  - applyTo: HTTP_ROUTE\n").skip(1).collect();
    for route in &routes {
        let name = format!("name: \"narrows-front{route}");
        let patch: Vec<_> = patches.iter().filter(|patch| patch.contains(&name)).collect();
        let [patch] = patch.as_slice() else {
            panic!("{route}: {patch:?}\n{istio}")
        };
        let opens = route.contains("-opens-");
        assert_eq!(
            (patch.contains(on), patch.contains(off), patch.contains(named)),
            (opens, !opens, opens),
            "{route}\n{patch}"
        );
    }
    assert!(routes.len() == 5, "metadata, what opens, what reads, forms, the rest: {routes:?}");
}
