//! The installation that is measured: a provider, one client, one audience, and as many policies as are wanted.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use testkit::FakeIssuer;

const PROVIDER: &str = "https://login.corp.example";

/// The keys of those who call, and the folder of files that trusts them.
pub(crate) struct Installation {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    provider: FakeIssuer,
    client: FakeIssuer,
}

impl Installation {
    /// Writes the files of an installation with `policies` policies below `root`.
    pub(crate) fn write(root: &Path, name: &str, port: u16, policies: usize) -> Self {
        let folder = root.join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let (provider, client) = (FakeIssuer::es256(PROVIDER), FakeIssuer::es256("edge"));
        let write = |file: &str, text: &str| fs::write(folder.join(file), text).unwrap();
        write("provider.jwks.json", &provider.jwks().to_string());
        write("edge.jwks.json", &client.jwks().to_string());
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).unwrap();
        write("narrows.key", &STANDARD.encode(key));
        write("rules.cedar", &rules(policies));
        write("narrows.toml", &include_str!("narrows.toml").replace("@PORT@", &port.to_string()));
        Self {
            folder,
            port,
            provider,
            client,
        }
    }

    /// The body of an exchange that is allowed: a subject token and an assertion that no request before has used.
    pub(crate) fn exchange(&self) -> String {
        let now = jiff::Timestamp::now().as_second();
        let id = || uuid::Uuid::now_v7().to_string();
        let subject = json!({
            "iss": PROVIDER, "sub": "alice", "aud": "https://edge.example", "iat": now, "exp": now + 3600, "jti": id(),
            "client_id": "web-shop", "scope": "shop", "groups": ["support"],
        });
        let assertion = json!({
            "iss": "edge", "sub": "edge", "aud": format!("http://127.0.0.1:{}", self.port), "iat": now, "exp": now + 60, "jti": id(),
        });
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .append_pair("subject_token", &self.provider.sign("at+jwt", &subject))
            .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")
            .append_pair("audience", "https://orders.internal")
            .append_pair(
                "authorization_details",
                r#"[{"type":"order","actions":["read"],"identifier":"4711"}]"#,
            )
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", &self.client.sign("client-authentication+jwt", &assertion))
            .finish()
    }
}

/// Ten policies speak of the exchange that is measured; the others speak of other workloads, groups and orders.
fn rules(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let (principal, group, order) = if number < 10 {
            ("edge".to_owned(), format!("support-{number}"), "4711".to_owned())
        } else {
            (format!("svc-{number}"), format!("team-{number}"), format!("{number}"))
        };
        let policy = match (number, number % 4) {
            (0, _) => r#"permit (principal == Workload::"edge", action == Action::"order:read", resource is Detail::Order)
                when { context.subject in Group::"corp|support" && context.expires_in <= 120 }"#
                .to_owned(),
            (_, 0) => {
                format!(r#"permit (principal == Workload::"{principal}", action == Action::"order:read", resource is Detail::Order)"#)
            }
            (_, 1) => format!(
                r#"permit (principal, action == Action::"order:read", resource is Detail::Order) when {{ context.subject in Group::"corp|{group}" }}"#
            ),
            (_, 2) => {
                format!(r#"forbid (principal == Workload::"{principal}", action == Action::"order:cancel", resource is Detail::Order)"#)
            }
            _ => format!(r#"permit (principal, action == Action::"order:read", resource == Detail::Order::"{order}")"#),
        };
        let _ = writeln!(text, "@id(\"p{number}\") {policy};");
    }
    text
}
