//! A root with many descendants dies while clients go on exchanging: none survives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::Rates;
use delegation::identity::Subject;
use delegation::revocation::Line;
use delegation::time::Timestamp;
use serde_json::Value;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;

use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, Reply, encode};

const WORKERS: usize = 50;
/// So many levels below the root.
const LEVELS: usize = 8;

on_both_engines!(no_descendant_survives_its_root);

/// Longer than a hundred thousand descendants take; what hangs fails.
const BOUND: Duration = Duration::from_secs(1200);

/// What has been returned: the tokens of each level, to be exchanged on; the root's level is the first.
#[derive(Default)]
struct Family {
    levels: [Vec<String>; LEVELS + 1],
    all: Vec<Value>,
}

/// How many descendants there are when the root dies.
fn descendants() -> usize {
    std::env::var("NARROWS_DESCENDANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// A token exchanged on by orders, for orders again: a level deeper each time.
async fn onward(narrows: &Installation, token: &str) -> Reply {
    let details = r#"[{"type":"ticket","actions":["read"],"identifier":"42"}]"#;
    let pairs = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", "https://orders.internal"),
        ("authorization_details", details),
    ];
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    narrows.post(&encode(&pairs), &[]).await
}

/// INT-022, INT-016, INT-005: the revocation comes in the middle of what it ends. Whatever was returned before it was acknowledged
/// and whatever is returned after is dead, for a broker that starts on the same store too.
async fn no_descendant_survives_its_root(engine: Engine) {
    tokio::time::timeout(BOUND, root_and_descendants(engine)).await.unwrap();
}

async fn root_and_descendants(engine: Engine) {
    let many = std::num::NonZeroU32::new(1_000_000).unwrap();
    let plan = Plan {
        engine,
        rates: Rates {
            per_client: many,
            per_address: many,
        },
        change: Box::new(|snapshot| snapshot.max_chain = LEVELS + 1),
        ..Plan::default()
    };
    let narrows = Arc::new(Installation::of(plan).await);
    let root = narrows.exchange(&[("audience", "https://orders.internal")]).await;
    let root = root.text("access_token").to_owned();
    let (family, dead) = (Arc::<Mutex<Family>>::default(), Arc::new(AtomicBool::new(false)));
    let enough = Arc::new(Notify::new());
    family.lock().await.levels[0].push(root.clone());

    // 1. Fifty clients make the family, a level at random, and go on until each was refused after the end.
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (narrows, family, dead, enough) = (Arc::clone(&narrows), Arc::clone(&family), Arc::clone(&dead), Arc::clone(&enough));
        workers.spawn(async move {
            let mut turn = worker;
            loop {
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (level, parent) = {
                    let family = family.lock().await;
                    let begun = family.levels[..LEVELS].iter().take_while(|level| !level.is_empty()).count();
                    let level = (turn >> 33) % begun;
                    let choice = &family.levels[level];
                    (level, choice[(turn >> 40) % choice.len()].clone())
                };
                let was_dead = dead.load(Ordering::SeqCst);
                let reply = onward(&narrows, &parent).await;
                if reply.status == 200 {
                    let mut family = family.lock().await;
                    family.levels[level + 1].push(reply.text("access_token").to_owned());
                    family.all.push(reply.claims());
                    if family.all.len() == descendants() {
                        enough.notify_one();
                    }
                    assert!(!was_dead, "returned for a request that came after the end");
                } else {
                    assert_eq!(reply.text("reason"), "subject_token_revoked", "{:?}", reply.body);
                    if was_dead {
                        return;
                    }
                }
            }
        });
    }

    // 2. The root dies in the middle.
    tokio::select! {
        () = enough.notified() => {}
        Some(ended) = workers.join_next() => panic!("a client stopped before the end: {ended:?}"),
    }
    assert_eq!(narrows.about("/oauth2/revoke", "edge", &root).await.status, 200);
    dead.store(true, Ordering::SeqCst);
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }

    // 3. Nobody survives: as the view of a broker that starts now says of each, and as introspection says of some of each level.
    let family = family.lock().await;
    assert!(family.all.len() >= descendants());
    let view = narrows.engine.open().await.standing().await.unwrap();
    let alice = Subject {
        issuer_name: "corp".to_owned(),
        iss: testkit::CORP.to_owned(),
        sub: "alice".to_owned(),
    };
    let mut depths = BTreeMap::<usize, usize>::new();
    for claims in &family.all {
        let mut chain: Vec<String> = claims["chain"].as_array().unwrap().iter().map(|entry| entry.as_str().unwrap().to_owned()).collect();
        *depths.entry(chain.len()).or_default() += 1;
        chain.push(claims["jti"].as_str().unwrap().to_owned());
        let line = Line {
            chain: &chain,
            txn: None,
            task: None,
            subject: &alice,
            client: None,
            act: None,
            iat: Timestamp::from_seconds(claims["iat"].as_i64().unwrap()),
        };
        assert!(view.kills(&line).is_some(), "{claims}");
    }
    // Before a descendant in its chain there are the outside token, the root, and one of each level above.
    let each_level = (2..2 + LEVELS).map(|depth| depths.get(&depth).copied().unwrap_or(0));
    assert!(each_level.into_iter().all(|count| count > descendants() / LEVELS / 2), "{depths:?}");
    for level in &family.levels {
        for token in level.iter().take(5) {
            assert_eq!(narrows.about("/oauth2/introspect", "orders", token).await.body["active"], false);
        }
    }
    drop(family);
    Arc::into_inner(narrows).unwrap().stop().await;
}
