//! Our own keys rotated again and again under load: no good token is refused, and no retired key is accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::{Clock, Rates};
use delegation::time::Timestamp;
use delegation::token::{Algorithm, KeySet, SubjectToken, Unverified};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::installation::{Installation, Plan, Reply, seconds};

/// How often; more with the long run.
fn rotations() -> i64 {
    std::env::var("NARROWS_ROTATIONS").map_or(50, |text| text.parse().unwrap())
}

/// Whose tokens are shown again.
const ORDERS: &str = "https://orders.internal";
const WORKERS: usize = 2;
/// Keys sign for so long, are published so long before, and are looked at once in a step.
const ROTATE_EVERY: i64 = 300;
const PUBLISH_BEFORE: i64 = 100;
const STEP: i64 = 100;

/// A token that a client got.
#[derive(Clone, Debug)]
struct Issued {
    token: String,
    kid: String,
    aud: String,
    iat: i64,
    exp: i64,
}

impl Issued {
    fn of(reply: &Reply) -> Self {
        let claims = reply.claims();
        let token = reply.text("access_token").to_owned();
        let header = token.split('.').next().unwrap();
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        Self {
            kid: header["kid"].as_str().unwrap().to_owned(),
            aud: claims["aud"].as_str().unwrap().to_owned(),
            iat: claims["iat"].as_i64().unwrap(),
            exp: claims["exp"].as_i64().unwrap(),
            token,
        }
    }

    fn verifies(&self, keys: &KeySet) -> bool {
        Unverified::<SubjectToken>::parse(&self.token).unwrap().authenticate(keys).is_ok()
    }
}

/// The order service shows `token` and asks for the next hop.
async fn show(narrows: &Installation, token: &str) -> Reply {
    narrows
        .exchange(&[
            ("client_id", "orders"),
            ("client_secret", "orders-secret"),
            ("subject_token", token),
        ])
        .await
}

/// Gets tokens and shows them at once, for ever; tells of each round. Every refusal ends it.
async fn work(narrows: Arc<Installation>, ledger: Arc<Mutex<Vec<Issued>>>, worker: usize, rounds: mpsc::UnboundedSender<usize>) {
    loop {
        let first = narrows.exchange(&[("audience", ORDERS)]).await;
        assert_eq!(first.status, 200, "{:?}", first.body);
        let issued = Issued::of(&first);
        ledger.lock().unwrap().push(issued.clone());
        let second = show(&narrows, &issued.token).await;
        assert_eq!(second.status, 200, "{issued:?}: {:?}", second.body);
        ledger.lock().unwrap().push(Issued::of(&second));
        if rounds.send(worker).is_err() {
            return;
        }
    }
}

async fn no_good_token_is_refused_and_no_retired_key_accepted(engine: Engine, rotations: i64) {
    let begin = seconds();
    let clock = Clock::standing(Timestamp::from_seconds(begin));
    let secs = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap());
    let many = std::num::NonZeroU32::new(1_000_000).unwrap();
    let narrows = Arc::new(
        Installation::of(Plan {
            engine,
            change: Box::new(|snapshot| {
                snapshot.lifetimes.max = Duration::from_secs(120);
                snapshot.lifetimes.default = Duration::from_secs(120);
            }),
            rates: Rates {
                per_client: many,
                per_address: many,
            },
            rotate_every: secs(ROTATE_EVERY),
            publish_before: secs(PUBLISH_BEFORE),
            clock: clock.clone(),
            ..Plan::default()
        })
        .await,
    );
    let (ledger, mut workers) = (Arc::<Mutex<Vec<Issued>>>::default(), JoinSet::new());
    let (rounds, mut told) = mpsc::unbounded_channel();
    for worker in 0..WORKERS {
        workers.spawn(work(Arc::clone(&narrows), Arc::clone(&ledger), worker, rounds.clone()));
    }
    drop(rounds);

    let mut published_at: BTreeMap<String, i64> = BTreeMap::new();
    let mut last_of: BTreeMap<String, Issued> = BTreeMap::new();
    let (mut living, mut retired, mut shown) = (Vec::<Issued>::new(), BTreeSet::new(), 0);
    for step in 0..=rotations * ROTATE_EVERY / STEP {
        // 1. Time passes, and the broker looks at its keys. Everybody is asked for one round more before it passes again, so
        //    that no request lasts for two steps.
        let now = begin + step * STEP;
        clock.set(Timestamp::from_seconds(now));
        narrows.broker.tend().await;
        while told.try_recv().is_ok() {}
        let mut waited_for: BTreeSet<_> = (0..WORKERS).collect();
        while !waited_for.is_empty() {
            tokio::select! {
                worker = told.recv() => drop(worker.map(|worker| waited_for.remove(&worker))),
                ended = workers.join_next() => panic!("a good token was refused: {ended:?}"),
            }
        }

        // 2. What anybody sees of the keys now, and every token that is out there.
        let (_, _, body) = narrows.get("/oauth2/jwks").await;
        let jwks: Value = serde_json::from_str(&body).unwrap();
        let held: BTreeSet<_> = jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
        for kid in &held {
            published_at.entry(kid.clone()).or_insert(now);
        }
        let new = std::mem::take(&mut *ledger.lock().unwrap());
        for issued in &new {
            let known = published_at.get(&issued.kid).copied().unwrap_or(i64::MAX);
            // `iat` is when the request was read; the clock may have moved once until it was signed.
            let in_time = known == begin || known + PUBLISH_BEFORE <= issued.iat + STEP;
            assert!(in_time, "{issued:?}, published at {known}");
            last_of.insert(issued.kid.clone(), issued.clone());
        }
        living.extend(new.iter().cloned());
        living.retain(|issued| issued.exp > now);

        // 3. Each verifies by the published keys alone: when it is new, and then for as long as one of its key lives. The
        //    oldest still does at the broker.
        let keys = KeySet::parse(&narrows.url, body.as_bytes(), &[Algorithm::Es256]).unwrap();
        let of_each_key: BTreeMap<_, _> = living.iter().map(|issued| (&issued.kid, issued)).collect();
        if let Some(bad) = new.iter().chain(of_each_key.into_values()).find(|issued| !issued.verifies(&keys)) {
            panic!("at {now}: {bad:?}");
        }
        let for_orders = living.iter().filter(|issued| issued.aud == ORDERS);
        if let Some(oldest) = for_orders.min_by_key(|issued| issued.exp) {
            let reply = show(&narrows, &oldest.token).await;
            assert_eq!(reply.status, 200, "{oldest:?}: {:?}", reply.body);
            shown += 1;
        }

        // 4. Of a key that has left, nothing is taken: it is unknown, and not merely that its tokens are old.
        for (kid, last) in last_of.iter().filter(|(kid, _)| !held.contains(*kid)) {
            if retired.insert(kid.clone()) {
                let reply = show(&narrows, &last.token).await;
                assert_eq!((reply.status, reply.text("reason")), (400, "subject_token_invalid"), "{last:?}");
            }
        }
        last_of.retain(|kid, _| !retired.contains(kid));
    }
    let signed = retired.len() + last_of.len();
    assert!(i64::try_from(signed).unwrap() > rotations, "{signed} keys signed");
    assert!(
        retired.len() + 2 >= signed && shown > rotations,
        "{} retired, {shown} shown",
        retired.len()
    );

    // 5. A key that is retired by hand takes its living tokens with it.
    drop(told);
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    let victim = Issued::of(&narrows.exchange(&[("audience", ORDERS)]).await);
    assert_eq!(show(&narrows, &victim.token).await.status, 200);
    let now = Timestamp::from_seconds(begin + rotations * ROTATE_EVERY);
    narrows.rotate(now).await;
    narrows.broker.tend().await;
    let good = Issued::of(&narrows.exchange(&[("audience", ORDERS)]).await);
    let store = narrows.engine.open().await;
    broker::signer::retire(&store, &victim.kid, now).await.unwrap();
    narrows.broker.tend().await;
    assert_eq!(show(&narrows, &victim.token).await.text("reason"), "subject_token_invalid");
    assert_eq!(show(&narrows, &good.token).await.status, 200);
    Arc::into_inner(narrows).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_rotations_under_load_on_sqlite() {
    no_good_token_is_refused_and_no_retired_key_accepted(Engine::sqlite(), rotations()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_rotations_under_load_on_postgres() {
    no_good_token_is_refused_and_no_retired_key_accepted(Engine::postgres(), rotations() / 10).await;
}
