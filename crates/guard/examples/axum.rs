//! A ticket service behind what `narrows snippet axum` prints for it, which a test keeps the same: `axum LISTEN`.
#![expect(clippy::disallowed_methods, reason = "a program reads files")]

#[path = "axum/tickets_guard.rs"]
mod tickets_guard;

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use narrows_guard::Identity;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).ok_or("usage: axum LISTEN")?;
    let guard = tickets_guard::guard(|| std::fs::read_to_string("assertion.jwt").ok())?;
    let app = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/tickets/{id}", get(async |who: Identity| who.subject().to_owned()))
        .layer(guard.layer(tickets_guard::sender));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await?;
    guard.stop().await;
    Ok(())
}
