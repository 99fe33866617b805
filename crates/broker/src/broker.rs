//! The broker: what is in force, and what it runs on.

mod following;
mod recording;
mod settings;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use delegation::oauth::ClientId;
use delegation::registry::{Moment, Snapshot};
use delegation::revocation::View;
use delegation::time::Timestamp;
use delegation::token::{Algorithm, KeySet, KeySetError};
use fetch::{Fetcher, IssuerEntry, IssuerKeys};
use issuance::audit::CommitError;

use crate::api::Streams;
use crate::clock::Clock;
use crate::connections::Connections;
use crate::journal::StoreJournal;
use crate::keys::VerificationKeys;
use crate::limits::Limits;
use crate::observing::Observing;
use crate::overload::Gate;
use crate::questions::Questions;
use crate::refusals::Refusals;
use crate::remembered::Remembered;
use crate::reuse::Reuse;
use crate::routed::Routed;
use crate::signer::{KeyRing, KeyRingError, Schedule};
use crate::store::{OperatorsByToken, Store, StoreError};
use crate::telemetry::{Meter, Telemetry};
pub use settings::{InForce, Settings};

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// Our own public keys did not make a set.
    #[error("the signing keys of the store cannot be published: {0}")]
    OwnKeys(#[from] KeySetError),
    /// The start could not be put on record.
    #[error("the log cannot be written: {0}")]
    Log(#[from] CommitError),
}

/// A broker that is ready to answer.
#[derive(Debug)]
pub struct Broker {
    clock: Clock,
    settings: ArcSwap<Settings>,
    in_force: ArcSwap<InForce>,
    refused_change: ArcSwap<Option<String>>,
    /// The view, and when it was read: by the clock that nobody sets, so that a step back does not make an old one fresh.
    view: ArcSwap<(Arc<View>, Instant)>,
    keys: VerificationKeys,
    fetcher: Arc<Fetcher>,
    store: Store,
    journal: StoreJournal,
    signer: KeyRing,
    connections: Connections,
    remembered: Remembered,
    reuse: Reuse,
    limits: Limits,
    gate: Gate,
    gate_of_observed: Gate,
    questions: Questions,
    refusals: Refusals,
    /// The same of what boundaries only observe: neither takes the other's room.
    observed: Refusals,
    observing: ArcSwap<Vec<Observing>>,
    acting: ArcSwap<BTreeSet<ClientId>>,
    routes: ArcSwap<Routed>,
    telemetry: Telemetry,
    /// Who may look and decide, as of the last tending.
    operators: ArcSwap<OperatorsByToken>,
    streams: Streams,
    /// Held while standing, or who the operators are, is read and put in force, so that an older reading never follows a newer one.
    standing: tokio::sync::Mutex<()>,
}

impl Broker {
    /// Opens the store, loads or makes the signing keys, and puts `in_force` in force; a record says so.
    pub async fn start(
        settings: Settings,
        in_force: InForce,
        issuers: Vec<IssuerEntry>,
        fetcher: Fetcher,
    ) -> Result<Arc<Self>, StartError> {
        Self::start_at(Clock::System, settings, in_force, issuers, fetcher).await
    }

    /// The same, by another clock than the machine's.
    pub async fn start_at(
        clock: Clock,
        settings: Settings,
        in_force: InForce,
        issuers: Vec<IssuerEntry>,
        fetcher: Fetcher,
    ) -> Result<Arc<Self>, StartError> {
        let fetcher = Arc::new(fetcher);
        let store = Store::open(&settings.store).await?;
        let journal = StoreJournal::start(&store);
        let now = clock.now();
        let signer = KeyRing::open(&store, &settings.key_files, settings.algorithm, now).await?;
        let connections = Connections::open(&store, &settings.key_files).map_err(KeyRingError::from)?;
        let ours = own_keys(&in_force.snapshot.issuer, &signer)?;
        let view = store.standing().await.map_err(StoreError::from)?;
        let disabled = view.keys_of_disabled(|name| in_force.snapshot.issuer_of_subjects(name));
        let view = view.with_disabled(Arc::new(disabled));
        let operators = store.operators_by_token().await.map_err(StoreError::from)?;
        let broker = Arc::new(Self {
            clock,
            keys: VerificationKeys::new(IssuerKeys::new(Arc::clone(&fetcher), issuers), Some(ours)),
            in_force: ArcSwap::from_pointee(in_force),
            refused_change: ArcSwap::from_pointee(None),
            view: ArcSwap::from_pointee((Arc::new(view), Instant::now())),
            remembered: Remembered::default(),
            reuse: Reuse::default(),
            limits: Limits::default(),
            gate: Gate::default(),
            gate_of_observed: Gate::of_observed(),
            questions: Questions::default(),
            refusals: Refusals::default(),
            observed: Refusals::default(),
            observing: ArcSwap::default(),
            acting: ArcSwap::default(),
            routes: ArcSwap::default(),
            telemetry: Telemetry::new(),
            operators: ArcSwap::from_pointee(operators),
            streams: Streams::default(),
            standing: tokio::sync::Mutex::default(),
            settings: ArcSwap::from_pointee(settings),
            fetcher,
            store,
            journal,
            signer,
            connections,
        });
        let schedule = Self::schedule(&broker.settings(), &broker.in_force().snapshot);
        broker.signer.promise(&schedule, now).await?;
        broker.record_change("in_force").await?;
        Ok(broker)
    }

    /// The rhythm of the signing keys, while `snapshot` is in force.
    fn schedule(settings: &Settings, snapshot: &Snapshot) -> Schedule {
        Schedule {
            algorithm: settings.algorithm,
            rotate_every: settings.rotate_every,
            publish_before: settings.publish_before,
            longest_life: snapshot.lifetimes.max,
        }
    }

    /// Puts another configuration and other policies in force, for the next request on; a record says so.
    pub async fn swap(&self, settings: Settings, in_force: InForce, issuers: Vec<IssuerEntry>) -> Result<(), StartError> {
        self.swap_with(settings, in_force, issuers, || ()).await
    }

    /// The same, with what belongs to it elsewhere in the process: `beside` is done in the same moment, so that whoever is told the
    /// new version meets nothing of the old one.
    pub async fn swap_with(
        &self,
        settings: Settings,
        in_force: InForce,
        issuers: Vec<IssuerEntry>,
        beside: impl FnOnce(),
    ) -> Result<(), StartError> {
        self.signer.promise(&Self::schedule(&settings, &in_force.snapshot), self.now()).await?;
        let ours = own_keys(&in_force.snapshot.issuer, &self.signer)?;
        let reading = self.standing.lock().await;
        self.keys.swap_outside(self.keys.outside().with_entries(issuers));
        self.keys.swap_ours(Some(ours));
        self.settings.store(Arc::new(settings));
        beside();
        self.in_force.store(Arc::new(in_force));
        let (view, read_at) = &*self.view.load_full();
        self.put_standing(View::clone(view), *read_at);
        drop(reading);
        self.refused_change.store(Arc::new(None));
        self.telemetry.change_refused(false);
        self.record_change("in_force").await?;
        Ok(())
    }

    /// Notes that a change was refused and the old state stays; `why` is for operators.
    pub fn refuse_change(&self, why: String) {
        self.telemetry.change_refused(true);
        self.refused_change.store(Arc::new(Some(why)));
    }

    /// What counts the connections of its listeners among its metrics.
    pub fn meter(&self) -> Meter {
        self.telemetry.connections().clone()
    }

    /// Ends the replies that would go on for ever, for good: before its listeners can be drained.
    pub fn end_streams(&self) {
        self.streams.end();
    }

    /// Writes what is still counted, then closes the journal.
    pub async fn close(&self) {
        self.flush_refusals(None).await;
        self.journal.close().await;
    }

    /// Says what of the boundaries of this process only observes.
    pub fn set_observing(&self, parts: Vec<Observing>) {
        self.observing.store(Arc::new(parts));
    }

    /// Says which clients the boundaries and the guards of this process act as.
    pub fn set_acting(&self, clients: BTreeSet<ClientId>) {
        self.acting.store(Arc::new(clients));
    }

    /// Those of them that nothing is decided for: they are disabled, or over.
    pub(crate) fn refused_acting(&self) -> Vec<ClientId> {
        self.acting.load().iter().filter(|client| !self.takes(client)).cloned().collect()
    }

    /// Says which routes the boundaries and the guards of the configuration have.
    pub fn set_routes(&self, routes: Routed) {
        self.routes.store(Arc::new(routes));
    }

    /// Their routes.
    pub(crate) fn routes(&self) -> Arc<Routed> {
        self.routes.load_full()
    }

    /// What of them observes now.
    pub(crate) fn observing(&self) -> Vec<Observing> {
        let now = self.now();
        self.observing.load().iter().filter(|part| now < part.until).cloned().collect()
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    pub(crate) fn moment(&self, in_force: &InForce) -> Moment {
        Moment {
            now: self.now(),
            snapshot: Arc::clone(&in_force.snapshot),
            revocations: self.view(),
        }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.load().0)
    }

    /// How old the view of standing is.
    pub(crate) fn view_age(&self) -> Duration {
        self.view.load().1.elapsed()
    }

    pub(crate) fn refused_change(&self) -> Option<String> {
        self.refused_change.load().as_ref().clone()
    }

    pub(crate) fn keys(&self) -> &VerificationKeys {
        &self.keys
    }

    pub(crate) fn operators(&self) -> Arc<OperatorsByToken> {
        self.operators.load_full()
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(crate) fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    pub(crate) fn reuse(&self) -> &Reuse {
        &self.reuse
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn gate_of_observed(&self) -> &Gate {
        &self.gate_of_observed
    }

    pub(crate) fn questions(&self) -> &Questions {
        &self.questions
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn journal(&self) -> &StoreJournal {
        &self.journal
    }

    pub(crate) fn signer(&self) -> &KeyRing {
        &self.signer
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.settings.load().body_limit
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The one outbound client.
    pub fn fetcher(&self) -> &Arc<Fetcher> {
        &self.fetcher
    }
}

fn own_keys(issuer: &str, signer: &KeyRing) -> Result<KeySet, KeySetError> {
    let algorithms = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];
    KeySet::parse(issuer, signer.jwks().to_string().as_bytes(), &algorithms)
}
