//! The doors of a process: listeners that are open for as long as it runs, and the boundaries behind them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use boundary::proxy::{NoTls, Upstreams};
use boundary::{Bodies, Boundary, Exchanger};
use broker::{Listener, Meter, Tls};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Front, Loaded, Post};

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What all listeners of a process share.
pub(crate) struct House {
    /// Connections to what is behind them.
    pub(crate) upstreams: Upstreams,
    /// Room for bodies that are read before they go on.
    pub(crate) bodies: Bodies,
    /// What their connections are counted with.
    pub(crate) meter: Meter,
    /// The most connections of each.
    pub(crate) connections: usize,
    /// True when the process is to stop.
    pub(crate) stopped: watch::Receiver<bool>,
    /// What serves them; each ends when its open requests have.
    pub(crate) tasks: Vec<JoinHandle<()>>,
}

impl House {
    /// Of a process with these settings, which stops when `stopped` says so.
    pub(crate) fn of(loaded: &Loaded, meter: Meter, stopped: watch::Receiver<bool>) -> Result<Self, NoTls> {
        Ok(Self {
            upstreams: Upstreams::new()?,
            bodies: Bodies::default(),
            meter,
            connections: loaded.settings.connections,
            stopped,
            tasks: Vec::new(),
        })
    }

    /// Serves `routes` on `listener` until the process is to stop.
    pub(crate) fn serve(&mut self, listener: TcpListener, tls: Option<Tls>, routes: axum::Router) {
        let mut listener = Listener::new(listener, tls, self.connections);
        listener.meter = self.meter.clone();
        self.tasks.push(tokio::spawn(broker::serve(listener, routes, until(self.stopped.clone()))));
    }

    /// A socket at `address`, which the configuration has under `key`.
    pub(crate) async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, String> {
        TcpListener::bind(address).await.map_err(|error| format!("{key}: `{address}`: {error}"))
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The boundaries of a process, by name.
pub(crate) struct Doors<E>(BTreeMap<String, Behind<E>>);

/// One of them, with what its doors present.
struct Behind<E> {
    boundary: Arc<Boundary<E>>,
    tls: Option<Tls>,
}

impl<E: Exchanger> Doors<E> {
    /// Opens the doors of every boundary, for each of which `exchanger` makes the way to the broker.
    pub(crate) async fn open(house: &mut House, fronts: &[Front], exchanger: impl Fn(&Front) -> E) -> Result<Self, Failed> {
        let mut doors = BTreeMap::new();
        for front in fronts {
            let name = front.settings.name.clone();
            let boundary = Arc::new(Boundary::new(front.settings.clone(), exchanger(front)).sharing(house.bodies.clone()));
            let tls = front.tls.clone().map(Tls::new);
            let listeners = [
                (
                    "proxy",
                    front.proxy,
                    boundary::proxy::routes(Arc::clone(&boundary), house.upstreams.clone()),
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
            for (door, address, routes) in listeners {
                let Some(address) = address else { continue };
                let listener = House::bind(&format!("boundary `{name}`, {door}"), address).await?;
                tracing::info!(boundary = name, door, address = %listener.local_addr()?, "open");
                house.serve(listener, tls.clone(), routes);
            }
            doors.insert(name, Behind { boundary, tls });
        }
        Ok(Self(doors))
    }

    /// Puts what `fronts` say in force; they have the same doors.
    pub(crate) fn swap(&self, fronts: &[Front]) {
        for front in fronts {
            let Some(behind) = self.0.get(&front.settings.name) else { continue };
            behind.boundary.swap(front.settings.clone());
            if let (Some(tls), Some(identity)) = (&behind.tls, front.tls.clone()) {
                tls.present(identity);
            }
        }
    }
}

/// Refuses a change of what listeners are made with.
pub(crate) fn stay(before: &Loaded, after: &Loaded) -> Result<(), String> {
    let doors = |loaded: &Loaded| -> Vec<_> {
        let door = |front: &Front| {
            let addresses = [front.proxy, front.ext_authz_grpc, front.ext_authz_http, front.forward_auth];
            (front.settings.name.clone(), front.client.clone(), addresses)
        };
        loaded.fronts.iter().map(door).collect()
    };
    if doors(before) != doors(after) {
        return Err("boundaries: name, client and addresses cannot change while the process runs; restart it".to_owned());
    }
    let posts = |loaded: &Loaded| -> Vec<_> {
        let post = |post: &Post| (post.settings.service.clone(), post.client.clone(), post.listen);
        loaded.posts.iter().map(post).collect()
    };
    if posts(before) != posts(after) {
        return Err("guards: service, client and address cannot change while the process runs; restart it".to_owned());
    }
    // A line lost while editing must not turn a listener that is in use into plain HTTP.
    let secured = |loaded: &Loaded| -> Vec<_> {
        let posts = loaded.posts.iter().map(|post| post.tls.is_some());
        loaded.fronts.iter().map(|front| front.tls.is_some()).chain(posts).collect()
    };
    if before.tls.is_some() != after.tls.is_some() || secured(before) != secured(after) {
        return Err("tls: cannot be added or taken away while the process runs; restart it".to_owned());
    }
    if before.metrics_listen != after.metrics_listen {
        return Err("metrics_listen: cannot change while the process runs; restart it".to_owned());
    }
    if before.settings.connections != after.settings.connections {
        return Err("limits.connections: cannot change while the process runs; restart it".to_owned());
    }
    Ok(())
}
