//! `POST /v1/usage`: what guards elsewhere have added up.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use serde_json::json;

use super::call::{Call, reply};
use super::caller::Caller;
use super::problem::Problem;
use super::sizes;
use crate::broker::Broker;
use crate::usage::{self, UsageError};

/// Keeps a batch of sums.
pub(crate) async fn add(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let kept = keep(&mut call).await;
    call.answer(kept).await
}

async fn keep(call: &mut Call) -> Result<Response, Problem> {
    let Caller::Client { id, is_data_plane: true } = call.caller().await? else {
        return Err(Problem::NotPermitted);
    };
    let batch = call.body_of(sizes::SUMS).await?;
    usage::keep(&call.broker, &id, batch).await?;
    Ok(reply(StatusCode::OK, &json!({ "accepted": true })))
}

impl From<UsageError> for Problem {
    fn from(error: UsageError) -> Self {
        match error {
            UsageError::Malformed(detail) => Self::Malformed(detail),
            UsageError::NotPermitted => Self::NotPermitted,
            UsageError::Busy => Self::RateLimited,
            UsageError::Store(_) => Self::StoreUnavailable,
        }
    }
}
