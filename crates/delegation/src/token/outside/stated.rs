//! A subject that somebody states and no token shows: enough to be asked about, evidence of nothing.

use serde_json::{Map, Value};

use super::{attributes, issued_sub};
use crate::identity::{Attributes, OUR_NAME, Subject, SubjectKind};
use crate::registry::{Snapshot, TrustedIssuer};
use crate::token::TokenError;

/// A subject as its issuer's tokens would show it, by somebody's word alone.
///
/// No token can be made of one: what is minted needs [`SubjectEvidence`](crate::token::SubjectEvidence).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedSubject {
    /// Who it is.
    pub subject: Subject,
    /// A person or a program, by the configuration of its issuer.
    pub kind: SubjectKind,
    /// Attributes and groups, read by the rules for claims of its issuer's tokens.
    pub attributes: Attributes,
}

impl StatedSubject {
    /// Reads a subject of this `kind`. Without `issuer`, `id` is the `sub` of our tokens; with one, which is a name or an
    /// identifier, it is the `sub` of that issuer's.
    ///
    /// Whatever would be wrong in a token is wrong here: an `id` that no issuer's subject can have, an attribute of another
    /// type than is declared, or none where every token has one. `properties` that are no declared attribute mean nothing,
    /// and a client of ours that acts for itself has none.
    pub fn read(
        snapshot: &Snapshot,
        kind: SubjectKind,
        id: &str,
        issuer: Option<&str>,
        properties: &Map<String, Value>,
    ) -> Result<Self, TokenError> {
        let is_ours = issuer.is_none_or(|issuer| issuer == OUR_NAME || issuer == snapshot.issuer);
        if is_ours && kind == SubjectKind::Workload && snapshot.clients.keys().any(|client| client.as_str() == id) {
            return Ok(Self {
                subject: Subject {
                    issuer_name: OUR_NAME.to_owned(),
                    iss: snapshot.issuer.clone(),
                    sub: id.to_owned(),
                },
                kind,
                attributes: Attributes::default(),
            });
        }
        let meant = snapshot.issuers.values().filter_map(|each| Some((each, sub_at(each, id, issuer)?)));
        let mut found = meant.filter(|(each, sub)| issued_sub(snapshot, each, sub).is_ok());
        let (Some((issuer, sub)), None) = (found.next(), found.next()) else {
            return Err(TokenError::Invalid("no issuer has such a subject, or more than one has"));
        };
        if issuer.subject != kind {
            return Err(TokenError::Invalid("its issuer's subjects are of the other kind"));
        }
        Ok(Self {
            subject: Subject {
                issuer_name: issuer.name.clone(),
                iss: issuer.issuer.clone(),
                sub: sub.to_owned(),
            },
            kind,
            attributes: attributes::read(properties, issuer)?,
        })
    }
}

/// The `sub` that `id` is at `issuer`, if it is meant.
fn sub_at<'i>(issuer: &TrustedIssuer, id: &'i str, named: Option<&str>) -> Option<&'i str> {
    match named {
        None => id.strip_prefix(issuer.sub_prefix.as_str()),
        Some(named) => (named == issuer.name || named == issuer.issuer).then_some(id),
    }
}
