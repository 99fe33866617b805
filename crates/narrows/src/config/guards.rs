//! `[[guards]]` with the service behind each, as what serves them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use boundary::guarding::{Forward, Settings};
use boundary::{Modes, Upstream};
use broker::{TlsFiles, TlsIdentity};
use delegation::details::DetailTypes;
use delegation::oauth::{AudienceId, ClientId};
use delegation::registry::Snapshot;
use narrows_guard::live::{self, Recheck};
use narrows_guard::route::{Service as Routes, Table};
use narrows_guard::surplus::{Excess, Fixed, FixedError};
use narrows_guard::{Clock, Sender};
use serde_json::Value;
use url::Url;

use super::boundaries;
use super::data_plane::{client, listens, word};
use super::either::Rule;
use super::file::{Audience, File, Guard, Service};
use super::issuers::is_loopback;
use super::modes;
use super::problem::Problems;
use super::services::{self, subjects};
use super::tls;
use super::upstream_tls::{self, ByService};

/// A guard that is right: who it acts as, where it listens, what it checks, and what stands behind it.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) client: ClientId,
    pub(crate) listen: SocketAddr,
    /// TLS of its door; plain HTTP without.
    pub(crate) tls: Option<TlsIdentity>,
    pub(super) tls_files: Option<TlsFiles>,
    pub(crate) audience: AudienceId,
    sender: Sender,
    pub(crate) excess: Excess,
    pub(crate) fixed: BTreeMap<String, Value>,
    pub(crate) recheck: Recheck,
    pub(super) routes: Routes,
    pub(super) modes: Modes,
    /// What becomes of what it lets through.
    pub(crate) settings: Settings,
}

impl Post {
    /// What it decides by, where tokens are made by the rules of `snapshot`, begin and end by `clock`, and the view of what was revoked
    /// may be as old as `max_age`.
    pub(crate) fn decides(&self, snapshot: &Snapshot, max_age: Duration, clock: Clock) -> live::Settings {
        live::Settings {
            guard: self.checks(snapshot, max_age),
            recheck: self.recheck,
            modes: modes::at_guard(&self.modes, &self.settings.service),
            clock,
        }
    }

    fn checks(&self, snapshot: &Snapshot, max_age: Duration) -> narrows_guard::Settings {
        let audience = snapshot.audiences.get(&self.audience);
        narrows_guard::Settings {
            service: self.routes.clone(),
            types: snapshot.types.clone(),
            issuer: snapshot.issuer.clone(),
            audience: self.audience.clone(),
            max_lifetime: audience.and_then(|audience| audience.max_lifetime).unwrap_or(snapshot.lifetimes.max),
            max_chain: snapshot.max_chain,
            max_age,
            sender: self.sender,
            single_use: audience.is_some_and(|audience| audience.single_use),
            excess: self.excess,
            fixed: self.fixed.clone(),
        }
    }
}

/// Finds what is wrong with each.
pub(super) fn check(file: &File, types: &DetailTypes, problems: &mut Problems) {
    for (at, each) in file.guards.iter().enumerate() {
        let path = format!("guards[{at}]");
        guard(file, each, &path, types, problems);
    }
}

fn guard(file: &File, guard: &Guard, path: &str, types: &DetailTypes, problems: &mut Problems) {
    client(file, guard.client.as_deref(), path, problems);
    if guard.listen.is_none() {
        problems.add(&format!("{path}.listen"), "is required".to_owned());
    }
    listens(guard.listen.as_deref(), &format!("{path}.listen"), problems);
    let words: [(&str, _, &[&str]); 3] = [
        ("excess", &guard.excess, &["none", "same_resource", "any"]),
        ("forward", &guard.forward, &["token", "identity", "nothing"]),
        ("recheck", &guard.recheck, &["never", "each"]),
    ];
    for (key, value, known) in words {
        word(value.as_ref(), known, &format!("{path}.{key}"), problems);
    }
    modes::of_guard(file, guard, path, problems);
    fixed(guard, path, types, problems);
    let Some(service) = file.services.iter().find(|service| service.name == guard.service) else {
        problems.add(&format!("{path}.service"), format!("there is no service `{}`", guard.service));
        return;
    };
    routes(service, path, problems);
    backend(guard, service, path, problems);
    let Some(id) = &service.audience else {
        let mend = format!(
            "`{}` names no `audience`, so no token is for it; add one to the service",
            service.name
        );
        problems.add(&format!("{path}.service"), mend);
        return;
    };
    let named = file.clients.iter().find(|client| Some(&client.id) == guard.client.as_ref());
    if let Some(named) = named.filter(|named| !named.receives.iter().any(|receives| receives.audience() == id)) {
        problems.add(
            &format!("{path}.client"),
            format!("`{}` does not receive `{id}`; add that to its `receives`", named.id),
        );
    }
    if let Some(audience) = file.audiences.iter().find(|audience| audience.id == *id) {
        tokens(guard, audience, path, problems);
    }
}

/// Values for what no request names.
fn fixed(guard: &Guard, path: &str, types: &DetailTypes, problems: &mut Problems) {
    for (name, value) in guard.fixed.iter().flatten() {
        let one = BTreeMap::from([(name.clone(), value.clone())]);
        let message = match Fixed::of(&one, types) {
            Ok(_) => continue,
            Err(FixedError::Name(_)) => "expected a value of a constraint that is declared as `equal`, in every type that has it",
            Err(FixedError::Value(_)) => "expected a string that is not empty, an integer or a boolean",
        };
        problems.add(&format!("{path}.fixed.{name}"), message.to_owned());
    }
}

/// A guard knows of a subject what the token says, and no attribute of it.
fn routes(service: &Service, path: &str, problems: &mut Problems) {
    for (key, rule) in &service.routes {
        let texts: Vec<&String> = match rule {
            Rule::Short(text) => vec![text],
            Rule::Long(rule) => rule.detail.iter().chain(&rule.onward).collect(),
        };
        if let Some(name) = texts.into_iter().flat_map(|text| subjects(text)).next() {
            problems.add(
                &format!("{path}.service"),
                format!(
                    "`{key}` of `{}` reads `{{subject.{name}}}`, which only a boundary knows; give what stands behind the guard a service \
                     of its own, and the value as `fixed` where it is always the same",
                    service.name
                ),
            );
        }
    }
}

/// The headers that carry the identity are believed by whoever reads them, so nobody else may be able to send them.
fn backend(guard: &Guard, service: &Service, path: &str, problems: &mut Problems) {
    let Some(text) = &service.upstream else { return };
    if Url::parse(text).is_ok() && upstream(text).is_none() {
        problems.add(
            &format!("{path}.service"),
            format!(
                "`upstream` of `{}` must be scheme, host and port, and nothing behind them, or `unix:` and a path",
                service.name
            ),
        );
    }
    let is_near = services::socket(text).is_some() || Url::parse(text).is_ok_and(|url| is_loopback(&url));
    let is_safe = is_near || upstream_tls::is_mutual(service) || guard.trust_network == Some(true);
    if guard.forward.as_deref().unwrap_or("identity") == "identity" && !is_safe {
        problems.add(
            &format!("{path}.forward"),
            format!(
                "identity headers leave this machine for `{text}`, where whoever reaches it can send them too; show it a certificate, \
                 which it has to ask for (`cert_file` and `key_file` in `upstream_tls` of the service, over https), forward the token, run \
                 the guard beside it, or say `trust_network = true`"
            ),
        );
    }
}

fn upstream(text: &str) -> Option<Upstream> {
    match services::socket(text) {
        Some(path) => Upstream::socket(path).ok(),
        None => Upstream::parse(text).ok(),
    }
}

/// Tokens that this guard could not take, or would hand to somebody who can use them again.
fn tokens(guard: &Guard, audience: &Audience, path: &str, problems: &mut Problems) {
    let id = &audience.id;
    if audience.token.as_deref() == Some("txn") {
        problems.add(
            &format!("{path}.service"),
            format!("tokens for `{id}` are transaction tokens, and a guard takes access tokens; use `token = \"jwt\"` or `\"opaque\"`"),
        );
    }
    if audience.sender.as_deref().is_some_and(|sender| sender != "none") {
        problems.add(
            &format!("{path}.service"),
            format!("tokens for `{id}` are bound to a key (`sender`), and a guard takes no proofs of keys yet; use `sender = \"none\"`"),
        );
    }
    if audience.single_use && guard.forward.as_deref() == Some("token") {
        problems.add(
            &format!("{path}.forward"),
            format!("a token for `{id}` is good for one request, which is this one; forward the identity, or nothing"),
        );
    }
}

/// Every guard that is right. What is wrong with one was told before.
pub(super) fn build(file: &File, types: &DetailTypes, tls: &ByService, problems: &mut Problems) -> Vec<Post> {
    let each = |(at, guard): (usize, &Guard)| post(file, guard, (types, tls), &format!("guards[{at}]"), problems);
    file.guards.iter().enumerate().filter_map(each).collect()
}

fn post(
    file: &File,
    guard: &Guard,
    (types, upstream_tls): (&DetailTypes, &ByService),
    path: &str,
    problems: &mut Problems,
) -> Option<Post> {
    let service = file.services.iter().find(|service| service.name == guard.service)?;
    let audience = file.audiences.iter().find(|audience| Some(&audience.id) == service.audience.as_ref());
    let routes = boundaries::service(service, types);
    if let Err(error) = Table::build(vec![routes.clone()], types.clone()) {
        problems.add(&format!("{path}.service"), error.to_string());
    }
    let tls_files = guard.tls.as_ref().map(tls::files);
    let scheme = if tls_files.is_some() { "https" } else { "http" };
    Some(Post {
        client: ClientId::parse(guard.client.as_deref()?).ok()?,
        listen: guard.listen.as_deref()?.parse().ok()?,
        tls: tls_files.as_ref().and_then(|files| tls::load(files, &format!("{path}.tls"), problems)),
        tls_files,
        audience: AudienceId::parse(service.audience.as_deref()?).ok()?,
        sender: match audience.and_then(|audience| audience.sender.as_deref()) {
            None | Some("none") => Sender::None,
            Some("mtls") => Sender::Mtls,
            Some(_) => Sender::Dpop,
        },
        excess: guard.excess.as_deref().and_then(Excess::parse).unwrap_or_default(),
        fixed: guard.fixed.clone().unwrap_or_default(),
        recheck: match guard.recheck.as_deref() {
            Some("each") => Recheck::Each,
            _ => Recheck::Never,
        },
        routes,
        modes: modes::of_one(guard.mode.as_ref(), guard.observe_until.as_ref(), &[service]),
        settings: Settings {
            service: service.name.clone(),
            upstream: upstream(service.upstream.as_deref()?)?.with_tls(upstream_tls.get(&service.name).cloned()),
            forward: match guard.forward.as_deref() {
                Some("token") => Forward::Token,
                Some("nothing") => Forward::Nothing,
                _ => Forward::Identity,
            },
            scheme,
        },
    })
}
