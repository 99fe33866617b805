//! Signing keys: in the store, encrypted with the key file, rotated without a gap.

mod key;
mod schedule;
mod stored;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use delegation::time::Timestamp;
use delegation::token::Algorithm;
use issuance::mint::{KeyName, Signer, SignerUnavailable};
use serde_json::{Value, json};

use crate::sealing::{KeyFileError, Sealing};
use crate::store::{Store, StoreUnavailable};
use key::SigningKey;
pub use schedule::Schedule;
use schedule::Step;
use stored::{Change, NewKey};
pub use stored::{KeyInfo, KeyState, list};

/// How many steps are taken at a time.
const STEPS: usize = 8;

/// Why signing keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
    /// None of the key files opens a key of the store.
    #[error("key_file: none of the files decrypts signing key `{0}`; name the file that the store was made with")]
    WrongKeyFile(String),
    /// The machine could not make a key.
    #[error("a signing key could not be made")]
    Generation,
    /// No such key, or more than one.
    #[error("no single key `{0}`; see `narrows key list`")]
    NoSuchKey(String),
    /// The key that signs cannot be retired.
    #[error("key `{0}` signs at present; run `narrows key rotate` first")]
    StillActive(String),
    /// There is nothing to sign with.
    #[error("the store holds no signing key; `narrows serve` makes the first one")]
    Empty,
}

/// The signing keys of a broker.
#[derive(Debug)]
pub struct KeyRing {
    store: Store,
    sealing: Sealing,
    loaded: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    infos: Vec<KeyInfo>,
    active: Arc<SigningKey>,
    /// Signed until the last change: a token that was being minted is signed by the key that it names.
    before: Option<Arc<SigningKey>>,
    jwks: Value,
    /// Keys that another file than the first encrypts, as they lie in the store.
    reseal: Vec<(String, Vec<u8>)>,
}

impl KeyRing {
    /// Loads the keys; on an empty store, and there alone, makes the first one.
    ///
    /// Every key that signs or will sign must open with one of the files.
    pub async fn open(store: &Store, key_files: &[PathBuf], algorithm: Algorithm, now: Timestamp) -> Result<Self, KeyRingError> {
        let sealing = Sealing::load(key_files)?;
        if list(store).await?.is_empty() {
            let first = NewKey::make(&sealing, algorithm)?;
            stored::change(store, now, |keys| match keys {
                [] => vec![Change::Add(first, KeyState::Active)],
                // Another node was faster.
                _ => Vec::new(),
            })
            .await?;
        }
        let loaded = load(store, &sealing, None).await?;
        for key in &loaded.infos {
            if key.state == KeyState::Published {
                opened(store, &sealing, &key.kid).await?;
            }
        }
        Ok(Self {
            store: store.clone(),
            sealing,
            loaded: ArcSwap::from_pointee(loaded),
        })
    }

    /// The public keys of all that may still verify, as a JSON Web Key Set.
    pub fn jwks(&self) -> Value {
        self.loaded.load().jwks.clone()
    }

    /// Follows what other processes did to the keys, and does what is due: publishes, lets sign, takes away, encrypts anew.
    pub async fn tend(&self, schedule: &Schedule, now: Timestamp) -> Result<(), KeyRingError> {
        self.follow().await?;
        // Each step is a commit of its own, and the next one sees it. No more than a few at a time: requests wait for none.
        for _ in 0..STEPS {
            let Some(step) = self.due(schedule, now) else { break };
            self.step(schedule, step, now).await?;
            self.follow().await?;
        }
        self.reseal(now).await
    }

    /// Makes sure that the key that signs will be kept for as long as tokens of `schedule` live, before any is issued.
    pub async fn promise(&self, schedule: &Schedule, now: Timestamp) -> Result<(), KeyRingError> {
        if let Some(step @ Step::Promise(_)) = self.due(schedule, now) {
            self.step(schedule, step, now).await?;
            self.follow().await?;
        }
        Ok(())
    }

    fn due(&self, schedule: &Schedule, now: Timestamp) -> Option<Step> {
        schedule.due(&self.loaded.load().infos, now)
    }

    async fn step(&self, schedule: &Schedule, step: Step, now: Timestamp) -> Result<(), KeyRingError> {
        let new = match &step {
            Step::Publish => Some(NewKey::make(&self.sealing, schedule.algorithm)?),
            // A key that could not sign here must not become the one that does.
            Step::Activate(kid) => opened(&self.store, &self.sealing, kid).await.map(|_| None)?,
            Step::Retire(_) | Step::Promise(_) => None,
        };
        let life = schedule.life();
        let plan = |keys: &[KeyInfo]| {
            // Asked again while nobody else changes keys: another node may have done it.
            if schedule.due(keys, now).as_ref() != Some(&step) {
                return Vec::new();
            }
            match (step, new) {
                (Step::Publish, Some(new)) => vec![Change::Add(new, KeyState::Published)],
                (Step::Activate(kid), _) => vec![Change::Activate(kid, life)],
                (Step::Retire(kid), _) => vec![Change::Retire(kid)],
                (Step::Promise(kid), _) => vec![Change::Promise(kid, life)],
                (Step::Publish, None) => Vec::new(),
            }
        };
        stored::change(&self.store, now, plan).await?;
        Ok(())
    }

    async fn follow(&self) -> Result<(), KeyRingError> {
        let infos = list(&self.store).await?;
        let loaded = self.loaded.load_full();
        if infos != loaded.infos {
            let next = load(&self.store, &self.sealing, Some(&loaded)).await?;
            self.loaded.store(Arc::new(next));
        }
        Ok(())
    }

    /// Encrypts with the first key file what another of them encrypts, one key a commit.
    ///
    /// Killed between two, both files are still needed and each key opens with one of them; the next start goes on.
    async fn reseal(&self, now: Timestamp) -> Result<(), KeyRingError> {
        let loaded = self.loaded.load_full();
        if loaded.reseal.is_empty() {
            return Ok(());
        }
        for (kid, from) in &loaded.reseal {
            let secret = self.sealing.open(kid, from).ok_or_else(|| KeyRingError::WrongKeyFile(kid.clone()))?;
            let change = Change::Reseal {
                kid: kid.clone(),
                from: from.clone(),
                to: self.sealing.seal(kid, &secret).ok_or(KeyRingError::Generation)?,
            };
            stored::change(&self.store, now, |_| vec![change]).await?;
        }
        let next = load(&self.store, &self.sealing, Some(&loaded)).await?;
        if next.reseal.is_empty() {
            tracing::info!("key_file: the first file encrypts every secret of the store; the others can be taken out of the list");
        }
        self.loaded.store(Arc::new(next));
        Ok(())
    }
}

impl Signer for KeyRing {
    fn current(&self) -> KeyName {
        self.loaded.load().active.name().clone()
    }

    async fn sign(&self, key: &KeyName, message: &[u8]) -> Result<Vec<u8>, SignerUnavailable> {
        let loaded = self.loaded.load_full();
        let named = [Some(&loaded.active), loaded.before.as_ref()].into_iter().flatten().find(|each| each.name() == key);
        named.and_then(|key| key.sign(message)).ok_or(SignerUnavailable)
    }
}

/// Publishes a new key, which signs when it has been published for long enough; if one is on its way already, that one.
pub async fn rotate(store: &Store, key_files: &[PathBuf], algorithm: Algorithm, now: Timestamp) -> Result<String, KeyRingError> {
    let sealing = Sealing::load(key_files)?;
    load(store, &sealing, None).await?;
    let new = NewKey::make(&sealing, algorithm)?;
    let mut kid = new.kid().to_owned();
    stored::change(store, now, |keys| {
        if let Some(waiting) = keys.iter().find(|key| key.state == KeyState::Published) {
            waiting.kid.clone_into(&mut kid);
            return Vec::new();
        }
        vec![Change::Add(new, KeyState::Published)]
    })
    .await?;
    Ok(kid)
}

/// Lets the published key `kid` sign now, however long it has been published: for a key that is known to others.
pub async fn activate(store: &Store, kid: &str, schedule: &Schedule, now: Timestamp) -> Result<(), KeyRingError> {
    let life = schedule.life();
    stored::change(store, now, |keys| {
        let waits = keys.iter().any(|key| key.kid == kid && key.state == KeyState::Published);
        if waits {
            vec![Change::Activate(kid.to_owned(), life)]
        } else {
            Vec::new()
        }
    })
    .await?;
    Ok(())
}

/// The key that `prefix` names, if it is exactly one and does not sign.
pub async fn retirable(store: &Store, prefix: &str) -> Result<String, KeyRingError> {
    named(&list(store).await?, prefix)
}

/// Takes a key out of use for good: what it signed verifies no more. `prefix` must name exactly one that does not sign.
pub async fn retire(store: &Store, prefix: &str, now: Timestamp) -> Result<String, KeyRingError> {
    let mut found = Err(KeyRingError::Empty);
    stored::change(store, now, |keys| {
        found = named(keys, prefix);
        found.iter().map(|kid| Change::Retire(kid.clone())).collect()
    })
    .await?;
    found
}

fn named(keys: &[KeyInfo], prefix: &str) -> Result<String, KeyRingError> {
    let mut named = keys
        .iter()
        .filter(|key| key.kid.starts_with(prefix) || key.kid.starts_with(&format!("nrw-{prefix}")));
    match (named.next(), named.next()) {
        (Some(key), None) if key.state == KeyState::Active => Err(KeyRingError::StillActive(key.kid.clone())),
        (Some(key), None) => Ok(key.kid.clone()),
        _ => Err(KeyRingError::NoSuchKey(prefix.to_owned())),
    }
}

/// The private half of `kid`, ready to sign.
async fn opened(store: &Store, sealing: &Sealing, kid: &str) -> Result<SigningKey, KeyRingError> {
    let infos = list(store).await?;
    let info = infos.iter().find(|key| key.kid == kid).ok_or(KeyRingError::Empty)?;
    let algorithm = Algorithm::parse(&info.algorithm).ok_or(KeyRingError::Generation)?;
    let found = stored::sealed(store, &[kid]).await?;
    let secret = found.first().and_then(|(_, sealed)| sealing.open(kid, sealed));
    let pkcs8 = secret.ok_or_else(|| KeyRingError::WrongKeyFile(kid.to_owned()))?;
    SigningKey::from_pkcs8(kid.to_owned(), algorithm, &pkcs8).ok_or(KeyRingError::Generation)
}

async fn load(store: &Store, sealing: &Sealing, last: Option<&Loaded>) -> Result<Loaded, KeyRingError> {
    let infos = list(store).await?;
    let active = infos.iter().find(|key| key.state == KeyState::Active).ok_or(KeyRingError::Empty)?;
    let (active, before) = match last {
        Some(last) if last.active.name().kid == active.kid => (Arc::clone(&last.active), last.before.clone()),
        _ => (
            Arc::new(opened(store, sealing, &active.kid).await?),
            last.map(|last| Arc::clone(&last.active)),
        ),
    };
    let held: Vec<_> = infos.iter().filter(|key| key.state != KeyState::Retired).collect();
    let jwks = json!({ "keys": held.iter().map(|key| key.public_jwk.clone()).collect::<Vec<_>>() });
    let kids: Vec<_> = held.iter().map(|key| key.kid.as_str()).collect();
    let mut reseal = stored::sealed(store, &kids).await?;
    // What opens with none of the files only verifies any more, and is left as it is.
    reseal.retain(|(kid, sealed)| !sealing.is_first(kid, sealed) && sealing.open(kid, sealed).is_some());
    Ok(Loaded {
        active,
        before,
        jwks,
        infos,
        reseal,
    })
}
