//! Whom tokens are addressed to, by the configuration in force.

use std::collections::{BTreeMap, BTreeSet};

use delegation::registry::{Client, Snapshot, TrustedIssuer};

/// Who may show which token, and what parties are called.
#[derive(Debug, Default)]
pub(super) struct Addressed {
    /// For each audience of ours, the clients that receive its tokens.
    pub(super) receivers: BTreeMap<String, BTreeSet<String>>,
    /// For each outside issuer, the clients that may exchange its tokens at the edge and are not themselves their audience.
    pub(super) at_edge_alone: BTreeMap<String, BTreeSet<String>>,
    /// For each issuer, its name, and whom its subjects are.
    pub(super) issuers: BTreeMap<String, (String, &'static str)>,
}

impl Addressed {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let receives = |audience: &str| {
            let clients = snapshot.clients.values();
            let receiving = clients.filter(|client| client.receives.iter().any(|each| each.means(audience, None)));
            receiving.map(|client| client.id.to_string()).collect()
        };
        let at_edge = |issuer: &TrustedIssuer| {
            let exchangers = issuer.exchangers.iter().filter_map(|id| snapshot.clients.get(id));
            exchangers
                .filter(|client| !is_addressed(client, issuer))
                .map(|client| client.id.to_string())
                .collect()
        };
        let named = |issuer: &TrustedIssuer| (issuer.name.clone(), issuer.subject.as_str());
        Self {
            receivers: snapshot.audiences.keys().map(|id| (id.to_string(), receives(id.as_str()))).collect(),
            at_edge_alone: snapshot.issuers.values().map(|issuer| (issuer.issuer.clone(), at_edge(issuer))).collect(),
            issuers: snapshot.issuers.values().map(|issuer| (issuer.issuer.clone(), named(issuer))).collect(),
        }
    }

    /// Whether tokens for `audience` are for `client`.
    pub(super) fn receives(&self, client: &str, audience: &str) -> bool {
        self.receivers.get(audience).is_some_and(|clients| clients.contains(client))
    }

    /// Whether `client` may exchange tokens of `issuer` for no other reason than that it stands at the edge.
    pub(super) fn is_at_edge_alone(&self, client: &str, issuer: &str) -> bool {
        self.at_edge_alone.get(issuer).is_some_and(|clients| clients.contains(client))
    }
}

/// Whether tokens of `issuer` may come straight to `client`: its own `receives` say so.
fn is_addressed(client: &Client, issuer: &TrustedIssuer) -> bool {
    let says = |audience: &String| client.receives.iter().any(|each| each.means(audience, Some(&issuer.name)));
    let bound = client.receives.iter().any(|each| each.issuer_name.as_ref() == Some(&issuer.name));
    bound || issuer.audiences.iter().any(says)
}
