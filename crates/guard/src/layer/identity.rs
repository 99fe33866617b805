//! Who a request is made for and by, for its handler.

use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use delegation::details::Detail;
use delegation::token::AccessClaims;
use http::StatusCode;
use http::request::Parts;

use crate::check::Admitted;
use crate::intent::Needs;

/// What the token of an allowed request says: whose authority it is, who acts, for which task, and what exactly is allowed.
///
/// An extractor for handlers behind a [`GuardLayer`](super::GuardLayer). It is not made by hand:
///
/// ```compile_fail
/// use narrows_guard::layer::Identity;
/// let forged = Identity(todo!());
/// ```
#[derive(Clone, Debug)]
pub struct Identity(Arc<Admitted>);

/// A handler asks who the caller is, and nobody knows: its route is public or only observed, or it stands behind no guard.
///
/// What is observed goes on before it is decided, so nobody is known there yet: until the route enforces, its handler takes
/// `Option<Identity>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody was identified here: the route is public, or observes (take Option<Identity> there), or it stands behind no guard")]
pub struct NoIdentity;

impl Identity {
    pub(super) fn of(admitted: Arc<Admitted>) -> Self {
        Self(admitted)
    }

    /// The subject, as the broker names it to this audience.
    pub fn subject(&self) -> &str {
        &self.0.sub
    }

    /// Who vouches for the subject, and its name there.
    pub fn issuer_and_subject(&self) -> (&str, &str) {
        (&self.0.subject.iss, &self.0.subject.sub)
    }

    /// Who acts for the subject, the one that sent this request first.
    pub fn actors(&self) -> impl Iterator<Item = &str> {
        self.0.act.iter().flat_map(|chain| chain.iter().map(|actor| actor.sub.as_str()))
    }

    /// The task that this is part of.
    pub fn task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }

    /// The transaction that this is part of.
    pub fn transaction(&self) -> &str {
        &self.0.txn
    }

    /// What the token allows here: all that this request needs, and no more than the guard's mode lets it hold.
    pub fn details(&self) -> &[Detail] {
        &self.0.authority.details
    }

    /// What this very request needed.
    pub fn needs(&self) -> &Needs {
        self.0.needs()
    }

    /// What was admitted, to ask [`Live::ended`](crate::Live::ended) about: of a connection that was upgraded, nothing else ends it.
    pub fn admitted(&self) -> &Admitted {
        &self.0
    }

    /// Every claim that was checked.
    pub fn claims(&self) -> &AccessClaims {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = NoIdentity;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoIdentity> {
        parts.extensions.get::<Self>().cloned().ok_or(NoIdentity)
    }
}

/// For a handler that serves public routes too, or one that observes.
impl<S: Sync> OptionalFromRequestParts<S> for Identity {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, std::convert::Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// Nothing that a caller could mend.
impl IntoResponse for NoIdentity {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
