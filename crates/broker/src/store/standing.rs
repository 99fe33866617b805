//! Standing: which clients and subjects are disabled. It wins over files and survives reload.

use delegation::oauth::ClientId;
use delegation::revocation::View;
use issuance::audit::Record;

use super::{Purpose, Store, StoreUnavailable, sql};
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
    /// The standing of everybody, beside all that is revoked.
    pub async fn standing(&self) -> Result<View, StoreUnavailable> {
        let clients = self.fetch(sql("SELECT client FROM standing_clients")).await?;
        let subjects = self.fetch(sql("SELECT issuer_name, sub FROM standing_subjects")).await?;
        let mut disabled = Vec::new();
        for row in clients {
            let id: String = row.get("client")?;
            disabled.extend(ClientId::parse(&id));
        }
        let mut pairs = Vec::new();
        for row in subjects {
            pairs.push((row.get("issuer_name")?, row.get("sub")?));
        }
        self.follow_revocations().await?;
        Ok(View::new(disabled, pairs).beside(std::sync::Arc::clone(self.revoked())))
    }

    /// Changes standing, with its record in the same commit. Works while a broker runs on the store; it follows within a second.
    pub async fn set_standing(&self, party: &Party, standing: Standing, record: Record) -> Result<(), StoreUnavailable> {
        let at = record.time.millis();
        let change = match (party, standing) {
            (Party::Client(client), Standing::Disabled) => {
                sql("INSERT INTO standing_clients (client, disabled_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(client.as_str())
                    .bind(at)
            }
            (Party::Client(client), Standing::Enabled) => sql("DELETE FROM standing_clients WHERE client = $1").bind(client.as_str()),
            (Party::Subject { issuer_name, sub }, Standing::Disabled) => {
                sql("INSERT INTO standing_subjects (issuer_name, sub, disabled_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                    .bind(issuer_name)
                    .bind(sub)
                    .bind(at)
            }
            (Party::Subject { issuer_name, sub }, Standing::Enabled) => {
                sql("DELETE FROM standing_subjects WHERE issuer_name = $1 AND sub = $2").bind(issuer_name).bind(sub)
            }
        };
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Write).await?;
        transaction.execute(change).await?;
        append(&mut transaction, &[&record]).await?;
        Ok(transaction.commit().await?)
    }
}
