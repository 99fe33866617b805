//! `/v1`, and AuthZEN's `/access/v1`: what operators, clients and data planes ask in JSON.
//!
//! Errors are problem details with a `reason`, lists are `{items, next}`, and what changes anything is on record
//! before it is answered.

pub(crate) mod authzen;
mod boundaries;
mod call;
mod caller;
mod connections;
mod decisions;
mod events;
mod explain;
mod feed;
mod guards;
mod leaks;
mod members;
mod openapi;
mod page;
mod problem;
mod question;
mod reports;
mod revocations;
mod sizes;
mod subjects;
mod tasks;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};

use crate::broker::Broker;
pub(crate) use caller::is_operator;
pub(crate) use feed::Streams;
use problem::Problem;

/// Every endpoint: its method, its path, what serves it. `api/openapi.json` describes each.
fn endpoints() -> Vec<(&'static str, &'static str, MethodRouter<Arc<Broker>>)> {
    vec![
        ("GET", "/openapi.json", get(openapi::show)),
        ("POST", "/revocations", post(revocations::add)),
        ("GET", "/revocations", get(revocations::list)),
        ("GET", "/revocations/stream", get(feed::stream)),
        ("POST", "/leaks", post(leaks::report)),
        ("POST", "/events", post(events::receive)),
        ("POST", "/boundaries/{name}/exchange", post(boundaries::exchange)),
        ("POST", "/boundaries/{name}/greet", post(boundaries::greet)),
        ("POST", "/boundaries/{name}/attributes", post(boundaries::attributes)),
        ("POST", "/boundaries/{name}/refusals", post(boundaries::refuse)),
        ("POST", "/boundaries/{name}/echoes", post(boundaries::echo)),
        ("POST", "/boundaries/{name}/alive", post(boundaries::alive)),
        ("POST", "/uses", post(guards::consume)),
        ("POST", "/guards/{service}/refusals", post(guards::refuse)),
        ("POST", "/guards/{service}/recheck", post(guards::recheck)),
        ("POST", "/guards/{service}/sightings", post(guards::sight)),
        ("POST", "/guards/{service}/places", post(guards::place)),
        ("GET", "/connections", get(connections::list)),
        ("POST", "/connections", post(connections::put)),
        ("DELETE", "/connections/{name}", delete(connections::remove)),
        ("POST", "/usage", post(usage::add)),
        ("GET", "/decisions/{id}", get(decisions::show)),
        ("GET", "/reports/graph", get(reports::graph::show)),
        ("GET", "/reports/observed", get(reports::observed::show)),
        ("GET", "/reports/unused", get(reports::unused::show)),
        ("POST", "/explain", post(explain::explain)),
        ("GET", "/subjects", get(subjects::list)),
        ("POST", "/subjects/{issuer}/{sub}/disable", post(subjects::disable)),
        ("POST", "/subjects/{issuer}/{sub}/enable", post(subjects::enable)),
        ("POST", "/subjects/{issuer}/{sub}/risk", post(subjects::risk)),
        ("GET", "/tasks", get(tasks::list)),
        ("GET", "/tasks/{id}", get(tasks::show)),
        ("POST", "/tasks/{id}/complete", post(tasks::complete)),
        ("POST", "/tasks/{id}/cancel", post(tasks::cancel)),
    ]
}

/// All of them, to be put under `/v1`.
pub(crate) fn routes() -> Router<Arc<Broker>> {
    together(endpoints())
}

fn together(endpoints: Vec<(&'static str, &'static str, MethodRouter<Arc<Broker>>)>) -> Router<Arc<Broker>> {
    let together = |router: Router<Arc<Broker>>, (_, path, serves): (_, &str, _)| router.route(path, serves);
    endpoints
        .into_iter()
        .fold(Router::new(), together)
        .fallback(nothing)
        .method_not_allowed_fallback(other_method)
}

async fn nothing() -> impl IntoResponse {
    Problem::NotFound.reply(None)
}

async fn other_method() -> impl IntoResponse {
    Problem::MethodNotAllowed.reply(None)
}
