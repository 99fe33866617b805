//! `narrows.toml`: read whole, checked whole, and turned into the values that each crate takes.

mod audiences;
mod backends;
mod boundaries;
mod clients;
mod connections;
mod data_plane;
mod defaults;
mod detail_types;
pub(crate) mod duration;
mod either;
mod file;
#[cfg(test)]
mod fuzzed;
mod guarded;
mod guards;
mod introspection;
mod issuers;
mod layer;
mod limits;
mod listeners;
mod modes;
mod own_key;
mod policies;

mod place;
mod problem;
mod profile;
mod recycled_names;
mod remote;
mod services;
mod shown;
mod source;
mod structure;
mod times;
mod tls;
mod unbuilt;
mod upstream_tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use broker::store::StoreAddress;
use broker::{Guarded, Rates, Settings, TlsIdentity};
use delegation::oauth::Scope;
use delegation::registry::Snapshot;
use delegation::token::Algorithm;
use fetch::{FetchSettings, Introspection, IssuerEntry};
use policy_cedar::PolicyFile;

use crate::assertion::ClientKey;

pub(crate) use backends::{Backend, WrittenRoute};
pub(crate) use boundaries::Front;
pub(crate) use file::File;
pub(crate) use guards::Post;
pub(crate) use modes::observing;
pub(crate) use problem::{Problem, Problems};
pub(crate) use remote::RemoteBroker;
pub(crate) use shown::Shown;
use source::Source;

/// A configuration that is right, as the values that are made from it.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Which process it was read for.
    pub(crate) process: Process,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) keys: Vec<IssuerEntry>,
    pub(crate) introspection: Option<Introspection>,
    pub(crate) settings: Settings,
    pub(crate) rates: Rates,
    pub(crate) listen: SocketAddr,
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// TLS of both; plain HTTP without.
    pub(crate) tls: Option<TlsIdentity>,
    pub(crate) fetch: FetchSettings,
    pub(crate) policies: Vec<PolicyFile>,
    /// Patterns whose new files count as changes too.
    pub(crate) patterns: Vec<String>,
    pub(crate) policy_version: String,
    pub(crate) timezone: String,
    /// Every file that was read, for noticing changes.
    pub(crate) watched: Vec<PathBuf>,
    /// What is understood and not built yet.
    pub(crate) warnings: Vec<Problem>,
    pub(crate) files: Vec<PathBuf>,
    /// The boundaries.
    pub(crate) fronts: Vec<Front>,
    /// The guards.
    pub(crate) posts: Vec<Post>,
    /// The services that are guarded, by name, with who asks for them.
    pub(crate) guarded: BTreeMap<String, Guarded>,
    /// The services, for backends that check for themselves.
    pub(crate) backends: Vec<Backend>,
    /// The upstream credentials that routes may ask for.
    pub(crate) connections: broker::connections::ByName,
    /// The broker, where it is another process.
    pub(crate) remote: Option<RemoteBroker>,
    source: Source,
}

impl Loaded {
    /// What is in force and where each value comes from; with `effective`, the defaults too.
    pub(crate) fn shown(&self, effective: bool) -> Result<Shown, toml::de::Error> {
        Shown::new(&self.source, self.process, effective)
    }

    /// Keys that the files set and this process has no use for.
    pub(crate) fn passed_over(&self) -> &[&'static str] {
        self.source.passed_over()
    }

    /// `key` by the name that the configuration has for this key of `client`.
    pub(crate) fn key_named(&self, key: ClientKey, client: &str) -> ClientKey {
        own_key::named(key, client, &self.keys)
    }

    /// `file:line` of the route `key` of a service.
    pub(crate) fn place_of_route(&self, service: &str, key: &str) -> String {
        self.source.place_of_route(service, key)
    }
}

/// Which process a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// The broker, with the boundaries beside it.
    Broker,
    /// Boundaries alone: it has no store, no signing key, no policy, and listens at no address of the broker's.
    DataPlane,
}

impl Process {
    /// Keys of which it uses nothing.
    fn unused(self) -> &'static [&'static str] {
        match self {
            Self::Broker => &[],
            Self::DataPlane => &["listen", "store", "policies", "key_file"],
        }
    }
}

/// Reads the files at `paths`, later ones over earlier ones, with what they include.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Loaded, Problems> {
    load_for(Process::Broker, paths)
}

/// The same for the process that runs them: `narrows boundary` where they name a broker elsewhere (`[broker]`) and no store.
pub(crate) fn load_as_run(paths: &[PathBuf]) -> Result<Loaded, Problems> {
    let apart = Process::DataPlane;
    match Source::read(paths, apart.unused()) {
        Ok(source) if source.joined().contains_key("broker") && !source.passed_over().contains(&"store") => understood(apart, source),
        _ => load(paths),
    }
}

/// The same for that process.
pub(crate) fn load_for(process: Process, paths: &[PathBuf]) -> Result<Loaded, Problems> {
    understood(process, Source::read(paths, process.unused())?)
}

fn understood(process: Process, source: Source) -> Result<Loaded, Problems> {
    let (file, mut problems) = structure::read::<File>(source)?;

    let types = detail_types::build(&file, &mut problems);
    let scopes = audiences::scopes(&file, &types, &mut problems);
    let audiences = audiences::build(&file, &types, &mut problems);
    let (clients, mut keys) = clients::build(&file, &mut problems);
    let (issuers, issuer_keys) = issuers::build(&file, &mut problems);
    keys.extend(issuer_keys);
    let introspection = introspection::build(&file, &mut problems);
    let mut warnings = unbuilt::check(&file, &types, &mut problems);
    let connections = connections::build(&file, &mut problems);
    warnings.extend(connections::elsewhere(&file, &problems));
    let upstream_tls = upstream_tls::build(&file, &mut problems);
    warnings.extend(upstream_tls::doubts(&file, &upstream_tls, &problems));
    let fronts = boundaries::build(&file, &types, &upstream_tls, &mut problems);
    warnings.extend(boundaries::addresses(&file, &fronts, &problems));
    let posts = guards::build(&file, &types, &upstream_tls, &mut problems);
    let guarded = guarded::build(&file);
    let backends = backends::build(&file, &types);
    let remote = remote::build(&file, &keys, &mut problems);
    warnings.extend(modes::over(&file, &problems));
    warnings.extend(modes::beside(&file, &problems));
    warnings.extend(audiences::unmapped(&file, &problems));
    warnings.extend(recycled_names::check(&file, &problems));

    let issuer = issuers::our_issuer(&file, &mut problems);
    let listen = address(file.listen.as_deref(), "listen", &mut problems);
    let metrics_listen = file.metrics_listen.as_deref().map(|text| address(Some(text), "metrics_listen", &mut problems));
    listeners::check(process, &file, &mut problems);
    // A data plane listens at most for its health, and needs no key of the broker's otherwise.
    let has_listener = process == Process::Broker || metrics_listen.is_some();
    let tls_files = file.tls.as_ref().filter(|_| has_listener).map(tls::files);
    let tls = tls_files.as_ref().and_then(|files| tls::load(files, "tls", &mut problems));
    if process == Process::Broker {
        warnings.extend(tls::doubts(&issuer, listen, tls_files.as_ref(), &problems));
        // Elsewhere it is not known which boundaries there are.
        warnings.extend(connections::missed(&file, &problems));
    }
    let tokens = file.tokens.clone().unwrap_or_default();
    let times = times::build(&file, &mut problems);
    let algorithm = match tokens.algorithm.as_deref().unwrap_or("ES256") {
        "ES256" => Algorithm::Es256,
        "EdDSA" => Algorithm::EdDsa,
        "RS256" => Algorithm::Rs256,
        "PS256" => Algorithm::Ps256,
        other => {
            problems.add(
                "tokens.algorithm",
                format!("expected ES256, EdDSA, RS256 or PS256, found `{other}`"),
            );
            Algorithm::Es256
        }
    };
    let limits = limits::build(&file, &mut problems);
    let store = file.store.as_deref().map(str::parse::<StoreAddress>);
    // The value is not repeated: it may hold a password.
    if let Some(Err(error)) = &store {
        problems.add("store", error.to_string());
    }
    let unsafe_store = store.as_ref().and_then(|store| store.as_ref().ok()?.warning());
    warnings.extend(unsafe_store.map(|why| problems.at("store", why.to_owned())));
    let store = store.and_then(Result::ok).unwrap_or_else(|| StoreAddress::sqlite(PathBuf::new()));
    let fetch = FetchSettings {
        allow_private: networks(&file, &mut problems),
    };
    let policies = policies::build(&file, &mut problems);
    let timezone = file.policy.as_ref().and_then(|policy| policy.timezone.clone()).unwrap_or_else(|| "UTC".to_owned());
    if jiff::tz::TimeZone::get(&timezone).is_err() {
        problems.add(
            "policy.timezone",
            format!("expected a name such as `Europe/Berlin`, found `{timezone}`"),
        );
    }
    let key_files: Vec<PathBuf> = file
        .key_file
        .clone()
        .map(either::OneOrMany::into_vec)
        .unwrap_or_default()
        .into_iter()
        .map(PathBuf::from)
        .collect();
    for path in key_files.iter().filter(|path| !path.is_file()) {
        problems.add(
            "key_file",
            format!(
                "there is no file `{}`; `narrows init` makes one: 32 random bytes in base64, mode 0600",
                path.display()
            ),
        );
    }
    if !(1..=32).contains(&tokens.max_chain.unwrap_or(8)) {
        problems.add("tokens.max_chain", "expected 1 to 32".to_owned());
    }
    for (path, value) in [
        ("issuer", file.issuer.is_some()),
        ("listen", file.listen.is_some()),
        ("store", file.store.is_some()),
        ("policies", file.policies.is_some()),
        ("key_file", file.key_file.is_some()),
    ] {
        if !value && !process.unused().contains(&path) {
            // It stands in no file, and belongs into the first.
            let first = problems.source().files().first().map(|file| file.display().to_string());
            let mend = "is required; `narrows init` writes a configuration that has it";
            problems.add_in(first.unwrap_or_default(), path, mend.to_owned());
        }
    }

    let mut watched = problems.source().watched();
    let patterns = [file.policies.clone().unwrap_or_default(), problems.source().patterns()].concat();
    watched.extend(policies.paths);
    watched.extend(keys.iter().filter_map(|entry| match &entry.source {
        fetch::KeySource::File(path) => Some(path.clone()),
        _ => None,
    }));
    let mut bytes = problems.source().bytes();
    let of_fronts = fronts.iter().filter_map(|front| front.tls_files.as_ref());
    let of_posts = posts.iter().filter_map(|post| post.tls_files.as_ref());
    for files in tls_files.iter().chain(of_fronts).chain(of_posts) {
        // A private key takes no part in a version that is shown; its certificate changes with it.
        let shown = [Some(&files.cert_file), files.client_ca_file.as_ref()];
        for path in shown.into_iter().flatten() {
            bytes.extend(std::fs::read(path).unwrap_or_default());
            watched.push(path.clone());
        }
        watched.push(files.key_file.clone());
    }
    for files in file.services.iter().filter_map(upstream_tls::files) {
        for path in upstream_tls::public(&files) {
            bytes.extend(std::fs::read(path).unwrap_or_default());
            watched.push(path.clone());
        }
        watched.extend(files.pair.map(|pair| pair.key_file));
    }
    for entry in &keys {
        if let fetch::KeySource::File(path) = &entry.source {
            bytes.extend(std::fs::read(path).unwrap_or_default());
        }
    }
    let config_version = format!("c-{}", policies::short_digest(&bytes));
    let snapshot = Snapshot {
        issuer,
        clients: clients.into_iter().map(|client| (client.id.clone(), client)).collect(),
        audiences: audiences.into_iter().map(|audience| (audience.id.clone(), audience)).collect(),
        issuers: issuers.into_iter().map(|issuer| (issuer.issuer.clone(), issuer)).collect(),
        types,
        scopes,
        lifetimes: times.lifetimes,
        max_chain: tokens.max_chain.unwrap_or(8),
        config_version,
    };
    let settings = Settings {
        store,
        key_files,
        algorithm,
        rotate_every: times.rotate_every,
        publish_before: times.publish_before,
        body_limit: limits.body,
        max_view_age: times.max_view_age,
        connections: limits.connections,
    };
    let source = problems.source().clone();
    problems.finish(Loaded {
        process,
        snapshot: Arc::new(snapshot),
        keys,
        introspection,
        settings,
        rates: limits.rates,
        listen,
        metrics_listen,
        tls,
        fetch,
        policies: policies.files,
        patterns,
        policy_version: policies.version,
        timezone,
        watched,
        warnings,
        files: source.files(),
        fronts,
        posts,
        guarded,
        backends,
        connections,
        remote,
        source,
    })
}

fn address(text: Option<&str>, path: &str, problems: &mut Problems) -> SocketAddr {
    let text = text.unwrap_or("127.0.0.1:0");
    text.parse().unwrap_or_else(|_| {
        problems.add(path, format!("expected ADDRESS:PORT such as `127.0.0.1:8420`, found `{text}`"));
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn networks(file: &File, problems: &mut Problems) -> Vec<ipnet::IpNet> {
    let listed = file.fetch.as_ref().and_then(|fetch| fetch.allow_private.clone()).unwrap_or_default();
    let network = |(at, text): (usize, &String)| {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            problems.add(
                &format!("fetch.allow_private[{at}]"),
                format!("expected a network such as `10.0.0.0/8`, found `{text}`"),
            );
        }
        parsed
    };
    listed.iter().enumerate().filter_map(network).collect()
}

/// A scope of the configuration, or a problem at `path`.
fn scope(text: &str, path: &str, problems: &mut Problems) -> Option<Scope> {
    let scope = Scope::parse(text).ok();
    if scope.is_none() {
        problems.add(path, format!("expected a scope token of RFC 6749, section 3.3, found `{text}`"));
    }
    scope
}
