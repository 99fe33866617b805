//! Where a store is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// The address of a store: `sqlite:PATH` or `postgres://USER@HOST/DATABASE`.
///
/// It may hold a password, so it has no `Debug` that shows it, and no error repeats it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreAddress(Place);

/// What an address says.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Sqlite(PathBuf),
    Postgres(Url),
}

/// A text that is no address of a store; it is not repeated, since it may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `sqlite:PATH` or `postgres://USER@HOST/DATABASE`{0}")]
pub struct AddressError(&'static str);

impl StoreAddress {
    /// The SQLite file at `path`.
    pub fn sqlite(path: PathBuf) -> Self {
        Self(Place::Sqlite(path))
    }

    /// What an operator should know about this address: that nobody checks who the server is.
    pub fn warning(&self) -> Option<&'static str> {
        let Place::Postgres(url) = &self.0 else { return None };
        let unverified = postgres(url)
            .is_ok_and(|options| is_far(&options) && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull | PgSslMode::VerifyCa));
        unverified.then_some("the server's certificate is not checked, so another machine could take its place; use `sslmode=verify-full`")
    }

    pub(super) fn place(&self) -> &Place {
        &self.0
    }
}

impl FromStr for StoreAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.trim_start_matches("//").is_empty() => {
                Ok(Self(Place::Sqlite(PathBuf::from(path.trim_start_matches("//")))))
            }
            Some(("postgres" | "postgresql", _)) => {
                let url = Url::parse(text).map_err(|_| AddressError(""))?;
                postgres(&url)?;
                Ok(Self(Place::Postgres(url)))
            }
            _ => Err(AddressError("")),
        }
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(out, "sqlite:{}", path.display()),
            Place::Postgres(_) => out.write_str("postgres:.."),
        }
    }
}

/// The parameters that an address may have: an unknown one is a mistake, since the driver would only mention it.
const PARAMETERS: [&str; 14] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "ssl-mode",
    "statement-cache-capacity",
    "user",
];

/// How to connect to the PostgreSQL at `url`.
///
/// Where the address does not say, a server on another machine must show a certificate that is right for its name.
pub(super) fn postgres(url: &Url) -> Result<PgConnectOptions, AddressError> {
    let mut mode_is_named = false;
    for (name, _) in url.query_pairs() {
        let known = PARAMETERS.contains(&name.as_ref()) || name.starts_with("options[");
        if !known {
            return Err(AddressError(", with parameters of libpq; one of them is unknown"));
        }
        mode_is_named |= matches!(name.as_ref(), "sslmode" | "ssl-mode");
    }
    let options =
        PgConnectOptions::from_str(url.as_str()).map_err(|_| AddressError(", with parameters of libpq; one of them is malformed"))?;
    Ok(match (mode_is_named, is_far(&options)) {
        (true, _) => options,
        (false, false) => options.ssl_mode(PgSslMode::Prefer),
        (false, true) => options.ssl_mode(PgSslMode::VerifyFull),
    })
}

/// Whether the server is reached over a network.
fn is_far(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let near = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback());
    !near
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use sqlx::postgres::PgSslMode;

    use super::{StoreAddress, postgres};

    fn mode(url: &str) -> PgSslMode {
        postgres(&url.parse().unwrap()).unwrap().get_ssl_mode()
    }

    #[test]
    fn a_server_elsewhere_must_show_a_certificate_unless_the_address_says_otherwise() {
        assert!(matches!(mode("postgres://n@db.internal/n"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://n@10.0.0.7/n"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://n@127.0.0.1/n"), PgSslMode::Prefer));
        assert!(matches!(mode("postgresql:///n?host=/run/postgresql&user=n"), PgSslMode::Prefer));
        assert!(matches!(mode("postgres://n@db.internal/n?sslmode=require"), PgSslMode::Require));
    }

    #[test]
    fn a_server_elsewhere_that_nobody_checks_is_warned_of() {
        let warns = |url: &str| url.parse::<StoreAddress>().unwrap().warning().is_some();
        assert!(warns("postgres://n@db.internal/n?sslmode=require") && warns("postgres://n@db.internal/n?sslmode=disable"));
        assert!(!warns("postgres://n@db.internal/n") && !warns("postgres://n@db.internal/n?sslmode=verify-ca"));
        assert!(!warns("postgres://n@127.0.0.1/n?sslmode=disable") && !warns("sqlite:narrows.db"));
    }

    #[test]
    fn an_address_is_never_shown_with_its_password() {
        let address: StoreAddress = "postgres://n:hunter2@db.internal/n".parse().unwrap();
        assert!(!format!("{address:?}").contains("hunter2"));
        for wrong in [
            "mysql://n:hunter2@h/n",
            "postgres://n:hunter2@h:port/n",
            "postgres://n:hunter2@h/n?ssl=on",
            "postgres://n:hunter2@h/n?sslmode=maybe",
        ] {
            let error = wrong.parse::<StoreAddress>().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!("sqlite:".parse::<StoreAddress>().is_err());
    }
}
