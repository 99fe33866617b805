//! A broker that runs: started from a configuration, and following its files.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, InForce, Routed, Tls};
use delegation::oauth::ClientId;
use fetch::Fetcher;
use narrows_guard::route::Table;
use policy_cedar::CedarPolicy;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{self, Backend, Front, Loaded, Post};
use crate::doors::{self, Doors, Failed, House};
use crate::in_process::InProcess;
use crate::in_process_guard::InProcessGuard;
use crate::posts::Posts;
use crate::stamps::Stamps;

/// How often files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often it is asked what other processes revoked.
const FOLLOW: Duration = Duration::from_millis(200);

/// A running broker.
pub(crate) struct Running {
    pub(crate) broker: Arc<Broker>,
    pub(crate) address: SocketAddr,
    posts: Arc<Posts<InProcessGuard>>,
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
        boundaries: loaded.fronts.iter().map(|front| (front.settings.name.clone(), front.asking())).collect(),
        guards: loaded.guarded.clone(),
        connections: loaded.connections.clone(),
    })
}

/// The clients that boundaries and guards act as.
fn acting(loaded: &Loaded) -> BTreeSet<ClientId> {
    let fronts = loaded.fronts.iter().map(|front| &front.client);
    fronts.chain(loaded.posts.iter().map(|post| &post.client)).cloned().collect()
}

/// The routes of boundaries and services.
fn routed(loaded: &Loaded) -> Routed {
    let of_front = |front: &Front| (front.settings.name.clone(), Arc::clone(&front.settings.table));
    let of_backend = |backend: &Backend| {
        let table = Table::build(vec![backend.service.clone()], loaded.snapshot.types.clone()).ok()?;
        Some((backend.service.name.clone(), table))
    };
    Routed {
        boundaries: loaded.fronts.iter().map(of_front).collect(),
        services: loaded.backends.iter().filter_map(of_backend).collect(),
    }
}

/// Starts a broker from the files at `paths`.
pub(crate) async fn start(paths: Vec<PathBuf>) -> Result<Running, Failed> {
    let loaded = config::load(&paths).map_err(|problems| problems.to_string())?;
    let seen = Stamps::of(&paths, &loaded);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let fetcher = Fetcher::new(loaded.fetch.clone())?;
    let listener = House::bind("listen", loaded.listen).await?;
    let address = listener.local_addr()?;
    let broker = Broker::start(loaded.settings.clone(), in_force(&loaded)?, loaded.keys.clone(), fetcher).await?;
    let tls = loaded.tls.clone().map(Tls::new);
    let (stop, stopped) = watch::channel(false);
    let mut house = House::of(&loaded, broker.meter(), stopped.clone())?;
    if let Some(metrics) = loaded.metrics_listen {
        let listener = House::bind("metrics_listen", metrics).await?;
        house.serve(listener, tls.clone(), broker::metrics_routes(&broker));
    }
    broker.set_observing(config::observing(&loaded));
    broker.set_acting(acting(&loaded));
    let doors = Doors::open(&mut house, &loaded.fronts, |front| InProcess {
        broker: Arc::clone(&broker),
        boundary: front.settings.name.clone(),
        client: front.client.clone(),
    });
    let doors = doors.await?;
    broker.set_routes(routed(&loaded));
    let at_hand = |post: &Post| InProcessGuard::start(Arc::clone(&broker), post.settings.service.clone(), post.client.clone());
    let posts = Arc::new(Posts::open(&mut house, &loaded, at_hand).await?);
    house.serve(listener, tls.clone(), broker::routes(&broker, loaded.metrics_listen.is_none()));
    let mut tasks = house.tasks;
    let followed = Followed {
        broker: Arc::clone(&broker),
        paths,
        loaded,
        tls,
        doors,
        posts: Arc::clone(&posts),
        seen,
    };
    tasks.push(tokio::spawn(followed.follow(stopped)));
    Ok(Running {
        broker,
        address,
        posts,
        stop,
        tasks,
    })
}

impl Running {
    /// Keeps what the guards saw until now, which they hand over each minute by themselves.
    pub(crate) async fn hand_over(&self) {
        self.posts.hand_over().await;
    }

    /// Lets open requests finish, writes what waits, and stops.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        self.broker.end_streams();
        for task in self.tasks {
            let _ = task.await;
        }
        self.posts.stop().await;
        self.broker.close().await;
    }
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

/// What follows its files.
struct Followed {
    broker: Arc<Broker>,
    paths: Vec<PathBuf>,
    /// What is in force.
    loaded: Loaded,
    tls: Option<Tls>,
    doors: Doors<InProcess>,
    posts: Arc<Posts<InProcessGuard>>,
    seen: Stamps,
}

impl Followed {
    /// Follows files, standing and keys until it is told to stop.
    async fn follow(mut self, mut stopped: watch::Receiver<bool>) {
        let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
        let mut tick = tokio::time::interval(LOOK_AGAIN);
        let mut often = tokio::time::interval(FOLLOW);
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
                self.broker.follow().await;
                continue;
            }
            self.broker.tend().await;
            let now = Stamps::of(&self.paths, &self.loaded);
            if now == self.seen && wake != Wake::Hangup {
                continue;
            }
            // Stamped before the files are read: what is written from here on is a change again. Files that are named for
            // the first time have no stamp yet, and so are looked at once more.
            self.seen = now;
            match self.reload().await {
                Ok(loaded) => self.loaded = loaded,
                Err(why) => {
                    tracing::error!("the change is refused and the old state stays: {why}");
                    self.broker.refuse_change(why);
                }
            }
        }
    }

    async fn reload(&self) -> Result<Loaded, String> {
        let loaded = config::load(&self.paths).map_err(|problems| problems.to_string())?;
        let running = self.broker.settings();
        let fixed = [
            ("store", loaded.settings.store == running.store),
            ("key_file", loaded.settings.key_files == running.key_files),
            ("listen", loaded.listen == self.loaded.listen),
        ];
        if let Some((key, _)) = fixed.iter().find(|(_, same)| !same) {
            return Err(format!("{key}: cannot change while the process runs; restart it"));
        }
        doors::stay(&self.loaded, &loaded)?;
        let in_force = in_force(&loaded).map_err(|error| error.to_string())?;
        let doors = || {
            self.doors.swap(&loaded.fronts);
            self.posts.swap(&loaded);
        };
        let swapped = self.broker.swap_with(loaded.settings.clone(), in_force, loaded.keys.clone(), doors).await;
        swapped.map_err(|error| error.to_string())?;
        self.broker.set_observing(config::observing(&loaded));
        self.broker.set_acting(acting(&loaded));
        if let (Some(tls), Some(identity)) = (&self.tls, loaded.tls.clone()) {
            tls.present(identity);
        }
        self.broker.set_routes(routed(&loaded));
        tracing::info!(policy = loaded.policy_version, config = loaded.snapshot.config_version, "in force");
        Ok(loaded)
    }
}
