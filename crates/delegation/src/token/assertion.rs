//! Assertions by which a client shows who it is.

use std::time::Duration;

use serde_json::{Map, Value};

use super::authentic::Authentic;
use super::claims::{Claims, TokenError};
use super::ended::refuse_ended;
use super::kind::{ClientAssertion, WorkloadAssertion};
use super::lineage::Lineage;
use super::vendor;
use super::verified::{Holds, Verified};
use crate::oauth::ClientId;
use crate::registry::{AuthMethod, Moment, WorkloadMatch};
use crate::time::Timestamp;

/// The longest life of a client's own assertion.
const LONGEST_LIFE: Duration = Duration::from_secs(300);
/// The longest life of a workload's token.
const LONGEST_WORKLOAD_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Tolerance for `nbf` and `iat`; `exp` has none.
const LEEWAY: Duration = Duration::from_secs(30);

/// What a `private_key_jwt` assertion says.
#[derive(Clone, Debug)]
pub struct AssertedClient {
    /// The client.
    pub client: ClientId,
    /// The assertion's id: it is taken once.
    pub jti: String,
    /// Its expiry.
    pub exp: Timestamp,
}

impl Holds for ClientAssertion {
    type Evidence = AssertedClient;
}

impl Authentic<ClientAssertion> {
    /// Checks the assertion at `moment` (RFC 7523 §3): `iss` = `sub`, `aud` our issuer alone, a short life, a `jti`.
    pub fn at<'m>(&self, moment: &'m Moment) -> Result<Verified<'m, ClientAssertion>, TokenError> {
        self.refuse_deep(moment)?;
        let claims = Claims(self.claims());
        let client = claims.required_text("iss")?;
        if claims.required_text("sub")? != client {
            return Err(TokenError::Invalid("`iss` and `sub` differ"));
        }
        let exp = for_us_alone(claims, moment, LEEWAY, LONGEST_LIFE)?;
        let jti = claims.required_text("jti")?.to_owned();
        if jti.len() > 255 {
            return Err(TokenError::Invalid("`jti` is too long"));
        }
        let client = ClientId::parse(client).map_err(|_| TokenError::Invalid("`iss` is no client identifier"))?;
        Ok(Verified::new(moment, AssertedClient { client, jti, exp }))
    }
}

/// What a workload's token says: which client it is.
#[derive(Clone, Debug)]
pub struct AssertedWorkload {
    /// The one client whose `workload_jwt` it matches.
    pub client: ClientId,
}

impl Holds for WorkloadAssertion {
    type Evidence = AssertedWorkload;
}

impl Authentic<WorkloadAssertion> {
    /// Checks the workload's token at `moment`: `aud` our issuer alone, life of a day at most, exactly one client.
    pub fn at<'m>(&self, moment: &'m Moment) -> Result<Verified<'m, WorkloadAssertion>, TokenError> {
        self.refuse_deep(moment)?;
        let issuer = moment.snapshot.issuers.get(self.issuer()).ok_or(TokenError::Invalid("its issuer is not trusted"))?;
        vendor::check_workload(Claims(self.claims()), issuer.profile)?;
        for_us_alone(Claims(self.claims()), moment, issuer.leeway, LONGEST_WORKLOAD_LIFE)?;
        let lineage = Lineage::of(self, moment, Claims(self.claims()).required_date("iat")?)?;
        refuse_ended(&lineage.line(), &moment.revocations)?;
        let client = workload_client(moment, &issuer.name, self.claims())?.ok_or(TokenError::Invalid("it matches no client"))?;
        Ok(Verified::new(moment, AssertedWorkload { client }))
    }
}

/// Checks times, life and that `aud` is our issuer alone (a string, or an array of one); gives the expiry.
pub(super) fn for_us_alone(claims: Claims<'_>, moment: &Moment, leeway: Duration, longest: Duration) -> Result<Timestamp, TokenError> {
    let (exp, iat) = claims.times(moment.now, leeway)?;
    if exp.since(iat) > longest {
        return Err(TokenError::Invalid("it lives too long"));
    }
    match claims.audiences()?.as_slice() {
        [only] if *only == moment.snapshot.issuer => Ok(exp),
        _ => Err(TokenError::Invalid("`aud` must be this broker's issuer identifier alone")),
    }
}

/// The one client whose `workload_jwt` matches; none if none or more than one does.
pub(super) fn workload_client(moment: &Moment, issuer_name: &str, claims: &Map<String, Value>) -> Result<Option<ClientId>, TokenError> {
    let sub = Claims(claims).required_text("sub")?;
    let matches = |wanted: &WorkloadMatch| {
        let claim = |(path, value): (&String, &Value)| claim_at(claims, path) == Some(value);
        wanted.issuer_name == issuer_name && wanted.subject == sub && wanted.claims.iter().all(claim)
    };
    let in_force = |until: Option<Timestamp>| until.is_none_or(|until| moment.now < until);
    let mut fitting = moment.snapshot.clients.values().filter(|client| {
        client
            .auth
            .iter()
            .any(|auth| matches!(&auth.method, AuthMethod::WorkloadJwt(wanted) if in_force(auth.until) && matches(wanted)))
    });
    Ok(match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(only.id.clone()),
        _ => None,
    })
}

/// The claim at `path`: dots lead inwards, and the longest literal member goes first.
fn claim_at<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(at, _)| {
        let (member, rest) = (path.get(..at)?, path.get(at + 1..)?);
        claim_at(claims.get(member)?.as_object()?, rest)
    })
}
