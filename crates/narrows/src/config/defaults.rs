//! What holds where nothing is written, in the notation in which people would write it.

use toml::{Table, Value};

use super::Process;
use super::place::Segment;
use super::profile;
use delegation::registry::Profile;

/// Tables that are there once.
const TABLES: &str = r#"
[tokens]
lifetime     = "5m"
max_lifetime = "10m"
algorithm    = "ES256"
max_chain    = 8

[tasks]
max_lifetime            = "1h"
deferred_max_lifetime   = "24h"
deferred_token_lifetime = "60s"

[limits]
requests_per_second.per_client  = 500
requests_per_second.per_address = 200
body        = "64KiB"
connections = 10000

[revocation]
max_age = "5s"

[policy]
timezone = "UTC"

[keys]
rotate_every   = "30d"
publish_before = "1h"
"#;

/// The same for boundaries alone: what the broker decides by is the broker's.
const TABLES_APART: &str = r#"
[tokens]
max_lifetime = "10m"
max_chain    = 8

[limits]
connections = 10000

[revocation]
max_age = "5s"
"#;

/// Where the broker is, if that is said.
const BROKER: &str = r#"
deadline = "150ms"
"#;

/// Entries of lists; an issuer's profile may say otherwise.
const ENTRIES: &str = r#"
[trusted_issuers]
algorithms  = ["RS256", "ES256"]
token_types = ["access_token", "id_token"]
sub_prefix  = ""
authority   = "scope"
audiences   = []
exchangers  = []
attributes  = {}
leeway      = "30s"

[clients]
receives   = []
delegates  = []
grants     = ["token_exchange", "client_credentials"]
labels     = {}
data_plane = false

[audiences]
details      = []
scopes       = []
token        = "jwt"
claims       = []
sender       = "none"
single_use   = false
on_duplicate = "report"
defaults     = []

[boundaries]
peers           = ["127.0.0.1/32", "::1/128"]
trusted_proxies = []
forwarded       = "rebuild"
login           = []
mode            = "enforce"

[guards]
excess        = "same_resource"
forward       = "identity"
fixed         = {}
recheck       = "never"
mode          = "enforce"
trust_network = false
"#;

/// A default that was filled in: its key, and where it comes from.
pub(super) type Filled = (Vec<Segment>, String);

/// Fills in what `config` does not say, of what `process` goes by.
pub(super) fn fill(config: &mut Table, process: Process) -> Result<Vec<Filled>, toml::de::Error> {
    let mut filled = Vec::new();
    let tables = match process {
        Process::Broker => TABLES,
        Process::DataPlane => TABLES_APART,
    };
    let mut tables = tables.parse::<Table>()?;
    if config.contains_key("broker") {
        tables.insert("broker".to_owned(), Value::Table(BROKER.parse()?));
    }
    for (key, defaults) in tables {
        let inner = config.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
        complete(inner, &[Segment::Key(key)], &defaults, &mut filled, "default");
    }
    for (key, defaults) in ENTRIES.parse::<Table>()? {
        for (at, entry) in config.get_mut(&key).and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
            let path = [Segment::Key(key.clone()), Segment::Index(at)];
            if key == "trusted_issuers" {
                let named = entry.get("profile").and_then(Value::as_str).map(str::to_owned);
                let place = named.as_ref().map_or_else(|| "default".to_owned(), |name| format!("profile {name}"));
                complete(entry, &path, &presets(named.as_deref()), &mut filled, &place);
            }
            complete(entry, &path, &defaults, &mut filled, "default");
        }
    }
    Ok(filled)
}

/// What the profile of an issuer says where the issuer's entry does not.
fn presets(named: Option<&str>) -> Value {
    let named = named.and_then(|name| Profile::ALL.into_iter().find(|(known, _)| *known == name));
    let presets = profile::presets(named.map(|(_, profile)| profile));
    let list = |words: &[&str]| Value::Array(words.iter().map(|word| Value::from(*word)).collect());
    let entries = [
        ("token_types", list(presets.token_types)),
        ("typ", list(presets.typ)),
        ("scope_claim", Value::from(presets.scope_claim)),
        ("client_claims", list(presets.client_claims)),
        ("subject", Value::from(presets.subject)),
    ];
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Adds to `here` whatever of `defaults` it lacks.
fn complete(here: &mut Value, path: &[Segment], defaults: &Value, filled: &mut Vec<Filled>, place: &str) {
    let (Some(here), Some(defaults)) = (here.as_table_mut(), defaults.as_table()) else {
        return;
    };
    for (key, default) in defaults {
        let path = [path, &[Segment::Key(key.clone())]].concat();
        let leaf = default.as_table().is_none_or(Table::is_empty);
        if !leaf {
            let inner = here.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
            complete(inner, &path, default, filled, place);
        } else if !here.contains_key(key) {
            here.insert(key.clone(), default.clone());
            filled.push((path, place.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init;
    use crate::config::{Loaded, load, load_for};

    type Tried = Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// An issuer of every profile.
    fn issuers() -> String {
        let entry = |(at, (profile, _)): (usize, (&str, Profile))| {
            format!(
                "\n[[trusted_issuers]]\nname = \"{profile}\"\nissuer = \"https://{profile}.example\"\nprofile = \"{profile}\"\nsub_prefix = \"{at}-\"\n"
            )
        };
        Profile::ALL.into_iter().enumerate().map(entry).collect()
    }

    /// One that says nothing that need not be said.
    const GUARD: &str = "\n[[guards]]\nservice = \"crm\"\nclient = \"guard-crm\"\nlisten = \"127.0.0.1:1\"\n";

    /// What boundaries and guards go by, as far as there are defaults.
    fn doors(loaded: &Loaded) -> Vec<String> {
        let fronts = loaded.fronts.iter().map(|front| {
            let settings = &front.settings;
            let (forwarded, login) = (settings.rebuilds_forwarded, &settings.login);
            format!("{:?} {:?} {forwarded} {login:?}", settings.peers, settings.trusted_proxies)
        });
        let posts = loaded.posts.iter().map(|post| {
            let forward = post.settings.forward;
            format!("{:?} {forward:?} {:?} {:?}", post.excess, post.fixed, post.recheck)
        });
        let observing = format!("{:?}", crate::config::observing(loaded));
        fronts.chain(posts).chain([observing]).collect()
    }

    #[test]
    fn a_default_that_is_shown_is_the_one_that_is_in_force() -> Tried {
        let folder = tempfile::tempdir()?;
        for file in crate::demo::files(&crate::demo::Places::usual())? {
            let more = if file.name == "narrows.toml" {
                issuers() + GUARD
            } else {
                String::new()
            };
            init::write(&folder.path().join(&file.name), &(file.text + &more), file.secret)?;
        }
        let written = |name: &str| load(&[folder.path().join(name)]).map_err(|problems| problems.to_string());
        let loaded = written("narrows.toml")?;
        std::fs::write(folder.path().join("effective.toml"), loaded.shown(true)?.lines().join("\n"))?;
        let in_force = |loaded: &Loaded| {
            let snapshot = format!("{:#?}", loaded.snapshot).replace(&loaded.snapshot.config_version, "");
            format!("{snapshot}\n{:#?}\n{}\n{:#?}", loaded.settings, loaded.timezone, doors(loaded))
        };
        assert_eq!(in_force(&loaded), in_force(&written("effective.toml")?));
        assert!(loaded.snapshot.issuers.len() > Profile::ALL.len(), "one for each profile");
        Ok(())
    }

    #[test]
    fn a_default_that_is_shown_of_boundaries_alone_is_in_force_there() -> Tried {
        let folder = tempfile::tempdir()?;
        let broker = "\n[broker]\nurls = [\"http://127.0.0.1:1\"]\nclient = \"edge\"\nkey = { file = \"edge.key\" }\n";
        for file in crate::demo::files(&crate::demo::Places::usual())? {
            let more = if file.name == "narrows.toml" { broker } else { "" };
            init::write(&folder.path().join(&file.name), &(file.text + more), file.secret)?;
        }
        let written = |name: &str| load_for(Process::DataPlane, &[folder.path().join(name)]).map_err(|problems| problems.to_string());
        let loaded = written("narrows.toml")?;
        let lines = loaded.shown(true)?.lines();
        let in_force = |loaded: &Loaded| {
            let snapshot = format!("{:#?}", loaded.snapshot).replace(&loaded.snapshot.config_version, "");
            let deadline = loaded.remote.as_ref().map(|remote| remote.deadline);
            format!("{snapshot}\n{:#?}\n{deadline:?}", loaded.settings)
        };
        std::fs::write(folder.path().join("effective.toml"), lines.join("\n"))?;
        assert_eq!(in_force(&loaded), in_force(&written("effective.toml")?));
        assert!(
            lines.iter().any(|line| line.starts_with("deadline = \"150ms\"  # default")),
            "{lines:?}"
        );
        Ok(())
    }
}
