//! Opaque access tokens: written in the commit of the decision that issues them, looked up by their digest.

use delegation::time::Timestamp;
use delegation::token::KeptToken;

use super::{Store, StoreTransaction, StoreUnavailable, sql};

impl Store {
    /// What is kept of the opaque access token with this SHA-256.
    pub async fn opaque_token(&self, digest: &[u8; 32]) -> Result<Option<KeptToken>, StoreUnavailable> {
        let select = sql("SELECT claims, forget_at FROM opaque_tokens WHERE digest = $1");
        let rows = self.fetch(select.bind(digest.to_vec())).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(KeptToken {
            digest: *digest,
            claims: row.get("claims")?,
            forget_at: Timestamp::from_millis(row.get("forget_at")?),
        }))
    }
}

/// Keeps `tokens`. Their digests are of random texts, so no two writers meet in one.
pub(crate) async fn insert(transaction: &mut StoreTransaction<'_>, tokens: &[&KeptToken]) -> Result<(), sqlx::Error> {
    for chunk in tokens.chunks(64) {
        let mut statement = sql("INSERT INTO opaque_tokens (digest, claims, forget_at)");
        for token in chunk {
            let digest = token.digest.to_vec();
            statement = statement.row([digest.into(), (&token.claims).into(), token.forget_at.millis().into()]);
        }
        transaction.execute(statement).await?;
    }
    Ok(())
}
