//! The last step: a recorded permit becomes a token.

use std::future::Future;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delegation::authority::Authority;
use delegation::chain::ActorChain;
use delegation::details::Detail;
use delegation::oauth::{Scope, TokenType};
use delegation::registry::TokenForm;
use delegation::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::audit::Recorded;
use crate::exchange::Exchange;
use crate::policy::Permit;

/// Keys that sign what this broker issues.
///
/// Contract. [`current`](Self::current) names a key whose public half is already published; `sign` signs with
/// exactly the named key or fails, so a rotation between the two calls cannot put one key's name over another's
/// signature. Calls may overlap.
pub trait Signer: Send + Sync {
    /// The key that signs now.
    fn current(&self) -> KeyName;

    /// The JWS signature (RFC 7515 §5.1) of `message` by `key`.
    fn sign(&self, key: &KeyName, message: &[u8]) -> impl Future<Output = Result<Vec<u8>, SignerUnavailable>> + Send;
}

/// The name of a signing key and its one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// The `kid`: `nrw-` and more.
    pub kid: String,
    /// The `alg`.
    pub algorithm: delegation::token::Algorithm,
}

/// The signing key is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key is not available")]
pub struct SignerUnavailable;

/// Claims that mean something to whoever verifies a token of ours.
const RESERVED: [&str; 29] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "client_id",
    "sub_id",
    "act",
    "may_act",
    "scope",
    "authorization_details",
    "onward",
    "txn",
    "task",
    "cnf",
    "chain",
    "exception",
    "approval",
    "single_use",
    "auth_time",
    "acr",
    "amr",
    "azp",
    "events",
    "req_wl",
    "tctx",
    "rctx",
];

/// A token with what the reply says about it.
pub struct Minted {
    /// The token itself: it leaves in the reply's body and nowhere else.
    pub token: String,
    /// Its life in seconds.
    pub expires_in: i64,
    /// What it is: an access token or a transaction token.
    pub kind: TokenType,
    /// What it allows.
    pub authority: Authority,
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Minted").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Why no token came of a recorded permit. The record stays: one without a token, never the reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The key is not to be had.
    #[error(transparent)]
    Signer(#[from] SignerUnavailable),
    /// Its time ran out, or it would outlive what it was made from.
    #[error("expired before it could be signed")]
    Expired,
}

/// Signs the token of a recorded permit (RFC 9068), at the time `now`; one that is opaque needs no signature, since the record's
/// commit kept what it stands for.
///
/// Takes nothing less than the proof that policy allowed it and that a record is durable:
///
/// ```compile_fail
/// use issuance::exchange::Exchange;
/// use issuance::mint::{Signer, mint};
/// use issuance::policy::Permit;
/// async fn unrecorded<S: Signer>(signer: &S, permit: Permit<Exchange>, now: delegation::time::Timestamp) {
///     mint(signer, permit, now).await;
/// }
/// ```
///
/// ```
/// use issuance::audit::Recorded;
/// use issuance::exchange::Exchange;
/// use issuance::mint::{Signer, mint};
/// use issuance::policy::Permit;
/// async fn recorded<S: Signer>(signer: &S, permit: Recorded<Permit<Exchange>>, now: delegation::time::Timestamp) {
///     let _ = mint(signer, permit, now).await;
/// }
/// ```
pub async fn mint<S: Signer>(signer: &S, recorded: Recorded<Permit<Exchange>>, now: Timestamp) -> Result<Minted, MintError> {
    let exchange = recorded.value.permitted;
    let (token, _) = write(signer, &exchange, now).await?;
    Ok(Minted {
        token,
        expires_in: exchange.inquiry.expires_in,
        kind: exchange.kind(),
        authority: exchange.authority,
    })
}

/// The token of `exchange`, and the key that signed it or would have. Whoever calls this holds the proof that it is recorded.
pub(crate) async fn write<S: Signer>(signer: &S, exchange: &Exchange, now: Timestamp) -> Result<(String, KeyName), MintError> {
    // The second look at the bound of RFC 8693's exchange: the first was in the proposal, and time has passed.
    let lapsed = |bound: Timestamp| exchange.expires_at > bound || bound.millis() - now.millis() < 1000;
    // A life of one second that was asked for is one, though the clock never stood at the start of a second.
    if exchange.not_after.is_some_and(lapsed) || exchange.expires_at <= now {
        return Err(MintError::Expired);
    }
    let key = signer.current();
    if let Some(opaque) = &exchange.opaque {
        return Ok((opaque.token.expose().to_owned(), key));
    }
    let typ = match exchange.form {
        TokenForm::Jwt | TokenForm::Opaque => "at+jwt",
        TokenForm::Txn => "txntoken+jwt",
    };
    // Written by hand, so that all tokens of ours that are of one kind begin alike and scanners recognise them.
    let header = format!(r#"{{"typ":"{typ}","kid":"{}","alg":"{}"}}"#, key.kid, key.algorithm.as_str());
    let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims_of(exchange)));
    let signature = signer.sign(&key, token.as_bytes()).await?;
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok((token, key))
}

/// The claims of the token of `exchange`, as JSON.
pub(crate) fn claims_of(exchange: &Exchange) -> String {
    Value::Object(claims(exchange)).to_string()
}

fn claims(exchange: &Exchange) -> Map<String, Value> {
    let mut claims = Map::new();
    // A mapped attribute never stands in the place of a claim of the protocol, also where that claim is absent.
    for (name, value) in exchange.claims.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str())) {
        claims.insert(name.clone(), value.clone());
    }
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", json!(exchange.issuer));
    put("sub", json!(exchange.issued_sub));
    put("aud", json!(exchange.audience.as_str()));
    put("exp", json!(exchange.expires_at.seconds()));
    put("iat", json!(exchange.issued_at.seconds()));
    put("jti", json!(exchange.jti));
    put("client_id", json!(exchange.client.as_str()));
    put(
        "sub_id",
        json!({ "format": "iss_sub", "iss": exchange.subject.iss, "sub": exchange.subject.sub }),
    );
    put("txn", json!(exchange.txn));
    put("chain", json!(exchange.chain));
    if exchange.form == TokenForm::Txn {
        put("req_wl", json!(exchange.client.as_str()));
        put("scope", json!(purpose(&exchange.authority)));
        put("tctx", Value::Object(authority(&exchange.authority)));
    } else {
        claims.extend(authority(&exchange.authority));
    }
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    let optional = [
        ("task", exchange.task.as_ref().map(|task| json!(task))),
        ("act", exchange.act.as_ref().map(ActorChain::to_claim)),
        ("onward", (!exchange.onward.is_empty()).then(|| in_json(&exchange.onward))),
        ("auth_time", exchange.auth_time.map(|at| json!(at.seconds()))),
        ("single_use", exchange.single_use.then_some(json!(true))),
        ("acr", exchange.acr.as_ref().map(|acr| json!(acr))),
        ("amr", exchange.amr.as_ref().map(|amr| json!(amr))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            put(name, value);
        }
    }
    claims
}

fn in_json(details: &[Detail]) -> Value {
    Value::from_iter(details.iter().map(Detail::to_json))
}

/// What is allowed, to the letter: an access token says it itself, a transaction token in its context, `tctx`.
fn authority(authority: &Authority) -> Map<String, Value> {
    let scopes: Vec<_> = authority.scopes.iter().map(Scope::as_str).collect();
    let members = [
        ("scope", (!scopes.is_empty()).then(|| json!(scopes.join(" ")))),
        (
            "authorization_details",
            (!authority.details.is_empty()).then(|| in_json(&authority.details)),
        ),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The `scope` of a transaction token: what it is for, as narrowly as it can be said, in the words of RFC 6749 §3.3. No such
/// token allows nothing; a detail stands there in its short form, which needs no other characters.
fn purpose(authority: &Authority) -> String {
    let scopes = authority.scopes.iter().map(ToString::to_string);
    let details = authority.details.iter().map(ToString::to_string);
    scopes.chain(details).collect::<Vec<_>>().join(" ")
}
