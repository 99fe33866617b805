//! What such a process runs of its configuration.

use std::path::PathBuf;
use std::sync::Arc;

use boundary::remote::{self, Replies};
use delegation::oauth::ClientId;
use delegation::registry::TokenForm;
use narrows_guard::broker::Broker as _;
use narrows_guard::link::Link;
use narrows_guard::remote::Remote;
use serde_json::{Map, Value, json};

use super::counted::Counted;
use super::metrics::Tally;
use super::signer::Signs;
use crate::config::{self, Loaded, Process, RemoteBroker};
use crate::doors::{Doors, Failed, House};
use crate::posts::Posts;

/// What of a configuration runs apart from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `narrows boundary`.
    Boundaries,
    /// `narrows guard`.
    Guards,
}

/// That part, with its doors open.
pub(super) enum Served {
    Boundaries {
        replies: Arc<Replies<Signs>>,
        doors: Doors<Counted<remote::Remote<Signs>>>,
    },
    Guards(Posts<Remote<Signs>>),
}

impl Part {
    /// Those that `loaded` has.
    pub(crate) fn of(loaded: &Loaded) -> impl Iterator<Item = Self> {
        let there = [
            (Self::Boundaries, !loaded.fronts.is_empty()),
            (Self::Guards, !loaded.posts.is_empty()),
        ];
        there.into_iter().filter(|(_, there)| *there).map(|(part, _)| part)
    }

    /// Whether `loaded` has anything that runs apart from the broker, and all of it could.
    pub(crate) fn check_all(loaded: &Loaded) -> Result<(), String> {
        let mut parts = Self::of(loaded).peekable();
        if parts.peek().is_none() {
            return Self::Boundaries.asked(loaded).map(drop);
        }
        parts.try_for_each(|part| part.asked(loaded).map(drop))
    }

    /// The configuration in the files at `paths`, without what is of the other part: that is none of this process's business.
    pub(super) fn load(self, paths: &[PathBuf]) -> Result<Loaded, String> {
        let mut loaded = config::load_for(Process::DataPlane, paths).map_err(|problems| problems.to_string())?;
        match self {
            Self::Boundaries => loaded.posts.clear(),
            Self::Guards => loaded.fronts.clear(),
        }
        Ok(loaded)
    }

    /// The broker that is asked, if this part is one that a process can serve.
    pub(crate) fn asked(self, loaded: &Loaded) -> Result<&RemoteBroker, String> {
        let table = self.table();
        let remote = loaded.remote.as_ref().ok_or_else(|| {
            format!(
                "broker: is required here: `urls`, `client` and `key` of the broker that decides; where the broker runs, `narrows serve` has {table} of its own"
            )
        })?;
        if !Self::of(loaded).any(|part| part == self) {
            return Err(format!("{table}: there is none to serve; add a `[[{table}]]` table"));
        }
        for (at, (name, client)) in self.actors(loaded).into_iter().enumerate() {
            if *client != remote.client {
                return Err(format!(
                    "{table}[{at}].client: `{name}` acts as `{client}`, and this process as `{}` (`broker.client`); give each client a process and a configuration of its own",
                    remote.client
                ));
            }
        }
        if self == Self::Boundaries {
            verifiable(loaded)?;
        }
        Ok(remote)
    }

    /// What runs it.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Boundaries => "boundary",
            Self::Guards => "guard",
        }
    }

    /// Its table in the configuration.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Boundaries => "boundaries",
            Self::Guards => "guards",
        }
    }

    /// Each of it, by its name or that of its service, with the client that it acts as.
    fn actors(self, loaded: &Loaded) -> Vec<(&str, &ClientId)> {
        let fronts = || loaded.fronts.iter().map(|front| (front.settings.name.as_str(), &front.client));
        let posts = || loaded.posts.iter().map(|post| (post.settings.service.as_str(), &post.client));
        match self {
            Self::Boundaries => fronts().collect(),
            Self::Guards => posts().collect(),
        }
    }
}

/// Refuses boundaries to which tokens would come that nobody here could verify.
fn verifiable(loaded: &Loaded) -> Result<(), String> {
    for (at, front) in loaded.fronts.iter().enumerate() {
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
    Ok(())
}

impl Served {
    /// Opens the doors of `part`, which ask over `link`, and what they ask is counted with `tally`.
    pub(super) async fn open(
        part: Part,
        house: &mut House,
        loaded: &Loaded,
        link: &Arc<Link<Signs>>,
        tally: &Tally,
    ) -> Result<Self, Failed> {
        match part {
            Part::Boundaries => {
                let replies = Arc::new(Replies::new(Arc::clone(link), Arc::clone(&loaded.snapshot)));
                let doors = Doors::open(house, &loaded.fronts, |front| {
                    let name = &front.settings.name;
                    let remote = remote::Remote::new(Arc::clone(&replies), name.clone());
                    Counted::new(remote, name.clone(), tally.clone())
                });
                let doors = doors.await?;
                Ok(Self::Boundaries { replies, doors })
            }
            Part::Guards => {
                let broker = |post: &config::Post| Remote::start(Arc::clone(link), post.settings.service.clone());
                Ok(Self::Guards(Posts::open(house, loaded, broker).await?))
            }
        }
    }

    /// Puts what `loaded` says in force.
    pub(super) fn swap(&self, loaded: &Loaded) {
        match self {
            Self::Boundaries { replies, doors } => {
                replies.swap(Arc::clone(&loaded.snapshot));
                doors.swap(&loaded.fronts);
            }
            Self::Guards(posts) => posts.swap(loaded),
        }
    }

    /// Hears whether the broker is there, and takes our client, where no request asks it. Guards follow its feed.
    pub(super) async fn listen(&self, loaded: &Loaded) {
        if let (Self::Boundaries { replies, .. }, Some(front)) = (self, loaded.fronts.first()) {
            let any = remote::Remote::new(Arc::clone(replies), front.settings.name.clone());
            any.listen().await;
        }
    }

    /// Whether requests can be decided, as far as that is not a question of the link alone.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Boundaries { .. } => true,
            Self::Guards(posts) => posts.brokers().all(Remote::is_ready),
        }
    }

    /// What is said of it beside that.
    pub(super) fn said(&self) -> Map<String, Value> {
        let Self::Guards(posts) = self else { return Map::new() };
        let each = posts.named().map(|(service, listen, guard)| {
            let (waiting, lost) = guard.waiting();
            // Before the broker was ever heard there is none.
            let age = u64::try_from(guard.view().1.as_millis()).ok();
            json!({
                "service": service,
                "listen": listen.to_string(),
                "keys": if guard.keys().is_some() { "ok" } else { "none" },
                "view_age_ms": age,
                "refusals_waiting": waiting,
                "refusals_lost": lost,
            })
        });
        Map::from_iter([("guards".to_owned(), Value::from_iter(each))])
    }

    /// Sends what is still to be said, for a while, and ends.
    pub(super) async fn stop(&self) {
        if let Self::Guards(posts) = self {
            posts.stop().await;
        }
    }
}
