//! Where tokens were shown first.

use std::collections::BTreeMap;
use std::net::IpAddr;

use delegation::time::Timestamp;

use super::{Purpose, Store, StoreUnavailable, sql};

impl Store {
    /// Keeps the place of each token, named by its digest, of which none is kept, until that moment; gives what is kept of each now.
    ///
    /// In one global order. Of two that name one token at once the second waits for the first, and then sees its place.
    pub(crate) async fn first_places(
        &self,
        said: &BTreeMap<[u8; 32], (IpAddr, Timestamp)>,
    ) -> Result<BTreeMap<[u8; 32], IpAddr>, StoreUnavailable> {
        let mut kept = BTreeMap::new();
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Write).await?;
        let said: Vec<_> = said.iter().collect();
        for chunk in said.chunks(64) {
            let mut statement = sql("INSERT INTO token_places (token, place, forget_at)");
            for (token, (place, forget_at)) in chunk {
                statement = statement.row([token.to_vec().into(), place.to_string().into(), forget_at.millis().into()]);
            }
            let statement = statement.then(" ON CONFLICT (token) DO UPDATE SET place = token_places.place RETURNING token, place");
            for row in transaction.fetch(statement).await? {
                let (token, place): (Vec<u8>, String) = (row.get("token")?, row.get("place")?);
                let malformed = || sqlx::Error::Decode("malformed place of a token".into());
                kept.insert(token.try_into().map_err(|_| malformed())?, place.parse().map_err(|_| malformed())?);
            }
        }
        transaction.commit().await?;
        Ok(kept)
    }
}
