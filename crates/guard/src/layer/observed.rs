//! What is decided about a request that goes on meanwhile.

use std::net::IpAddr;
use std::sync::Arc;

use delegation::oauth::Reason;
use http::HeaderMap;
use tokio::sync::oneshot::Receiver;

use crate::broker::Broker;
use crate::call::Call;
use crate::live::{Decision, Live};

/// Puts on record how `call` would have ended: by the decision, because its body was `unfit` to be looked into, or because a body that
/// nobody looked into `outgrows` its route.
pub(super) async fn observe<B: Broker>(
    live: Arc<Live<B>>,
    call: Call,
    headers: HeaderMap,
    from: IpAddr,
    (unfit, outgrows): (Option<Reason>, Option<Receiver<()>>),
) {
    if let Some(reason) = unfit {
        return live.observe_unfit(&call, &headers, from, reason).await;
    }
    let decided = live.observe(&call, &headers, from).await;
    if let (Decision::Allowed(_), Some(outgrows)) = (decided, outgrows)
        && outgrows.await.is_ok()
    {
        live.observe_outgrown(&call, from);
    }
}
