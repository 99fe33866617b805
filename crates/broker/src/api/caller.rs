//! Who asks `/v1`: an operator by their token, or a client by an access token of its own that is addressed to us.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use delegation::oauth::{ClientId, Form, Scope};
use delegation::registry::Moment;
use delegation::token::{Active, Authentic, OpaqueForm, OpaqueFormError, OpaqueKind, SubjectToken};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::problem::Problem;
use crate::broker::{Broker, InForce};
use crate::client_auth;
use crate::evidence;
use crate::keys::OURS;
use crate::limits::{Claim, OverLimit, Proof};
use crate::operator::{Operator, Role};
use crate::remembered::Digest;

/// The scope of a client's token that reads the feed.
const DATA_PLANE: &str = "narrows.data_plane";

/// What a caller has shown. It can be asked again later, for a reply that goes on.
#[derive(Debug)]
pub(crate) enum Credential {
    /// The digest of an operator token.
    Operator([u8; 32]),
    /// One of our own access tokens.
    Token(Arc<Authentic<SubjectToken>>, Digest),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A person.
    Operator(Operator),
    /// A client, for itself.
    Client {
        /// Which.
        id: ClientId,
        /// Whether it runs data planes by its entry and by its token.
        is_data_plane: bool,
    },
}

impl Credential {
    /// Reads the one `Authorization` header and looks at what is in it, if a look from this address is worth it.
    pub(crate) async fn shown(broker: &Broker, in_force: &InForce, headers: &HeaderMap, from: IpAddr) -> Result<Self, Problem> {
        let token = bearer(headers)?;
        let worth_a_look = |known: Option<String>, proof| {
            let looked_at = broker.limits().before_check(from, &Claim { known, proof }, &in_force.rates, Instant::now());
            looked_at.map_err(|OverLimit| Problem::RateLimited)
        };
        match OpaqueForm::parse(token) {
            Ok(form) if form.kind() == OpaqueKind::Operator => {
                let digest = form.digest();
                let known = broker.operators().get(&digest).map(|operator| operator.name.to_string());
                worth_a_look(known, Proof::Secret)?;
                Ok(Self::Operator(digest))
            }
            Ok(form) if form.kind() != OpaqueKind::Access => Err(Problem::Unauthenticated),
            Err(OpaqueFormError::Malformed) => Err(Problem::Unauthenticated),
            Ok(_) | Err(OpaqueFormError::Unknown) => {
                let digest = Digest::of(token);
                if let Some(known) = broker.remembered().subjects.find(&digest, broker.now())
                    && known.issuer() == in_force.snapshot.issuer
                    && let Ok(keys) = broker.keys().current(OURS).await
                    && let Some(token) = known.under(&keys)
                {
                    return Ok(Self::Token(token, digest));
                }
                worth_a_look(Some(OURS.to_owned()), Proof::Signature)?;
                let token = evidence::ours::<SubjectToken>(broker, &in_force.snapshot.issuer, token)
                    .await
                    .map_err(|_| Problem::StoreUnavailable)?;
                Ok(Self::Token(Arc::new(token.ok_or(Problem::Unauthenticated)?), digest))
            }
        }
    }

    /// Whom it shows at `moment`.
    pub(crate) async fn caller(&self, broker: &Broker, moment: &Moment) -> Result<Caller, Problem> {
        let view_is_stale = broker.view_age() > broker.settings().max_view_age;
        match self {
            Self::Operator(digest) => {
                let known = broker.operators().get(digest).cloned();
                let operator = match known.filter(|_| !view_is_stale) {
                    Some(operator) => Some(operator),
                    // Added meanwhile, or what is known is too old: a person who ends something must not wait for that.
                    None => broker.store().operator(digest).await?,
                };
                operator.map(Caller::Operator).ok_or(Problem::Unauthenticated)
            }
            Self::Token(..) if view_is_stale => Err(Problem::ViewStale),
            Self::Token(token, digest) => {
                let keys = broker.keys().current(OURS).await.map_err(|_| Problem::Unauthenticated)?;
                let active = token.active_at(moment).filter(|_| token.holds_under(&keys));
                let active = active.ok_or(Problem::Unauthenticated)?;
                let caller = client(&active, moment).ok_or(Problem::Unauthenticated)?;
                // A data plane shows its token with every request.
                broker.remembered().subjects.keep(*digest, token, active.token.exp);
                Ok(caller)
            }
        }
    }
}

/// Whether `headers`, of a request from this address, show an operator, whatever they may do. A guess counts as one.
pub(crate) async fn is_operator(broker: &Broker, headers: &HeaderMap, from: IpAddr) -> bool {
    if !headers.contains_key(AUTHORIZATION) {
        return false;
    }
    let in_force = broker.in_force();
    let shown = async {
        let credential = Credential::shown(broker, &in_force, headers, from).await?;
        credential.caller(broker, &broker.moment(&in_force)).await
    };
    match shown.await {
        Ok(caller) => matches!(caller, Caller::Operator(_)),
        Err(_) => {
            // Over the limit or not: the next guess is looked at or is not.
            let _ = broker.limits().stranger(from, &in_force.rates, Instant::now());
            false
        }
    }
}

/// The client whose secret is in the one `Authorization` header of a request, if that is of scheme Basic. How old the view is that
/// says so, whoever decides looks at.
pub(super) async fn by_secret(
    broker: &Broker,
    in_force: &InForce,
    moment: &Moment,
    headers: &HeaderMap,
    from: IpAddr,
) -> Result<Option<Caller>, Problem> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (all.next().and_then(|header| header.to_str().ok()), all.next()) else {
        return Ok(None);
    };
    if !header.split_once(' ').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("basic")) {
        return Ok(None);
    }
    let no_form = Form::parse(b"").map_err(|_| Problem::Unauthenticated)?;
    let claim = client_auth::claim(&moment.snapshot, Some(header), &no_form);
    let looked_at = broker.limits().before_check(from, &claim, &in_force.rates, Instant::now());
    looked_at.map_err(|OverLimit| Problem::RateLimited)?;
    let client = client_auth::authenticate(moment, broker.keys(), Some(header), &no_form).await;
    let client = client.map_err(|failure| {
        tracing::debug!(?failure, "client authentication");
        Problem::Unauthenticated
    })?;
    Ok(Some(Caller::Client {
        id: client.id().clone(),
        is_data_plane: false,
    }))
}

/// The one bearer token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let all: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
    let header = match all.as_slice() {
        [] => return Err(Problem::Unauthenticated),
        [only] => only.to_str().map_err(|_| Problem::Unauthenticated)?,
        _ => return Err(Problem::Malformed("there is more than one `Authorization` header")),
    };
    let (scheme, token) = header.split_once(' ').ok_or(Problem::Unauthenticated)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token)
    } else {
        Err(Problem::Unauthenticated)
    }
}

/// The client whose own token this is: issued to it, about it, with nobody else in it, and for us alone.
fn client(active: &Active<'_, '_>, moment: &Moment) -> Option<Caller> {
    let (token, snapshot) = (&active.token, &moment.snapshot);
    let id = token.client_id.as_ref()?;
    let is_own = token.subject.iss == snapshot.issuer && token.subject.sub == id.as_str() && token.act.is_none();
    let is_for_us = token.audiences.iter().eq([&snapshot.issuer]);
    let client = snapshot.clients.get(id)?;
    let has_ended = client.ends.is_some_and(|end| end <= moment.now);
    if !is_own || !is_for_us || has_ended {
        return None;
    }
    let scopes: &BTreeSet<Scope> = &token.authority.scopes;
    Some(Caller::Client {
        id: id.clone(),
        is_data_plane: client.data_plane && scopes.iter().any(|scope| scope.as_str() == DATA_PLANE),
    })
}

impl Caller {
    /// Refuses everybody but operators with this role.
    pub(crate) fn must_be(&self, role: Role) -> Result<(), Problem> {
        match self {
            Self::Operator(operator) if operator.roles.contains(&role) => Ok(()),
            _ => Err(Problem::NotPermitted),
        }
    }

    /// Refuses everybody but operators with one of these roles.
    pub(crate) fn must_be_one_of(&self, roles: [Role; 2]) -> Result<(), Problem> {
        let [one, other] = roles;
        self.must_be(one).or_else(|_| self.must_be(other))
    }

    /// Refuses everybody but data planes, and auditors, who read everything.
    pub(crate) fn must_follow_revocations(&self) -> Result<(), Problem> {
        match self {
            Self::Client { is_data_plane: true, .. } => Ok(()),
            _ => self.must_be(Role::Auditor),
        }
    }
}
