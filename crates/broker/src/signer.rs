//! Signing keys: in the store, encrypted with the key file, rotated without a gap.

mod key;
mod sealing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use delegation::time::Timestamp;
use delegation::token::Algorithm;
use issuance::audit::{Decision, Kind, Record};
use issuance::mint::{KeyName, Signer, SignerUnavailable};
use serde_json::{Value, json};

use crate::ids;
use crate::journal::append;
use crate::store::{Purpose, Row, Store, StoreUnavailable, sql};
use key::SigningKey;
pub use sealing::KeyFileError;
use sealing::Sealing;

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and not signing yet: verifiers are given time to find it.
    Published,
    /// It signs.
    Active,
    /// It signed; what it signed still verifies.
    Previous,
    /// Nothing verifies with it any more.
    Retired,
}

impl KeyState {
    const ALL: [Self; 4] = [Self::Published, Self::Active, Self::Previous, Self::Retired];

    /// The word in the store and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Previous => "previous",
            Self::Retired => "retired",
        }
    }
}

/// One key as people see it.
#[derive(Clone, Debug)]
pub struct KeyInfo {
    /// Its `kid`.
    pub kid: String,
    /// Its `alg`.
    pub algorithm: String,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its state changed last.
    pub changed_at: Timestamp,
    public_jwk: Value,
}

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
    algorithm: Algorithm,
    loaded: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    infos: Vec<KeyInfo>,
    active: Arc<SigningKey>,
    jwks: Value,
}

impl KeyRing {
    /// Loads the keys; on an empty store, and there alone, makes the first one.
    pub async fn open(store: &Store, key_files: &[PathBuf], algorithm: Algorithm, now: Timestamp) -> Result<Self, KeyRingError> {
        let sealing = Sealing::load(key_files)?;
        if list(store).await?.is_empty() {
            insert(store, &sealing, algorithm, KeyState::Active, now).await?;
        }
        let loaded = load(store, &sealing).await?;
        Ok(Self {
            store: store.clone(),
            sealing,
            algorithm,
            loaded: ArcSwap::from_pointee(loaded),
        })
    }

    /// The public keys of all that may still verify, as a JSON Web Key Set.
    pub fn jwks(&self) -> Value {
        self.loaded.load().jwks.clone()
    }

    /// Follows what other processes did to the keys. A change of `tokens.algorithm` shows at the next rotation.
    pub async fn tend(&self, _now: Timestamp) -> Result<(), KeyRingError> {
        let infos = list(&self.store).await?;
        let same = {
            let loaded = self.loaded.load();
            infos.len() == loaded.infos.len()
                && infos.iter().zip(&loaded.infos).all(|(one, other)| one.kid == other.kid && one.state == other.state)
        };
        if !same {
            self.loaded.store(Arc::new(load(&self.store, &self.sealing).await?));
        }
        Ok(())
    }

    /// Rotates by time: publishes the next key `publish_before` it is due, and lets it sign when it is.
    pub async fn rotate_when_due(&self, every: Duration, publish_before: Duration, now: Timestamp) -> Result<(), KeyRingError> {
        let infos = list(&self.store).await?;
        let active = infos.iter().find(|key| key.state == KeyState::Active);
        let published = infos.iter().find(|key| key.state == KeyState::Published);
        match (active, published) {
            (_, Some(next)) if now.since(next.created_at) >= publish_before => activate(&self.store, &next.kid, now).await?,
            (Some(active), None) if now.since(active.changed_at) + publish_before >= every => {
                insert(&self.store, &self.sealing, self.algorithm, KeyState::Published, now).await?;
            }
            _ => return Ok(()),
        }
        self.tend(now).await
    }
}

impl Signer for KeyRing {
    fn current(&self) -> KeyName {
        self.loaded.load().active.name().clone()
    }

    async fn sign(&self, key: &KeyName, message: &[u8]) -> Result<Vec<u8>, SignerUnavailable> {
        let active = Arc::clone(&self.loaded.load().active);
        if active.name() == key {
            active.sign(message).ok_or(SignerUnavailable)
        } else {
            Err(SignerUnavailable)
        }
    }
}

/// Every key of the store, oldest first.
pub async fn list(store: &Store) -> Result<Vec<KeyInfo>, StoreUnavailable> {
    let rows = store
        .fetch(sql(
            "SELECT kid, algorithm, state, created_at, changed_at, public_jwk FROM signing_keys",
        ))
        .await?;
    let info = |row: &Row| {
        let state: String = row.get("state")?;
        let jwk: String = row.get("public_jwk")?;
        Ok::<_, sqlx::Error>(KeyInfo {
            kid: row.get("kid")?,
            algorithm: row.get("algorithm")?,
            state: KeyState::ALL.into_iter().find(|known| known.as_str() == state).unwrap_or(KeyState::Retired),
            created_at: Timestamp::from_millis(row.get("created_at")?),
            changed_at: Timestamp::from_millis(row.get("changed_at")?),
            public_jwk: serde_json::from_str(&jwk).unwrap_or_default(),
        })
    };
    let mut keys = rows.iter().map(info).collect::<Result<Vec<_>, _>>()?;
    // Here and not in the statement: the engines do not sort text alike.
    keys.sort_by(|one, other| (one.created_at, &one.kid).cmp(&(other.created_at, &other.kid)));
    Ok(keys)
}

/// Makes a new key that signs from now on; the old one verifies on. A running broker follows within a second.
pub async fn rotate(store: &Store, key_files: &[PathBuf], algorithm: Algorithm, now: Timestamp) -> Result<String, KeyRingError> {
    let sealing = Sealing::load(key_files)?;
    load(store, &sealing).await?;
    let kid = insert(store, &sealing, algorithm, KeyState::Published, now).await?;
    activate(store, &kid, now).await?;
    Ok(kid)
}

/// The key that `prefix` names, if it is exactly one and does not sign.
pub async fn retirable(store: &Store, prefix: &str) -> Result<String, KeyRingError> {
    let keys = list(store).await?;
    let mut named = keys
        .iter()
        .filter(|key| key.kid.starts_with(prefix) || key.kid.starts_with(&format!("nrw-{prefix}")));
    match (named.next(), named.next()) {
        (Some(key), None) if key.state == KeyState::Active => Err(KeyRingError::StillActive(key.kid.clone())),
        (Some(key), None) => Ok(key.kid.clone()),
        _ => Err(KeyRingError::NoSuchKey(prefix.to_owned())),
    }
}

/// Takes a key out of use for good: what it signed verifies no more. `prefix` must name exactly one that does not sign.
pub async fn retire(store: &Store, prefix: &str, now: Timestamp) -> Result<String, KeyRingError> {
    let kid = retirable(store, prefix).await?;
    change(store, &kid, &[(KeyState::Retired, &kid)], "key_retired", now).await?;
    Ok(kid)
}

async fn activate(store: &Store, kid: &str, now: Timestamp) -> Result<(), StoreUnavailable> {
    let active: Vec<_> = list(store)
        .await?
        .into_iter()
        .filter(|key| key.state == KeyState::Active)
        .map(|key| key.kid)
        .collect();
    let mut changes: Vec<_> = active.iter().map(|old| (KeyState::Previous, old.as_str())).collect();
    changes.push((KeyState::Active, kid));
    change(store, kid, &changes, "key_active", now).await
}

/// Changes states, with the record in the same commit.
async fn change(store: &Store, kid: &str, states: &[(KeyState, &str)], reason: &str, now: Timestamp) -> Result<(), StoreUnavailable> {
    let mut connection = store.connect().await?;
    let mut transaction = connection.begin(Purpose::Write).await?;
    for (state, kid) in states {
        let changed = sql("UPDATE signing_keys SET state = $1, changed_at = $2 WHERE kid = $3");
        transaction.execute(changed.bind(state.as_str()).bind(now.millis()).bind(*kid)).await?;
    }
    append(&mut transaction, &[&record(kid, reason, now)]).await?;
    Ok(transaction.commit().await?)
}

async fn insert(store: &Store, sealing: &Sealing, algorithm: Algorithm, state: KeyState, now: Timestamp) -> Result<String, KeyRingError> {
    let (kid, pkcs8, jwk) = key::generate(algorithm).ok_or(KeyRingError::Generation)?;
    let sealed = sealing.seal(&kid, &pkcs8).ok_or(KeyRingError::Generation)?;
    let stored = async {
        let mut connection = store.connect().await?;
        let mut transaction = connection.begin(Purpose::Write).await?;
        let made = sql("INSERT INTO signing_keys (kid, algorithm, state, created_at, changed_at, public_jwk, sealed)").row([
            (&kid).into(),
            algorithm.as_str().into(),
            state.as_str().into(),
            now.millis().into(),
            now.millis().into(),
            jwk.to_string().into(),
            sealed.into(),
        ]);
        transaction.execute(made).await?;
        append(&mut transaction, &[&record(&kid, "key_made", now)]).await?;
        Ok(transaction.commit().await?)
    };
    let stored: Result<(), StoreUnavailable> = stored.await;
    stored?;
    Ok(kid)
}

fn record(kid: &str, reason: &str, now: Timestamp) -> Record {
    let mut record = Record::new(ids::decision(), now, Kind::Key);
    record.decision = Decision::Done;
    record.reason = reason.to_owned();
    record.inputs = json!({ "kid": kid });
    record
}

async fn load(store: &Store, sealing: &Sealing) -> Result<Loaded, KeyRingError> {
    let infos = list(store).await?;
    let active = infos.iter().find(|key| key.state == KeyState::Active).ok_or(KeyRingError::Empty)?;
    let algorithm = Algorithm::parse(&active.algorithm).ok_or(KeyRingError::Generation)?;
    let rows = store.fetch(sql("SELECT sealed FROM signing_keys WHERE kid = $1").bind(&active.kid)).await?;
    let sealed: Vec<u8> = rows.first().ok_or(KeyRingError::Empty)?.get("sealed").map_err(StoreUnavailable::from)?;
    let pkcs8 = sealing.open(&active.kid, &sealed).ok_or_else(|| KeyRingError::WrongKeyFile(active.kid.clone()))?;
    let signing = SigningKey::from_pkcs8(active.kid.clone(), algorithm, &pkcs8).ok_or(KeyRingError::Generation)?;
    let published = infos.iter().filter(|key| key.state != KeyState::Retired);
    let jwks = json!({ "keys": published.map(|key| key.public_jwk.clone()).collect::<Vec<_>>() });
    Ok(Loaded {
        active: Arc::new(signing),
        jwks,
        infos,
    })
}
