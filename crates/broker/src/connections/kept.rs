//! Upstream credentials as they lie in the store, and the one way to change them.

use std::path::PathBuf;

use delegation::oauth::ClientId;
use delegation::time::Timestamp;
use http::HeaderValue;
use issuance::audit::{Decision, Kind, Record};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{Absent, Connection, Credential, Holder, Per, Secret};
use crate::ids;
use crate::journal::append;
use crate::sealing::{KeyFileError, Sealing};
use crate::store::{Purpose, Row, Statement, Store, StoreUnavailable, sql};

/// The credentials of a store, with the key files that encrypt them.
#[derive(Debug)]
pub struct Connections {
    store: Store,
    sealing: Sealing,
}

/// One credential as people see it: everything but the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The name of its connection.
    pub name: String,
    /// Whose it is.
    pub holder: Holder,
    /// The scheme, host and port that it was added for.
    pub origin: String,
    /// The header that it was added for.
    pub header: String,
    /// When it was added or replaced.
    pub changed_at: Timestamp,
}

/// What is wanted of a credential that is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is the first of its holder.
    Added,
    /// It takes the place of another.
    Replaced,
    /// Either.
    Either,
}

/// What became of one that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is the first of its holder.
    Added,
    /// It took the place of another.
    Replaced,
    /// Nothing happened: there is one and none was wanted, or the reverse.
    Unfit,
}

/// Why a credential could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionsError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
    /// There is no key file, or no randomness.
    #[error("the credential could not be encrypted; `key_file` names no key")]
    Unsealed,
}

impl From<sqlx::Error> for ConnectionsError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

const COLUMNS: &str = "SELECT name, kind, iss, id, origin, header, sealed, changed_at FROM connections";

impl Connections {
    /// The credentials of `store`; the first of the key files encrypts, all decrypt.
    pub fn open(store: &Store, key_files: &[PathBuf]) -> Result<Self, KeyFileError> {
        Ok(Self {
            store: store.clone(),
            sealing: Sealing::load(key_files)?,
        })
    }

    /// Keeps `secret` for `holder`, bound to the connection's origin and header, with `record` of it in the same commit. A
    /// running broker takes it for the next request.
    pub async fn put(
        &self,
        connection: &Connection,
        holder: &Holder,
        secret: &Secret,
        wanted: Wanted,
        record: Record,
    ) -> Result<Put, ConnectionsError> {
        let (name, kind) = (connection.name.as_str(), holder.per().as_str());
        let (iss, id) = holder.names();
        let (origin, header) = (connection.origin.as_str(), connection.header.as_str());
        let sealed = self.sealing.seal(&place(name, holder, origin, header), secret.expose().as_bytes());
        let sealed = sealed.ok_or(ConnectionsError::Unsealed)?;
        let at = record.time.millis();

        let mut store = self.store.connect().await?;
        let mut transaction = store.begin(Purpose::Write).await?;
        let replace = "UPDATE connections SET origin = $1, header = $2, sealed = $3, changed_at = $4 \
                       WHERE name = $5 AND kind = $6 AND iss = $7 AND id = $8";
        let replace = of(
            sql(replace).bind(origin).bind(header).bind(sealed.clone()).bind(at),
            name,
            kind,
            iss,
            id,
        );
        let add = sql("INSERT INTO connections (name, kind, iss, id, origin, header, sealed, changed_at)").row([
            name.into(),
            kind.into(),
            iss.into(),
            id.into(),
            origin.into(),
            header.into(),
            sealed.into(),
            at.into(),
        ]);
        let put = if wanted != Wanted::Added && transaction.execute(replace).await? > 0 {
            Put::Replaced
        } else if wanted != Wanted::Replaced && transaction.execute(add.then(" ON CONFLICT DO NOTHING")).await? > 0 {
            Put::Added
        } else {
            return Ok(Put::Unfit);
        };
        let reason = if put == Put::Added {
            "connection_added"
        } else {
            "connection_rotated"
        };
        append(&mut transaction, &[&told(record, reason, name, holder, Some((origin, header)))]).await?;
        transaction.commit().await?;
        Ok(put)
    }

    /// Forgets the credential of `holder`, with `record` of it in the same commit; `false` if there is none, and nothing
    /// happened. The configuration need not know the name any more.
    pub async fn remove(&self, name: &str, holder: &Holder, record: Record) -> Result<bool, StoreUnavailable> {
        let (iss, id) = holder.names();
        let delete = sql("DELETE FROM connections WHERE name = $1 AND kind = $2 AND iss = $3 AND id = $4");
        let delete = delete.bind(name).bind(holder.per().as_str()).bind(iss).bind(id);
        self.store.change(delete, &told(record, "connection_removed", name, holder, None)).await
    }

    /// What is kept after the place `after`, in the store's own order, at most `limit`; never a secret.
    pub async fn list(&self, after: &Place, limit: i64) -> Result<Vec<Kept>, StoreUnavailable> {
        let (name, kind, iss, id) = after;
        let page = "SELECT name, kind, iss, id, origin, header, changed_at FROM connections \
                    WHERE (name, kind, iss, id) > ($1, $2, $3, $4) ORDER BY name, kind, iss, id LIMIT $5";
        let page = sql(page).bind(name).bind(kind).bind(iss).bind(id).bind(limit);
        let rows = self.store.fetch(page).await?;
        Ok(rows.iter().map(kept).collect::<Result<_, _>>()?)
    }

    /// The credential that a request of `holder` is sent on with.
    pub(super) async fn find(&self, connection: &Connection, holder: &Holder) -> Result<Credential, Absent> {
        let (name, kind) = (connection.name.as_str(), holder.per().as_str());
        let (iss, id) = holder.names();
        let one = "SELECT origin, header, sealed FROM connections WHERE name = $1 AND kind = $2 AND iss = $3 AND id = $4";
        let rows = self.store.fetch(sql(one).bind(name).bind(kind).bind(iss).bind(id)).await;
        let rows = rows.map_err(|_| Absent::Unavailable)?;
        let row = rows.first().ok_or(Absent::Missing)?;
        let text = |column| row.get::<String>(column).map_err(|_| Absent::Unavailable);
        let (origin, header) = (text("origin")?, text("header")?);
        if origin != connection.origin || header != connection.header.as_str() {
            return Err(Absent::Elsewhere);
        }
        let sealed: Vec<u8> = row.get("sealed").map_err(|_| Absent::Unavailable)?;
        // The words in the row say nothing that the seal does not: one that was moved or renamed in the store does not open.
        let opened = self.sealing.open(&place(name, holder, &origin, &header), &sealed).ok_or(Absent::Sealed)?;
        let secret = std::str::from_utf8(&opened).ok().and_then(|text| Secret::parse(text).ok());
        let secret = secret.ok_or(Absent::Malformed)?;
        let (before, behind) = &connection.around;
        let value = Zeroizing::new(format!("{before}{}{behind}", secret.expose()));
        let mut value = HeaderValue::from_str(&value).map_err(|_| Absent::Malformed)?;
        value.set_sensitive(true);
        Ok(Credential {
            connection: connection.name.clone(),
            origin: connection.origin.clone(),
            header: connection.header.clone(),
            value,
            secret,
        })
    }

    /// Encrypts with the first key file what another of them encrypts, one credential a commit.
    ///
    /// Killed between two, both files are still needed and each opens with one of them; the next time goes on.
    pub(crate) async fn reseal(&self, now: Timestamp) -> Result<(), ConnectionsError> {
        if self.sealing.is_single() {
            return Ok(());
        }
        for row in self.store.fetch(sql(COLUMNS)).await? {
            let kept = kept(&row)?;
            let from: Vec<u8> = row.get("sealed")?;
            let place = place(&kept.name, &kept.holder, &kept.origin, &kept.header);
            // What opens with none of the files stays as it is, and is told of when it is asked for.
            let Some(secret) = self.sealing.open(&place, &from).filter(|_| !self.sealing.is_first(&place, &from)) else {
                continue;
            };
            let to = self.sealing.seal(&place, &secret).ok_or(ConnectionsError::Unsealed)?;
            let (iss, id) = kept.holder.names();
            let (name, kind) = (kept.name.as_str(), kept.holder.per().as_str());
            let change = "UPDATE connections SET sealed = $1 WHERE sealed = $2 AND name = $3 AND kind = $4 AND iss = $5 AND id = $6";
            let change = of(sql(change).bind(to).bind(from), name, kind, iss, id);
            let mut record = Record::new(ids::decision(), now, Kind::Connection);
            record.decision = Decision::Done;
            self.store.change(change, &told(record, "connection_resealed", name, &kept.holder, None)).await?;
        }
        Ok(())
    }
}

/// A place in a list: name, kind, issuer and name there; all empty is the beginning.
pub type Place = (String, String, String, String);

impl Kept {
    /// Its place in a list.
    pub fn place(&self) -> Place {
        let (iss, id) = self.holder.names();
        (
            self.name.clone(),
            self.holder.per().as_str().to_owned(),
            iss.to_owned(),
            id.to_owned(),
        )
    }

    /// As a list says it. `is_ready` is whether it may go where the configuration says now.
    pub fn to_json(&self, is_ready: bool) -> Value {
        let mut members = Map::new();
        members.insert("name".to_owned(), json!(self.name));
        members.extend(self.holder.members().into_iter().map(|(name, value)| (name.to_owned(), value)));
        members.insert("origin".to_owned(), json!(self.origin));
        members.insert("header".to_owned(), json!(self.header));
        members.insert("changed_at".to_owned(), json!(self.changed_at.seconds()));
        members.insert("ready".to_owned(), json!(is_ready));
        Value::Object(members)
    }

    /// Whether `known`, what the configuration says of its name, lets it go anywhere.
    pub fn is_ready(&self, known: Option<&Connection>) -> bool {
        known.is_some_and(|known| known.origin == self.origin && known.header.as_str() == self.header && known.per == self.holder.per())
    }
}

/// What a credential is sealed for: under another name, holder, origin or header it does not open.
///
/// An array of JSON runs no two parts together, and is no `kid` of a signing key.
fn place(name: &str, holder: &Holder, origin: &str, header: &str) -> String {
    let (iss, id) = holder.names();
    json!(["connection", name, holder.per().as_str(), iss, id, origin, header]).to_string()
}

/// Binds whose credential is meant.
fn of<'v>(statement: Statement<'v>, name: &'v str, kind: &'v str, iss: &'v str, id: &'v str) -> Statement<'v> {
    statement.bind(name).bind(kind).bind(iss).bind(id)
}

fn kept(row: &Row) -> Result<Kept, sqlx::Error> {
    let decode = || sqlx::Error::Decode("malformed holder of a credential".into());
    let (kind, iss, id): (String, String, String) = (row.get("kind")?, row.get("iss")?, row.get("id")?);
    let holder = match Per::parse(&kind).ok_or_else(decode)? {
        Per::All => Holder::All,
        Per::Client => Holder::Client(ClientId::parse(&id).map_err(|_| decode())?),
        Per::User => Holder::User { iss, sub: id },
    };
    Ok(Kept {
        name: row.get("name")?,
        holder,
        origin: row.get("origin")?,
        header: row.get("header")?,
        changed_at: Timestamp::from_millis(row.get("changed_at")?),
    })
}

/// `record`, with what happened to whose credential beside what it says already.
fn told(mut record: Record, reason: &str, name: &str, holder: &Holder, to: Option<(&str, &str)>) -> Record {
    reason.clone_into(&mut record.reason);
    let mut inputs = match record.inputs {
        Value::Object(inputs) => inputs,
        _ => Map::new(),
    };
    inputs.insert("connection".to_owned(), json!(name));
    inputs.extend(holder.members().into_iter().map(|(name, value)| (name.to_owned(), value)));
    if let Some((origin, header)) = to {
        inputs.insert("origin".to_owned(), json!(origin));
        inputs.insert("header".to_owned(), json!(header));
    }
    record.inputs = Value::Object(inputs);
    record
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::path::PathBuf;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use delegation::time::Timestamp;
    use http::HeaderName;
    use issuance::audit::{Kind, Record};

    use super::{Absent, Connection, Connections, Holder, Per, Put, Secret, Wanted};
    use crate::store::{Store, StoreAddress, sql};

    const SECRET: &str = "sk-0123456789";

    fn key_file(folder: &tempfile::TempDir, name: &str, byte: u8) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, STANDARD.encode([byte; 32])).unwrap();
        path
    }

    fn connection(name: &str, per: Per, origin: &str, header: &'static str) -> Connection {
        Connection {
            name: name.to_owned(),
            per,
            origin: origin.to_owned(),
            header: HeaderName::from_static(header),
            around: ("Key ".to_owned(), String::new()),
        }
    }

    fn record() -> Record {
        Record::new("r".to_owned(), Timestamp::from_seconds(1_780_000_000), Kind::Connection)
    }

    fn alice() -> Holder {
        Holder::User {
            iss: "https://login.corp.example".to_owned(),
            sub: "alice".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_credential_opens_for_its_name_holder_origin_and_header_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreAddress::sqlite(folder.path().join("n.db"))).await.unwrap();
        let kept = Connections::open(&store, &[key_file(&folder, "one.key", 1)]).unwrap();
        let ours = connection("key", Per::User, "https://api.example", "x-api-key");
        let secret = Secret::parse(SECRET).unwrap();
        assert_eq!(
            kept.put(&ours, &alice(), &secret, Wanted::Added, record()).await.unwrap(),
            Put::Added
        );
        let found = kept.find(&ours, &alice()).await.unwrap();
        assert_eq!(
            (found.value.to_str().unwrap(), found.secret.expose()),
            ("Key sk-0123456789", SECRET)
        );
        assert!(found.value.is_sensitive() && !format!("{found:?}").contains("0123"));

        // The configuration names another place than it was added for.
        for other in [
            connection("key", Per::User, "https://api.example.evil", "x-api-key"),
            connection("key", Per::User, "http://api.example", "x-api-key"),
            connection("key", Per::User, "https://api.example", "x-other-key"),
        ] {
            assert_eq!(kept.find(&other, &alice()).await.unwrap_err(), Absent::Elsewhere);
        }
        let other = connection("other", Per::User, "https://api.example", "x-api-key");
        assert_eq!(kept.find(&other, &alice()).await.unwrap_err(), Absent::Missing);
        assert_eq!(kept.find(&ours, &Holder::All).await.unwrap_err(), Absent::Missing);

        // Whoever can write to the store, and has no key file, moves it nowhere.
        let bob = Holder::User {
            iss: "https://login.corp.example".to_owned(),
            sub: "bob".to_owned(),
        };
        let all = connection("key", Per::All, "https://api.example", "x-api-key");
        let header = connection("key", Per::User, "https://api.example", "x-evil");
        let origin = connection("key", Per::User, "https://evil.example", "x-api-key");
        let back = "UPDATE connections SET origin = 'https://api.example', header = 'x-api-key', name = 'other'";
        let moves = [
            ("UPDATE connections SET header = 'x-evil'", &header, &alice()),
            (
                "UPDATE connections SET header = 'x-api-key', origin = 'https://evil.example'",
                &origin,
                &alice(),
            ),
            (back, &other, &alice()),
            ("UPDATE connections SET name = 'key', id = 'bob'", &ours, &bob),
            ("UPDATE connections SET kind = 'all', iss = '', id = ''", &all, &Holder::All),
        ];
        for (moved, to, holder) in moves {
            let mut writer = store.connect().await.unwrap();
            let mut transaction = writer.begin(crate::store::Purpose::Write).await.unwrap();
            assert_eq!(transaction.execute(sql(moved)).await.unwrap(), 1);
            transaction.commit().await.unwrap();
            assert_eq!(kept.find(to, holder).await.unwrap_err(), Absent::Sealed, "{moved}");
        }
    }

    #[tokio::test]
    async fn what_another_key_file_encrypts_is_encrypted_with_the_first_and_nobody_notices() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreAddress::sqlite(folder.path().join("n.db"))).await.unwrap();
        let (old, new) = (key_file(&folder, "old.key", 1), key_file(&folder, "new.key", 2));
        let ours = connection("key", Per::All, "https://api.example", "x-api-key");
        let secret = Secret::parse(SECRET).unwrap();
        let before = Connections::open(&store, std::slice::from_ref(&old)).unwrap();
        before.put(&ours, &Holder::All, &secret, Wanted::Either, record()).await.unwrap();
        before
            .put(
                &connection("second", Per::All, "https://b.example", "cookie"),
                &Holder::All,
                &secret,
                Wanted::Either,
                record(),
            )
            .await
            .unwrap();

        let alone = Connections::open(&store, std::slice::from_ref(&new)).unwrap();
        assert_eq!(alone.find(&ours, &Holder::All).await.unwrap_err(), Absent::Sealed);
        let both = Connections::open(&store, &[new, old]).unwrap();
        assert!(both.find(&ours, &Holder::All).await.is_ok());
        both.reseal(Timestamp::from_seconds(1_780_000_001)).await.unwrap();
        assert_eq!(alone.find(&ours, &Holder::All).await.unwrap().secret.expose(), SECRET);
        assert!(before.find(&ours, &Holder::All).await.is_err(), "the old file opens it no more");
        let records = store.records(0, 100).await.unwrap();
        let resealed = || records.iter().filter(|record| record.contains("connection_resealed"));
        assert_eq!(resealed().count(), 2, "{records:?}");
        both.reseal(Timestamp::from_seconds(1_780_000_002)).await.unwrap();
        assert_eq!(store.records(0, 100).await.unwrap().len(), records.len(), "and it is done once");
    }
}
