//! Tokens of trusted issuers as subject tokens: what is read, and what means nothing here.

mod attributes;
mod stated;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::authentic::Authentic;
use super::claims::{Claims, TokenError};
use super::digest::chain_entry;
use super::kind::{SubjectToken, TokenKind};
use super::subject::{MayAct, Origin, OutsideFacts, SubjectEvidence};
use super::vendor::{self, CLIENT_CLAIMS};
use crate::authority::Authority;
use crate::identity::{Subject, SubjectKind, is_sub};
use crate::oauth::{Scope, TokenType, parse_scope};
use crate::registry::{Ceiling, Moment, Snapshot, TrustedIssuer};

pub use stated::StatedSubject;

/// Claims of which only an id_token or a logout token has any.
const NOT_IN_ACCESS_TOKENS: [&str; 3] = ["at_hash", "c_hash", "events"];
/// Claims that prove an id_token: its issuer puts them into nothing else (OpenID Connect Core §2, §3.3.2.11).
const OF_ID_TOKENS: [&str; 3] = ["nonce", "at_hash", "c_hash"];

/// A trusted issuer's word about a subject, whichever way it came.
pub(super) struct Statement<'a> {
    /// The claims.
    pub(super) claims: Claims<'a>,
    /// What the token is.
    pub(super) kind: TokenType,
    /// The claim that holds its scopes.
    pub(super) scope_claim: &'a str,
    /// Claims that name the outside client, first that is there.
    pub(super) client_claims: &'a [String],
    /// What names the token where it has no `jti`.
    pub(super) bytes: &'a str,
}

/// Reads a trusted issuer's token by the rules of its entry (contract, *Identities*).
pub(super) fn evidence(token: &Authentic<SubjectToken>, moment: &Moment, declared: TokenType) -> Result<SubjectEvidence, TokenError> {
    let issuers = &moment.snapshot.issuers;
    let issuer = issuers.get(token.issuer()).ok_or(TokenError::Invalid("its issuer is not trusted"))?;
    let statement = Statement {
        claims: Claims(token.claims()),
        kind: kind_of(token, issuer, declared)?,
        scope_claim: &issuer.scope_claim,
        client_claims: &issuer.client_claims,
        bytes: token.signing_input(),
    };
    vendor::check(statement.claims, issuer.profile, statement.kind)?;
    judge(&statement, moment, issuer)
}

/// What `issuer`'s statement is evidence of; whatever is wrong in it makes it evidence of nothing.
pub(super) fn judge(statement: &Statement<'_>, moment: &Moment, issuer: &TrustedIssuer) -> Result<SubjectEvidence, TokenError> {
    let (claims, kind, snapshot) = (statement.claims, statement.kind, &*moment.snapshot);
    let (exp, iat) = claims.times(moment.now, issuer.leeway)?;
    refuse_bound(claims.0)?;
    let sub = claims.required_text("sub")?;
    let audiences = claims.audiences()?;
    let jti = claims.text("jti")?.filter(|jti| !jti.is_empty()).map(str::to_owned);
    if issuer.subject == SubjectKind::User && vendor::speaks_for_application(claims, issuer.profile, sub, kind)? {
        return Err(TokenError::Invalid(
            "it speaks for an application, and this issuer's subjects are people",
        ));
    }
    let issued_sub = issued_sub(snapshot, issuer, sub)?;
    let (authority, unmapped_scopes) = ceiling(statement, snapshot, issuer)?;
    let mut requested_by = None;
    for name in statement.client_claims {
        requested_by = requested_by.or(claims.text(name)?.map(str::to_owned));
    }
    Ok(SubjectEvidence {
        is_txn_token: false,
        origin: Origin::Outside {
            issuer_name: issuer.name.clone(),
        },
        subject: Subject {
            issuer_name: issuer.name.clone(),
            iss: issuer.issuer.clone(),
            sub: sub.to_owned(),
        },
        issued_sub,
        audiences,
        exp,
        iat,
        chain: vec![chain_entry(&issuer.issuer, jti.as_deref(), statement.bytes)],
        jti,
        authority,
        onward: Vec::new(),
        resources: None,
        ceiling: issuer.ceiling,
        unmapped_scopes,
        act: None,
        txn: None,
        task: None,
        auth_time: claims.date("auth_time")?,
        acr: claims.text("acr")?.map(str::to_owned),
        amr: claims.texts("amr")?,
        may_act: may_act(claims.0)?,
        facts: Some(OutsideFacts {
            kind: issuer.subject,
            attributes: attributes::read(claims.0, issuer)?,
            requested_by,
        }),
        client_id: None,
        single_use: false,
    })
}

/// What the token is, if that agrees with what it was declared as and with what its issuer may send.
fn kind_of(token: &Authentic<SubjectToken>, issuer: &TrustedIssuer, declared: TokenType) -> Result<TokenType, TokenError> {
    let kind = fits(token, issuer, declared)?;
    if issuer.token_types.contains(&declared) {
        Ok(kind)
    } else {
        Err(TokenError::Invalid("this type is not taken from its issuer"))
    }
}

/// What the token is, if that agrees with what it was declared as.
pub(super) fn fits<K: TokenKind>(token: &Authentic<K>, issuer: &TrustedIssuer, declared: TokenType) -> Result<TokenType, TokenError> {
    let typ = token.typ();
    let claims = token.claims();
    let listed = match typ.as_str() {
        "at+jwt" => issuer.typ.at_jwt,
        "jwt" => issuer.typ.jwt,
        _ => issuer.typ.absent,
    };
    // Without `at+jwt` an id_token looks alike, so an access token has to show what an id_token lacks.
    let any = |names: &[&str]| names.iter().any(|name| claims.contains_key(*name));
    let (scopes, client) = (claims.contains_key(&issuer.scope_claim), any(&CLIENT_CLAIMS));
    let shows_access = typ == "at+jwt" || ((scopes || claims.contains_key("roles")) && client && !any(&NOT_IN_ACCESS_TOKENS));
    let is_access = listed && shows_access;
    // `roles` beside `azp` are usual in id_tokens, scopes beside a client are not.
    let may_be_id = typ != "at+jwt" && !claims.contains_key("events") && (!(scopes && client) || any(&OF_ID_TOKENS));
    match declared {
        TokenType::AccessToken if is_access => Ok(TokenType::AccessToken),
        TokenType::IdToken if may_be_id => Ok(TokenType::IdToken),
        TokenType::Jwt if is_access => Ok(TokenType::AccessToken),
        TokenType::Jwt if may_be_id => Ok(TokenType::IdToken),
        _ => Err(TokenError::Invalid("its `typ` or claims do not fit the declared type")),
    }
}

/// The issued `sub`, if it can be taken for nobody else's.
fn issued_sub(snapshot: &Snapshot, issuer: &TrustedIssuer, sub: &str) -> Result<String, TokenError> {
    let issued = format!("{}{sub}", issuer.sub_prefix);
    let others = snapshot.issuers.values().filter(|other| other.name != issuer.name && !other.sub_prefix.is_empty());
    let anothers = others.into_iter().any(|other| issued.starts_with(&other.sub_prefix));
    let a_clients = snapshot.clients.keys().any(|client| client.as_str() == issued);
    if is_sub(sub) && !anothers && !a_clients {
        Ok(issued)
    } else {
        Err(TokenError::Invalid("its `sub` is malformed or denotes another party"))
    }
}

/// What the token's scopes amount to, and its scopes if none of them is mapped.
fn ceiling(statement: &Statement<'_>, snapshot: &Snapshot, issuer: &TrustedIssuer) -> Result<(Authority, Vec<String>), TokenError> {
    let scopes = scopes(statement.claims, statement.scope_claim)?;
    if issuer.ceiling == Ceiling::Policy || statement.kind == TokenType::IdToken {
        return Ok((Authority::default(), Vec::new()));
    }
    let mut authority = Authority::default();
    for scope in &scopes {
        if let Some(details) = snapshot.scopes.get(scope) {
            authority.details.extend(details.iter().cloned());
            authority.scopes.insert(scope.clone());
        }
    }
    let unmapped = if authority.scopes.is_empty() {
        scopes.iter().map(ToString::to_string).collect()
    } else {
        Vec::new()
    };
    Ok((authority, unmapped))
}

/// Scopes as a string or an array of strings, each by RFC 6749 §3.3.
fn scopes(claims: Claims<'_>, name: &str) -> Result<BTreeSet<Scope>, TokenError> {
    let malformed = TokenError::Invalid("its scopes are malformed");
    match claims.0.get(name) {
        None => Ok(BTreeSet::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(BTreeSet::new()),
        Some(Value::String(text)) => parse_scope(text).map_err(|_| malformed),
        Some(Value::Array(items)) => {
            let scope = |item: &Value| item.as_str().and_then(|text| Scope::parse(text).ok());
            items.iter().map(scope).collect::<Option<_>>().ok_or(malformed)
        }
        Some(_) => Err(malformed),
    }
}

/// A token bound to a key is refused until proofs of such keys are taken.
pub(super) fn refuse_bound(claims: &Map<String, Value>) -> Result<(), TokenError> {
    match claims.get("cnf") {
        None => Ok(()),
        Some(cnf) if cnf.get("jkt").is_some_and(Value::is_string) => Err(TokenError::ProofMissing),
        Some(_) => Err(TokenError::Invalid("`cnf` names a key that was not proved")),
    }
}

/// `may_act`, if there is one: an object of strings that names somebody.
pub(super) fn may_act(claims: &Map<String, Value>) -> Result<Option<MayAct>, TokenError> {
    let Some(value) = claims.get("may_act") else { return Ok(None) };
    let members = Claims(value.as_object().ok_or(TokenError::Invalid("`may_act` is not an object"))?);
    let text = |name: &str| members.text(name).map(|text| text.map(str::to_owned));
    Ok(Some(MayAct {
        sub: text("sub")?,
        client_id: text("client_id")?,
        iss: text("iss")?,
    }))
}
