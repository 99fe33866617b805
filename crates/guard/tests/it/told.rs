//! A broker beside the guard that says what a test lets it say, and remembers what it was asked and told.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use delegation::authority::Authority;
use delegation::oauth::Reason;
use delegation::revocation::{Disabled, Key, MarkKind, Party, Revocation, Revoked, View};
use delegation::token::{KeySet, OpaqueForm, OpaqueKind};
use narrows_guard::broker::{Asked, Broker, Consumed, FirstSeen, Introspected, Rechecked, Refused, SeenTwice, Use, Used};
use narrows_guard::live::{Decision, Modes, Recheck};
use narrows_guard::{Clock, Live, live};
use serde_json::{Value, json};
use testkit::now;

use crate::guarded::{ISSUER, bearer, call};

/// The caller of most requests.
pub(crate) fn caller() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

/// What is asked, and what is answered.
pub(crate) struct Told {
    pub(crate) keys: Mutex<Option<Arc<KeySet>>>,
    /// The keys that a look finds.
    pub(crate) fresh: Mutex<Option<Arc<KeySet>>>,
    pub(crate) revoked: Arc<Revoked>,
    pub(crate) disabled: Mutex<Disabled>,
    pub(crate) age: Mutex<Duration>,
    pub(crate) used: Mutex<Use>,
    pub(crate) said: Mutex<Introspected>,
    pub(crate) policy: Mutex<Rechecked>,
    /// What is revoked while policy is asked.
    pub(crate) revoked_meanwhile: Mutex<Option<Revocation>>,
    pub(crate) looks: AtomicUsize,
    pub(crate) uses: AtomicUsize,
    pub(crate) questions: AtomicUsize,
    pub(crate) rechecks: AtomicUsize,
    /// About which details policy was asked last.
    pub(crate) rechecked: Mutex<Vec<String>>,
    /// How many of those were about what goes on anyway.
    pub(crate) observed: AtomicUsize,
    /// Whether policy never answers.
    pub(crate) ponders: AtomicBool,
    pub(crate) refusals: Mutex<Vec<Refused>>,
    /// What was handed over as used, and whether it is kept.
    pub(crate) batches: Mutex<Vec<Used>>,
    pub(crate) keeps: AtomicBool,
    pub(crate) sightings: Mutex<Vec<SeenTwice>>,
    pub(crate) places: Mutex<Vec<FirstSeen>>,
    /// Whether a question about an opaque token is never answered, and what waits is never on record.
    pub(crate) stalls: AtomicBool,
}

impl Default for Told {
    fn default() -> Self {
        let keys = Some(Arc::new(ISSUER.key_set()));
        Self {
            keys: Mutex::new(keys),
            fresh: Mutex::default(),
            revoked: Arc::default(),
            disabled: Mutex::default(),
            age: Mutex::default(),
            used: Mutex::new(Use::Accepted),
            said: Mutex::new(Introspected::Inactive),
            policy: Mutex::new(Rechecked::Allowed),
            revoked_meanwhile: Mutex::default(),
            looks: AtomicUsize::new(0),
            uses: AtomicUsize::new(0),
            questions: AtomicUsize::new(0),
            rechecks: AtomicUsize::new(0),
            rechecked: Mutex::default(),
            observed: AtomicUsize::new(0),
            ponders: AtomicBool::new(false),
            refusals: Mutex::default(),
            batches: Mutex::default(),
            keeps: AtomicBool::new(true),
            sightings: Mutex::default(),
            places: Mutex::default(),
            stalls: AtomicBool::new(false),
        }
    }
}

impl Told {
    pub(crate) fn count(&self, of: &AtomicUsize) -> usize {
        of.load(Ordering::SeqCst)
    }

    pub(crate) fn revoke(&self, jti: &str) {
        self.revoked.add(&ended(jti));
    }

    pub(crate) fn disable(&self, party: Party, is_disabled: bool) {
        self.disabled.lock().unwrap().set(party, is_disabled);
    }

    pub(crate) fn refusals(&self) -> Vec<Refused> {
        self.refusals.lock().unwrap().clone()
    }
}

pub(crate) fn ended(jti: &str) -> Revocation {
    Revocation::new(MarkKind::Jti, Key::of(jti), now(), Duration::from_secs(600))
}

impl Broker for Beside {
    fn keys(&self) -> Option<Arc<KeySet>> {
        self.0.keys.lock().unwrap().clone()
    }

    fn view(&self) -> (Arc<View>, Duration) {
        let disabled = self.0.disabled.lock().unwrap().clone();
        let view = View::default().beside(Arc::clone(&self.0.revoked)).with_disabled(Arc::new(disabled));
        (Arc::new(view), *self.0.age.lock().unwrap())
    }

    async fn look_for_keys(&self) {
        self.0.looks.fetch_add(1, Ordering::SeqCst);
        let fresh = self.0.fresh.lock().unwrap().clone();
        if fresh.is_some() {
            *self.0.keys.lock().unwrap() = fresh;
        }
    }

    async fn consume(&self, _: &str, _: &Asked<'_>) -> Consumed {
        self.0.uses.fetch_add(1, Ordering::SeqCst);
        match *self.0.used.lock().unwrap() {
            Use::Used => Consumed::refused(Reason::TokenUsed, Some("of-the-use".to_owned())),
            Use::Refused(reason) => Consumed::refused(reason, Some("of-the-use".to_owned())),
            answer => answer.into(),
        }
    }

    async fn introspect(&self, _: &str) -> Introspected {
        self.0.questions.fetch_add(1, Ordering::SeqCst);
        // Others come meanwhile.
        tokio::task::yield_now().await;
        if self.0.stalls.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.0.said.lock().unwrap().clone()
    }

    async fn recheck(&self, _: &str, asked: &Asked<'_>, required: &Authority) -> Rechecked {
        self.0.rechecks.fetch_add(1, Ordering::SeqCst);
        *self.0.rechecked.lock().unwrap() = required.details.iter().map(ToString::to_string).collect();
        self.0.observed.fetch_add(usize::from(asked.observed), Ordering::SeqCst);
        if self.0.ponders.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if let Some(revoked) = self.0.revoked_meanwhile.lock().unwrap().take() {
            self.0.revoked.add(&revoked);
        }
        self.0.policy.lock().unwrap().clone()
    }

    fn refused(&self, refused: Refused) {
        self.0.refusals.lock().unwrap().push(refused);
    }

    async fn used(&self, used: &Used) -> bool {
        self.0.batches.lock().unwrap().push(used.clone());
        self.0.keeps.load(Ordering::SeqCst)
    }

    async fn first_seen(&self, seen: &[FirstSeen]) -> bool {
        self.0.places.lock().unwrap().extend_from_slice(seen);
        self.0.keeps.load(Ordering::SeqCst)
    }

    fn seen_twice(&self, sighting: SeenTwice) {
        self.0.sightings.lock().unwrap().push(sighting);
    }

    async fn flush(&self) {
        if self.0.stalls.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

/// What a guard holds, and a test too.
#[derive(Clone)]
pub(crate) struct Beside(pub(crate) Arc<Told>);

impl std::fmt::Debug for Beside {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Beside")
    }
}

pub(crate) fn broker() -> Beside {
    Beside(Arc::default())
}

/// A live guard with these settings, at the moment of most claims.
pub(crate) fn live(guard: narrows_guard::Settings, recheck: Recheck, modes: Modes, broker: &Beside) -> Live<Beside> {
    let settings = live::Settings {
        guard,
        recheck,
        modes,
        clock: Clock::showing(now),
    };
    Live::new(settings, broker.clone()).unwrap()
}

/// What becomes of `GET /r/7` with `token`.
pub(crate) async fn shown(live: &Live<Beside>, token: &str) -> &'static str {
    word(&live.decide(&call(), &bearer(token), caller()).await)
}

pub(crate) fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Public => "public",
        Decision::Allowed(_) => "allowed",
        Decision::Refused(denied) => denied.refusal.reason.as_str(),
    }
}

/// The opaque token number `at`.
pub(crate) fn opaque(at: u32) -> String {
    let mut bits = [7; 32];
    bits[..4].copy_from_slice(&at.to_be_bytes());
    OpaqueForm::make(OpaqueKind::Access, &bits).expose().to_owned()
}

/// The broker's answer about an opaque token that says `claims`.
pub(crate) fn active(claims: &Value) -> Introspected {
    let mut said = claims.clone();
    said.as_object_mut()
        .unwrap()
        .extend(json!({ "active": true, "token_type": "Bearer" }).as_object().unwrap().clone());
    Introspected::Active(said.to_string())
}

/// Policy refuses.
pub(crate) fn denies() -> Rechecked {
    Rechecked::Refused {
        reason: Reason::PolicyDenied,
        decision_id: "of-the-broker".to_owned(),
    }
}
