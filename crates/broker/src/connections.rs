//! Upstream credentials: what the configuration says of them, and what is put on a request that was allowed.
//!
//! A credential is kept for one name, one holder and one destination. It comes out of the store for a request that policy
//! allowed, to the boundary that puts it on, and for nothing else: no verb and no operator's endpoint reads one back.

mod kept;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use delegation::oauth::{ClientId, Reason};
use http::{HeaderName, HeaderValue};
use issuance::audit::Record;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::broker::{Broker, InForce};
pub use kept::{Connections, ConnectionsError, Kept, Place, Put, Wanted as PutWanted};

/// The shortest secret, in characters: a shorter one would be found everywhere in a response that is searched for it.
const SHORTEST: usize = 8;
/// The longest.
const LONGEST: usize = 4_096;

/// What `[[connections]]` says of one kind of credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its name, by which routes ask for it.
    pub name: String,
    /// Whose credential a request is sent on with.
    pub per: Per,
    /// The only scheme, host and port that it goes to, as a URL's origin is written.
    pub origin: String,
    /// The header that it goes in.
    pub header: HeaderName,
    /// What stands in the header, before and behind the secret.
    pub around: (String, String),
}

/// The connections of a configuration, by name.
pub type ByName = BTreeMap<String, Connection>;

/// Whose credential a request is sent on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// One for everybody.
    All,
    /// One for each client that acts at a boundary.
    Client,
    /// One for each person or workload on whose behalf requests are made.
    User,
}

/// Whose one credential is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// Everybody's.
    All,
    /// A client's.
    Client(ClientId),
    /// A subject's, by the issuer that knows it and its `sub` there.
    User {
        /// The issuer's `iss`.
        iss: String,
        /// The outside `sub`.
        sub: String,
    },
}

impl Per {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Client => "client",
            Self::User => "user",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::All, Self::Client, Self::User].into_iter().find(|per| per.as_str() == word)
    }

    /// Whose credential the request of this record is sent on with; nothing if the record does not say who that is.
    fn holder(self, record: &Record) -> Option<Holder> {
        Some(match self {
            Self::All => Holder::All,
            Self::Client => Holder::Client(record.client.clone()?),
            Self::User => {
                let subject = record.subject.as_ref()?;
                Holder::User {
                    iss: subject.iss.clone(),
                    sub: subject.sub.clone(),
                }
            }
        })
    }
}

impl Holder {
    /// For whom the configuration must say that credentials are kept.
    pub fn per(&self) -> Per {
        match self {
            Self::All => Per::All,
            Self::Client(_) => Per::Client,
            Self::User { .. } => Per::User,
        }
    }

    /// As it stands in the store: an issuer, and a name there or a client's; what does not apply is empty.
    fn names(&self) -> (&str, &str) {
        match self {
            Self::All => ("", ""),
            Self::Client(id) => ("", id.as_str()),
            Self::User { iss, sub } => (iss, sub),
        }
    }

    /// As the command line says it, behind the connection's name.
    fn arguments(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::Client(id) => format!(" --client {}", in_a_shell(id.as_str())),
            Self::User { iss, sub } => format!(" --user {} {}", in_a_shell(iss), in_a_shell(sub)),
        }
    }

    /// As JSON says it: members of a request, of a list, and of a record.
    pub fn members(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::All => Vec::new(),
            Self::Client(id) => vec![("client", Value::from(id.as_str()))],
            Self::User { iss, sub } => vec![("user", serde_json::json!({ "iss": iss, "sub": sub }))],
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => out.write_str("everybody"),
            Self::Client(id) => write!(out, "client {}", id.as_str()),
            Self::User { iss, sub } => write!(out, "{sub} of {iss}"),
        }
    }
}

/// What an upstream knows somebody by: visible ASCII without spaces, so that it stands in a header as it is.
pub struct Secret(Zeroizing<String>);

/// Not a secret that can be kept. The text says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a credential of 8 to 4096 visible ASCII characters without spaces; what stands around it belongs into `send.as`")]
pub struct BadSecret;

impl Secret {
    /// Reads a secret.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let fits = (SHORTEST..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(Zeroizing::new(text.to_owned()))).ok_or(BadSecret)
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Without the secret.
impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// A credential for one request, and where alone it may go.
#[derive(Debug)]
pub struct Credential {
    /// The name of its connection.
    pub connection: String,
    /// The scheme, host and port that it is for.
    pub origin: String,
    /// The header that it goes in.
    pub header: HeaderName,
    /// What goes in it; marked as sensitive.
    pub value: HeaderValue,
    /// What of that must not come back.
    pub secret: Secret,
}

/// A credential that a request is to be sent on with: asked for by name, and found once policy has allowed the request.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    name: &'a str,
    found: OnceLock<Credential>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(name: &'a str) -> Self {
        Self {
            name,
            found: OnceLock::new(),
        }
    }

    /// Takes out what was found.
    pub(crate) fn take(&mut self) -> Option<Credential> {
        self.found.take()
    }

    /// Finds it for the request of `record`, which then says under which name. Without one the request is refused: it would
    /// come to the upstream as nobody's, or with what its client says.
    pub(crate) async fn find(&self, broker: &Broker, in_force: &InForce, record: &mut Record) -> Result<(), Reason> {
        note(record, "connection", self.name);
        let connection = in_force.connections.get(self.name).ok_or(Absent::Unknown);
        let holder = connection.and_then(|connection| connection.per.holder(record).ok_or(Absent::Nobody));
        let found = match (&connection, &holder) {
            (Ok(connection), Ok(holder)) => broker.connections().find(connection, holder).await,
            (Err(absent), _) | (_, Err(absent)) => Err(*absent),
        };
        match found {
            Ok(credential) => {
                // Nobody else fills it: each request has its own.
                let _ = self.found.set(credential);
                Ok(())
            }
            Err(absent) => {
                let told = absent.told(self.name, holder.as_ref().ok());
                note(record, "credential", &told);
                tracing::warn!(connection = self.name, "a request is refused: {told}");
                Err(Reason::StoreUnavailable)
            }
        }
    }
}

/// `text` as one word of a shell: whoever pastes a command runs nothing that a name in it says.
fn in_a_shell(text: &str) -> String {
    let is_plain = |each: char| each.is_ascii_alphanumeric() || "-._~:/@%+=,".contains(each);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn note(record: &mut Record, name: &str, text: &str) {
    if let Some(inputs) = record.inputs.as_object_mut() {
        inputs.insert(name.to_owned(), Value::from(text));
    }
}

/// Why there is no credential for a request: for the operator and the record, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The configuration in force has no such connection.
    Unknown,
    /// It is not known whose it would be.
    Nobody,
    /// None was ever added, or it was removed.
    Missing,
    /// One is kept for another origin or header than the configuration names now.
    Elsewhere,
    /// None of the key files opens it.
    Sealed,
    /// It makes no header.
    Malformed,
    /// The store did not answer.
    Unavailable,
}

impl Absent {
    /// What is wrong with the credential of `holder` for the connection `name`, and the command that mends it.
    fn told(self, name: &str, holder: Option<&Holder>) -> String {
        let whose = holder.map_or_else(String::new, |holder| format!(" for {holder}"));
        let arguments = holder.map_or_else(String::new, Holder::arguments);
        let by = |verb: &str| format!("`narrows connection {verb} {}{arguments}`", in_a_shell(name));
        match self {
            Self::Unknown => "the configuration has no such connection".to_owned(),
            Self::Nobody => "it is not known whose credential this would be".to_owned(),
            Self::Missing => format!("no credential is kept{whose}; add one with {}", by("add")),
            Self::Elsewhere => format!("it was added for another origin or header; add it anew with {}", by("rotate")),
            Self::Sealed => format!("none of the key files opens it; add it anew with {}", by("rotate")),
            Self::Malformed => "it makes no header together with `send.as`".to_owned(),
            Self::Unavailable => "the store is not available".to_owned(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use delegation::oauth::ClientId;

    use super::{Absent, Holder, Secret};

    #[test]
    fn what_is_missing_is_told_with_the_command_that_adds_it() {
        let client = Holder::Client(ClientId::parse("edge").unwrap());
        let user = |sub: &str| Holder::User {
            iss: "https://login.corp.example".to_owned(),
            sub: sub.to_owned(),
        };
        for (holder, whose, arguments) in [
            (Holder::All, "everybody", ""),
            (client, "client edge", " --client edge"),
            (
                user("alice"),
                "alice of https://login.corp.example",
                " --user https://login.corp.example alice",
            ),
            (
                user("'; `id` $(id) \\"),
                "'; `id` $(id) \\ of https://login.corp.example",
                r" --user https://login.corp.example ''\''; `id` $(id) \'",
            ),
        ] {
            let told = Absent::Missing.told("tickets-key", Some(&holder));
            assert_eq!(
                told,
                format!("no credential is kept for {whose}; add one with `narrows connection add tickets-key{arguments}`")
            );
        }
    }

    #[test]
    fn a_secret_is_visible_ascii_and_shows_itself_to_nobody() {
        for wrong in ["short", "with a space", "with\nnewline", "gr\u{fc}n-gr\u{fc}n", &"x".repeat(4_097)] {
            assert!(Secret::parse(wrong).is_err(), "{wrong}");
        }
        let secret = Secret::parse("sk-0123456789").unwrap();
        assert_eq!(secret.expose(), "sk-0123456789");
        assert!(!format!("{secret:?}").contains("0123"));
    }
}
