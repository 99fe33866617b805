//! Our own tokens, as introspection shows them and revocation takes them.

use serde_json::{Map, Value};

use super::authentic::Authentic;
use super::claims::{Claims, TokenError};
use super::digest::chain_entry;
use super::kind::{Issued, SubjectToken, TokenKind, TxnToken};
use super::subject::held;
use super::verified::Verified;
use crate::oauth::{ClientId, TokenType};
use crate::registry::Moment;

/// One of our own tokens that is alive, with all that it says.
#[derive(Debug)]
pub struct Active<'m, 't> {
    /// What it is evidence of.
    pub token: Verified<'m, SubjectToken>,
    /// Its claims.
    pub claims: &'t Map<String, Value>,
}

impl Authentic<SubjectToken> {
    /// This token, if it is an access token of ours and alive at `moment` (RFC 7662 §2.2); an outside token never is.
    pub fn active_at<'m>(&self, moment: &'m Moment) -> Option<Active<'m, '_>> {
        if self.issuer() != moment.snapshot.issuer {
            return None;
        }
        Some(Active {
            token: self.at(moment, TokenType::AccessToken).ok()?,
            claims: self.claims(),
        })
    }
}

impl Authentic<Issued> {
    /// This token, if it is alive at `moment` (RFC 7662 §2.2).
    pub fn active_at<'m>(&self, moment: &'m Moment) -> Option<Active<'m, '_>> {
        self.alive_at(moment).ok()
    }

    /// The same, with why it is not.
    pub fn alive_at<'m>(&self, moment: &'m Moment) -> Result<Active<'m, '_>, TokenError> {
        if self.issuer() != moment.snapshot.issuer {
            return Err(TokenError::Invalid("a token of another issuer"));
        }
        let kind = if TxnToken::TYP.contains(&self.typ().as_str()) {
            TokenType::TxnToken
        } else {
            TokenType::AccessToken
        };
        Ok(Active {
            token: held(self, moment, kind)?,
            claims: self.claims(),
        })
    }
}

impl<K: TokenKind> Authentic<K> {
    /// The entry by which this token, one of ours or a trusted issuer's, is named in the `chain` of all that came from it,
    /// whether it is alive or not; [`Key::of_entry`](crate::revocation::Key::of_entry) is what a revocation names it by.
    pub fn named(&self, moment: &Moment) -> Option<String> {
        let claims = Claims(self.claims());
        if self.issuer() == moment.snapshot.issuer {
            return Some(claims.required_text("jti").ok()?.to_owned());
        }
        let jti = claims.text("jti").ok()?.filter(|jti| !jti.is_empty());
        Some(chain_entry(self.issuer(), jti, self.signing_input()))
    }

    /// The `jti` of one of our own tokens and the client that it was issued to, whether it is alive or not (RFC 7009 §2.1).
    pub fn issued_to(&self, moment: &Moment) -> Option<(&str, ClientId)> {
        if self.issuer() != moment.snapshot.issuer {
            return None;
        }
        let claims = Claims(self.claims());
        let client = ClientId::parse(claims.required_text("client_id").ok()?).ok()?;
        Some((claims.required_text("jti").ok()?, client))
    }
}
