//! What standing and revocations could name of a workload's token, which speaks for nobody but its own party.

use super::authentic::Authentic;
use super::claims::{Claims, TokenError};
use super::digest::chain_entry;
use super::kind::TokenKind;
use crate::identity::{OUR_NAME, Subject};
use crate::registry::Moment;
use crate::revocation::Line;
use crate::time::Timestamp;

/// Its `jti` and chain, its party, its issuer, and, if it is one of ours, its client.
#[derive(Clone, Debug)]
pub struct Lineage {
    chain: Vec<String>,
    subject: Subject,
    client: Option<String>,
    iat: Timestamp,
}

impl Lineage {
    /// Reads it off a token that was issued at `iat`. What another issuer says of a chain or a client means nothing here.
    pub(super) fn of<K: TokenKind>(token: &Authentic<K>, moment: &Moment, iat: Timestamp) -> Result<Self, TokenError> {
        let (claims, ours) = (Claims(token.claims()), token.issuer() == moment.snapshot.issuer);
        let jti = claims.text("jti")?;
        let mut chain = if ours {
            claims.texts("chain")?.unwrap_or_default()
        } else {
            Vec::new()
        };
        chain.push(match jti {
            Some(jti) if ours => jti.to_owned(),
            _ => chain_entry(token.issuer(), jti, token.signing_input()),
        });
        let issuer_name = if ours {
            OUR_NAME
        } else {
            moment.snapshot.issuers.get(token.issuer()).map_or("", |issuer| &issuer.name)
        };
        Ok(Self {
            chain,
            subject: Subject {
                issuer_name: issuer_name.to_owned(),
                iss: token.issuer().to_owned(),
                sub: claims.required_text("sub")?.to_owned(),
            },
            client: claims.text("client_id")?.filter(|_| ours).map(str::to_owned),
            iat,
        })
    }

    /// All that standing or a revocation could name.
    pub fn line(&self) -> Line<'_> {
        Line {
            chain: &self.chain,
            txn: None,
            task: None,
            subject: &self.subject,
            client: self.client.as_deref(),
            act: None,
            iat: self.iat,
        }
    }
}
