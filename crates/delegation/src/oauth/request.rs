//! Requests at the token endpoint (RFC 8693 §2.1, RFC 7523 §2.1, RFC 6749 §4.4.2). Details stay text until the audience is known.

use std::collections::BTreeSet;

use super::form::Form;
use super::names::{GrantType, Scope, TokenType, parse_scope};
use super::reason::{Manner, Reason};

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
        match form.get("requested_token_type").map(TokenType::parse) {
            None | Some(Some(TokenType::AccessToken | TokenType::Jwt)) => {}
            _ => return Err(Reason::UnsupportedTokenType),
        }
        Ok(Self {
            subject,
            actor,
            asked: AskedPart::parse(form)?,
        })
    }
}

impl JwtBearerRequest {
    /// Reads the parameters of a request by assertion; a token to be exchanged has no place beside it.
    pub fn parse(form: &Form) -> Result<Self, RequestError> {
        refuse_exchange(form)?;
        Ok(Self {
            assertion: form.get("assertion").ok_or(Reason::MalformedRequest)?.to_owned(),
            asked: AskedPart::parse(form)?,
        })
    }
}

impl ClientCredentialsRequest {
    /// Reads the parameters of a client's request for itself; anybody else's token has no place in it.
    pub fn parse(form: &Form) -> Result<Self, RequestError> {
        refuse_exchange(form)?;
        Ok(Self {
            asked: AskedPart::parse(form)?,
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
    fn parse(form: &Form) -> Result<Self, RequestError> {
        let scopes = match form.get("scope") {
            None => BTreeSet::new(),
            Some(scope) => parse_scope(scope).map_err(|_| Reason::MalformedScope)?,
        };
        let expires_in = match form.get("expires_in") {
            None => None,
            // Digits alone, so a number that does not parse is a long one: capped like any other.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let seconds = digits.parse::<u32>().unwrap_or(u32::MAX);
                Some(u64::from(seconds)).filter(|seconds| *seconds >= 1).map(Some).ok_or(Reason::MalformedRequest)?
            }
            Some(_) => return Err(Reason::MalformedRequest),
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
        })
    }
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
