//! What a guard of this process says, in line for the log: no request waits for it.

use std::sync::Arc;
use std::time::Duration;

use broker::guards::{self, Claims, Compared, RefusedCall, Told};
use broker::store::StoreUnavailable;
use delegation::chain::Actor;
use delegation::details::Detail;
use narrows_guard::broker::{Refused, SeenTwice};
use narrows_guard::spool::Spool;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{Who, request_line};

/// So many refusals are written at a time: those of strangers are counted, and a commit costs its sync, however much is in it.
const MANY: usize = 4 * guards::MOST;
/// How long the writer waits after the log could not be written.
const PAUSE: Duration = Duration::from_millis(500);

/// A line, which is written until its holder is gone.
#[derive(Debug)]
pub(super) struct Line {
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    who: Arc<Who>,
    spool: Spool<Box<RefusedCall>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Line {
    pub(super) fn start(who: Arc<Who>) -> Self {
        let shared = Arc::new(Shared {
            who,
            spool: Spool::default(),
        });
        let writer = tokio::spawn(write(Arc::clone(&shared)));
        Self { shared, writer }
    }

    /// Returns at once.
    pub(super) fn refused(&self, refused: &Refused) {
        put(&self.shared.spool, refused);
    }

    /// Returns at once.
    pub(super) fn seen_twice(&self, sighting: SeenTwice) {
        self.shared.spool.put_sighting(sighting);
    }

    /// Waits until all that was said before is written.
    pub(super) async fn flush(&self) {
        emptied(&self.shared).await;
    }
}

fn put(spool: &Spool<Box<RefusedCall>>, refused: &Refused) {
    let call = Box::new(call(refused));
    let size = size(&call);
    spool.put(refused, call, size);
}

async fn write(shared: Arc<Shared>) {
    loop {
        shared.spool.news.notified().await;
        emptied(&shared).await;
    }
}

/// Writes all that waits, however long that takes.
async fn emptied(shared: &Shared) {
    while empty(shared).await.is_err() {
        tracing::warn!(service = shared.who.service, "refusals are not on record yet");
        sleep(PAUSE).await;
    }
}

/// Writes all that waits, or as much of it as the log takes.
async fn empty(Shared { who, spool }: &Shared) -> Result<(), StoreUnavailable> {
    let _turn = spool.turn.lock().await;
    while let Some(batch) = spool.batch(MANY, usize::MAX) {
        // Each is found again by its id, so that what is on record already is not written twice.
        let calls: Vec<_> = batch.refusals.iter().map(|call| RefusedCall::clone(call)).collect();
        guards::refused(&who.broker, &who.guard(), &calls, batch.lost, Told::Here).await?;
        spool.delivered(&batch);
    }
    while let Some(sighting) = spool.sighting() {
        if guards::seen_twice(&who.broker, &who.guard(), &seen(&sighting)).await.is_err() {
            tracing::warn!(service = who.service, "a token that was seen twice is not on record");
        }
    }
    Ok(())
}

fn seen(sighting: &SeenTwice) -> guards::SeenTwice {
    guards::SeenTwice {
        jti: sighting.jti.clone(),
        exp: sighting.exp,
        iat: Some(sighting.iat),
        first: sighting.first,
        second: sighting.second,
    }
}

/// A refusal as the log takes it.
fn call(refused: &Refused) -> RefusedCall {
    RefusedCall {
        decision_id: refused.decision_id.clone(),
        at: refused.at,
        reason: refused.reason,
        request: refused.request.as_ref().map(request_line),
        from: refused.from,
        claims: refused.claims.as_ref().map(|claims| Claims {
            audience: claims.audiences.first().cloned().unwrap_or_default(),
            jti: claims.jti.clone(),
            sub: claims.sub.clone(),
            subject: Some((claims.subject.iss.clone(), claims.subject.sub.clone())),
            client: claims.client.clone(),
            exp: claims.exp,
            iat: claims.iat,
            task: claims.task.clone(),
            txn: Some(claims.txn.clone()),
            actors: claims.act.iter().flat_map(|act| act.iter().cloned()).collect(),
            ancestors: claims.ancestors().to_vec(),
            authority: claims.authority.clone(),
            undeclared: Vec::new(),
        }),
        compared: refused.compared.as_ref().map(|compared| {
            let all = compared.to_json();
            let texts = |name: &str| {
                let list = all.get(name).and_then(Value::as_array).into_iter().flatten();
                list.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            Compared {
                required: texts("required"),
                presented: texts("presented"),
                surplus: texts("surplus"),
            }
        }),
        cause: refused.cause.map(str::to_owned),
        observed: refused.observed,
    }
}

/// About so many bytes are kept of it.
fn size(call: &RefusedCall) -> usize {
    let request = call.request.iter().flat_map(|line| [line.method.len(), line.host.len(), line.path.len()]);
    let claims = call.claims.iter().flat_map(|claims| {
        let (iss, sub) = claims.subject.as_ref().map_or((0, 0), |(iss, sub)| (iss.len(), sub.len()));
        let [task, txn] = [&claims.task, &claims.txn].map(|text| text.as_ref().map_or(0, String::len));
        let actors = claims.actors.iter().map(|actor| size_of::<Actor>() + actor.iss.len() + actor.sub.len()).sum();
        let ancestors = claims.ancestors.iter().map(|entry| size_of::<String>() + entry.len()).sum();
        let details = claims.authority.details.iter().map(|detail| size_of::<Detail>() + detail.to_string().len()).sum();
        let scopes = claims.authority.scopes.iter().map(|scope| size_of::<String>() + scope.as_str().len()).sum();
        let known = [claims.jti.len(), claims.sub.len(), claims.audience.len(), iss, sub, task, txn];
        known.into_iter().chain([actors, ancestors, details, scopes])
    });
    let compared = call.compared.iter().flat_map(|compared| {
        let lists = [&compared.required, &compared.presented, &compared.surplus];
        lists.map(|list| list.iter().map(|text| size_of::<String>() + text.len()).sum())
    });
    let cause = call.cause.iter().map(String::len);
    let texts: usize = request.chain(claims).chain(compared).chain(cause).sum();
    size_of::<RefusedCall>() + call.decision_id.len() + texts
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use delegation::oauth::Reason;
    use delegation::time::Timestamp;
    use narrows_guard::broker::{Line, Refused};
    use narrows_guard::spool::{MOST_OF_STRANGERS, Spool};

    use super::put;

    #[test]
    fn what_waits_for_the_log_is_bounded_by_its_bytes() {
        let spool = Spool::default();
        let line = Line {
            method: "GET".to_owned(),
            host: "tickets.internal".to_owned(),
            path: "/".repeat(8 * 1024),
        };
        let long = Refused {
            decision_id: "d-1".to_owned(),
            at: Timestamp::from_seconds(1),
            reason: Reason::NoToken,
            request: Some(line),
            from: Ipv4Addr::LOCALHOST.into(),
            claims: None,
            compared: None,
            cause: None,
            observed: false,
        };
        for _ in 0..1000 {
            put(&spool, &long);
        }
        let (waiting, lost) = spool.count();
        let most = MOST_OF_STRANGERS / (8 * 1024);
        assert!(
            (most * 9 / 10..most).contains(&waiting) && lost == 1000 - waiting as u64,
            "{waiting} {lost}"
        );
    }
}
