//! Identity assertion authorization grants (ID-JAG): what one is evidence of, once it holds.

use std::time::Duration;

use super::assertion::for_us_alone;
use super::authentic::Authentic;
use super::claims::{Claims, TokenError};
use super::ended::refuse_ended;
use super::kind::IdJag;
use super::outside::{self, Statement};
use super::subject::SubjectEvidence;
use super::vendor;
use super::verified::{Holds, Verified};
use crate::oauth::{ClientId, TokenType};
use crate::registry::Moment;

/// The longest life: for so long its `jti` has to be remembered.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What an ID-JAG says.
#[derive(Clone, Debug)]
pub struct GrantEvidence {
    /// What it says about its subject: it takes the place of a subject token.
    pub subject: SubjectEvidence,
    /// The one client that may show it.
    pub client: ClientId,
    /// Its id: it is taken once.
    pub jti: String,
}

impl Holds for IdJag {
    type Evidence = GrantEvidence;
}

impl Authentic<IdJag> {
    /// Checks the grant at `moment`: `aud` our issuer alone, a life of a day at most, from an issuer that may send such.
    ///
    /// Its scopes are in `scope`, whatever its issuer's access tokens call them. Its `client_id` is one of our clients, so
    /// it says nothing about the outside client. Whether that client is the one that shows it is the proposal's question.
    ///
    /// draft-ietf-oauth-identity-assertion-authz-grant §3 and §4.4, RFC 7523 §3.
    pub fn at<'m>(&self, moment: &'m Moment) -> Result<Verified<'m, IdJag>, TokenError> {
        self.refuse_deep(moment)?;
        let issuer = moment.snapshot.issuers.get(self.issuer()).ok_or(TokenError::Invalid("its issuer is not trusted"))?;
        if !issuer.token_types.contains(&TokenType::IdJag) {
            return Err(TokenError::Invalid("this type is not taken from its issuer"));
        }
        let claims = Claims(self.claims());
        for_us_alone(claims, moment, issuer.leeway, LONGEST_LIFE)?;
        vendor::check_workload(claims, issuer.profile)?;
        let client = ClientId::parse(claims.required_text("client_id")?).map_err(|_| TokenError::Invalid("`client_id` is malformed"))?;
        let jti = claims.required_text("jti")?.to_owned();
        claims.text("scope")?;
        let statement = Statement {
            claims,
            kind: TokenType::IdJag,
            scope_claim: "scope",
            client_claims: &[],
            bytes: self.signing_input(),
        };
        let mut subject = outside::judge(&statement, moment, issuer)?;
        subject.resources = claims.resources()?;
        refuse_ended(&subject.line(), &moment.revocations)?;
        Ok(Verified::new(moment, GrantEvidence { subject, client, jti }))
    }
}
