//! `GET /v1/reports/observed`: what boundaries and guards that only observe would have refused, and what would let it through.

mod covered;
mod groups;
mod guards;
mod mend;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::api::call::{Call, reply};
use crate::api::page;
use crate::api::problem::Problem;
use crate::api::reports::rule_ids::RuleIds;
use crate::api::reports::window;
use crate::broker::Broker;
use crate::operator::Role;
use crate::overload::Overloaded;
use covered::Today;
use groups::Groups;

/// Groups what would have been refused from `since` to `until`, at `boundary`, at the guards of `service`, or at all. One that is not known
/// is 404: that nothing was refused at one that is misspelt would be read as good news.
pub(crate) async fn show(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let shown = report(&mut call).await;
    call.answer(shown).await
}

async fn report(call: &mut Call) -> Result<Response, Problem> {
    call.caller().await?.must_be(Role::Auditor)?;
    let query = call.query(&["since", "until", "boundary", "service"])?;
    let window = window(&query, call.moment.now.millis())?;
    let (boundary, service) = (page::value(&query, "boundary"), page::value(&query, "service"));
    let boundaries: Vec<_> = call.in_force.boundaries.keys().collect();
    let guarded = call.in_force.guards.iter().filter(|(_, guarded)| !guarded.clients.is_empty());
    let services: Vec<_> = guarded.map(|(service, _)| service).collect();
    let is_unknown = |asked: Option<&str>, known: &[&String]| asked.is_some_and(|asked| known.iter().all(|known| *known != asked));
    if is_unknown(boundary, &boundaries) || is_unknown(service, &services) {
        return Err(Problem::NotFound);
    }
    if boundary.is_some() && service.is_some() {
        return Err(Problem::Malformed("one of `boundary` and `service`: nothing is refused at both"));
    }
    let store = call.broker.store();
    let mut stretch = store.observed_in(&window).await?;
    let mut groups = Groups::default();
    loop {
        let found = {
            // A look through a part of the log is work like a decision, and takes no more of a turn than one.
            let _turn = call.broker.gate().enter().await.map_err(|Overloaded| Problem::RateLimited)?;
            store.observed(&mut stretch).await?
        };
        let Some(records) = found else { break };
        for record in records {
            let record: Value = serde_json::from_str(&record).unwrap_or_default();
            let is_at = |asked: Option<&str>, place: &str| asked.is_none_or(|asked| asked == place);
            let is_asked = is_at(boundary, record.get("boundary").and_then(Value::as_str).unwrap_or_default())
                && is_at(service, guards::service(&record));
            let is_within = record.get("time").and_then(Value::as_i64).is_some_and(|time| window.contains(&time));
            if is_within && is_asked {
                groups.add(record);
            }
        }
    }
    let today = Today {
        snapshot: &call.moment.snapshot,
        policy: &call.in_force.policy,
        routes: &call.broker.routes(),
        ids: RuleIds::beside(&call.in_force.policy),
    };
    let (items, others) = groups.told(&today);
    let body = json!({
        "items": items, "next": null, "since": window.start(), "until": window.end(), "complete": stretch.complete, "others": others,
        "boundaries": boundaries, "services": services,
    });
    Ok(reply(StatusCode::OK, &body))
}
