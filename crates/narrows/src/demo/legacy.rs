//! A backend from before: it looks at nobody's token, answers everybody, and keeps what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::any;
use axum::{Json, Router};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Failure;

/// The headers of every request that came.
type Seen = Arc<Mutex<Vec<HeaderMap>>>;

/// The running backend.
pub(super) struct Legacy {
    pub(super) address: SocketAddr,
    seen: Seen,
    task: JoinHandle<()>,
}

impl Legacy {
    /// Starts it on a free port of loopback.
    pub(super) async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, seen) = (listener.local_addr()?, Seen::default());
        let routes = Router::new().fallback(any(answer)).with_state(Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { address, seen, task })
    }

    pub(super) fn stop(self) {
        self.task.abort();
    }

    /// How many requests came.
    pub(super) fn count(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The headers of the last one.
    pub(super) fn last(&self) -> HeaderMap {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).last().cloned().unwrap_or_default()
    }
}

async fn answer(State(seen): State<Seen>, headers: HeaderMap) -> Json<Value> {
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(headers);
    Json(json!({ "owner": "A. Customer" }))
}
