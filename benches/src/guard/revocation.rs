//! How long after a revocation was acknowledged the last of many guards still lets its token through.
//!
//! A real broker on its processor; sixteen guards in this process, on that of the load, each with a link and a feed of its own. Every
//! token is shown to all of them first. Then it is revoked, and as soon as that is acknowledged all are asked in turn until each
//! refuses. Refusals go on record meanwhile, as they do in life.

use std::sync::Arc;
use std::time::{Duration, Instant};

use delegation::oauth::{ClientId, Reason};
use fetch::{FetchSettings, Fetcher};
use narrows_guard::link::{Link, Place};
use narrows_guard::live::{Decision, Live};
use narrows_guard::remote::Remote;
use serde_json::json;
use testkit::FakeIssuer;
use tokio::task::yield_now;

use crate::contest::{REVOKE, narrows, tokens};
use crate::installation::{Installation, Shape};
use crate::{Arguments, aims, free_port, load};

pub(crate) const HEAD: [&str; 4] = [
    "revocation acknowledged → the last of 16 guards refuses",
    "p50 ms",
    "p99 ms",
    "the longest, ms",
];

const GUARDS: usize = 16;
const CLIENT: &str = "orders-guard";
/// Tokens that are revoked in a round.
const REVOKED: usize = 100;
/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(30);

type Signs = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Revokes tokens in every round; gives the row of the table, and what became of the aims.
pub(super) async fn measure(arguments: &Arguments) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let client = Arc::new(FakeIssuer::es256(CLIENT));
    let installation = installation(arguments, &client);
    let broker = narrows(&arguments.narrows, &installation);
    let mut guards = Vec::new();
    for _ in 0..GUARDS {
        let link = link(&installation, &client).tended();
        let remote = Remote::start(link, "orders".to_owned());
        guards.push(super::live(&issuer(&installation), remote));
    }
    let started = Instant::now();
    while !guards.iter().all(|guard| guard.broker().is_ready()) {
        assert!(started.elapsed() < PATIENCE, "a guard does not hear the broker");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut times = Vec::new();
    for round in 0..=arguments.rounds {
        let alive = tokens(&installation, (0..REVOKED).map(|_| installation.exchange()).collect()).await;
        for token in alive {
            let time = until_refused(&guards, &installation, &token).await;
            if round > 0 {
                times.push(time.as_secs_f64() * 1000.0);
            }
        }
    }
    drop(guards);
    drop(broker);
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let (p50, p99, most) = (at(0.50), at(0.99), at(1.0));
    let row = vec![
        format!("{} revocations, one after another", times.len()),
        format!("{p50:.1}"),
        format!("{p99:.1}"),
        format!("{most:.1}"),
    ];
    let aims = vec![
        aims::row(
            "revocation acknowledged → the last of 16 guards refuses, p50",
            p50,
            true,
            5.0,
            " ms",
        ),
        aims::row("the same, p99", p99, true, 50.0, " ms"),
    ];
    (vec![row], aims)
}

/// Shows `token` to all, revokes it, and shows it again until the last refuses; gives the time from the acknowledgement on.
async fn until_refused(guards: &[Live<Remote<Signs>>], installation: &Installation, token: &str) -> Duration {
    let headers = super::shown(token);
    for guard in guards {
        assert!(!is_revoked(&super::decide(guard, &headers).await), "it is alive");
    }
    load::send(installation.port, REVOKE, vec![installation.about(token)]).await;
    let acknowledged = Instant::now();
    let mut left: Vec<_> = guards.iter().collect();
    loop {
        let mut still = Vec::new();
        for guard in left {
            if !is_revoked(&super::decide(guard, &headers).await) {
                still.push(guard);
            }
        }
        let passed = acknowledged.elapsed();
        if still.is_empty() {
            return passed;
        }
        assert!(passed < PATIENCE, "a guard goes on with what is revoked");
        left = still;
        // The feeds are read by this thread too.
        yield_now().await;
    }
}

fn is_revoked(decision: &Decision) -> bool {
    match decision {
        Decision::Allowed(_) => false,
        Decision::Refused(denied) if denied.refusal.reason == Reason::SubjectTokenRevoked => true,
        Decision::Refused(denied) => panic!("{}: {}", denied.refusal.reason.as_str(), denied.refusal.why()),
        Decision::Public => panic!("every request needs a token"),
    }
}

/// A broker that knows guards of this client.
fn installation(arguments: &Arguments, client: &FakeIssuer) -> Installation {
    let port = free_port();
    let tables = format!(
        "\n[[services]]\nname = \"orders\"\nhosts = [\"orders.internal\"]\nupstream = \"http://127.0.0.1:{upstream}\"\n\
         audience = \"{AUDIENCE}\"\n[services.routes]\n\"GET /orders/{{id}}\" = \"order:read/{{id}}\"\n\
         \n[[guards]]\nservice = \"orders\"\nclient = \"{CLIENT}\"\nlisten = \"127.0.0.1:{listen}\"\n\
         \n[[clients]]\nid = \"{CLIENT}\"\nauth = {{ method = \"private_key_jwt\", jwks_file = \"{CLIENT}.jwks.json\" }}\n\
         receives = [\"{AUDIENCE}\"]\n\
         \n[[audiences]]\nid = \"http://127.0.0.1:{port}\"\nscopes = [\"narrows.data_plane\"]\n\
         \n[[scopes]]\nname = \"narrows.data_plane\"\ndetails = []\n",
        upstream = free_port(),
        listen = free_port(),
        AUDIENCE = super::AUDIENCE,
    );
    let rule = format!(
        "@id(\"guards\") permit (principal == Workload::\"{CLIENT}\", action == Action::\"scope:narrows.data_plane\", resource);\n"
    );
    let shape = Shape {
        tables,
        rules: rule,
        ..Shape::default()
    };
    let installation = Installation::write(&arguments.folder, "guards", port, shape);
    let keys = installation.folder.join(format!("{CLIENT}.jwks.json"));
    std::fs::write(keys, client.jwks().to_string()).unwrap();
    installation
}

fn issuer(installation: &Installation) -> String {
    format!("http://127.0.0.1:{}", installation.port)
}

fn link(installation: &Installation, client: &Arc<FakeIssuer>) -> Link<Signs> {
    let issuer = issuer(installation);
    let place = Place {
        urls: vec![issuer.parse().unwrap()],
        issuer: issuer.clone(),
        client: ClientId::parse(CLIENT).unwrap(),
        deadline: Duration::from_secs(5),
        max_age: Duration::from_secs(5),
    };
    let client = Arc::clone(client);
    let signs: Signs = Box::new(move || {
        let now = jiff::Timestamp::now().as_second();
        let assertion = json!({
            "iss": CLIENT, "sub": CLIENT, "aud": issuer, "iat": now, "exp": now + 60, "jti": uuid::Uuid::now_v7().to_string(),
        });
        Some(client.sign("client-authentication+jwt", &assertion))
    });
    let fetcher = Arc::new(Fetcher::new(FetchSettings::default()).unwrap());
    Link::new(place, fetcher, signs).unwrap()
}
