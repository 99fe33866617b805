//! Standing: which clients and subjects are disabled, and how risky a subject is said to be. It wins over files and survives reload.

use delegation::identity::Risk;
use delegation::oauth::ClientId;
use delegation::revocation::View;
use delegation::time::Timestamp;
use issuance::audit::Record;

use super::{Purpose, Row, Statement, Store, StoreUnavailable, sql};
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

/// A subject by the name of its issuer and its `sub` there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectName {
    /// The issuer's name.
    pub issuer_name: String,
    /// The outside `sub`.
    pub sub: String,
}

/// What standing says of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectStanding {
    /// Whom.
    pub subject: SubjectName,
    /// Since when it is disabled, if it is.
    pub disabled_at: Option<Timestamp>,
    /// How risky it is said to be, if anybody says so.
    pub risk: Option<Risk>,
}

/// What standing becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In good standing.
    Enabled,
    /// Refused until it is enabled.
    Disabled,
}

/// In place of a risk: that an operator took back what was said. It stands for as long as any other word, since a signal that
/// was said before it may still come.
const CLEARED: &str = "cleared";

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
        let mut risks = Vec::new();
        let said = sql("SELECT issuer_name, sub, risk FROM standing_risks WHERE risk <> $1").bind(CLEARED);
        for row in self.fetch(said).await? {
            risks.push(((row.get("issuer_name")?, row.get("sub")?), risk(&row.get::<String>("risk")?)?));
        }
        self.follow_revocations().await?;
        let secrets = self.dead_secrets().await?;
        let standing = View::new(disabled, pairs).with_risks(risks).with_dead_secrets(secrets);
        Ok(standing.beside(std::sync::Arc::clone(self.revoked())))
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
        self.change_standing(change, &record).await
    }

    /// Says how risky a subject is, or with `None` that its token is to say so again; with its record in the same commit.
    pub async fn set_risk(&self, subject: &SubjectName, risk: Option<Risk>, record: &Record) -> Result<(), StoreUnavailable> {
        let SubjectName { issuer_name, sub } = subject;
        // Events tell whole seconds: one of the second in which a word is taken back may have come after it, and must not be lost.
        let said_at = match risk {
            Some(_) => record.time.millis(),
            None => record.time.seconds() * 1000,
        };
        let change = sql(
            "INSERT INTO standing_risks (issuer_name, sub, risk, said_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (issuer_name, sub) DO UPDATE SET risk = excluded.risk, said_at = excluded.said_at",
        )
        .bind(issuer_name)
        .bind(sub)
        .bind(risk.map_or(CLEARED, Risk::as_str))
        .bind(said_at);
        self.change_standing(change, record).await
    }

    async fn change_standing(&self, change: Statement<'_>, record: &Record) -> Result<(), StoreUnavailable> {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Write).await?;
        transaction.execute(change).await?;
        append(&mut transaction, &[record]).await?;
        Ok(transaction.commit().await?)
    }

    /// Subjects whose standing is anything but usual, after `after` in the store's own order, at most `limit`.
    pub async fn subjects(&self, after: &SubjectName, limit: i64) -> Result<Vec<SubjectStanding>, StoreUnavailable> {
        let page = "SELECT issuer_name, sub, MAX(disabled_at) AS disabled_at, MAX(risk) AS risk FROM \
             (SELECT issuer_name, sub, disabled_at, NULL AS risk FROM standing_subjects \
              UNION ALL SELECT issuer_name, sub, NULL, risk FROM standing_risks WHERE risk <> $4) AS standing \
             WHERE (issuer_name, sub) > ($1, $2) GROUP BY issuer_name, sub ORDER BY issuer_name, sub LIMIT $3";
        let page = sql(page).bind(&after.issuer_name).bind(&after.sub).bind(limit).bind(CLEARED);
        let rows = self.fetch(page).await?;
        Ok(rows.iter().map(subject_standing).collect::<Result<_, _>>()?)
    }

    /// The standing of one subject.
    pub async fn subject(&self, subject: &SubjectName) -> Result<SubjectStanding, StoreUnavailable> {
        let SubjectName { issuer_name, sub } = subject;
        let disabled = "SELECT disabled_at FROM standing_subjects WHERE issuer_name = $1 AND sub = $2";
        let disabled = self.fetch(sql(disabled).bind(issuer_name).bind(sub)).await?;
        let said = "SELECT risk FROM standing_risks WHERE issuer_name = $1 AND sub = $2 AND risk <> $3";
        let said = self.fetch(sql(said).bind(issuer_name).bind(sub).bind(CLEARED)).await?;
        let since = disabled.first().map(|row| row.get("disabled_at")).transpose()?;
        let said: Option<String> = said.first().map(|row| row.get("risk")).transpose()?;
        Ok(SubjectStanding {
            subject: subject.clone(),
            disabled_at: since.map(Timestamp::from_millis),
            risk: said.map(|word| risk(&word)).transpose()?,
        })
    }
}

fn subject_standing(row: &Row) -> Result<SubjectStanding, sqlx::Error> {
    let (since, said): (Option<i64>, Option<String>) = (row.get("disabled_at")?, row.get("risk")?);
    Ok(SubjectStanding {
        subject: SubjectName {
            issuer_name: row.get("issuer_name")?,
            sub: row.get("sub")?,
        },
        disabled_at: since.map(Timestamp::from_millis),
        risk: said.map(|word| risk(&word)).transpose()?,
    })
}

/// One that is not understood must not be passed over as if nothing were said.
fn risk(word: &str) -> Result<Risk, sqlx::Error> {
    Risk::parse(word).ok_or_else(|| sqlx::Error::Decode("unknown risk of a subject".into()))
}
