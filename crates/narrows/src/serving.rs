//! A broker that runs: started from a configuration, and following its files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use boundary::Boundary;
use boundary::proxy::Upstreams;
use broker::{Broker, InForce, Listener, Tls};
use fetch::Fetcher;
use policy_cedar::CedarPolicy;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{self, Front, Loaded};
use crate::in_process::InProcess;

/// How often files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often it is asked what other processes revoked.
const FOLLOW: Duration = Duration::from_millis(200);

/// When each file was written last, and its length; nothing for one that is not there.
type Stamps = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// A running broker.
pub(crate) struct Running {
    pub(crate) broker: Arc<Broker>,
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// The policies of a configuration, loaded and validated.
pub(crate) fn in_force(loaded: &Loaded) -> Result<InForce, policy_cedar::LoadError> {
    let policy = CedarPolicy::load(&loaded.snapshot, &loaded.policies, &loaded.timezone, loaded.policy_version.clone())?;
    Ok(InForce {
        snapshot: Arc::clone(&loaded.snapshot),
        policy,
        rates: loaded.rates,
        introspection: loaded.introspection.clone(),
    })
}

/// Starts a broker from the files at `paths`.
pub(crate) async fn start(paths: Vec<PathBuf>) -> Result<Running, Box<dyn std::error::Error + Send + Sync>> {
    let loaded = config::load(&paths).map_err(|problems| problems.to_string())?;
    let seen = fingerprint(&paths, &loaded);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let fetcher = Fetcher::new(loaded.fetch.clone())?;
    let listener = TcpListener::bind(loaded.listen)
        .await
        .map_err(|error| format!("listen: `{}`: {error}", loaded.listen))?;
    let address = listener.local_addr()?;
    let broker = Broker::start(loaded.settings.clone(), in_force(&loaded)?, loaded.keys.clone(), fetcher).await?;
    let tls = loaded.tls.clone().map(Tls::new);
    let connections = loaded.settings.connections;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = Vec::new();
    if let Some(metrics) = loaded.metrics_listen {
        let listener = TcpListener::bind(metrics).await.map_err(|error| format!("metrics_listen: `{metrics}`: {error}"))?;
        let routes = broker::metrics_routes(&broker);
        tasks.push(tokio::spawn(broker::serve(
            Arc::clone(&broker),
            Listener::new(listener, tls.clone(), connections),
            routes,
            until(stopped.clone()),
        )));
    }
    broker.set_observing(config::observing(&loaded.fronts));
    let fronts = fronts(&broker, &loaded, connections, &stopped, &mut tasks).await?;
    let routes = broker::routes(&broker, loaded.metrics_listen.is_none());
    tasks.push(tokio::spawn(broker::serve(
        Arc::clone(&broker),
        Listener::new(listener, tls.clone(), connections),
        routes,
        until(stopped.clone()),
    )));
    tasks.push(tokio::spawn(follow(Arc::clone(&broker), paths, loaded, tls, fronts, seen, stopped)));
    Ok(Running {
        broker,
        address,
        stop,
        tasks,
    })
}

impl Running {
    /// Lets open requests finish, writes what waits, and stops.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
        self.broker.close().await;
    }
}

/// The boundaries, by name.
type Fronts = BTreeMap<String, Arc<Boundary<InProcess>>>;

/// Opens the doors of every boundary.
async fn fronts(
    broker: &Arc<Broker>,
    loaded: &Loaded,
    connections: usize,
    stopped: &watch::Receiver<bool>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<Fronts, Box<dyn std::error::Error + Send + Sync>> {
    let mut fronts = BTreeMap::new();
    let upstreams = Upstreams::new()?;
    for front in &loaded.fronts {
        let name = front.settings.name.clone();
        let exchanger = InProcess {
            broker: Arc::clone(broker),
            boundary: name.clone(),
            client: front.client.clone(),
        };
        let boundary = Arc::new(Boundary::new(front.settings.clone(), exchanger));
        let doors = [
            (
                "proxy",
                front.proxy,
                boundary::proxy::routes(Arc::clone(&boundary), upstreams.clone()),
            ),
            (
                "ext_authz_grpc",
                front.ext_authz_grpc,
                boundary::ext_authz::grpc::routes(Arc::clone(&boundary)),
            ),
            (
                "ext_authz_http",
                front.ext_authz_http,
                boundary::ext_authz::http::routes(Arc::clone(&boundary)),
            ),
            (
                "forward_auth",
                front.forward_auth,
                boundary::forward_auth::routes(Arc::clone(&boundary)),
            ),
        ];
        for (door, address, routes) in doors {
            let Some(address) = address else { continue };
            let listener = TcpListener::bind(address).await;
            let listener = listener.map_err(|error| format!("boundary `{name}`, {door}: `{address}`: {error}"))?;
            tracing::info!(boundary = name, door, address = %listener.local_addr()?, "open");
            tasks.push(tokio::spawn(broker::serve(
                Arc::clone(broker),
                Listener::new(listener, None, connections),
                routes,
                until(stopped.clone()),
            )));
        }
        fronts.insert(name, boundary);
    }
    Ok(fronts)
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// What it is time for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// Keys, standing and files.
    Tick,
    /// Revocations alone.
    Often,
    /// The same as a tick, and files are read whether they changed or not.
    Hangup,
}

/// Follows files, standing and keys until it is told to stop.
async fn follow(
    broker: Arc<Broker>,
    paths: Vec<PathBuf>,
    loaded: Loaded,
    tls: Option<Tls>,
    fronts: Fronts,
    mut seen: Stamps,
    mut stopped: watch::Receiver<bool>,
) {
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
    let mut tick = tokio::time::interval(LOOK_AGAIN);
    let mut often = tokio::time::interval(FOLLOW);
    let mut watched = loaded;
    loop {
        let told = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let wake = tokio::select! {
            _ = tick.tick() => Wake::Tick,
            _ = often.tick() => Wake::Often,
            _ = told => Wake::Hangup,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        if wake == Wake::Often {
            broker.follow().await;
            continue;
        }
        let forced = wake == Wake::Hangup;
        broker.tend().await;
        let now = fingerprint(&paths, &watched);
        if now == seen && !forced {
            continue;
        }
        // Stamped before the files are read: what is written from here on is a change again. Files that are named for
        // the first time have no stamp yet, and so are looked at once more.
        seen = now;
        match reload(&broker, &paths, &watched, tls.as_ref(), &fronts).await {
            Ok(loaded) => watched = loaded,
            Err(why) => {
                tracing::error!("the change is refused and the old state stays: {why}");
                broker.refuse_change(why);
            }
        }
    }
}

async fn reload(broker: &Broker, paths: &[PathBuf], watched: &Loaded, tls: Option<&Tls>, fronts: &Fronts) -> Result<Loaded, String> {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let running = broker.settings();
    let fixed = [
        ("store", loaded.settings.store == running.store),
        ("key_file", loaded.settings.key_files == running.key_files),
        ("limits.connections", loaded.settings.connections == running.connections),
        ("listen", loaded.listen == watched.listen),
        ("metrics_listen", loaded.metrics_listen == watched.metrics_listen),
    ];
    if let Some((key, _)) = fixed.iter().find(|(_, same)| !same) {
        return Err(format!("{key}: cannot change while the broker runs; restart it"));
    }
    let doors = |loaded: &Loaded| -> Vec<_> {
        let door = |front: &Front| {
            let addresses = [front.proxy, front.ext_authz_grpc, front.ext_authz_http, front.forward_auth];
            (front.settings.name.clone(), front.client.clone(), addresses)
        };
        loaded.fronts.iter().map(door).collect()
    };
    if doors(&loaded) != doors(watched) {
        return Err("boundaries: name, client and addresses cannot change while the broker runs; restart it".to_owned());
    }
    // A line lost while editing must not turn a listener that is in use into plain HTTP.
    if loaded.tls.is_some() != tls.is_some() {
        return Err("tls: cannot be added or taken away while the broker runs; restart it".to_owned());
    }
    let in_force = in_force(&loaded).map_err(|error| error.to_string())?;
    let swapped = broker.swap(loaded.settings.clone(), in_force, loaded.keys.clone()).await;
    swapped.map_err(|error| error.to_string())?;
    for front in &loaded.fronts {
        if let Some(boundary) = fronts.get(&front.settings.name) {
            boundary.swap(front.settings.clone());
        }
    }
    broker.set_observing(config::observing(&loaded.fronts));
    if let (Some(tls), Some(identity)) = (tls, loaded.tls.clone()) {
        tls.present(identity);
    }
    tracing::info!(policy = loaded.policy_version, config = loaded.snapshot.config_version, "in force");
    Ok(loaded)
}

/// What tells that a file changed: all that were read, and all that the patterns of policies find now.
fn fingerprint(paths: &[PathBuf], loaded: &Loaded) -> Stamps {
    let mut files: Vec<_> = paths.iter().chain(&loaded.watched).cloned().collect();
    for pattern in &loaded.patterns {
        files.extend(glob::glob(pattern).into_iter().flatten().flatten());
    }
    files.sort();
    files.dedup();
    let stamp = |path: &PathBuf| std::fs::metadata(path).ok().and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
    files.into_iter().map(|path| (path.clone(), stamp(&path))).collect()
}
