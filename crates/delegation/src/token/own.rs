//! Our own access tokens and transaction tokens as subject tokens.

use std::time::Duration;

use serde_json::{Map, Value};

use super::authentic::Authentic;
use super::claims::{Claims, TokenError};
use super::kind::TokenKind;
use super::outside::{may_act, refuse_bound};
use super::subject::{Origin, SubjectEvidence};
use crate::authority::Authority;
use crate::chain::ActorChain;
use crate::details::Detail;
use crate::identity::{OUR_NAME, Subject, is_sub};
use crate::oauth::{ClientId, TokenType, parse_scope};
use crate::registry::{Ceiling, Moment};

/// Reads one of our own tokens; everything in it was written here, and is still checked.
pub(super) fn evidence<K: TokenKind>(token: &Authentic<K>, moment: &Moment, declared: TokenType) -> Result<SubjectEvidence, TokenError> {
    let (claims, snapshot) = (Claims(token.claims()), &moment.snapshot);
    declared_as(token, declared)?;
    let (exp, iat) = claims.times(moment.now, Duration::ZERO)?;
    refuse_bound(token.claims())?;
    let subject = sub_id(token.claims(), moment)?;
    // What a transaction token allows stands in its context: its `scope` is a purpose for people and other programs to read.
    let granted = match declared {
        TokenType::TxnToken => token.claims().get("tctx").and_then(Value::as_object),
        _ => Some(token.claims()),
    };
    let granted = granted.ok_or(TokenError::Invalid("`tctx` is missing"))?;
    let details = |claims: &Map<String, Value>, name: &str| match claims.get(name) {
        None => Ok(Vec::new()),
        Some(array) => Detail::from_array(array, &snapshot.types).map_err(|_| TokenError::Invalid("details that are no longer declared")),
    };
    let scopes = match Claims(granted).text("scope")? {
        None => Default::default(),
        Some(scope) => parse_scope(scope).map_err(|_| TokenError::Invalid("`scope` is malformed"))?,
    };
    let act = match token.claims().get("act") {
        None => None,
        Some(act) => {
            Some(ActorChain::from_claim(act, snapshot.max_chain).map_err(|_| TokenError::Invalid("`act` is malformed or too long"))?)
        }
    };
    let task = claims.text("task")?.map(str::to_owned);
    let jti = claims.required_text("jti")?.to_owned();
    let mut chain = claims.texts("chain")?.unwrap_or_default();
    chain.push(jti.clone());
    let client = ClientId::parse(claims.required_text("client_id")?).map_err(|_| TokenError::Invalid("`client_id` is malformed"))?;
    Ok(SubjectEvidence {
        origin: Origin::Own,
        is_txn_token: declared == TokenType::TxnToken,
        subject,
        issued_sub: claims.required_text("sub")?.to_owned(),
        audiences: claims.audiences()?,
        exp,
        iat,
        jti: Some(jti),
        chain,
        authority: Authority {
            details: details(granted, "authorization_details")?,
            scopes,
        },
        onward: details(token.claims(), "onward")?,
        resources: None,
        ceiling: Ceiling::Scope,
        unmapped_scopes: Vec::new(),
        act,
        txn: Some(claims.required_text("txn")?.to_owned()),
        task,
        auth_time: claims.date("auth_time")?,
        acr: claims.text("acr")?.map(str::to_owned),
        amr: claims.texts("amr")?,
        may_act: may_act(token.claims())?,
        facts: None,
        client_id: Some(client),
        single_use: claims.flag("single_use")?,
    })
}

/// Our own tokens are access tokens, and those of them that are signed are JWTs too; or they are transaction tokens, and nothing
/// else.
pub(super) fn declared_as<K: TokenKind>(token: &Authentic<K>, declared: TokenType) -> Result<(), TokenError> {
    let fits = match declared {
        TokenType::AccessToken => token.typ() == "at+jwt",
        TokenType::Jwt => token.typ() == "at+jwt" && !token.is_kept(),
        TokenType::TxnToken => token.typ() == "txntoken+jwt",
        TokenType::IdToken | TokenType::IdJag | TokenType::Task => false,
    };
    if fits {
        Ok(())
    } else {
        Err(TokenError::Invalid("one of our own tokens, declared as what it is not"))
    }
}

/// The outside pair (RFC 9493 §3.2.3), as the configuration names its issuer today.
fn sub_id(claims: &Map<String, Value>, moment: &Moment) -> Result<Subject, TokenError> {
    let sub_id = claims.get("sub_id").and_then(Value::as_object).ok_or(TokenError::Invalid("`sub_id` is missing"))?;
    let text = |name: &str| sub_id.get(name).and_then(Value::as_str).map(str::to_owned);
    let (Some(iss), Some(sub)) = (text("iss"), text("sub").filter(|sub| is_sub(sub))) else {
        return Err(TokenError::Invalid("`sub_id` is malformed"));
    };
    let issuer_name = if iss == moment.snapshot.issuer {
        OUR_NAME.to_owned()
    } else {
        let issuer = moment
            .snapshot
            .issuers
            .get(&iss)
            .ok_or(TokenError::Invalid("its subject's issuer is no longer trusted"))?;
        issuer.name.clone()
    };
    Ok(Subject { issuer_name, iss, sub })
}
