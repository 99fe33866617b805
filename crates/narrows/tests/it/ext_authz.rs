//! The doors for Envoy, of the running program.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};

use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};

use crate::boundary::claims;
use crate::run::root;
use crate::served::Served;
use crate::{corp, echo};

struct Edge {
    served: Served,
    grpc: SocketAddr,
    http: SocketAddr,
    token: String,
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Edge {
    fn start() -> Self {
        let issuer = corp::issuer();
        let served = Served::start(|folder| {
            corp::trust(folder, &issuer);
            let config = folder.join("narrows.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            let front = r#"
[[services]]
name     = "tickets"
hosts    = ["tickets.internal"]
upstream = "http://127.0.0.1:9"
audience = "https://tickets.internal"
[services.routes]
"GET /tickets/{id}" = "ticket:read/{id}"

[[boundaries]]
name           = "mesh"
client         = "edge"
services       = "*"
origin         = "https://edge.example"
ext_authz_grpc = "127.0.0.1:0"
ext_authz_http = "127.0.0.1:0"
"#;
            std::fs::write(&config, text + front).unwrap();
        });
        Self {
            grpc: served.door("ext_authz_grpc"),
            http: served.door("ext_authz_http"),
            served,
            token: corp::token(&issuer, "tickets.full", "support", 600),
        }
    }

    fn check(&self, path: &str) -> CheckResponse {
        let headers = HashMap::from([("authorization".to_owned(), format!("Bearer {}", self.token))]);
        check(self.grpc, path, headers)
    }
}

/// What the door says of `GET path` at `tickets.internal` with these headers, asked as Envoy asks.
pub(crate) fn check(door: SocketAddr, path: &str, headers: HashMap<String, String>) -> CheckResponse {
    let http = HttpRequest {
        method: "GET".to_owned(),
        path: path.to_owned(),
        host: "tickets.internal".to_owned(),
        headers,
        ..HttpRequest::default()
    };
    let request = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                time: None,
                http: Some(http),
            }),
            ..AttributeContext::default()
        }),
    };
    let asked = async {
        let mut client = AuthorizationClient::connect(format!("http://{door}")).await.unwrap();
        client.check(request).await.unwrap().into_inner()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(30), asked).await.unwrap() })
}

#[test]
fn both_doors_give_a_token_for_the_request_and_refuse_what_has_no_route() {
    let edge = Edge::start();
    let reply = edge.check("/tickets/42");
    let Some(HttpResponse::OkResponse(ok)) = reply.http_response else {
        panic!("{reply:?}")
    };
    let set = ok.headers[0].header.clone().unwrap();
    let token = set.value.strip_prefix("Bearer ").unwrap();
    assert_eq!(claims(token)["authorization_details"][0]["identifier"], "42");
    assert_ne!(token, edge.token);
    let refused = edge.check("/admin");
    assert!(
        matches!(refused.http_response, Some(HttpResponse::DeniedResponse(_))),
        "{refused:?}"
    );
    assert_eq!(refused.status.unwrap().code, 7);

    let ask = |path: &str| {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
            edge.token
        );
        echo::ask(edge.http, &head)
    };
    let (allowed, refused) = (ask("/tickets/42"), ask("/admin"));
    assert!(
        allowed.starts_with("HTTP/1.1 200 ") && allowed.contains("authorization: Bearer ey"),
        "{allowed}"
    );
    assert!(!allowed.contains(&edge.token));
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("no_route"), "{refused}");
}

/// A door stays where it is as long as the program runs, and whoever asks there keeps being answered.
#[test]
fn a_door_that_would_move_refuses_the_change() {
    let edge = Edge::start();
    let config = edge.served.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    for key in ["ext_authz_grpc", "ext_authz_http"] {
        let here = format!("{key} = \"127.0.0.1:0\"");
        assert!(text.contains(&here));
        std::fs::write(&config, text.replace(&here, &format!("{key} = \"{}\"", free()))).unwrap();
        edge.served.until(key, |ready| {
            ready["refused_change"].as_str().is_some_and(|why| why.starts_with("boundaries: "))
        });
        std::fs::write(&config, &text).unwrap();
        edge.served.until("mended", |ready| ready["refused_change"].is_null());
    }
    assert!(edge.check("/tickets/42").status.is_some_and(|status| status.code == 0));
}

/// EXA-001, GWY-043: Envoy lets nothing through where nobody answers; what is documented is what is printed, and `tests/doors` starts that.
#[test]
fn what_envoy_is_told_fails_closed() {
    let documented = std::fs::read_to_string(root().join("docs/integrations/envoy.md")).unwrap();
    let printed = documented.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let told = [
        "failure_mode_allow: false",
        "timeout: 2s }",
        "normalize_path: false",
        "path_with_escaped_slashes_action: REJECT_REQUEST",
        "headers_with_underscores_action: DROP_HEADER",
        "use_remote_address: true",
        "validate_mutations: true",
        "clear_route_cache: false",
    ];
    for line in told {
        assert!(printed.contains(line), "{line}");
    }
    let tried = std::fs::read_to_string(root().join("tests/doors/ext_authz.py")).unwrap();
    let by_http = tried.split("BY_HTTP = \"\"\"").nth(1).and_then(|rest| rest.split("\"\"\"").next()).unwrap();
    assert!(
        documented.contains(&format!("```yaml\n              {by_http}\n```\n")),
        "{by_http}"
    );
}
