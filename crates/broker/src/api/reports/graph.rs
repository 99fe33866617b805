//! `GET /v1/reports/graph`: who handed authority to whom, at which boundary, how often, and what was refused.
//!
//! The log is read a page at a time, on connections that read, and only sums are kept of it: however much is on record, a report
//! holds no more than its bounds.

mod addressed;
mod forwarded;
mod line;
mod sums;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::super::call::{Call, reply};
use super::super::problem::Problem;
use super::window;
use crate::broker::Broker;
use crate::operator::Role;
use crate::overload::Overloaded;
use addressed::Addressed;
use forwarded::Forwarded;
use line::Line;
use sums::Sums;

/// How many records are looked at; of more, the newest.
const MOST: i64 = 200_000;
/// And how many at a time.
const PAGE: i64 = 500;

/// Gives the graph.
pub(crate) async fn show(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let drawn = draw(&mut call).await;
    call.answer(drawn).await
}

async fn draw(call: &mut Call) -> Result<Response, Problem> {
    call.caller().await?.must_be(Role::Auditor)?;
    let window = window(&call.query(&["since", "until"])?, call.moment.now.millis())?;
    let places = call.broker.store().places(*window.start(), *window.end()).await?;
    let mut next = places.start.max(places.end.saturating_sub(MOST));
    let passed_over = next - places.start;
    let addressed = Addressed::of(&call.moment.snapshot);
    let (mut sums, mut forwarded, mut records) = (Sums::default(), Forwarded::default(), 0_u64);
    while next < places.end {
        let page = {
            // Each page is work like a decision, and takes no more of a turn than one.
            let _turn = call.broker.gate().enter().await.map_err(|Overloaded| Problem::RateLimited)?;
            call.broker.store().records(next, PAGE.min(places.end - next)).await?
        };
        if page.is_empty() {
            break;
        }
        next += i64::try_from(page.len()).unwrap_or(PAGE);
        // What cannot be read as a record, nothing is said about; `audit verify` would find it.
        let lines = page.iter().filter_map(|body| serde_json::from_str::<Line>(body).ok());
        for line in lines.filter(|line| window.contains(&line.time) && !line.is_observed() && !line.is_question()) {
            records += 1;
            let from = forwarded.handed_on(&line, &addressed);
            sums.add(&line, from);
            forwarded.follow(&line, &addressed);
        }
        tokio::task::yield_now().await;
    }
    let mut graph = json!({
        "since": window.start(), "until": window.end(), "records": records, "passed_over": passed_over,
        "nodes": sums.nodes(&addressed),
        "forwarded": forwarded.to_json(),
        "not_followed": forwarded.not_followed(),
    });
    if let (Some(members), Value::Object(more)) = (graph.as_object_mut(), sums.to_json()) {
        members.extend(more);
    }
    Ok(reply(StatusCode::OK, &graph))
}
