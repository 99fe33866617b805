//! The exchange of a boundary in the broker's own process, with a token handed out again and without.
//!
//! The token endpoint gives each request a token of its own; only a front door in the process may hand one out again. So
//! this is no server: a broker is started here and asked by a call, on the processor of the load. No HTTP, a client secret,
//! a remembered subject token, the test configuration and three policies. What differs between the two series is only
//! whether the boundary has asked the same before.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::store::StoreAddress;
use broker::{Broker, InForce, Rates, Settings, front_door};
use delegation::oauth::Form;
use delegation::token::Algorithm;
use fetch::{FetchSettings, Fetcher, IssuerEntry, KeySource};
use policy_cedar::{CedarPolicy, PolicyFile};
use serde_json::json;
use testkit::{CORP, EDGE_AUDIENCE, FakeIssuer};

use crate::figures::{for_each, median};
use crate::load::CONNECTIONS;
use crate::server::processor_time;

pub(crate) const HEAD: [&str; 3] = ["a boundary in the process", "µs for each exchange", "beside a new token"];

const RULES: &str = r#"
@id("read") permit (principal, action in [Action::"ticket:read", Action::"ticket:list"], resource is Detail::Ticket);
@id("profile") permit (principal, action == Action::"scope:profile", resource);
@id("no-13") forbid (principal, action, resource == Detail::Ticket::"13");
"#;

/// Measures both in turn, and gives the rows of the table.
pub(crate) async fn measure(folder: &Path, rounds: usize, exchanges: usize) -> Vec<Vec<String>> {
    let folder = folder.join("reuse");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let issuer = FakeIssuer::es256(CORP);
    let broker = start(&folder, &issuer).await;
    let form = Arc::new(form(&issuer));
    let (mut new, mut again) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        // The name of the boundary is part of what makes a request the same one.
        let fresh = |number| format!("edge-{round}-{number}");
        let (processor, tokens) = run(&broker, &form, (0..exchanges).map(fresh).collect()).await;
        assert_eq!(tokens, exchanges, "each request had a token of its own");
        let (processor_again, tokens) = run(&broker, &form, vec!["edge".to_owned(); exchanges]).await;
        // Those that ask at once before there is one get one each, and once more when it has grown old.
        assert!(tokens <= 2 * CONNECTIONS, "{tokens} tokens where one was to be handed out again");
        if round > 0 {
            new.push(processor);
            again.push(processor_again);
        }
    }
    broker.close().await;
    let (new, again) = (median(&mut new), median(&mut again));
    let row = |what: &str, time: f64| vec![what.to_owned(), format!("{time:.0}"), format!("{:.2}×", time / new)];
    vec![row("a new token for each request", new), row("the token handed out again", again)]
}

/// Asks once for every boundary, as many at a time as the load has connections; gives the time of each in µs, and how many
/// different tokens came.
async fn run(broker: &Arc<Broker>, form: &Arc<Form>, boundaries: Vec<String>) -> (f64, usize) {
    let count = boundaries.len();
    let before = processor_time("self");
    let mut workers = Vec::new();
    for part in boundaries.chunks(count.div_ceil(CONNECTIONS)) {
        let (broker, form, part) = (Arc::clone(broker), Arc::clone(form), part.to_vec());
        workers.push(tokio::spawn(async move {
            let mut tokens = HashSet::new();
            for boundary in part {
                let seen = front_door::Seen {
                    boundary: &boundary,
                    acting: None,
                    from: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    is_callers_own: true,
                    request: None,
                    step_up: Default::default(),
                    observed: false,
                    greeted: None,
                };
                let minted = front_door::exchange(&broker, &seen, &form, None).await;
                tokens.insert(minted.unwrap().token);
            }
            tokens
        }));
    }
    let mut tokens = HashSet::new();
    for worker in workers {
        tokens.extend(worker.await.unwrap());
    }
    (for_each(processor_time("self") - before, count), tokens.len())
}

fn form(issuer: &FakeIssuer) -> Form {
    let now = jiff::Timestamp::now().as_second();
    let subject = issuer.sign(
        "at+jwt",
        &json!({
            "iss": CORP, "sub": "alice", "aud": EDGE_AUDIENCE, "iat": now, "exp": now + 3600, "jti": uuid::Uuid::now_v7().to_string(),
            "client_id": "web", "scope": "tickets.full profile", "groups": ["support"],
        }),
    );
    let text = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        .append_pair("client_id", "edge")
        .append_pair("client_secret", "edge-secret")
        .append_pair("subject_token", &subject)
        .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")
        .append_pair("audience", "https://tickets.internal")
        .append_pair(
            "authorization_details",
            r#"[{"type":"ticket","actions":["read"],"identifier":"42"}]"#,
        )
        .finish();
    Form::parse(text.as_bytes()).unwrap()
}

async fn start(folder: &Path, issuer: &FakeIssuer) -> Arc<Broker> {
    std::fs::write(folder.join("narrows.key"), STANDARD.encode([7; 32])).unwrap();
    std::fs::write(folder.join("corp.json"), issuer.jwks().to_string()).unwrap();
    let snapshot = testkit::snapshot();
    let rules = PolicyFile {
        name: "rules.cedar".to_owned(),
        text: RULES.to_owned(),
    };
    let most = NonZeroU32::MAX;
    let in_force = InForce {
        policy: CedarPolicy::load(&snapshot, &[rules], "UTC", "p-1".to_owned()).unwrap(),
        snapshot: Arc::new(snapshot),
        rates: Rates {
            per_client: most,
            per_address: most,
        },
        introspection: None,
        boundaries: Default::default(),
        guards: Default::default(),
        connections: Default::default(),
    };
    let settings = Settings {
        store: StoreAddress::sqlite(folder.join("narrows.db")),
        key_files: vec![folder.join("narrows.key")],
        algorithm: Algorithm::Es256,
        rotate_every: Duration::from_secs(86_400 * 30),
        publish_before: Duration::from_secs(3600),
        body_limit: 64 * 1024,
        max_view_age: Duration::from_secs(3600),
        connections: 100,
    };
    let corp = IssuerEntry {
        name: "corp".to_owned(),
        issuer: CORP.to_owned(),
        source: KeySource::File(folder.join("corp.json")),
        algorithms: vec![Algorithm::Es256],
    };
    let fetcher = Fetcher::new(FetchSettings::default()).unwrap();
    Broker::start(settings, in_force, vec![corp], fetcher).await.unwrap()
}
