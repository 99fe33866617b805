//! Boundaries or guards in a process of their own: no store and no signing key, and a broker elsewhere.

mod counted;
mod health;
mod metrics;
mod served;
mod signer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker::{Meter, Tls};
use fetch::Fetcher;
use narrows_guard::link::{Link, Place};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Loaded;
use crate::doors::{self, Failed, House};
use crate::stamps::Stamps;
use health::Health;
use metrics::{Metrics, Tally};
pub(crate) use served::Part;
use served::Served;
use signer::Signer;

/// How often files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A running process of them.
pub(crate) struct Running {
    served: Arc<Served>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts `part` of the configuration in the files at `paths`. The broker need not be there yet.
pub(crate) async fn start(part: Part, paths: Vec<PathBuf>) -> Result<Running, Failed> {
    let loaded = part.load(&paths)?;
    let seen = Stamps::of(&paths, &loaded);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let remote = part.asked(&loaded)?.clone();
    let signer = Arc::new(Signer::new(&remote, &loaded.snapshot.issuer));
    let place = Place {
        issuer: loaded.snapshot.issuer.clone(),
        urls: remote.urls,
        client: remote.client,
        deadline: remote.deadline,
        max_age: loaded.settings.max_view_age,
    };
    let fetcher = Arc::new(Fetcher::new(loaded.fetch.clone())?);
    let link = Link::new(place, fetcher, Arc::clone(&signer).signs()).map_err(|error| format!("broker.urls: {error}"))?;
    let link = link.tended();
    link.tend().await;

    let (stop, stopped) = watch::channel(false);
    let mut house = House::of(&loaded, Meter::default(), stopped.clone())?;
    let tls = loaded.tls.clone().map(Tls::new);
    let tally = Tally::default();
    let served = Arc::new(Served::open(part, &mut house, &loaded, &link, &tally).await?);
    let metrics = Metrics::new(&tally, &house.meter);
    let health = Health::new(Arc::clone(&served), Arc::clone(&link), metrics, house.bodies.clone(), &loaded);
    let health = Arc::new(health);
    if let Some(metrics) = loaded.metrics_listen {
        let listener = House::bind("metrics_listen", metrics).await?;
        tracing::info!(door = "metrics_listen", address = %listener.local_addr()?, "open");
        house.serve(listener, tls.clone(), Arc::clone(&health).routes());
    }
    let mut tasks = house.tasks;
    let followed = Followed {
        part,
        signer,
        health,
        paths,
        loaded,
        tls,
        served: Arc::clone(&served),
        seen,
    };
    tasks.push(tokio::spawn(followed.follow(stopped)));
    Ok(Running { served, stop, tasks })
}

impl Running {
    /// Lets open requests finish, sends what is still to be said, and stops.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
        self.served.stop().await;
    }
}

/// What follows its files.
struct Followed {
    part: Part,
    signer: Arc<Signer>,
    health: Arc<Health>,
    paths: Vec<PathBuf>,
    /// What is in force.
    loaded: Loaded,
    tls: Option<Tls>,
    served: Arc<Served>,
    seen: Stamps,
}

impl Followed {
    /// Follows files, and hears of the broker where nothing asks, until it is told to stop.
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
                () = self.served.listen(&self.loaded) => {}
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
                    self.health.refuse_change(why);
                }
            }
        }
    }

    fn reload(&self) -> Result<Loaded, String> {
        let loaded = self.part.load(&self.paths)?;
        doors::stay(&self.loaded, &loaded)?;
        if loaded.snapshot.issuer != self.loaded.snapshot.issuer {
            return Err("issuer: cannot change while the process runs; restart it".to_owned());
        }
        let (remote, before) = (self.part.asked(&loaded)?, self.part.asked(&self.loaded)?);
        if (&remote.urls, remote.deadline) != (&before.urls, before.deadline)
            || loaded.settings.max_view_age != self.loaded.settings.max_view_age
        {
            return Err("broker: addresses and times cannot change while the process runs; restart it".to_owned());
        }
        self.signer.swap(remote, &loaded.snapshot.issuer);
        self.served.swap(&loaded);
        if let (Some(tls), Some(identity)) = (&self.tls, loaded.tls.clone()) {
            tls.present(identity);
        }
        self.health.in_force(&loaded);
        tracing::info!(config = loaded.snapshot.config_version, "in force");
        Ok(loaded)
    }
}
