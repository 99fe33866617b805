//! Tasks, as they are kept; the journal changes them.

use delegation::oauth::ClientId;
use delegation::revocation::Revocation;
use delegation::time::Timestamp;
use issuance::audit::Record;
use issuance::task::{KeptTask, Over, Status};

use super::{Purpose, Row, Statement, Store, StoreUnavailable, insert_revocation, sql};
use crate::journal::{append, end_task};

impl Store {
    /// The task whose token has this SHA-256.
    pub(crate) async fn task_of_token(&self, token: &[u8; 32]) -> Result<Option<KeptTask>, StoreUnavailable> {
        let found = self.select_tasks(which("token = $1").bind(token.to_vec())).await?;
        Ok(found.into_iter().next())
    }

    /// The task with this id.
    pub async fn task(&self, id: &str) -> Result<Option<KeptTask>, StoreUnavailable> {
        let found = self.select_tasks(which("id = $1").bind(id)).await?;
        Ok(found.into_iter().next())
    }

    /// Tasks after the one with the id `after`, in the order in which they were opened, at most `limit`.
    pub async fn tasks(&self, after: &str, limit: i64) -> Result<Vec<KeptTask>, StoreUnavailable> {
        self.select_tasks(which("id > $1 ORDER BY id LIMIT $2").bind(after).bind(limit)).await
    }

    /// Tasks that `client` opened or redeems, paged in the same way.
    pub(crate) async fn tasks_of(&self, client: &ClientId, after: &str, limit: i64) -> Result<Vec<KeptTask>, StoreUnavailable> {
        let page = which("id > $1 AND (creator = $2 OR actor = $2) ORDER BY id LIMIT $3");
        self.select_tasks(page.bind(after).bind(client.as_str()).bind(limit)).await
    }

    /// The first two tasks whose id begins with `beginning`.
    pub async fn tasks_beginning(&self, beginning: &str) -> Result<Vec<KeptTask>, StoreUnavailable> {
        // Of the characters of an id none means anything to LIKE.
        if !beginning.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Ok(Vec::new());
        }
        self.select_tasks(which("id LIKE $1 ORDER BY id LIMIT 2").bind(format!("{beginning}%"))).await
    }

    async fn select_tasks(&self, statement: Statement<'_>) -> Result<Vec<KeptTask>, StoreUnavailable> {
        let rows = self.fetch(statement).await?;
        Ok(rows.iter().map(task).collect::<Result<_, _>>()?)
    }

    /// Ends a task with its record, while a broker runs or not; says how it had ended if it was over.
    pub async fn end_task(
        &self,
        id: &str,
        status: Status,
        revocation: &Revocation,
        record: &Record,
    ) -> Result<Option<Over>, StoreUnavailable> {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Write).await?;
        if let Some(over) = end_task(&mut transaction, id, status).await? {
            return Ok(Some(over));
        }
        let index = append(&mut transaction, &[record]).await?;
        insert_revocation(&mut transaction, i64::try_from(index).unwrap_or(i64::MAX), revocation).await?;
        transaction.commit().await?;
        self.revoked().add(revocation);
        Ok(None)
    }
}

/// A query for the tasks of which these words hold.
fn which<'v>(words: &'static str) -> Statement<'v> {
    sql("SELECT id, creator, actor, status, tokens, max_tokens, created_at, expires_at, terms FROM tasks WHERE ").then(words)
}

fn task(row: &Row) -> Result<KeptTask, sqlx::Error> {
    let decode = |error: &str| sqlx::Error::Decode(error.into());
    let client = |column: &str| ClientId::parse(&row.get::<String>(column)?).map_err(|_| decode("malformed client of a task"));
    let count = |column: &str| u32::try_from(row.get::<i64>(column)?).map_err(|_| decode("malformed count of a task"));
    let status: String = row.get("status")?;
    Ok(KeptTask {
        id: row.get("id")?,
        creator: client("creator")?,
        actor: client("actor")?,
        status: Status::parse(&status).ok_or_else(|| decode("unknown status of a task"))?,
        tokens: count("tokens")?,
        max_tokens: count("max_tokens")?,
        created_at: Timestamp::from_millis(row.get("created_at")?),
        expires_at: Timestamp::from_millis(row.get("expires_at")?),
        terms: row.get("terms")?,
    })
}
