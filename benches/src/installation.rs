//! The installation that is measured: a provider, clients, audiences, and as many policies as are wanted.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use testkit::FakeIssuer;

const PROVIDER: &str = "https://login.corp.example";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TASK: &str = "urn:narrows:params:oauth:token-type:task";
const SECRET: &str = "a-secret-of-as-many-characters-as-ours-have-by-default";

/// How large an installation is, and how its clients call it.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) policies: usize,
    pub(crate) clients: usize,
    pub(crate) audiences: usize,
    /// The clients send a secret, not an assertion.
    pub(crate) secret: bool,
    /// One subject token is shown in all exchanges.
    pub(crate) same_subject: bool,
    /// The first client opens tasks.
    pub(crate) tasks: bool,
    /// The first client receives the tokens that it asks for, so that it may exchange them on.
    pub(crate) onward: bool,
    /// `store` of the configuration.
    pub(crate) store: String,
    /// Further tables of the configuration.
    pub(crate) tables: String,
    /// Further policies.
    pub(crate) rules: String,
    /// Clients beside those of the shape that may exchange; `tables` says who they are.
    pub(crate) exchangers: Vec<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            policies: 10,
            clients: 1,
            audiences: 1,
            secret: false,
            same_subject: false,
            tasks: false,
            onward: false,
            store: "sqlite:narrows.db".to_owned(),
            tables: String::new(),
            rules: String::new(),
            exchangers: Vec::new(),
        }
    }
}

/// The keys of those who call, and the folder of files that trusts them.
pub(crate) struct Installation {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    shape: Shape,
    provider: FakeIssuer,
    clients: Vec<FakeIssuer>,
    /// The subject token that is shown again.
    shown_again: String,
    exchanges: Cell<usize>,
}

impl Installation {
    /// Writes the files of an installation of this shape below `root`.
    pub(crate) fn write(root: &Path, name: &str, port: u16, shape: Shape) -> Self {
        let folder = root.join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let provider = FakeIssuer::es256(PROVIDER);
        let clients: Vec<_> = (0..shape.clients).map(|number| FakeIssuer::es256(&client(number))).collect();
        let write = |file: &str, text: &str| fs::write(folder.join(file), text).unwrap();
        write("provider.jwks.json", &provider.jwks().to_string());
        for client in &clients {
            write(&format!("{}.jwks.json", client.issuer), &client.jwks().to_string());
        }
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).unwrap();
        write("narrows.key", &STANDARD.encode(key));
        write("rules.cedar", &rules(&shape));
        write("narrows.toml", &configuration(&shape, port));
        Self {
            shown_again: subject_token(&provider),
            exchanges: Cell::new(0),
            folder,
            port,
            shape,
            provider,
            clients,
        }
    }

    /// The subject token that is shown again and again.
    pub(crate) fn subject(&self) -> &str {
        &self.shown_again
    }

    /// The body of an exchange that is allowed. Its assertion was never used before, nor was its subject token, unless the
    /// shape says that one is shown again.
    pub(crate) fn exchange(&self) -> String {
        let subject = if self.shape.same_subject {
            self.shown_again.clone()
        } else {
            subject_token(&self.provider)
        };
        self.exchange_of(&subject, true)
    }

    /// The body of an exchange of this subject token, with or without details.
    pub(crate) fn exchange_of(&self, subject: &str, details: bool) -> String {
        self.exchange_as(ACCESS_TOKEN, subject, details, &[])
    }

    /// The body with which a task for one redemption is opened.
    pub(crate) fn task(&self) -> String {
        let asked = [("requested_token_type", TASK), ("max_tokens", "1"), ("expires_in", "120")];
        self.exchange_as(ACCESS_TOKEN, &subject_token(&self.provider), true, &asked)
    }

    /// The body with which this task is redeemed.
    pub(crate) fn redemption(&self, task: &str) -> String {
        self.exchange_as(TASK, task, true, &[])
    }

    /// The body of a question about `token`, or of its revocation, by the first client.
    pub(crate) fn about(&self, token: &str) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token);
        self.authenticate(&mut form, 0);
        form.finish()
    }

    fn exchange_as(&self, subject_type: &str, subject: &str, details: bool, more: &[(&str, &str)]) -> String {
        // A step without a common divisor: calls are spread over all clients, and each comes once before any comes twice.
        let number = self.exchanges.replace(self.exchanges.get() + 1).wrapping_mul(7919) % self.shape.clients;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .append_pair("subject_token", subject)
            .append_pair("subject_token_type", subject_type)
            .append_pair("audience", &audience(number % self.shape.audiences))
            .extend_pairs(more);
        if details {
            form.append_pair(
                "authorization_details",
                r#"[{"type":"order","actions":["read"],"identifier":"4711"}]"#,
            );
        }
        self.authenticate(&mut form, number);
        form.finish()
    }

    /// The body with which the first client asks for a token of its own, at a server that exchanges nothing else.
    pub(crate) fn client_credentials(&self) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials").append_pair("resource", &audience(0));
        self.authenticate(&mut form, 0);
        form.finish()
    }

    /// Adds `count` revocations of tokens that nobody has to the store, which no process has open.
    ///
    /// Their places lie far behind the end of the log, so that none of them takes one that is to come.
    pub(crate) fn revoke(&self, count: usize) {
        let statement = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO revocations (seq, kind, name, at, forget_at)
             SELECT 1000000000 + i, 'jti', randomblob(32), {now}, {now} + 1209600000 FROM n",
            now = jiff::Timestamp::now().as_millisecond(),
        );
        let script = "import sqlite3, sys; store = sqlite3.connect(sys.argv[1]); store.execute(sys.argv[2]); store.commit()";
        let python = Command::new("python3")
            .args(["-c", script])
            .arg(self.folder.join("narrows.db"))
            .arg(statement)
            .status();
        assert!(python.unwrap().success(), "revocations are written");
    }

    fn authenticate(&self, form: &mut url::form_urlencoded::Serializer<'_, String>, number: usize) {
        let id = client(number);
        if self.shape.secret {
            form.append_pair("client_id", &id).append_pair("client_secret", SECRET);
            return;
        }
        let now = jiff::Timestamp::now().as_second();
        let assertion = json!({
            "iss": id, "sub": id, "aud": format!("http://127.0.0.1:{}", self.port), "iat": now, "exp": now + 60,
            "jti": uuid::Uuid::now_v7().to_string(),
        });
        form.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair(
                "client_assertion",
                &self.clients[number].sign("client-authentication+jwt", &assertion),
            );
    }
}

fn subject_token(provider: &FakeIssuer) -> String {
    let now = jiff::Timestamp::now().as_second();
    provider.sign(
        "at+jwt",
        &json!({
            "iss": PROVIDER, "sub": "alice", "aud": "https://edge.example", "iat": now, "exp": now + 3600,
            "jti": uuid::Uuid::now_v7().to_string(), "client_id": "web-shop", "scope": "shop", "groups": ["support"],
        }),
    )
}

fn client(number: usize) -> String {
    if number == 0 { "edge".to_owned() } else { format!("edge-{number}") }
}

fn audience(number: usize) -> String {
    if number == 0 {
        "https://orders.internal".to_owned()
    } else {
        format!("https://orders-{number}.internal")
    }
}

fn configuration(shape: &Shape, port: u16) -> String {
    let all: Vec<_> = (0..shape.clients).map(client).collect();
    let mut text = include_str!("narrows.toml")
        .replace("@PORT@", &port.to_string())
        .replace("@STORE@", &shape.store)
        .replace("@EXCHANGERS@", &json!([&all[..], &shape.exchangers].concat()).to_string());
    let secret: String = digest(&SHA256, SECRET.as_bytes()).as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    for id in &all {
        let auth = if shape.secret {
            format!(r#"{{ method = "client_secret_post", secret_sha256 = "{secret}" }}"#)
        } else {
            format!(r#"{{ method = "private_key_jwt", jwks_file = "{id}.jwks.json" }}"#)
        };
        let _ = writeln!(text, "\n[[clients]]\nid = \"{id}\"\nauth = {auth}");
        if shape.onward {
            let _ = writeln!(text, "receives = [\"{}\"]", audience(0));
        }
    }
    for number in 0..shape.audiences {
        let clients: Vec<_> = all.iter().skip(number).step_by(shape.audiences).chain(&shape.exchangers).collect();
        let _ = writeln!(
            text,
            "\n[[audiences]]\nid = \"{}\"\ndetails = [\"order\"]\nclients = {}\nmax_lifetime = \"2m\"",
            audience(number),
            json!(clients)
        );
    }
    text.push_str(&shape.tables);
    text
}

/// Ten policies speak of the exchange that is measured; the others speak of other workloads, groups and orders.
fn rules(shape: &Shape) -> String {
    let edge = if shape.clients == 1 {
        r#"principal == Workload::"edge""#
    } else {
        "principal"
    };
    let mut text = String::new();
    for number in 0..shape.policies {
        let (principal, group, order) = if number < 10 {
            ("edge".to_owned(), format!("support-{number}"), "4711".to_owned())
        } else {
            (format!("svc-{number}"), format!("team-{number}"), format!("{number}"))
        };
        let policy = match (number, number % 4) {
            (0, _) => format!(
                r#"permit ({edge}, action == Action::"order:read", resource is Detail::Order)
                when {{ context.subject in Group::"corp|support" && context.expires_in <= 120 }}"#
            ),
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
    text.push_str(&shape.rules);
    if shape.tasks {
        text.push_str("@id(\"tasks\") permit (principal, action == Action::\"task\", resource is Audience);\n");
    }
    if shape.onward {
        text.push_str("@id(\"onward\") permit (principal, action == Action::\"order:read\", resource is Detail::Order);\n");
    }
    text
}
