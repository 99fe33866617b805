//! `GET /v1/reports/unused`: who holds more than is used, and what to paste so that they do not.
//!
//! What was granted is in the log, what was used is known to guards alone. Where none reports nothing is said to be unused.

mod asked;
mod case;
mod item;
mod mend;
mod minted;
mod used;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use serde_json::json;

use super::super::call::{Call, reply};
use super::super::page;
use super::super::problem::Problem;
use super::rule_ids::RuleIds;
use super::window;
use crate::broker::Broker;
use crate::operator::Role;
use crate::overload::Overloaded;
use crate::store::{DAY, KEPT};
use asked::Boundaries;
use minted::{Line, Minted};
use used::Usage;

/// How many records are looked at; of more, the newest.
const MOST: i64 = 200_000;
/// And how many at a time.
const PAGE: i64 = 500;

/// Compares what was granted with what was used from `since` to `until`, of `client` and for `audience` or at all.
pub(crate) async fn show(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let shown = report(&mut call).await;
    call.answer(shown).await
}

async fn report(call: &mut Call) -> Result<Response, Problem> {
    call.caller().await?.must_be(Role::Auditor)?;
    let query = call.query(&["since", "until", "client", "audience"])?;
    let asked = window(&query, call.moment.now.millis())?;
    let (client, audience) = (page::value(&query, "client"), page::value(&query, "audience"));
    // Nobody is called so, and it would be read as all by some.
    if client == Some("") {
        return Err(Problem::Malformed("`client` is empty: name one, or leave it out for all"));
    }
    if audience == Some("") {
        return Err(Problem::Malformed("`audience` is empty: name one, or leave it out for all"));
    }
    // Days are whole, for the log as for what guards reported, and older ones are forgotten.
    let oldest = call.moment.now.millis() / DAY - KEPT;
    let days = (*asked.start() / DAY).max(oldest)..=*asked.end() / DAY;
    let window = days.start().saturating_mul(DAY)..=days.end().saturating_mul(DAY).saturating_add(DAY - 1);

    // 1. What was used.
    let store = call.broker.store();
    let facts = {
        let _turn = call.broker.gate().enter().await.map_err(|Overloaded| Problem::RateLimited)?;
        store.usage(&days, client, audience).await?
    };
    let usage = Usage::of(facts);

    // 2. What was granted.
    let places = store.places(*window.start(), *window.end()).await?;
    let mut next = places.start.max(places.end.saturating_sub(MOST));
    let passed_over = next - places.start;
    let (mut minted, mut records) = (Minted::default(), 0_u64);
    while next < places.end {
        let page = {
            // Each page is work like a decision, and takes no more of a turn than one.
            let _turn = call.broker.gate().enter().await.map_err(|Overloaded| Problem::RateLimited)?;
            store.records(next, PAGE.min(places.end - next)).await?
        };
        if page.is_empty() {
            break;
        }
        next += i64::try_from(page.len()).unwrap_or(PAGE);
        // What cannot be read as a record, nothing is said about; `audit verify` would find it.
        let lines = page.iter().filter_map(|body| serde_json::from_str::<Line>(body).ok());
        for line in lines.filter(|line| window.contains(&line.time)) {
            records += 1;
            minted.follow(&line);
            let is_asked = |asked: Option<&str>, found: &str| asked.is_none_or(|asked| asked == found);
            // What is for us is used here, and no guard sees it.
            if line.audience != call.moment.snapshot.issuer && is_asked(client, &line.client) && is_asked(audience, &line.audience) {
                minted.add(&line, &usage);
            }
        }
        tokio::task::yield_now().await;
    }

    // 3. The one beside the other.
    let is_whole = passed_over == 0 && minted.is_whole();
    let ids = RuleIds::beside(&call.in_force.policy);
    let routes = call.broker.routes();
    let boundaries = Boundaries {
        asking: &call.in_force.boundaries,
        routes: &routes,
    };
    let items = item::all(&usage, &minted, &call.moment.snapshot, (&ids, boundaries), is_whole);
    let lifetimes = item::lifetimes(&usage, client.is_none());
    let body = json!({
        "items": items, "next": null, "since": window.start(), "until": window.end(), "records": records, "passed_over": passed_over,
        "complete": usage.complete, "reporting": usage.reporting(), "lifetimes": lifetimes,
    });
    Ok(reply(StatusCode::OK, &body))
}
