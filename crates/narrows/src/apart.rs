//! Boundaries in a process of their own: no store and no signing key, and a broker elsewhere that decides.

mod counted;
mod metrics;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use boundary::Bodies;
use boundary::remote::{Remote, Replies};
use broker::{Meter, Observing, Tls};
use delegation::registry::TokenForm;
use delegation::time::Timestamp;
use fetch::Fetcher;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use narrows_guard::link::{Link, Place};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::assertion::ClientKey;
use crate::config::{self, Loaded, Process, RemoteBroker};
use crate::doors::{self, Doors, Failed, House};
use crate::stamps::Stamps;
use counted::Counted;
use metrics::{Metrics, Standing, Tally};

/// How often files are looked at, and what every ask needs is kept.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What signs assertions.
type Signs = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Running boundaries.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts the boundaries of the configuration in the files at `paths`. The broker need not be there yet.
pub(crate) async fn start(paths: Vec<PathBuf>) -> Result<Running, Failed> {
    let loaded = config::load_for(Process::DataPlane, &paths).map_err(|problems| problems.to_string())?;
    let seen = Stamps::of(&paths, &loaded);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let remote = asked(&loaded)?.clone();
    let signer = Arc::new(Signer {
        client: remote.client.to_string(),
        state: ArcSwap::from_pointee((Arc::clone(&remote.key), loaded.snapshot.issuer.clone())),
    });
    let signs = Arc::clone(&signer);
    let place = Place {
        issuer: loaded.snapshot.issuer.clone(),
        urls: remote.urls,
        client: remote.client,
        deadline: remote.deadline,
        max_age: loaded.settings.max_view_age,
    };
    let fetcher = Arc::new(Fetcher::new(loaded.fetch.clone())?);
    let assertion: Signs = Box::new(move || signs.assertion());
    let link = Arc::new(Link::new(place, fetcher, assertion).map_err(|error| format!("broker.urls: {error}"))?);
    let replies = Arc::new(Replies::new(Arc::clone(&link), Arc::clone(&loaded.snapshot)));
    link.tend().await;

    let (stop, stopped) = watch::channel(false);
    let mut house = House::of(&loaded, Meter::default(), stopped.clone())?;
    let tls = loaded.tls.clone().map(Tls::new);
    let tally = Tally::default();
    let doors = Doors::open(&mut house, &loaded.fronts, |front| {
        let name = &front.settings.name;
        Counted::new(Remote::new(Arc::clone(&replies), name.clone()), name.clone(), tally.clone())
    });
    let doors = doors.await?;
    let health = Arc::new(Health {
        link: Arc::clone(&link),
        started: Instant::now(),
        metrics: Metrics::new(&tally, &house.meter),
        bodies: house.bodies.clone(),
        config_version: ArcSwap::from_pointee(loaded.snapshot.config_version.clone()),
        refused_change: ArcSwap::from_pointee(None),
        observing: ArcSwap::from_pointee(config::observing(&loaded)),
    });
    if let Some(metrics) = loaded.metrics_listen {
        let listener = House::bind("metrics_listen", metrics).await?;
        tracing::info!(door = "metrics_listen", address = %listener.local_addr()?, "open");
        house.serve(listener, tls.clone(), Arc::clone(&health).routes());
    }
    let mut tasks = house.tasks;
    let followed = Followed {
        link,
        replies,
        signer,
        health,
        paths,
        loaded,
        tls,
        doors,
        seen,
    };
    tasks.push(tokio::spawn(followed.follow(stopped)));
    Ok(Running { stop, tasks })
}

impl Running {
    /// Lets open requests finish, and stops.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// The broker that is asked, if the boundaries are ones that this process can serve.
pub(crate) fn asked(loaded: &Loaded) -> Result<&RemoteBroker, String> {
    let mend = "is required here: `urls`, `client` and `key` of the broker that decides; where the broker runs, `narrows serve` has boundaries of its own";
    let remote = loaded.remote.as_ref().ok_or_else(|| format!("broker: {mend}"))?;
    if loaded.fronts.is_empty() {
        return Err("boundaries: there is none to serve; add a `[[boundaries]]` table".to_owned());
    }
    for (at, front) in loaded.fronts.iter().enumerate() {
        if front.client != remote.client {
            return Err(format!(
                "boundaries[{at}].client: `{}` acts as `{}`, and this process as `{}` (`broker.client`); give each client a process and a configuration of its own",
                front.settings.name, front.client, remote.client
            ));
        }
        let audiences = front.settings.table.services().iter().filter_map(|service| service.audience.as_ref());
        for audience in audiences {
            let form = loaded.snapshot.audiences.get(audience).map(|audience| audience.form);
            if form == Some(TokenForm::Opaque) {
                return Err(format!(
                    "boundaries[{at}].services: tokens for `{audience}` are opaque, so this process could not check what comes back; use `token = \"jwt\"` or `\"txn\"`, or serve it where the broker runs"
                ));
            }
        }
    }
    Ok(remote)
}

/// Signs with the key of now for the issuer of now.
struct Signer {
    client: String,
    state: ArcSwap<(Arc<ClientKey>, String)>,
}

impl Signer {
    fn assertion(&self) -> Option<String> {
        let state = self.state.load();
        let (key, issuer) = &**state;
        key.assertion(&self.client, issuer).ok()
    }
}

/// What is said of the process at `metrics_listen`.
struct Health {
    link: Arc<Link<Signs>>,
    started: Instant,
    metrics: Metrics,
    bodies: Bodies,
    config_version: ArcSwap<String>,
    refused_change: ArcSwap<Option<String>>,
    observing: ArcSwap<Vec<Observing>>,
}

impl Health {
    fn routes(self: Arc<Self>) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// What observes now.
    fn observing<'o>(&self, parts: &'o [Observing]) -> Vec<&'o Observing> {
        let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
        parts.iter().filter(|part| now < part.until).collect()
    }
}

/// 200 when requests can be decided, 503 otherwise. Peers on loopback are told what is in force.
async fn readyz(State(health): State<Arc<Health>>, Extension(peer): Extension<SocketAddr>) -> Response {
    let is_ready = health.link.is_ready();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let word = if is_ready { "ready" } else { "not ready" };
    if !peer.ip().is_loopback() {
        return (status, word).into_response();
    }
    let observing = health.observing.load();
    let observing: Vec<_> = health.observing(&observing).into_iter().map(Observing::shown).collect();
    let said = json!({
        "status": word,
        "broker": if is_ready { "ok" } else { "unavailable" },
        "config_version": *health.config_version.load_full(),
        "refused_change": *health.refused_change.load_full(),
        "observing": observing,
    });
    (status, Json(said)).into_response()
}

/// For anyone: the address of the listener is the protection.
async fn metrics(State(health): State<Arc<Health>>) -> Response {
    let observing = health.observing.load();
    let standing = Standing {
        is_reached: health.link.is_ready(),
        answer_age: health.link.answer_age().unwrap_or_else(|| health.started.elapsed()),
        is_change_refused: health.refused_change.load().is_some(),
        observing: health.observing(&observing),
        room: health.bodies.free(),
    };
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match health.metrics.text(&standing) {
        Ok(text) => ([(CONTENT_TYPE, media)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What follows its files.
struct Followed {
    link: Arc<Link<Signs>>,
    replies: Arc<Replies<Signs>>,
    signer: Arc<Signer>,
    health: Arc<Health>,
    paths: Vec<PathBuf>,
    /// What is in force.
    loaded: Loaded,
    tls: Option<Tls>,
    doors: Doors<Counted<Remote<Signs>>>,
    seen: Stamps,
}

impl Followed {
    /// Follows files, and keeps the link, until it is told to stop.
    async fn follow(mut self, mut stopped: watch::Receiver<bool>) {
        let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
        let mut tick = tokio::time::interval(LOOK_AGAIN);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let told = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let forced = tokio::select! {
                _ = tick.tick() => false,
                _ = told => true,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            tokio::select! {
                () = self.link.tend() => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            let now = Stamps::of(&self.paths, &self.loaded);
            if now == self.seen && !forced {
                continue;
            }
            // Stamped before the files are read: what is written from here on is a change again.
            self.seen = now;
            match self.reload() {
                Ok(loaded) => self.loaded = loaded,
                Err(why) => {
                    tracing::error!("the change is refused and the old state stays: {why}");
                    self.health.refused_change.store(Arc::new(Some(why)));
                }
            }
        }
    }

    fn reload(&self) -> Result<Loaded, String> {
        let loaded = config::load_for(Process::DataPlane, &self.paths).map_err(|problems| problems.to_string())?;
        doors::stay(&self.loaded, &loaded)?;
        if loaded.snapshot.issuer != self.loaded.snapshot.issuer {
            return Err("issuer: cannot change while the process runs; restart it".to_owned());
        }
        let (remote, before) = (asked(&loaded)?, asked(&self.loaded)?);
        if (&remote.urls, remote.deadline) != (&before.urls, before.deadline)
            || loaded.settings.max_view_age != self.loaded.settings.max_view_age
        {
            return Err("broker: addresses and times cannot change while the process runs; restart it".to_owned());
        }
        self.signer.state.store(Arc::new((Arc::clone(&remote.key), loaded.snapshot.issuer.clone())));
        self.replies.swap(Arc::clone(&loaded.snapshot));
        self.doors.swap(&loaded.fronts);
        if let (Some(tls), Some(identity)) = (&self.tls, loaded.tls.clone()) {
            tls.present(identity);
        }
        self.health.config_version.store(Arc::new(loaded.snapshot.config_version.clone()));
        self.health.refused_change.store(Arc::new(None));
        self.health.observing.store(Arc::new(config::observing(&loaded)));
        tracing::info!(config = loaded.snapshot.config_version, "in force");
        Ok(loaded)
    }
}
