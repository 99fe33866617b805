//! The guards of a process: a door before each backend, open for as long as it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use boundary::guarding::{self, Guarding};
use broker::Tls;
use narrows_guard::broker::Broker;
use narrows_guard::{Clock, Live, Running};
use tokio::task::JoinSet;

use crate::config::{Loaded, Post};
use crate::doors::{Failed, House};

/// How long it may take to hand over what was used.
const HAND_OVER: Duration = Duration::from_secs(5);

/// The guards of a process, in the order of the configuration.
pub(crate) struct Posts<B>(Vec<Behind<B>>);

/// One of them, with what its door presents.
struct Behind<B> {
    service: String,
    /// Where it listens, as configured.
    listen: SocketAddr,
    guarding: Arc<Guarding<B>>,
    running: Arc<Running<B>>,
    tls: Option<Tls>,
}

impl<B: Broker> Posts<B> {
    /// Opens the door of every guard, for each of which `broker` makes the way to the broker. Tokens begin and end by the machine's
    /// clock, as far as nobody sets it back.
    pub(crate) async fn open(house: &mut House, loaded: &Loaded, broker: impl Fn(&Post) -> B) -> Result<Self, Failed> {
        let mut posts = Vec::new();
        for (at, post) in loaded.posts.iter().enumerate() {
            let service = post.settings.service.as_str();
            let decides = post.decides(&loaded.snapshot, loaded.settings.max_view_age, Clock::machine());
            let live = Live::new(decides, broker(post)).map_err(|error| format!("guards[{at}]: {error}"))?;
            let running = live.run();
            let guarding = Guarding::new(post.settings.clone(), Arc::clone(running.live()), house.bodies.clone());
            let guarding = Arc::new(guarding);
            let tls = post.tls.clone().map(Tls::new);
            let listener = House::bind(&format!("guards[{at}].listen"), post.listen).await?;
            tracing::info!(service, door = "guard", address = %listener.local_addr()?, "open");
            let routes = guarding::routes(Arc::clone(&guarding), house.upstreams.clone());
            house.serve(listener, tls.clone(), routes);
            posts.push(Behind {
                service: service.to_owned(),
                listen: post.listen,
                guarding,
                running: Arc::new(running),
                tls,
            });
        }
        Ok(Self(posts))
    }

    /// Ends all of them, of which each tells what is left to be told first, for a while: when their doors are closed.
    pub(crate) async fn stop(&self) {
        let mut ending = JoinSet::new();
        for behind in &self.0 {
            let running = Arc::clone(&behind.running);
            ending.spawn(async move { running.stop().await });
        }
        while ending.join_next().await.is_some() {}
    }

    /// Hands over what was used until now, for a while.
    pub(crate) async fn hand_over(&self) {
        let all = async {
            for behind in &self.0 {
                behind.guarding.live().hand_over().await;
            }
        };
        let _ = tokio::time::timeout(HAND_OVER, all).await;
    }

    /// Each one's way to the broker.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = &B> {
        self.0.iter().map(|behind| behind.guarding.live().broker())
    }

    /// The same, with the service of each and where it listens.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, SocketAddr, &B)> {
        self.0
            .iter()
            .zip(self.brokers())
            .map(|(behind, broker)| (behind.service.as_str(), behind.listen, broker))
    }

    /// Puts what `loaded` says in force; its guards have the same doors.
    pub(crate) fn swap(&self, loaded: &Loaded) {
        for (behind, post) in self.0.iter().zip(&loaded.posts) {
            let decides = post.decides(&loaded.snapshot, loaded.settings.max_view_age, Clock::machine());
            // What makes a guard that is not built is a mistake of the configuration, and was found there.
            if let Err(error) = behind.guarding.live().swap(decides) {
                tracing::error!(service = post.settings.service, %error, "the change is refused and the old state stays");
                continue;
            }
            behind.guarding.swap(post.settings.clone());
            if let (Some(tls), Some(identity)) = (&behind.tls, post.tls.clone()) {
                tls.present(identity);
            }
        }
    }
}
