//! Standing: which clients and subjects are disabled. It wins over files and survives reload.

use delegation::oauth::ClientId;
use delegation::revocation::View;
use issuance::audit::Record;
use sqlx::{Connection, Row};

use super::{Store, StoreError, StoreUnavailable};
use crate::journal::append;

/// Whose standing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// A client.
    Client(ClientId),
    /// A subject, by issuer name and `sub`.
    Subject {
        /// The issuer's name.
        issuer_name: String,
        /// The outside `sub`.
        sub: String,
    },
}

/// What standing becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In good standing.
    Enabled,
    /// Refused until it is enabled.
    Disabled,
}

impl Store {
    /// The standing of everybody.
    pub async fn standing(&self) -> Result<View, StoreError> {
        let failed = |cause: StoreUnavailable| StoreError::Failed {
            path: self.path.display().to_string(),
            cause: cause.to_string(),
        };
        self.read_standing().await.map_err(failed)
    }

    async fn read_standing(&self) -> Result<View, StoreUnavailable> {
        let clients = sqlx::query("SELECT client FROM standing_clients").fetch_all(self.readers()).await?;
        let subjects = sqlx::query("SELECT issuer_name, sub FROM standing_subjects").fetch_all(self.readers()).await?;
        let mut disabled = Vec::new();
        for row in clients {
            let id: String = row.try_get("client")?;
            disabled.extend(ClientId::parse(&id));
        }
        let mut pairs = Vec::new();
        for row in subjects {
            pairs.push((row.try_get("issuer_name")?, row.try_get("sub")?));
        }
        Ok(View::new(disabled, pairs))
    }

    /// Changes standing, with its record in the same commit. Works while a broker runs on the store; it follows within a second.
    pub async fn set_standing(&self, party: &Party, standing: Standing, record: Record) -> Result<(), StoreUnavailable> {
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let at = record.time.millis();
        let query = match (party, standing) {
            (Party::Client(client), Standing::Disabled) => {
                sqlx::query("INSERT INTO standing_clients (client, disabled_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(client.to_string())
                    .bind(at)
            }
            (Party::Client(client), Standing::Enabled) => {
                sqlx::query("DELETE FROM standing_clients WHERE client = $1").bind(client.to_string())
            }
            (Party::Subject { issuer_name, sub }, Standing::Disabled) => {
                sqlx::query("INSERT INTO standing_subjects (issuer_name, sub, disabled_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                    .bind(issuer_name.clone())
                    .bind(sub.clone())
                    .bind(at)
            }
            (Party::Subject { issuer_name, sub }, Standing::Enabled) => {
                sqlx::query("DELETE FROM standing_subjects WHERE issuer_name = $1 AND sub = $2")
                    .bind(issuer_name.clone())
                    .bind(sub.clone())
            }
        };
        query.execute(&mut *transaction).await?;
        append(&mut transaction, &[&record]).await?;
        Ok(transaction.commit().await?)
    }
}
