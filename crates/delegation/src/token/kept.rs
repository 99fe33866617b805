//! Opaque access tokens of our own: known by their digest, with what they stand for in the store.

use serde_json::{Map, Value};

use super::authentic::{Authentic, AuthenticateError};
use super::kind::{AccessToken, TokenKind};
use super::opaque_form::{OpaqueForm, OpaqueKind};
use crate::json;
use crate::time::Timestamp;

/// How deep claims may be nested, as in a signed token.
const DEPTH: usize = 64;

/// An opaque access token as it is kept: the claims that it would carry if it were signed, under the SHA-256 of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptToken {
    /// The SHA-256 of its text; the text itself is kept nowhere.
    pub digest: [u8; 32],
    /// Its claims, a JSON object.
    pub claims: String,
    /// From when on nothing that came from it can be alive.
    pub forget_at: Timestamp,
}

impl KeptToken {
    /// The proof that `form` is this token, issued by `issuer`, which is us.
    ///
    /// It takes the place of a signature: 256 random bits cannot be guessed, and what stands under their digest was put there
    /// by the commit of the decision that issued them.
    pub fn shown_by<K: TokenKind>(&self, form: &OpaqueForm, issuer: &str) -> Result<Authentic<K>, AuthenticateError> {
        if form.kind() != OpaqueKind::Access || form.digest() != self.digest {
            return Err(AuthenticateError::Bad("another token than the one that is kept"));
        }
        if !K::TYP.contains(&"at+jwt") {
            return Err(AuthenticateError::Bad("an access token is no token of this kind"));
        }
        let claims = own_claims::<K>(&self.claims, issuer)?;
        Ok(Authentic::kept(issuer, claims, self.claims.len()))
    }
}

impl Authentic<AccessToken> {
    /// The proof that `issuer`, whose token `form` is, answered with `reply` to the question whether it is alive (RFC 7662 §2.2).
    ///
    /// It takes the place of a signature where the answer came from the issuer itself; whoever holds it knows for how long it is
    /// believed.
    pub fn answered(form: &OpaqueForm, issuer: &str, reply: &str) -> Result<Self, AuthenticateError> {
        if form.kind() != OpaqueKind::Access {
            return Err(AuthenticateError::Bad("an answer about another kind of token"));
        }
        let claims = own_claims::<AccessToken>(reply, issuer)?;
        if claims.get("active") != Some(&Value::Bool(true)) {
            return Err(AuthenticateError::Bad("its issuer does not say that it is active"));
        }
        let bearer = |kind: &str| kind.eq_ignore_ascii_case("bearer");
        if !claims.get("token_type").and_then(Value::as_str).is_some_and(bearer) {
            return Err(AuthenticateError::Bad("the answer is about another kind of token"));
        }
        Ok(Self::kept(issuer, claims, reply.len()))
    }
}

/// The claims of a token of our own as `issuer`, which nobody signed.
fn own_claims<K: TokenKind>(claims: &str, issuer: &str) -> Result<Map<String, Value>, AuthenticateError> {
    let claims = json::parse_object(claims.as_bytes(), DEPTH);
    let claims = claims.map_err(|_| AuthenticateError::Bad("what is kept of it is no JSON object"))?;
    if K::REQUIRED.iter().chain(&["jti"]).any(|claim| !claims.contains_key(*claim)) {
        return Err(AuthenticateError::Bad("a required claim is missing"));
    }
    if claims.get("iss").is_none_or(|iss| iss != issuer) {
        return Err(AuthenticateError::Bad("it was issued under another name of ours"));
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{AccessToken, Authentic, AuthenticateError, OpaqueForm, OpaqueKind};

    const OURS: &str = "https://narrows.internal";

    /// What the broker answers about a token that is alive.
    fn said() -> Value {
        json!({
            "active": true, "token_type": "Bearer", "iss": OURS, "sub": "alice", "aud": "https://tickets.internal", "iat": 1, "exp": 9,
            "jti": "t-1", "client_id": "edge", "txn": "x-1", "sub_id": { "format": "iss_sub", "iss": "https://idp.example", "sub": "a" },
        })
    }

    fn answered(kind: OpaqueKind, reply: &str) -> Result<Authentic<AccessToken>, AuthenticateError> {
        Authentic::answered(&OpaqueForm::make(kind, &[7; 32]), OURS, reply)
    }

    #[test]
    fn an_answer_is_taken_for_a_token_only_if_all_of_it_is_right() {
        assert!(answered(OpaqueKind::Access, &said().to_string()).is_ok());
        for kind in [OpaqueKind::Task, OpaqueKind::Operator, OpaqueKind::ClientSecret] {
            assert!(answered(kind, &said().to_string()).is_err());
        }
        let changes = [
            ("active", json!("true")),
            ("active", json!(false)),
            ("active", Value::Null),
            ("token_type", json!("N_A")),
            ("token_type", Value::Null),
            ("iss", json!("https://other.example")),
            ("iss", Value::Null),
            ("jti", Value::Null),
            ("exp", Value::Null),
        ];
        for (name, value) in changes {
            let mut changed = said();
            if let Some(members) = changed.as_object_mut() {
                match value {
                    Value::Null => members.remove(name),
                    value => members.insert(name.to_owned(), value),
                };
            }
            assert!(answered(OpaqueKind::Access, &changed.to_string()).is_err(), "{changed}");
        }
        let twice = said().to_string().replacen('{', "{\"active\":true,", 1);
        assert!(answered(OpaqueKind::Access, &twice).is_err(), "a member twice");
        assert!(answered(OpaqueKind::Access, "[]").is_err());
    }
}
