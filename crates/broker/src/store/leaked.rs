//! Secrets that are taken no more since somebody else has them.

use issuance::audit::Record;

use super::{Store, StoreUnavailable, sql};

impl Store {
    /// Refuses the client secret with this SHA-256 from now on, with the record of it; `false` if it was refused before, and
    /// nothing happened.
    pub(crate) async fn kill_secret(&self, digest: &[u8; 32], record: &Record) -> Result<bool, StoreUnavailable> {
        let insert = sql("INSERT INTO dead_secrets (digest, died_at)").row([digest.to_vec().into(), record.time.millis().into()]);
        self.change(insert.then(" ON CONFLICT DO NOTHING"), record).await
    }

    /// Removes the operator whose token has this SHA-256, with the record of it; `false` if there is none, and nothing happened.
    pub(crate) async fn kill_operator_token(&self, digest: &[u8; 32], record: &Record) -> Result<bool, StoreUnavailable> {
        let delete = sql("DELETE FROM operators WHERE token = $1").bind(digest.to_vec());
        self.change(delete, record).await
    }

    /// The SHA-256 of every client secret that is refused.
    pub(super) async fn dead_secrets(&self) -> Result<Vec<[u8; 32]>, StoreUnavailable> {
        let rows = self.fetch(sql("SELECT digest FROM dead_secrets")).await?;
        // One that cannot be read must not be passed over as if it were taken.
        let malformed = |_| sqlx::Error::Decode("malformed digest of a secret".into());
        let digest = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(malformed);
        Ok(rows.iter().map(|row| digest(row.get("digest")?)).collect::<Result<_, _>>()?)
    }
}
