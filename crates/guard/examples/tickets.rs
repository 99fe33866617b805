//! A ticket service that checks for itself: `tickets LISTEN BROKER ASSERTION_FILE`.
#![expect(clippy::disallowed_methods, reason = "a program reads files")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Path};
use axum::routing::get;
use fetch::{FetchSettings, Fetcher};
use narrows_guard::delegation::details::{ActionRule, DetailType, DetailTypes, IdentifierRule};
use narrows_guard::delegation::oauth::{AudienceId, ClientId};
use narrows_guard::link::{Link, Place};
use narrows_guard::live::{self, Live, Modes, Recheck};
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::{Route, Service};
use narrows_guard::surplus::Excess;
use narrows_guard::{Clock, Identity, Sender, Settings};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [listen, broker, assertion] = arguments.as_slice() else {
        return Err("usage: tickets LISTEN BROKER ASSERTION_FILE".into());
    };

    // 1. The way to the broker. Whatever signs for our client writes the file anew before its assertion ends.
    let place = Place {
        issuer: broker.trim_end_matches('/').to_owned(),
        urls: vec![broker.parse()?],
        client: ClientId::parse("tickets")?,
        deadline: Duration::from_millis(500),
        max_age: Duration::from_secs(5),
    };
    let fetcher = Arc::new(Fetcher::new(FetchSettings::default())?);
    let file = assertion.clone();
    let link = Link::new(place, fetcher, move || std::fs::read_to_string(&file).ok())?;

    // 2. What the guard checks. From its start on it keeps itself.
    let types = types();
    let settings = Settings {
        service: Service {
            name: "tickets".to_owned(),
            hosts: vec![HostPattern::parse("tickets.internal")?],
            audience: Some(AudienceId::parse("https://tickets.internal")?),
            routes: vec![
                Route::written("GET /healthz", "public", &types)?,
                Route::written("GET /tickets/{id}", "ticket:read/{id}", &types)?,
            ],
        },
        types,
        issuer: link.place().issuer.clone(),
        audience: AudienceId::parse("https://tickets.internal")?,
        max_lifetime: Duration::from_secs(300),
        max_chain: 8,
        max_age: Duration::from_secs(5),
        sender: Sender::None,
        single_use: false,
        excess: Excess::SameResource,
        fixed: BTreeMap::new(),
    };
    let settings = live::Settings {
        guard: settings,
        recheck: Recheck::Never,
        modes: Modes::default(),
        clock: Clock::machine(),
    };
    let guard = Live::start(settings, link)?;

    // 3. The service, which never sees a request that is not allowed.
    let service = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/tickets/{id}", get(ticket))
        .layer(guard.layer(|parts| parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, service.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await?;

    // 4. What the broker does not know yet of refusals and of what was used.
    guard.stop().await;
    Ok(())
}

async fn ticket(Path(id): Path<String>, who: Identity) -> String {
    let actors: Vec<_> = who.actors().collect();
    format!("ticket {id} for {}, asked by {}", who.subject(), actors.join(", "))
}

/// Tickets can be read, each by its number.
fn types() -> DetailTypes {
    let read = ActionRule {
        identifier: IdentifierRule::Required,
        constraints: BTreeSet::new(),
    };
    let ticket = DetailType {
        name: "ticket".to_owned(),
        entity: "Ticket".to_owned(),
        actions: BTreeMap::from([("read".to_owned(), read)]),
        constraints: BTreeMap::new(),
    };
    [ticket].into_iter().collect()
}
