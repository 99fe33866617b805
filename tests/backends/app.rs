//! A backend with axum: it says who asks, and what it was sent.

mod tickets_guard;

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use narrows_guard::Identity;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guard = tickets_guard::guard(|| Some("signed".to_owned()))?;
    let app = Router::new().fallback(served).layer(guard.layer(tickets_guard::sender));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await?;
    guard.stop().await;
    Ok(())
}

async fn served(who: Option<Identity>, body: Bytes) -> String {
    let who = who.map_or_else(String::new, |who| {
        format!("\"subject\": {:?}, \"route\": {:?}, ", who.subject(), who.needs().route)
    });
    format!("{{{who}\"length\": {}}}", body.len())
}
