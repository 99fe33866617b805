//! Opaque tokens, known by what their issuer answers about them (RFC 7662).

use std::fmt;

use serde_json::{Map, Value};

use super::claims::{Claims, TokenError};
use super::compact::LONGEST;
use super::ended::refuse_ended;
use super::kind::SubjectToken;
use super::outside::{self, Statement};
use super::vendor;
use super::verified::Verified;
use crate::json;
use crate::oauth::TokenType;
use crate::registry::{Moment, Profile};

/// How deep a reply may be nested.
const DEPTH: usize = 16;
/// What every opaque token of our own begins with, the letter of its kind left out.
const OURS: &str = "nrw";

/// A token that only its issuer can read.
///
/// One that might be a JWT, whoever signed it, is none of these, and neither is one of our own: a token is shown to
/// the introspection endpoint only if nobody else could have issued it in a form that we know.
pub struct OpaqueToken(String);

/// A reply about an opaque token in which the issuer says that it is active.
///
/// It is true at the moment of the reply and not a second longer, so it is consumed by [`at`](Self::at):
///
/// ```
/// use delegation::oauth::TokenType;
/// use delegation::registry::Moment;
/// use delegation::token::{Introspected, TokenError};
/// fn once(reply: Introspected, moment: &Moment) -> Result<i64, TokenError> {
///     Ok(reply.at(moment, TokenType::AccessToken)?.exp.seconds())
/// }
/// ```
///
/// ```compile_fail
/// use delegation::oauth::TokenType;
/// use delegation::registry::Moment;
/// use delegation::token::Introspected;
/// fn twice(reply: Introspected, moment: &Moment, later: &Moment) {
///     let _ = reply.at(moment, TokenType::AccessToken);
///     let _ = reply.at(later, TokenType::AccessToken);
/// }
/// ```
pub struct Introspected {
    issuer: String,
    token: OpaqueToken,
    members: Map<String, Value>,
}

impl OpaqueToken {
    /// The token, if it is opaque: visible ASCII of at most 16 KiB that does not look like a JWT or one of our own.
    pub fn parse(token: &str) -> Option<Self> {
        let visible = !token.is_empty() && token.len() <= LONGEST && token.bytes().all(|byte| byte.is_ascii_graphic());
        (visible && !looks_like_jwt(token) && !is_ours(token)).then(|| Self(token.to_owned()))
    }

    /// The token itself, for its issuer alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Introspected {
    /// Reads the reply of the introspection endpoint of `issuer` about `token` (RFC 7662 §2.2).
    ///
    /// `active` must be `true` itself. `iss` may be absent, since the endpoint is the issuer's; if it is there it must be
    /// `issuer`. A reply about a refresh token is no evidence, where it can be told.
    pub fn read(issuer: &str, token: OpaqueToken, reply: &[u8]) -> Result<Self, TokenError> {
        let members = json::parse_object(reply, DEPTH).map_err(|_| TokenError::Invalid("the reply about it is not a JSON object"))?;
        if members.get("active") != Some(&Value::Bool(true)) {
            return Err(TokenError::Invalid("its issuer does not say that it is active"));
        }
        let claims = Claims(&members);
        if claims.text("iss")?.is_some_and(|iss| iss != issuer) {
            return Err(TokenError::Invalid("the reply about it names another issuer"));
        }
        let kind = claims.text("token_type")?;
        let bearer = kind.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        let bound = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("dpop")) && members.contains_key("cnf");
        let access = claims.text("token_use")?.is_none_or(|usage| matches!(usage, "access_token" | "access"));
        if !(bearer || bound) || !access {
            return Err(TokenError::Invalid("the reply is about another kind of token"));
        }
        claims.text("scope")?;
        Ok(Self {
            issuer: issuer.to_owned(),
            token,
            members,
        })
    }

    /// Checks that the token holds at `moment`, by the rules for every token of its issuer.
    ///
    /// An opaque token is an access token. Its scopes are in `scope` and its client in `client_id`, as RFC 7662 names
    /// them, whatever the issuer's JWTs call them.
    pub fn at<'m>(self, moment: &'m Moment, declared: TokenType) -> Result<Verified<'m, SubjectToken>, TokenError> {
        let issuer = moment.snapshot.issuers.get(&self.issuer).ok_or(TokenError::Invalid("its issuer is not trusted"))?;
        if declared != TokenType::AccessToken || !issuer.token_types.contains(&declared) {
            return Err(TokenError::Invalid("an opaque token is an access token, or this type is not taken"));
        }
        let claims = Claims(&self.members);
        // Keycloak's reply holds the claims of its JWT, and tells refresh tokens apart by them.
        if issuer.profile == Some(Profile::Keycloak) {
            vendor::check(claims, issuer.profile, declared)?;
        }
        let statement = Statement {
            claims,
            kind: declared,
            scope_claim: "scope",
            client_claims: &["client_id".to_owned()],
            bytes: self.token.as_str(),
        };
        let evidence = outside::judge(&statement, moment, issuer)?;
        refuse_ended(&evidence.line(), &moment.revocations)?;
        Ok(Verified::new(moment, evidence))
    }
}

/// Whether it may be a JWT, well made or not: base64 of `{` and a dot somewhere.
fn looks_like_jwt(token: &str) -> bool {
    let mut bytes = token.bytes();
    // The first byte `{` makes the first character `e`, and the second one of the last sixteen of either alphabet.
    let brace = bytes.next() == Some(b'e')
        && bytes
            .next()
            .is_some_and(|byte| matches!(byte, b'w'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'-' | b'_'));
    token.contains('.') && brace
}

fn is_ours(token: &str) -> bool {
    token.strip_prefix(OURS).and_then(|rest| rest.get(1..2)) == Some("_")
}

// Neither shows the token: a debug line must not become a credential.
impl fmt::Debug for OpaqueToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OpaqueToken(..)")
    }
}

impl fmt::Debug for Introspected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Introspected").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
