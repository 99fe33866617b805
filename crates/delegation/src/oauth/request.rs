//! Requests at the token endpoint (RFC 8693 §2.1, RFC 7523 §2.1, RFC 6749 §4.4.2). Details stay text until the audience is known.

use std::collections::BTreeSet;

use super::form::Form;
use super::names::{ClientId, GrantType, Scope, TokenType, parse_scope};
use super::reason::{Manner, Reason};
use crate::json;

/// A request that is not one.
pub type RequestError = Reason;

/// A token exchange as it came.
#[derive(Debug)]
pub struct TokenExchangeRequest {
    /// The subject token.
    pub subject: SubjectPart,
    /// The actor token, if one came.
    pub actor: Option<ActorPart>,
    /// What is asked for.
    pub asked: AskedPart,
    /// What is asked of a task that is to be opened; `None` where an access token is asked for.
    pub opens: Option<TaskPart>,
    /// What is said of the attempt in which a task is redeemed.
    pub attempt: AttemptPart,
}

/// What is asked of a task beside its authority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPart {
    /// What it is for, in at most 200 characters.
    pub purpose: Option<String>,
    /// Who may redeem it; the client that asks, where this is absent.
    pub actor: Option<ClientId>,
    /// How many times it may be redeemed.
    pub max_tokens: Option<u32>,
    /// Whether it is for work that is done later.
    pub deferred: bool,
    /// The payload that it is for, as a SHA-256 in lower-case hexadecimal.
    pub payload_sha256: Option<String>,
}

/// What a redemption of a task says beside what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptPart {
    /// The same for every delivery of one piece of work, in at most 64 characters.
    pub id: Option<String>,
    /// The payload at hand, as a SHA-256 in lower-case hexadecimal.
    pub payload_sha256: Option<String>,
}

/// An assertion that is an authorization grant, as it came (RFC 7523 §2.1).
pub struct JwtBearerRequest {
    /// The assertion.
    pub assertion: String,
    /// What is asked for.
    pub asked: AskedPart,
}

/// A client that asks for itself.
#[derive(Debug)]
pub struct ClientCredentialsRequest {
    /// What is asked for.
    pub asked: AskedPart,
}

/// A subject token and its declared type.
pub struct SubjectPart {
    /// The token.
    pub token: String,
    /// Its declared type, which binds.
    pub declared: TokenType,
}

/// An actor token and its declared type.
pub struct ActorPart {
    /// The token.
    pub token: String,
    /// Its declared type.
    pub declared: TokenType,
}

/// What a request asks for, whatever its grant.
#[derive(Debug)]
pub struct AskedPart {
    /// Every `audience` and `resource`, in that order.
    pub targets: Vec<String>,
    /// The scopes.
    pub scopes: BTreeSet<Scope>,
    /// `authorization_details`, not parsed yet.
    pub details: Option<String>,
    /// `onward`, not parsed yet.
    pub onward: Option<String>,
    /// The life asked for, in seconds.
    pub expires_in: Option<u64>,
    /// The kind of token, an access token or a transaction token; `None` where any that the audience has will do.
    pub requested: Option<TokenType>,
}

impl TokenExchangeRequest {
    /// Reads the parameters of a token exchange.
    pub fn parse(form: &Form) -> Result<Self, RequestError> {
        let required = |name| form.get(name).ok_or(Reason::MalformedRequest);
        let declared = |name| TokenType::parse(name).ok_or(Reason::UnsupportedTokenType);
        let subject = SubjectPart {
            token: required("subject_token")?.to_owned(),
            declared: declared(required("subject_token_type")?)?,
        };
        let actor = match (form.get("actor_token"), form.get("actor_token_type")) {
            (None, None) => None,
            (Some(token), Some(kind)) => Some(ActorPart {
                token: token.to_owned(),
                declared: declared(kind)?,
            }),
            _ => return Err(Reason::MalformedRequest),
        };
        // A task or a transaction says for whom; neither is anybody who acts.
        if actor.as_ref().is_some_and(|actor| matches!(actor.declared, TokenType::Task | TokenType::TxnToken)) {
            return Err(Reason::UnsupportedTokenType);
        }
        let redeems = subject.declared == TokenType::Task;
        let replaces = subject.declared == TokenType::TxnToken;
        let (opens, requested) = match form.get("requested_token_type").map(TokenType::parse) {
            // What the audience has may be a transaction token.
            None => {
                refuse_malformed_context(form)?;
                (None, None)
            }
            Some(Some(TokenType::AccessToken | TokenType::Jwt)) => (None, Some(TokenType::AccessToken)),
            Some(Some(TokenType::TxnToken)) => {
                refuse_malformed_context(form)?;
                (None, Some(TokenType::TxnToken))
            }
            // A task is not made of a task: its end would not be the other's. Nor of a transaction token, which would come out of
            // it for another audience.
            Some(Some(TokenType::Task)) if !redeems && !replaces => (Some(TaskPart::parse(form)?), None),
            _ => return Err(Reason::UnsupportedTokenType),
        };
        Ok(Self {
            subject,
            actor,
            asked: AskedPart::parse(form, requested)?,
            opens,
            attempt: if redeems {
                AttemptPart::parse(form)?
            } else {
                AttemptPart::default()
            },
        })
    }
}

/// How deep the JSON of what a requester says of its transaction may be nested.
const CONTEXT_DEPTH: usize = 8;
/// The most characters of a task's purpose.
const LONGEST_PURPOSE: usize = 200;
/// The most characters of the name of an attempt.
const LONGEST_ATTEMPT: usize = 64;

impl TaskPart {
    fn parse(form: &Form) -> Result<Self, RequestError> {
        let deferred = match form.get("deferred") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Reason::MalformedRequest),
        };
        let max_tokens = match form.get("max_tokens") {
            None => None,
            Some(digits) => Some(whole(digits)?),
        };
        let actor = match form.get("actor") {
            None => None,
            Some(id) => Some(ClientId::parse(id).map_err(|_| Reason::UnauthorizedClient)?),
        };
        Ok(Self {
            purpose: short(form, "purpose", LONGEST_PURPOSE)?,
            actor,
            max_tokens,
            deferred,
            payload_sha256: payload(form)?,
        })
    }
}

impl AttemptPart {
    fn parse(form: &Form) -> Result<Self, RequestError> {
        Ok(Self {
            id: short(form, "attempt_id", LONGEST_ATTEMPT)?,
            payload_sha256: payload(form)?,
        })
    }
}

/// A parameter of at most `most` characters, none of which a terminal would obey.
fn short(form: &Form, name: &str, most: usize) -> Result<Option<String>, RequestError> {
    match form.get(name) {
        Some(text) if text.chars().count() > most || text.chars().any(char::is_control) => Err(Reason::MalformedRequest),
        text => Ok(text.map(str::to_owned)),
    }
}

/// The SHA-256 of a payload: 64 digits in lower case, so that two spellings are not two payloads.
fn payload(form: &Form) -> Result<Option<String>, RequestError> {
    let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match form.get("payload_sha256") {
        Some(text) if !is_digest(text) => Err(Reason::MalformedRequest),
        text => Ok(text.map(str::to_owned)),
    }
}

/// A whole number from one on. Digits alone, so one that does not parse is a large one: capped like any other.
fn whole(digits: &str) -> Result<u32, RequestError> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reason::MalformedRequest);
    }
    Some(digits.parse::<u32>().unwrap_or(u32::MAX))
        .filter(|number| *number >= 1)
        .ok_or(Reason::MalformedRequest)
}

impl JwtBearerRequest {
    /// Reads the parameters of a request by assertion; a token to be exchanged has no place beside it.
    pub fn parse(form: &Form) -> Result<Self, RequestError> {
        refuse_exchange(form)?;
        Ok(Self {
            assertion: form.get("assertion").ok_or(Reason::MalformedRequest)?.to_owned(),
            asked: AskedPart::parse(form, Some(TokenType::AccessToken))?,
        })
    }
}

impl ClientCredentialsRequest {
    /// Reads the parameters of a client's request for itself; anybody else's token has no place in it.
    pub fn parse(form: &Form) -> Result<Self, RequestError> {
        refuse_exchange(form)?;
        Ok(Self {
            asked: AskedPart::parse(form, Some(TokenType::AccessToken))?,
        })
    }
}

/// Refuses the parameters of an exchange in a request of another grant.
fn refuse_exchange(form: &Form) -> Result<(), RequestError> {
    let others = ["subject_token", "subject_token_type", "actor_token", "actor_token_type"];
    if others.iter().any(|name| form.get(name).is_some()) {
        return Err(Reason::MalformedRequest);
    }
    Ok(())
}

impl Manner {
    /// Reads it off a request.
    pub fn of(form: &Form) -> Self {
        let asks = |name: &&str| form.get(name).is_some_and(|text| !is_empty_array(text));
        Self {
            asks_details: ["authorization_details", "onward"].iter().any(asks),
            shows_grant: form.get("grant_type").and_then(GrantType::parse) == Some(GrantType::JwtBearer),
        }
    }
}

impl AskedPart {
    fn parse(form: &Form, requested: Option<TokenType>) -> Result<Self, RequestError> {
        let scopes = match form.get("scope") {
            None => BTreeSet::new(),
            Some(scope) => parse_scope(scope).map_err(|_| Reason::MalformedScope)?,
        };
        let expires_in = match form.get("expires_in") {
            None => None,
            Some(digits) => Some(u64::from(whole(digits)?)),
        };
        let targets: Vec<String> = [form.all("audience"), form.all("resource")].concat();
        if targets.is_empty() {
            return Err(Reason::MalformedRequest);
        }
        let array = |name| form.get(name).filter(|text| !is_empty_array(text)).map(str::to_owned);
        Ok(Self {
            targets,
            scopes,
            details: array("authorization_details"),
            onward: array("onward"),
            expires_in,
            requested,
        })
    }
}

/// What a requester says of its transaction is a JSON object (draft-ietf-oauth-transaction-tokens, *Txn-Token Request*). It goes no
/// further: nobody vouches for it, and what a transaction is about is asked for as details, which policy decides on.
fn refuse_malformed_context(form: &Form) -> Result<(), RequestError> {
    let said = ["request_context", "request_details"].into_iter().filter_map(|name| form.get(name));
    for text in said {
        json::parse_object(text.as_bytes(), CONTEXT_DEPTH).map_err(|_| Reason::MalformedRequest)?;
    }
    Ok(())
}

/// Whether `text` is `[]`, with JSON's white space anywhere.
fn is_empty_array(text: &str) -> bool {
    text.chars().filter(|each| !matches!(each, ' ' | '\t' | '\n' | '\r')).eq("[]".chars())
}

// None shows the token.
impl std::fmt::Debug for JwtBearerRequest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JwtBearerRequest").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SubjectPart {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SubjectPart").field("declared", &self.declared).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ActorPart {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ActorPart").field("declared", &self.declared).finish_non_exhaustive()
    }
}
