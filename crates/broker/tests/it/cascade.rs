//! A root with many descendants dies while clients go on exchanging: none survives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker::Rates;
use delegation::identity::Subject;
use delegation::revocation::Line;
use delegation::time::Timestamp;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, Reply, encode};

const WORKERS: usize = 50;
/// So many levels below the root; the most that the configuration lets there be.
const LEVELS: usize = 8;

on_both_engines!(no_descendant_survives_its_root);

/// What has been returned: the tokens of each level, to be exchanged on.
#[derive(Default)]
struct Family {
    levels: [Vec<String>; LEVELS],
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
    family.lock().await.levels[0].push(root.clone());

    // 1. Fifty clients make the family, a level at random, and go on until each was refused after the end.
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (narrows, family, dead) = (Arc::clone(&narrows), Arc::clone(&family), Arc::clone(&dead));
        workers.spawn(async move {
            let mut turn = worker;
            loop {
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (level, parent) = {
                    let family = family.lock().await;
                    let level = (0..LEVELS - 1).rev().find(|level| !family.levels[*level].is_empty() && (turn >> level) & 1 == 1);
                    let level = level.unwrap_or(0);
                    let choice = &family.levels[level];
                    (level, choice[(turn >> 16) % choice.len()].clone())
                };
                let was_dead = dead.load(Ordering::SeqCst);
                let reply = onward(&narrows, &parent).await;
                if reply.status == 200 {
                    let mut family = family.lock().await;
                    family.levels[level + 1].push(reply.text("access_token").to_owned());
                    family.all.push(reply.claims());
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
    while family.lock().await.all.len() < descendants() {
        tokio::task::yield_now().await;
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
    let mut depths = BTreeSet::new();
    for claims in &family.all {
        let mut chain: Vec<String> = claims["chain"].as_array().unwrap().iter().map(|entry| entry.as_str().unwrap().to_owned()).collect();
        depths.insert(chain.len());
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
    assert!(depths.len() >= 4, "of several levels: {depths:?}");
    for level in &family.levels {
        for token in level.iter().take(5) {
            assert_eq!(narrows.about("/oauth2/introspect", "orders", token).await.body["active"], false);
        }
    }
    drop(family);
    Arc::into_inner(narrows).unwrap().stop().await;
}
