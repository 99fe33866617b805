//! What trusted issuers signal: written with the id that makes it happen once, and with its record.

use delegation::identity::Risk;
use delegation::time::Timestamp;
use issuance::audit::Entry;

use super::standing::SubjectName;
use super::{Purpose, Statement, Store, StoreUnavailable, insert_revocation, sql};
use crate::journal::{append, take_uses};

/// What a signal changes about the standing of one subject.
#[derive(Clone, Debug)]
pub(crate) struct Signalled {
    pub(crate) subject: SubjectName,
    pub(crate) disables: bool,
    /// How risky, and since when.
    pub(crate) risk: Option<(Risk, Timestamp)>,
    /// What the record says where a later word about the risk stands, so that this one changes nothing.
    pub(crate) overtaken: &'static str,
}

impl Store {
    /// Makes a signal durable: its use, its record, what it ends and what it changes, all or nothing.
    ///
    /// `false`: it was used before, and nothing happened.
    pub(crate) async fn take_signal(&self, entry: &Entry, signalled: Option<&Signalled>) -> Result<bool, StoreUnavailable> {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Write).await?;
        // In the order of every writer: what is used up, then standing, and the row of the log last.
        if take_uses(&mut transaction, std::slice::from_ref(entry)).await?.iter().any(Option::is_some) {
            return Ok(false);
        }
        let mut record = entry.record.clone();
        if let Some(signalled) = signalled {
            if let Some(disables) = disables(signalled, record.time) {
                transaction.execute(disables).await?;
            }
            if let Some(risk) = risk(signalled)
                && transaction.execute(risk).await? == 0
            {
                signalled.overtaken.clone_into(&mut record.reason);
            }
        }
        let place = append(&mut transaction, &[&record]).await?;
        if let Some(revocation) = &entry.revokes {
            insert_revocation(&mut transaction, i64::try_from(place).unwrap_or(i64::MAX), revocation).await?;
        }
        transaction.commit().await?;
        if let Some(revocation) = &entry.revokes {
            self.learn(revocation);
        }
        Ok(true)
    }
}

fn disables(signalled: &Signalled, now: Timestamp) -> Option<Statement<'_>> {
    let SubjectName { issuer_name, sub } = &signalled.subject;
    signalled.disables.then(|| {
        sql("INSERT INTO standing_subjects (issuer_name, sub, disabled_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(issuer_name)
            .bind(sub)
            .bind(now.millis())
    })
}

/// Signals may overtake each other, and an operator: what was said later stands, and then no row changes.
fn risk(signalled: &Signalled) -> Option<Statement<'_>> {
    let SubjectName { issuer_name, sub } = &signalled.subject;
    signalled.risk.map(|(risk, since)| {
        sql(
            "INSERT INTO standing_risks (issuer_name, sub, risk, said_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (issuer_name, sub) DO UPDATE SET risk = excluded.risk, said_at = excluded.said_at \
             WHERE excluded.said_at >= standing_risks.said_at",
        )
        .bind(issuer_name)
        .bind(sub)
        .bind(risk.as_str())
        .bind(since.millis())
    })
}
