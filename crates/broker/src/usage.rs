//! What guards add up, kept by day: what tokens granted beside what was used.
//!
//! A guard in this process calls [`keep`]; one elsewhere asks `POST /v1/usage`, which does the same.

mod batch;

use delegation::oauth::ClientId;
use serde_json::{Map, Value};

use crate::broker::{Broker, InForce};
use crate::overload::Overloaded;
use crate::store::StoreUnavailable;
pub(crate) use batch::{Batch, Fact, What};

/// Why a batch was not kept.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// It is not one; the text says what to mend, and repeats nothing of it.
    #[error("{0}")]
    Malformed(&'static str),
    /// It is about tokens that are not for whoever reports them.
    #[error("a client reports what is used of tokens that it receives")]
    NotPermitted,
    /// Too much is asked of the broker.
    #[error("the broker has too much to do; send it again")]
    Busy,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

/// Keeps a batch of sums that `client` reports: an object with `batch`, `service`, `from`, `until`, `sums` and perhaps `others`, as
/// `docs/usage.md` describes. One that was kept before changes nothing.
pub async fn keep(broker: &Broker, client: &ClientId, batch: Map<String, Value>) -> Result<(), UsageError> {
    let batch = Batch::read(batch).map_err(UsageError::Malformed)?;
    if !receives(&broker.in_force(), client, &batch) {
        return Err(UsageError::NotPermitted);
    }
    let _turn = broker.gate().enter().await.map_err(|Overloaded| UsageError::Busy)?;
    Ok(broker.store().keep_usage(client, &batch, broker.now()).await?)
}

/// Whether all that is reported is about tokens for `client`. Whoever could report of others' could talk people into narrowing what
/// is in use.
fn receives(in_force: &InForce, client: &ClientId, batch: &Batch) -> bool {
    let Some(client) = in_force.snapshot.clients.get(client) else {
        return false;
    };
    let is_its_own = |audience: &str| client.receives.iter().any(|receives| receives.means(audience, None));
    batch.audiences().all(is_its_own)
}
