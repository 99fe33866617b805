//! Signing keys as they lie in the store, and the one way to change them.

use delegation::time::Timestamp;
use delegation::token::Algorithm;
use issuance::audit::{Decision, Kind, Record};
use serde_json::{Value, json};

use super::KeyRingError;
use super::key;
use crate::ids;
use crate::journal::{append, hold};
use crate::sealing::Sealing;
use crate::store::{Purpose, Row, Store, StoreUnavailable, sql};

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and not signing yet: verifiers are given time to find it.
    Published,
    /// It signs.
    Active,
    /// It signed; what it signed still verifies.
    Previous,
    /// Nothing verifies with it any more, and its private half is gone.
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The longest life, in seconds, of what it may have signed.
    pub longest_life: i64,
    pub(super) public_jwk: Value,
}

/// A change of one key.
pub(super) enum Change {
    /// A new key.
    Add(NewKey, KeyState),
    /// It signs from now on; whichever signed until now verifies on. What it signs lives no longer than so many seconds.
    Activate(String, i64),
    /// It goes for good, its private half at once.
    Retire(String),
    /// Its private half is encrypted anew: from, to.
    Reseal { kid: String, from: Vec<u8>, to: Vec<u8> },
    /// What it signs may live so many seconds.
    Promise(String, i64),
}

/// A key that is not in the store yet.
pub(super) struct NewKey {
    kid: String,
    algorithm: Algorithm,
    public_jwk: Value,
    sealed: Vec<u8>,
}

impl NewKey {
    pub(super) fn make(sealing: &Sealing, algorithm: Algorithm) -> Result<Self, KeyRingError> {
        let (kid, pkcs8, public_jwk) = key::generate(algorithm).ok_or(KeyRingError::Generation)?;
        Ok(Self {
            sealed: sealing.seal(&kid, &pkcs8).ok_or(KeyRingError::Generation)?,
            kid,
            algorithm,
            public_jwk,
        })
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }
}

/// Every key of the store, oldest first.
pub async fn list(store: &Store) -> Result<Vec<KeyInfo>, StoreUnavailable> {
    Ok(infos(&store.fetch(sql(LIST)).await?)?)
}

const LIST: &str = "SELECT kid, algorithm, state, created_at, changed_at, longest_life, public_jwk FROM signing_keys";

fn infos(rows: &[Row]) -> Result<Vec<KeyInfo>, sqlx::Error> {
    let info = |row: &Row| {
        let state: String = row.get("state")?;
        let jwk: String = row.get("public_jwk")?;
        Ok::<_, sqlx::Error>(KeyInfo {
            kid: row.get("kid")?,
            algorithm: row.get("algorithm")?,
            state: KeyState::ALL.into_iter().find(|known| known.as_str() == state).unwrap_or(KeyState::Retired),
            created_at: Timestamp::from_millis(row.get("created_at")?),
            changed_at: Timestamp::from_millis(row.get("changed_at")?),
            longest_life: row.get("longest_life")?,
            public_jwk: serde_json::from_str(&jwk).unwrap_or_default(),
        })
    };
    let mut keys = rows.iter().map(info).collect::<Result<Vec<_>, _>>()?;
    // Here and not in the statement: the engines do not sort text alike.
    keys.sort_by(|one, other| (one.created_at, &one.kid).cmp(&(other.created_at, &other.kid)));
    Ok(keys)
}

/// The private halves of `kids` as they lie there, encrypted.
pub(super) async fn sealed(store: &Store, kids: &[&str]) -> Result<Vec<(String, Vec<u8>)>, StoreUnavailable> {
    let mut found = Vec::new();
    for row in store.fetch(sql("SELECT kid, sealed FROM signing_keys")).await? {
        let kid: String = row.get("kid")?;
        if kids.contains(&kid.as_str()) {
            found.push((kid, row.get("sealed")?));
        }
    }
    Ok(found)
}

/// Changes keys as `plan` says, with a record of each change in the same commit; whether there was anything to change.
///
/// `plan` sees the keys as they are while nobody else changes them: of two nodes that want the same, one finds it done.
/// Killed at any point, all of it happened or nothing.
pub(super) async fn change<F>(store: &Store, now: Timestamp, plan: F) -> Result<bool, StoreUnavailable>
where
    F: FnOnce(&[KeyInfo]) -> Vec<Change>,
{
    let mut connection = store.connect().await?;
    let mut transaction = connection.begin(Purpose::Write).await?;
    hold(&mut transaction).await?;
    let changes = plan(&infos(&transaction.fetch(sql(LIST)).await?)?);
    let mut records = Vec::new();
    for change in &changes {
        let at = now.millis();
        let (statements, kid, reason) = match change {
            Change::Add(new, state) => {
                let made =
                    sql("INSERT INTO signing_keys (kid, algorithm, state, created_at, changed_at, longest_life, public_jwk, sealed)");
                let row = [
                    (&new.kid).into(),
                    new.algorithm.as_str().into(),
                    state.as_str().into(),
                    at.into(),
                    at.into(),
                    0.into(),
                    new.public_jwk.to_string().into(),
                    new.sealed.clone().into(),
                ];
                (vec![made.row(row)], &new.kid, "key_made")
            }
            Change::Activate(kid, life) => {
                let before = sql("UPDATE signing_keys SET state = 'previous', changed_at = $1 WHERE state = 'active'").bind(at);
                let next = sql("UPDATE signing_keys SET state = 'active', changed_at = $1, longest_life = $2 WHERE kid = $3");
                (vec![before, next.bind(at).bind(*life).bind(kid)], kid, "key_active")
            }
            Change::Retire(kid) => {
                let retired = sql("UPDATE signing_keys SET state = 'retired', changed_at = $1, sealed = $2 WHERE kid = $3");
                (vec![retired.bind(at).bind(Vec::new()).bind(kid)], kid, "key_retired")
            }
            Change::Reseal { kid, from, to } => {
                let resealed = sql("UPDATE signing_keys SET sealed = $1 WHERE kid = $2 AND sealed = $3");
                (vec![resealed.bind(to.clone()).bind(kid).bind(from.clone())], kid, "key_resealed")
            }
            Change::Promise(kid, life) => {
                let promised = sql("UPDATE signing_keys SET longest_life = $1 WHERE kid = $2 AND longest_life < $3");
                (vec![promised.bind(*life).bind(kid).bind(*life)], kid, "key_signs_longer")
            }
        };
        let mut changed = 0;
        for statement in statements {
            changed = transaction.execute(statement).await?;
        }
        // A key that somebody else has changed meanwhile is left alone, and there is nothing to tell of.
        if changed > 0 {
            records.push(record(kid, reason, now));
        }
    }
    if !records.is_empty() {
        append(&mut transaction, &records.iter().collect::<Vec<_>>()).await?;
    }
    transaction.commit().await?;
    Ok(!records.is_empty())
}

fn record(kid: &str, reason: &str, now: Timestamp) -> Record {
    let mut record = Record::new(ids::decision(), now, Kind::Key);
    record.decision = Decision::Done;
    record.reason = reason.to_owned();
    record.inputs = json!({ "kid": kid });
    record
}
