//! A sample identity provider: it signs what a real one would, and asks for no password.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Failure;
use crate::assertion::ClientKey;

/// The running provider.
pub(super) struct Provider {
    pub(super) issuer: String,
    task: JoinHandle<()>,
}

struct Inner {
    issuer: String,
    key: ClientKey,
}

/// Starts it on a free port of loopback.
pub(super) async fn start() -> Result<Provider, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let issuer = format!("http://{}", listener.local_addr()?);
    let (key, _) = ClientKey::generate()?;
    let inner = Arc::new(Inner {
        issuer: issuer.clone(),
        key,
    });
    let routes = Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/jwks", get(jwks))
        .route("/token/{user}", get(token))
        .with_state(inner);
    let task = tokio::spawn(async move {
        let _ = axum::serve(listener, routes).await;
    });
    Ok(Provider { issuer, task })
}

impl Provider {
    pub(super) fn stop(self) {
        self.task.abort();
    }

    /// A token of `user`, for the edge.
    pub(super) async fn token(&self, user: &str) -> Result<String, Failure> {
        token_for(&self.issuer, user).await
    }
}

/// A token of `user` from the provider at `issuer`.
pub(super) async fn token_for(issuer: &str, user: &str) -> Result<String, Failure> {
    let response = reqwest::get(format!("{issuer}/token/{user}")).await?;
    Ok(response.error_for_status().map_err(|_| "there are alice and bob")?.text().await?)
}

async fn metadata(State(inner): State<Arc<Inner>>) -> Json<Value> {
    Json(json!({ "issuer": inner.issuer, "jwks_uri": format!("{}/jwks", inner.issuer) }))
}

async fn jwks(State(inner): State<Arc<Inner>>) -> Json<Value> {
    Json(inner.key.jwks())
}

async fn token(State(inner): State<Arc<Inner>>, Path(user): Path<String>) -> Result<String, http::StatusCode> {
    let groups = match user.as_str() {
        "alice" => json!(["support"]),
        "bob" => json!(["sales"]),
        _ => return Err(http::StatusCode::NOT_FOUND),
    };
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({
        "iss": inner.issuer, "sub": user, "aud": "https://edge.example", "iat": now, "exp": now + 3600,
        "jti": uuid::Uuid::now_v7().to_string(), "client_id": "web-shop", "scope": "shop", "groups": groups,
    });
    inner.key.sign("at+jwt", &claims).map_err(|_| http::StatusCode::INTERNAL_SERVER_ERROR)
}
