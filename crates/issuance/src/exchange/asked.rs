//! What a request asks for: one audience, and authority that this audience understands.

use std::collections::BTreeSet;

use delegation::authority::Authority;
use delegation::details::{Detail, DetailsError};
use delegation::oauth::{AskedPart, AudienceId, ClientId, Reason, TokenType};
use delegation::registry::{Audience, Moment, TokenForm};

use crate::audit::Record;

/// Finds the audience, then reads details and `onward` by the declared types.
pub(crate) fn understand<'m>(
    moment: &'m Moment,
    client: &ClientId,
    asked: &AskedPart,
    record: &mut Record,
) -> Result<(&'m Audience, Authority, Vec<Detail>), Reason> {
    let target = match asked.targets.as_slice() {
        [target] => target,
        [] => return Err(Reason::MalformedRequest),
        _ => return Err(Reason::SeveralAudiences),
    };
    let id = AudienceId::parse(target).map_err(|_| Reason::UnknownAudience)?;
    let audience = moment.snapshot.audiences.get(&id).ok_or(Reason::UnknownAudience)?;
    record.audience = Some(id);
    if audience.clients.as_ref().is_some_and(|clients| !clients.contains(client)) {
        return Err(Reason::AudienceClosed);
    }
    // A transaction token is never handed out where an access token was asked for, nor the reverse.
    let is_txn = audience.form == TokenForm::Txn;
    if asked.requested.is_some_and(|requested| (requested == TokenType::TxnToken) != is_txn) {
        return Err(Reason::UnsupportedTokenType);
    }

    let (mut details, onward) = details(moment, asked)?;
    if details.is_empty() && onward.is_empty() && asked.scopes.is_empty() {
        details.clone_from(&audience.defaults);
    }
    record.asked = Authority {
        details,
        scopes: asked.scopes.clone(),
    };
    record.onward = onward;
    if details_missing(&record.asked, &record.onward) {
        return Err(Reason::NothingAsked);
    }
    // What a transaction token is for stands in its `scope`, which no such token lacks.
    if is_txn && record.asked.is_empty() {
        return Err(Reason::NothingAsked);
    }
    // `onward` is for a later audience, so this one need not understand it.
    for detail in &record.asked.details {
        if !audience.detail_types.contains(detail.kind()) {
            return Err(Reason::UnknownType);
        }
        if detail
            .locations()
            .is_some_and(|locations| !locations.iter().any(|location| location == audience.id.as_str()))
        {
            return Err(Reason::MalformedDetails);
        }
    }
    let foreign: BTreeSet<_> = record.asked.scopes.difference(&audience.scopes).collect();
    if !foreign.is_empty() {
        return Err(Reason::WiderThanSubject);
    }
    Ok((audience, record.asked.clone(), record.onward.clone()))
}

/// Reads details and `onward` by the declared types.
pub(crate) fn details(moment: &Moment, asked: &AskedPart) -> Result<(Vec<Detail>, Vec<Detail>), Reason> {
    let parse = |text: &Option<String>| match text {
        None => Ok(Vec::new()),
        Some(text) => Detail::parse_array(text, &moment.snapshot.types).map_err(reason),
    };
    Ok((parse(&asked.details)?, parse(&asked.onward)?))
}

fn details_missing(asked: &Authority, onward: &[Detail]) -> bool {
    asked.is_empty() && onward.is_empty()
}

fn reason(error: DetailsError) -> Reason {
    match error {
        DetailsError::Malformed => Reason::MalformedDetails,
        DetailsError::UnknownType => Reason::UnknownType,
        DetailsError::UnknownAction => Reason::UnknownAction,
        DetailsError::UnknownMember => Reason::UnknownMember,
    }
}
