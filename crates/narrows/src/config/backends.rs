//! Services as a backend that checks for itself must know them: `snippet` writes it down.

use std::collections::BTreeMap;

use delegation::details::DetailTypes;
use narrows_guard::route::Service;
use narrows_guard::surplus::Excess;
use serde_json::Value;

use super::boundaries::service;
use super::either::Rule;
use super::file::File;
use super::modes;

/// A service, and how a guard of it judges.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) service: Service,
    pub(crate) excess: Excess,
    /// Values of `equal` constraints that the request cannot name.
    pub(crate) fixed: BTreeMap<String, Value>,
    /// What its tokens ask of whoever takes them, and a middleware cannot do; empty, where there is nothing.
    pub(crate) asks_more: Vec<&'static str>,
    /// Where the guards of the service listen: the word of the first one holds.
    pub(crate) guards: Vec<String>,
    /// The client that its guard is, where there is one.
    pub(crate) client: Option<String>,
    /// Whether its guard asks policy again about every request.
    pub(crate) rechecks: bool,
    /// What says that it is only observed, by its keys; nothing that checks in a backend goes by that.
    pub(crate) observes: Vec<String>,
    /// The routes as they stand in the configuration.
    pub(crate) written: Vec<WrittenRoute>,
}

/// The key of a route, and its details in short form.
#[derive(Clone, Debug)]
pub(crate) struct WrittenRoute {
    pub(crate) key: String,
    pub(crate) detail: Option<String>,
    pub(crate) onward: Vec<String>,
}

/// Every service. Where guards are configured for one, the word of the first holds.
pub(super) fn build(file: &File, types: &DetailTypes) -> Vec<Backend> {
    let each = |written: &super::file::Service| {
        let guards: Vec<_> = file.guards.iter().filter(|guard| guard.service == written.name).collect();
        let guard = guards.first();
        let audience = file.audiences.iter().find(|audience| Some(&audience.id) == written.audience.as_ref());
        let asks = |audience: &super::file::Audience| {
            [
                (
                    audience.token.as_deref() == Some("opaque"),
                    "`token = \"opaque\"`, and the broker alone can read those",
                ),
                (
                    audience.token.as_deref() == Some("txn"),
                    "`token = \"txn\"`, and those are no access tokens",
                ),
                (
                    audience.sender.as_deref().is_some_and(|sender| sender != "none"),
                    "`sender`, and proofs of keys are not taken",
                ),
                (audience.single_use, "`single_use`, and the broker alone knows what was used"),
            ]
        };
        let asks_more = audience.map(asks).into_iter().flatten().filter_map(|(is_so, why)| is_so.then_some(why));
        Backend {
            service: service(written, types),
            excess: guard.and_then(|guard| Excess::parse(guard.excess.as_deref()?)).unwrap_or_default(),
            fixed: guard.and_then(|guard| guard.fixed.clone()).unwrap_or_default(),
            asks_more: asks_more.collect(),
            guards: guards.iter().filter_map(|guard| guard.listen.clone()).collect(),
            client: guard.and_then(|guard| guard.client.clone()),
            rechecks: guard.is_some_and(|guard| guard.recheck.as_deref() == Some("each")),
            observes: modes::observing_keys(file, written),
            written: written.routes.iter().map(|(key, rule)| as_written(key, rule)).collect(),
        }
    };
    file.services.iter().map(each).collect()
}

fn as_written(key: &str, rule: &Rule) -> WrittenRoute {
    let (detail, onward) = match rule {
        Rule::Short(text) => (Some(text.clone()), Vec::new()),
        Rule::Long(rule) => (rule.detail.clone(), rule.onward.clone()),
    };
    WrittenRoute {
        key: key.to_owned(),
        detail,
        onward,
    }
}
