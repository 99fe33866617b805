//! Who takes part, and how each is started.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::Value;
use testkit::PostgresDatabase;

use crate::figures::Series;
use crate::installation::{Installation, Shape};
use crate::server::{Server, processor_time_of_family};
use crate::{Arguments, free_port, load};

/// A series of the table.
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
}

impl Name {
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
            Self::Floor | Self::Policies10 | Self::Postgres | Self::OidcProvider | Self::OauthAs => shape,
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
            _ => narrows(&arguments.narrows, &installation),
        };
        Self {
            name,
            series: Series::new(name.title()),
            installation,
            server,
            database,
        }
    }

    /// The bodies of `count` exchanges that it allows.
    pub(crate) async fn bodies(&self, count: usize) -> Vec<String> {
        let installation = &self.installation;
        if self.name != Name::OauthAs {
            return (0..count).map(|_| installation.exchange()).collect();
        }
        let asked = (0..count).map(|_| installation.client_credentials()).collect();
        let mut bodies = Vec::new();
        for reply in load::send(installation.port, asked).await {
            let reply: Value = serde_json::from_slice(&reply.body).unwrap();
            bodies.push(installation.exchange_of(reply["access_token"].as_str().unwrap(), false));
        }
        bodies
    }
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
