//! Who takes part, and how each is started.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::Value;
use testkit::PostgresDatabase;

use crate::figures::Series;
use crate::installation::{Installation, Shape};
use crate::load::Reply;
use crate::server::{Server, processor_time_of_family};
use crate::{Arguments, free_port, load};

pub(crate) const TOKEN: &str = "/oauth2/token";
pub(crate) const INTROSPECT: &str = "/oauth2/introspect";
pub(crate) const REVOKE: &str = "/oauth2/revoke";

/// A series of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// The least that any server must do; always takes part.
    Floor,
    /// The program with 10 policies, first tokens, assertions and SQLite; always takes part.
    #[value(name = "policies-10")]
    Policies10,
    /// With 1,000 policies.
    #[value(name = "policies-1000")]
    Policies1000,
    /// With 10,000 policies.
    #[value(name = "policies-10000")]
    Policies10000,
    /// One subject token is shown again and again, with fresh assertions.
    SameSubject,
    /// 10,000 clients with a key each, and 1,000 audiences; exchanges are spread over all of them.
    Many,
    /// The client sends a secret, not an assertion.
    Secret,
    /// The store is PostgreSQL, on the processor of the load.
    Postgres,
    /// npm oidc-provider with a minimal grant: in memory, no policy, no record.
    OidcProvider,
    /// The crate oauth-as: in memory, no policy, no record, only its own tokens as subjects, and no details.
    OauthAs,
    /// Introspection (JSON) of a token that is alive, each once.
    Introspection,
    /// Redemption of a task, each once.
    Redemption,
    /// Revocation of a token, durable before it is acknowledged.
    Revocation,
    /// Exchanges where 1,000 things are revoked already.
    #[value(name = "revoked-1000")]
    Revoked1000,
    /// Exchanges where 10,000,000 things are revoked already.
    #[value(name = "revoked-10000000")]
    Revoked10000000,
    /// A verdict of the view of revocations in the process, and its memory; no server takes part.
    View,
    /// The end of a root that has few or many descendants; a server of its own.
    Cascade,
    /// Requests through a boundary by its doors, beside nginx and Envoy alone; servers of their own.
    Doors,
    /// A request at a guard, what guards remember, and how soon they know of a revocation; a server of its own.
    Guard,
}

impl Name {
    /// Whether a server takes part in the rounds under this name.
    pub(crate) fn is_server(self) -> bool {
        !matches!(self, Self::View | Self::Cascade | Self::Doors | Self::Guard)
    }

    /// Whether what is asked in the rounds is an exchange as any other.
    pub(crate) fn exchanges(self) -> bool {
        self.is_server() && !matches!(self, Self::Introspection | Self::Redemption | Self::Revocation)
    }

    /// Where it is asked.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Introspection => INTROSPECT,
            Self::Revocation => REVOKE,
            _ => TOKEN,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Policies10 => "10 policies",
            Self::Policies1000 => "1,000 policies",
            Self::Policies10000 => "10,000 policies",
            Self::SameSubject => "the same subject again",
            Self::Many => "10,000 clients, 1,000 audiences",
            Self::Secret => "client secret",
            Self::Postgres => "PostgreSQL",
            Self::OidcProvider => "oidc-provider (npm)",
            Self::OauthAs => "oauth-as (crate)",
            Self::Introspection => "introspection",
            Self::Redemption => "redemption of a task",
            Self::Revocation => "revocation, acknowledged",
            Self::Revoked1000 => "1,000 revoked",
            Self::Revoked10000000 => "10,000,000 revoked",
            Self::View => "view",
            Self::Cascade => "cascade",
            Self::Doors => "doors",
            Self::Guard => "guard",
        }
    }

    /// How much is revoked before the rounds.
    fn revoked(self) -> Option<usize> {
        match self {
            Self::Revoked1000 => Some(1000),
            Self::Revoked10000000 => Some(10_000_000),
            _ => None,
        }
    }

    fn shape(self) -> Shape {
        let shape = Shape::default();
        match self {
            Self::Policies1000 => Shape { policies: 1000, ..shape },
            Self::Policies10000 => Shape { policies: 10_000, ..shape },
            Self::SameSubject => Shape {
                same_subject: true,
                ..shape
            },
            Self::Many => Shape {
                clients: 10_000,
                audiences: 1000,
                ..shape
            },
            Self::Secret => Shape { secret: true, ..shape },
            Self::Redemption => Shape { tasks: true, ..shape },
            _ => shape,
        }
    }
}

/// A running server of a series.
pub(crate) struct Contestant {
    pub(crate) name: Name,
    pub(crate) series: Series,
    pub(crate) installation: Installation,
    pub(crate) server: Server,
    pub(crate) database: Option<Database>,
}

impl Contestant {
    pub(crate) fn start(name: Name, arguments: &Arguments) -> Self {
        let database = (name == Name::Postgres).then(Database::start);
        let mut shape = name.shape();
        if let Some(database) = &database {
            shape.store = database.database.address();
        }
        let folder = name.to_possible_value().unwrap().get_name().to_owned();
        let installation = Installation::write(&arguments.folder, &folder, free_port(), shape);
        let server = match name {
            Name::Floor => other(&std::env::current_exe().unwrap(), &["--floor"], &["--folder"], &installation),
            Name::OidcProvider => other(Path::new("node"), &["benches/peers/oidc-provider.mjs"], &[], &installation),
            Name::OauthAs => other(&arguments.oauth_as, &[], &[], &installation),
            _ => {
                if let Some(count) = name.revoked() {
                    drop(narrows(&arguments.narrows, &installation));
                    installation.revoke(count);
                }
                narrows(&arguments.narrows, &installation)
            }
        };
        Self {
            name,
            series: Series::new(name.title()),
            installation,
            server,
            database,
        }
    }

    /// The bodies of `count` requests that it allows; what they need that an earlier request gives is asked for here.
    pub(crate) async fn bodies(&self, count: usize) -> Vec<String> {
        let installation = &self.installation;
        let given = async |ask: fn(&Installation) -> String| tokens(installation, (0..count).map(|_| ask(installation)).collect()).await;
        match self.name {
            Name::OauthAs => {
                let own = given(Installation::client_credentials).await;
                own.iter().map(|token| installation.exchange_of(token, false)).collect()
            }
            Name::Introspection | Name::Revocation => {
                let alive = given(Installation::exchange).await;
                alive.iter().map(|token| installation.about(token)).collect()
            }
            Name::Redemption => {
                let tasks = given(Installation::task).await;
                tasks.iter().map(|token| installation.redemption(token)).collect()
            }
            _ => (0..count).map(|_| installation.exchange()).collect(),
        }
    }
}

/// The tokens that these requests at the token endpoint give.
pub(crate) async fn tokens(installation: &Installation, bodies: Vec<String>) -> Vec<String> {
    let replies = load::send(installation.port, TOKEN, bodies).await;
    let token = |reply: &Reply| serde_json::from_slice::<Value>(&reply.body).unwrap()["access_token"].as_str().unwrap().to_owned();
    replies.iter().map(token).collect()
}

/// A database of a real PostgreSQL, and the process that its server's others come from.
pub(crate) struct Database {
    database: PostgresDatabase,
    postmaster: u32,
    pub(crate) rounds: Vec<f64>,
}

impl Database {
    fn start() -> Self {
        let database = PostgresDatabase::new();
        let folder = PathBuf::from(database.run("SHOW data_directory").trim());
        let text = std::fs::read_to_string(folder.join("postmaster.pid")).unwrap();
        Self {
            database,
            postmaster: text.lines().next().unwrap().parse().unwrap(),
            rounds: Vec::new(),
        }
    }

    /// Processor time of all its server's processes.
    pub(crate) fn processor_time(&self) -> std::time::Duration {
        processor_time_of_family(self.postmaster)
    }
}

/// The program, serving an installation.
pub(crate) fn narrows(program: &Path, installation: &Installation) -> Server {
    let config = installation.folder.join("narrows.toml");
    Server::start(program, &["--config", config.to_str().unwrap(), "serve"], installation.port)
}

/// Another program, that is told a port and a folder of keys.
fn other(program: &Path, before_port: &[&str], before_folder: &[&str], installation: &Installation) -> Server {
    let (port, folder) = (installation.port.to_string(), installation.folder.to_str().unwrap());
    let arguments = [before_port, &[&port], before_folder, &[folder]].concat();
    Server::start(program, &arguments, installation.port)
}
