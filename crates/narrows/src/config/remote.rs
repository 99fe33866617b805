//! `[broker]`: a broker in another process, and who asks it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use delegation::oauth::ClientId;
use fetch::IssuerEntry;
use url::Url;

use super::duration;
use super::file::{File, Remote};
use super::issuers::issuer_url;
use super::own_key;
use super::problem::Problems;
use crate::assertion::ClientKey;

/// A table that is right.
#[derive(Clone)]
pub(crate) struct RemoteBroker {
    /// In the order in which they are tried.
    pub(crate) urls: Vec<Url>,
    pub(crate) client: ClientId,
    /// The client's private key.
    pub(crate) key: Arc<ClientKey>,
    pub(crate) deadline: Duration,
}

impl fmt::Debug for RemoteBroker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RemoteBroker")
            .field("urls", &self.urls)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The table, if there is one and all of it is right.
pub(super) fn build(file: &File, keys: &[IssuerEntry], problems: &mut Problems) -> Option<RemoteBroker> {
    let table = file.broker.as_ref()?;
    let urls = urls(table, problems);
    let client = client(file, table, problems);
    let key = match table.key.as_deref().map(ClientKey::parse) {
        None => required("broker.key", "the client's private key: `{ file = \"edge.key\" }`", problems),
        Some(Ok(key)) => Some(Arc::new(own_key::named(key, table.client.as_deref().unwrap_or_default(), keys))),
        // The value is not repeated: it may be a key.
        Some(Err(error)) => {
            problems.add("broker.key", error.to_string());
            None
        }
    };
    let deadline = table.deadline.as_deref().unwrap_or("150ms");
    let parsed = duration::parse(deadline).filter(|deadline| !deadline.is_zero());
    if parsed.is_none() {
        problems.add(
            "broker.deadline",
            format!("expected a duration such as `90s` or `150ms`, found `{deadline}`"),
        );
    }
    Some(RemoteBroker {
        urls: urls?,
        client: client?,
        key: key?,
        deadline: parsed?,
    })
}

fn required<T>(key: &str, what: &str, problems: &mut Problems) -> Option<T> {
    problems.add(key, format!("is required: {what}"));
    None
}

fn urls(table: &Remote, problems: &mut Problems) -> Option<Vec<Url>> {
    let texts = table.urls.as_deref().unwrap_or_default();
    if texts.is_empty() {
        return required("broker.urls", "where the broker is, as `[\"https://narrows.internal\"]`", problems);
    }
    let mut urls = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        match issuer_url(text).filter(|url| url.query().is_none() && url.fragment().is_none()) {
            Some(url) => urls.push(url),
            None => problems.add(
                &format!("broker.urls[{at}]"),
                format!("expected an https URL, or http on loopback, found `{text}`"),
            ),
        }
    }
    (urls.len() == texts.len()).then_some(urls)
}

fn client(file: &File, table: &Remote, problems: &mut Problems) -> Option<ClientId> {
    let Some(id) = table.client.as_deref() else {
        return required("broker.client", "the client that this process acts as", problems);
    };
    let Some(client) = file.clients.iter().find(|client| client.id == id) else {
        problems.add("broker.client", format!("there is no client `{id}`"));
        return None;
    };
    if !client.auth.as_slice().iter().any(|auth| auth.method == "private_key_jwt") {
        let mend = format!("`{id}` has no `private_key_jwt`; `narrows client add` makes a key and the entry for it");
        problems.add("broker.client", mend);
        return None;
    }
    ClientId::parse(id).ok()
}
