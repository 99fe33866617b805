//! Client authentication: which client is asking (RFC 6749 §2.3, RFC 7523 §2.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use delegation::oauth::{ClientId, Form, Reason, decode_credential};
use delegation::registry::{AuthMethod, AuthenticatedClient, AuthenticationFailed, Moment, Snapshot};
use delegation::token::{AuthenticateError, ClientAssertion, Unverified, WorkloadAssertion};
use fetch::IssuerUnavailable;

use crate::keys::VerificationKeys;
use crate::limits::{Claim, Proof};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Why nobody is known to be asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unauthenticated {
    /// Two methods in one request.
    Malformed,
    /// The credential is not good. Why is for the operator; to the client every failure looks the same.
    Failed(&'static str),
    /// The keys to check it with are not to be had.
    KeysUnavailable,
}

impl Unauthenticated {
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Malformed => Reason::MalformedRequest,
            Self::Failed(_) => Reason::ClientAuthenticationFailed,
            Self::KeysUnavailable => Reason::IssuerUnavailable,
        }
    }
}

impl From<AuthenticationFailed> for Unauthenticated {
    fn from(failed: AuthenticationFailed) -> Self {
        Self::Failed(failed.0)
    }
}

impl From<IssuerUnavailable> for Unauthenticated {
    fn from(_: IssuerUnavailable) -> Self {
        Self::KeysUnavailable
    }
}

/// Finds out which client sent `form` with this `Authorization` header.
///
/// Exactly one method may be used. A `client_id` in the form must agree with what the credential says.
pub(crate) async fn authenticate<'m>(
    moment: &'m Moment,
    keys: &VerificationKeys,
    authorization: Option<&str>,
    form: &Form,
) -> Result<AuthenticatedClient<'m>, Unauthenticated> {
    let assertion = form.get("client_assertion");
    let secret = form.get("client_secret");
    let methods = [
        authorization.is_some(),
        assertion.is_some() || form.get("client_assertion_type").is_some(),
        secret.is_some(),
    ];
    if methods.iter().filter(|used| **used).count() > 1 {
        return Err(Unauthenticated::Malformed);
    }
    let client = match (authorization, assertion, secret) {
        (Some(header), None, None) => by_header(moment, header)?,
        (None, Some(assertion), None) if form.get("client_assertion_type") == Some(ASSERTION_TYPE) => {
            by_assertion(moment, keys, assertion).await?
        }
        (None, None, Some(secret)) => {
            let id = form.get("client_id").ok_or(Unauthenticated::Failed("a secret without `client_id`"))?;
            let id = ClientId::parse(id).map_err(|_| Unauthenticated::Failed("`client_id` is malformed"))?;
            AuthenticatedClient::by_post(moment, &id, secret)?
        }
        _ => return Err(Unauthenticated::Failed("no credential")),
    };
    if form.get("client_id").is_some_and(|id| id != client.id().as_str()) {
        return Err(Unauthenticated::Failed("`client_id` is another client's"));
    }
    Ok(client)
}

/// Whom a request claims to come from, and what it would take to check that. Nothing is checked here.
pub(crate) fn claim(snapshot: &Snapshot, authorization: Option<&str>, form: &Form) -> Claim {
    let client = |id: &ClientId| snapshot.clients.contains_key(id).then(|| id.to_string());
    let (known, proof) = match (authorization, form.get("client_assertion")) {
        (Some(header), _) => (credentials(header).and_then(|(id, _)| client(&id)), Proof::Secret),
        (None, Some(assertion)) => {
            let own = Unverified::<ClientAssertion>::parse(assertion).map(|token| token.claimed_issuer().to_owned());
            let named = own.or_else(|_| Unverified::<WorkloadAssertion>::parse(assertion).map(|token| token.claimed_issuer().to_owned()));
            let known = |named: &String| {
                snapshot.issuers.contains_key(named) || ClientId::parse(named).is_ok_and(|id| snapshot.clients.contains_key(&id))
            };
            (named.ok().filter(known), Proof::Signature)
        }
        (None, None) => {
            let id = form.get("client_id").and_then(|id| ClientId::parse(id).ok());
            (
                id.filter(|_| form.get("client_secret").is_some()).and_then(|id| client(&id)),
                Proof::Secret,
            )
        }
    };
    Claim { known, proof }
}

/// `client_secret_basic`.
fn by_header<'m>(moment: &'m Moment, header: &str) -> Result<AuthenticatedClient<'m>, Unauthenticated> {
    let bad = Unauthenticated::Failed("the `Authorization` header is not of scheme Basic or malformed");
    let (id, secret) = credentials(header).ok_or(bad)?;
    Ok(AuthenticatedClient::by_basic(moment, &id, &secret)?)
}

/// What a header of scheme Basic holds: both halves are form-encoded before base64 (RFC 6749 §2.3.1).
fn credentials(header: &str) -> Option<(ClientId, String)> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let id = ClientId::parse(&decode_credential(id).ok()?).ok()?;
    Some((id, decode_credential(secret).ok()?))
}

/// A signed assertion: a trusted issuer's token is a workload's, anything else must be a client's own.
async fn by_assertion<'m>(
    moment: &'m Moment,
    keys: &VerificationKeys,
    assertion: &str,
) -> Result<AuthenticatedClient<'m>, Unauthenticated> {
    let bad = |error: AuthenticateError| match error {
        AuthenticateError::Bad(why) => Unauthenticated::Failed(why),
        AuthenticateError::UnknownKey => Unauthenticated::Failed("signed by a key that is not the client's"),
    };
    let own = Unverified::<ClientAssertion>::parse(assertion);
    let issuer = match &own {
        Ok(token) => token.claimed_issuer().to_owned(),
        Err(_) => String::new(),
    };
    // A workload's token lacks the `jti` that a client's own assertion must have, so it may fail the first reading.
    if own.is_err() || moment.snapshot.issuers.contains_key(&issuer) {
        let token = Unverified::<WorkloadAssertion>::parse(assertion).map_err(bad)?;
        let issuer = moment.snapshot.issuers.get(token.claimed_issuer());
        let name = &issuer.ok_or(Unauthenticated::Failed("its issuer is neither a client nor trusted"))?.name;
        let authentic = keys.authenticate_stranger(name, &token).await?.map_err(bad)?;
        let verified = authentic.at(moment).map_err(|_| Unauthenticated::Failed("the workload's token does not hold"))?;
        return Ok(AuthenticatedClient::by_workload(moment, &verified)?);
    }
    let token = own.map_err(bad)?;
    let id = ClientId::parse(&issuer).map_err(|_| Unauthenticated::Failed("`iss` is no client identifier"))?;
    let client = moment.snapshot.clients.get(&id).ok_or(Unauthenticated::Failed("no such client"))?;
    let mut failure = Unauthenticated::Failed("the client has no such method");
    for auth in &client.auth {
        let AuthMethod::PrivateKeyJwt { keys: name } = &auth.method else {
            continue;
        };
        let authentic = match keys.authenticate_stranger(name, &token).await {
            Ok(Ok(authentic)) => authentic,
            Ok(Err(error)) => {
                failure = bad(error);
                continue;
            }
            Err(unavailable) => {
                failure = unavailable.into();
                continue;
            }
        };
        let verified = authentic.at(moment).map_err(|_| Unauthenticated::Failed("the assertion does not hold"))?;
        match AuthenticatedClient::by_assertion(moment, &verified, name) {
            Ok(client) => return Ok(client),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}
