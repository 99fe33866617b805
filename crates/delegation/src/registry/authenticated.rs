//! A client that has shown who it is.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::client::{AuthMethod, Client, ClientAuth, SecretDigest};
use super::snapshot::Moment;
use crate::oauth::ClientId;
use crate::time::Timestamp;
use crate::token::{ClientAssertion, Verified, WorkloadAssertion, sha256};

/// A client that authenticated at one [`Moment`]: known, not disabled, not past its end.
///
/// Made only from a credential of one of its configured methods:
///
/// ```
/// use delegation::registry::AuthenticatedClient;
/// fn who<'c>(client: &'c AuthenticatedClient<'_>) -> &'c str {
///     client.id().as_str()
/// }
/// ```
///
/// ```compile_fail
/// use delegation::registry::{AuthenticatedClient, Client};
/// fn pretend(client: &Client) -> AuthenticatedClient<'_> {
///     AuthenticatedClient { client, assertion: None }
/// }
/// ```
#[derive(Debug)]
pub struct AuthenticatedClient<'m> {
    client: &'m Client,
    assertion: Option<(String, Timestamp)>,
}

/// Authentication failed. Why is for the operator; to the client every failure looks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthenticationFailed(pub &'static str);

impl<'m> AuthenticatedClient<'m> {
    /// By a signed assertion whose key set is held under the name `keys` (RFC 7523 §2.2).
    pub fn by_assertion(moment: &'m Moment, assertion: &Verified<'m, ClientAssertion>, keys: &str) -> Result<Self, AuthenticationFailed> {
        let configured = |method: &AuthMethod| matches!(method, AuthMethod::PrivateKeyJwt { keys: name } if name == keys);
        let client = in_standing(moment, &assertion.client, configured)?;
        Ok(Self {
            client,
            assertion: Some((assertion.jti.clone(), assertion.exp)),
        })
    }

    /// By a secret in the `Authorization` header (RFC 6749 §2.3.1).
    pub fn by_basic(moment: &'m Moment, id: &ClientId, secret: &str) -> Result<Self, AuthenticationFailed> {
        let digest = living(moment, secret)?;
        let client = in_standing(
            moment,
            id,
            |method| matches!(method, AuthMethod::SecretBasic(expected) if equals(expected, &digest)),
        )?;
        Ok(Self { client, assertion: None })
    }

    /// By a secret in the body (RFC 6749 §2.3.1).
    pub fn by_post(moment: &'m Moment, id: &ClientId, secret: &str) -> Result<Self, AuthenticationFailed> {
        let digest = living(moment, secret)?;
        let client = in_standing(
            moment,
            id,
            |method| matches!(method, AuthMethod::SecretPost(expected) if equals(expected, &digest)),
        )?;
        Ok(Self { client, assertion: None })
    }

    /// By the workload's own OpenID token.
    pub fn by_workload(moment: &'m Moment, assertion: &Verified<'m, WorkloadAssertion>) -> Result<Self, AuthenticationFailed> {
        let client = in_standing(moment, &assertion.client, |method| matches!(method, AuthMethod::WorkloadJwt(_)))?;
        Ok(Self { client, assertion: None })
    }

    /// By being asked for by a boundary that the configuration lets act as `id`: inside the broker's own process, where there is
    /// nobody else who could ask and so no credential, or from another one that has just shown an access token of `id`'s own.
    pub fn in_process(moment: &'m Moment, id: &ClientId) -> Result<Self, AuthenticationFailed> {
        let client = in_standing(moment, id, |_| true)?;
        Ok(Self { client, assertion: None })
    }

    /// The client's identifier.
    pub fn id(&self) -> &'m ClientId {
        &self.client.id
    }

    /// The client's entry.
    pub fn client(&self) -> &'m Client {
        self.client
    }

    /// The `jti` and expiry of the assertion, which the decision uses up.
    pub fn assertion(&self) -> Option<(&str, Timestamp)> {
        self.assertion.as_ref().map(|(jti, exp)| (jti.as_str(), *exp))
    }
}

fn in_standing<'m>(moment: &'m Moment, id: &ClientId, fits: impl Fn(&AuthMethod) -> bool) -> Result<&'m Client, AuthenticationFailed> {
    let client = moment.snapshot.clients.get(id).ok_or(AuthenticationFailed("no such client"))?;
    if moment.revocations.is_client_disabled(id) {
        return Err(AuthenticationFailed("the client is disabled"));
    }
    if client.ends.is_some_and(|end| moment.now >= end) {
        return Err(AuthenticationFailed("the client's entry has ended"));
    }
    let in_force = |auth: &ClientAuth| auth.until.is_none_or(|until| moment.now < until);
    if client.auth.iter().any(|auth| in_force(auth) && fits(&auth.method)) {
        Ok(client)
    } else {
        Err(AuthenticationFailed("the credential is not one of the client's"))
    }
}

/// The digest of `secret`, unless it is known to be in strangers' hands.
fn living(moment: &Moment, secret: &str) -> Result<[u8; 32], AuthenticationFailed> {
    let digest = sha256(secret.as_bytes());
    if moment.revocations.is_secret_dead(&digest) {
        return Err(AuthenticationFailed("the secret was reported as leaked"));
    }
    Ok(digest)
}

fn equals(expected: &SecretDigest, digest: &[u8; 32]) -> bool {
    verify_slices_are_equal(&expected.0, digest).is_ok()
}
