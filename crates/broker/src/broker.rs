//! The broker: what is in force, and what it runs on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use delegation::oauth::Reason;
use delegation::registry::{Moment, Snapshot};
use delegation::revocation::View;
use delegation::time::Timestamp;
use delegation::token::{Algorithm, KeySet, KeySetError};
use fetch::{Fetcher, Introspection, IssuerEntry, IssuerKeys};
use issuance::audit::{CommitError, Decision, Entry, Journal, Kind, Record, Use, commit_denial};
use policy_cedar::CedarPolicy;

use crate::api::Streams;
use crate::asking::Asking;
use crate::clock::Clock;
use crate::connections::{ByName, Connections};
use crate::denied::give_up_last;
use crate::guarded::Guarded;
use crate::ids;
use crate::journal::StoreJournal;
use crate::keys::VerificationKeys;
use crate::limits::{Limits, Rates};
use crate::observing::Observing;
use crate::overload::Gate;
use crate::questions::Questions;
use crate::refusals::Refusals;
use crate::remembered::Remembered;
use crate::reuse::Reuse;
use crate::routed::Routed;
use crate::signer::{KeyRing, KeyRingError, Schedule};
use crate::store::{OperatorsByToken, Store, StoreAddress, StoreError, StoreUnavailable};
use crate::telemetry::{Meter, Telemetry};

/// What a running broker needs beside parties and policies.
///
/// Of these the store, the key files and the number of connections do not change while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the store is.
    pub store: StoreAddress,
    /// The key files: the first encrypts, all decrypt.
    pub key_files: Vec<PathBuf>,
    /// The algorithm of issued tokens.
    pub algorithm: Algorithm,
    /// When a signing key is followed by a new one.
    pub rotate_every: Duration,
    /// How long a key is published before it signs.
    pub publish_before: Duration,
    /// The largest form, in bytes.
    pub body_limit: usize,
    /// A view of standing that is older refuses every request.
    pub max_view_age: Duration,
    /// The most connections at a time.
    pub connections: usize,
}

/// What a change of configuration or policy replaces, whole.
#[derive(Debug)]
pub struct InForce {
    /// Parties, types and lifetimes.
    pub snapshot: Arc<Snapshot>,
    /// The policies.
    pub policy: CedarPolicy,
    /// How many requests in a second.
    pub rates: Rates,
    /// The one issuer whose opaque tokens are taken.
    pub introspection: Option<Introspection>,
    /// The boundaries, by name, with who asks for them and for what.
    pub boundaries: BTreeMap<String, Asking>,
    /// The services that are guarded, by name, with who asks for them.
    pub guards: BTreeMap<String, Guarded>,
    /// The upstream credentials that routes may ask for.
    pub connections: ByName,
}

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

    /// Follows what other processes did to the store, and what time did to the keys. Called each second.
    pub async fn tend(&self) {
        // 1. Keys; published ones verify before any of them signs.
        let schedule = Self::schedule(&self.settings(), &self.in_force.load().snapshot);
        // Credentials first: when the keys are encrypted with the first file, all is.
        let resealed = self.connections.reseal(self.now()).await;
        if let Err(error) = &resealed {
            tracing::error!(%error, "upstream credentials could not be encrypted anew");
        }
        let tended = self.signer.tend(&schedule, self.now()).await;
        if let Err(error) = &tended {
            tracing::error!(%error, "signing keys could not be tended");
        }
        match own_keys(&self.in_force.load().snapshot.issuer, &self.signer) {
            Ok(ours) => self.keys.swap_ours(Some(ours)),
            Err(error) => tracing::error!(%error, "our own keys could not be read"),
        }
        // 2. Standing. A node that does not follow the keys must not go on for long either, so that view gets old too.
        let reading = self.standing.lock().await;
        match self.store.standing().await {
            Ok(view) if tended.is_ok() => self.put_standing(view, Instant::now()),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "standing could not be read; keeping the last view"),
        }
        match self.store.operators_by_token().await {
            Ok(operators) => self.operators.store(Arc::new(operators)),
            Err(error) => tracing::error!(%error, "operators could not be read; keeping those that were known"),
        }
        drop(reading);
        // 3. What ended too long ago to matter: a part each second, all of it in about a minute.
        self.store.revoked().forget(self.now());
        self.flush_refusals().await;
    }

    /// Takes note of standing that was changed here, before that is acknowledged. The age of the view stays: the keys were not
    /// looked at.
    pub(crate) async fn read_standing(&self) -> Result<(), StoreUnavailable> {
        let _reading = self.standing.lock().await;
        let view = self.store.standing().await?;
        let read_at = self.view.load().1;
        self.put_standing(view, read_at);
        Ok(())
    }

    /// Puts what was read of standing in force, with the key that everybody has by the configuration of now. Whoever tells others of it is
    /// woken when it changed.
    fn put_standing(&self, view: View, read_at: Instant) {
        let snapshot = Arc::clone(&self.in_force.load().snapshot);
        let before = self.view();
        let disabled = view.keys_of_disabled(|name| snapshot.issuer_of_subjects(name));
        let is_same = disabled == **before.disabled();
        let disabled = if is_same {
            Arc::clone(before.disabled())
        } else {
            Arc::new(disabled)
        };
        self.view.store(Arc::new((Arc::new(view.with_disabled(disabled)), read_at)));
        if !is_same {
            self.streams.tell_standing();
        }
    }

    /// Takes note of an operator who was removed here, before that is acknowledged.
    pub(crate) async fn read_operators(&self) -> Result<(), StoreUnavailable> {
        let _reading = self.standing.lock().await;
        self.operators.store(Arc::new(self.store.operators_by_token().await?));
        Ok(())
    }

    /// Follows what other processes revoked. Called several times a second.
    pub async fn follow(&self) {
        match self.store.follow_revocations().await {
            Ok(()) => {}
            Err(error) => tracing::error!(%error, "revocations could not be read"),
        }
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
        self.flush_refusals().await;
        self.journal.close().await;
    }

    async fn record_change(&self, reason: &str) -> Result<u64, CommitError> {
        let in_force = self.in_force.load();
        let mut record = Record::new(ids::decision(), self.now(), Kind::Config);
        record.decision = Decision::Done;
        record.reason = reason.to_owned();
        record.config_version.clone_from(&in_force.snapshot.config_version);
        record.policy_version = issuance::policy::Policy::version(&in_force.policy).to_owned();
        self.journal.commit(Entry::of(record)).await
    }

    /// Makes a refusal durable and gives the reason and id to answer with.
    ///
    /// `uses` is `None` for a stranger: those are counted together, the first of a second at once.
    pub(crate) async fn record_denial(&self, reason: Reason, record: Record, uses: Option<Vec<Use>>) -> (Reason, String) {
        let id = record.id.clone();
        let Some(uses) = uses else {
            return match self.record_stranger(record.denied(reason)).await {
                Ok(id) => (reason, id),
                Err(_) => (Reason::StoreUnavailable, id),
            };
        };
        let (mut reason, mut uses) = (reason, uses);
        loop {
            match commit_denial(&self.journal, reason, record.clone(), uses.clone()).await {
                Ok(_) => return (reason, id),
                // Something was shown before: that is the reason, and the record of it does not use it up.
                Err(CommitError::AlreadyUsed) if !uses.is_empty() => reason = give_up_last(&mut uses),
                Err(_) => return (Reason::StoreUnavailable, id),
            }
        }
    }

    /// Counts the refusal of a stranger, or of nobody in particular; gives the id of the record that it is in.
    pub(crate) async fn record_stranger(&self, record: Record) -> Result<String, CommitError> {
        let refusals = if record.effect.is_some() { &self.observed } else { &self.refusals };
        let (id, first) = refusals.count(record);
        if let Some(first) = first {
            self.journal.commit(Entry::of(first)).await?;
        }
        Ok(id)
    }

    async fn flush_refusals(&self) {
        for refusals in [&self.refusals, &self.observed] {
            let mut records = refusals.take().into_iter();
            while let Some(record) = records.next() {
                if self.journal.commit(Entry::of(record.clone())).await.is_err() {
                    tracing::error!("refusals of strangers could not be put on record; they are kept until they can");
                    refusals.put_back(std::iter::once(record).chain(records));
                    return;
                }
            }
        }
    }

    /// Says what of the boundaries of this process only observes.
    pub fn set_observing(&self, parts: Vec<Observing>) {
        self.observing.store(Arc::new(parts));
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
