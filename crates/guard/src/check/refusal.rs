//! A refusal, and what each of its three readers learns.

use delegation::oauth::Reason;
use delegation::token::{AccessClaims, AuthenticateError, TokenError};
use http::{HeaderValue, StatusCode};

use super::Verified;
use crate::hygiene::Malformed;
use crate::hygiene::credential::CredentialError;
use crate::intent::{self, Needs};
use crate::surplus::Compared;

/// Said to whoever shows a token that is bound to a key, or another as if it were: with a proof or without, at a guard that changes nothing.
const NO_PROOFS: &str = "proofs of keys are not taken; send a token that is bound to no key as Authorization: Bearer";

/// Why a request does not go on.
///
/// The client gets [`status`](Self::status), [`challenge`](Self::challenge), the reason and its [`description`](Self::description); the
/// operator [`why`](Self::why); the record the claims and the comparison too. No token is in any of them.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The reason, which all three share.
    pub reason: Reason,
    /// What the token said, once it was known to be the broker's own.
    pub claims: Option<Box<AccessClaims>>,
    /// What it allows beside what was needed, if it came to that.
    pub compared: Option<Box<Compared>>,
    /// Why a request is [malformed](Reason::MalformedRequest), in words of this program: no byte of the request is in them.
    pub cause: Option<&'static str>,
    why: String,
    /// Further parameters of the challenge, from the configuration alone.
    parameters: Vec<String>,
    asks_for_keys: bool,
    token_holds: bool,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, why: &str) -> Self {
        Self {
            reason,
            claims: None,
            compared: None,
            cause: None,
            why: why.to_owned(),
            parameters: Vec::new(),
            asks_for_keys: false,
            token_holds: false,
        }
    }

    pub(super) fn beside(reason: Reason, compared: &Compared) -> Self {
        Self {
            compared: Some(Box::new(compared.clone())),
            ..Self::new(reason, &compared.for_operator())
        }
    }

    /// The person must sign in again, or in another way (RFC 9470 §3).
    pub(super) fn step_up(needs: &Needs) -> Self {
        let acr = needs.acr.iter().map(|acr| format!("acr_values=\"{acr}\""));
        let age = needs.max_auth_age.map(|age| format!("max_age={}", age.as_secs()));
        Self {
            parameters: acr.chain(age).collect(),
            ..Self::new(
                Reason::InsufficientUserAuthentication,
                "the person did not sign in as this route asks",
            )
        }
    }

    /// The same, for want of keys.
    #[must_use]
    pub(super) fn asking_for_keys(self) -> Self {
        Self {
            asks_for_keys: true,
            ..self
        }
    }

    /// The same of a request whose `token` holds.
    #[must_use]
    pub(super) fn beyond(self, token: &Verified<'_>) -> Self {
        Self {
            token_holds: true,
            ..self.about(token)
        }
    }

    #[must_use]
    pub(crate) fn about(self, claims: &AccessClaims) -> Self {
        Self {
            claims: Some(Box::new(claims.clone())),
            ..self
        }
    }

    /// The status. What cannot be about the request or its token is ours to mend, and is never laid at the caller's door.
    pub fn status(&self) -> StatusCode {
        match self.reason {
            Reason::MalformedRequest | Reason::MalformedScope | Reason::MalformedDetails | Reason::UnreadInput => StatusCode::BAD_REQUEST,
            Reason::NoToken
            | Reason::SubjectTokenInvalid
            | Reason::SubjectTokenExpired
            | Reason::SubjectTokenRevoked
            | Reason::SubjectTokenNotForClient
            | Reason::SubjectDisabled
            | Reason::TaskPayloadMismatch
            | Reason::TaskCompleted
            | Reason::TaskCancelled
            | Reason::TaskExpired
            | Reason::TaskExhausted
            | Reason::InvalidDpopProof
            | Reason::InsufficientUserAuthentication
            | Reason::OverbroadToken
            | Reason::TokenUsed => StatusCode::UNAUTHORIZED,
            Reason::WiderThanSubject
            | Reason::NoRoute
            | Reason::PolicyDenied
            | Reason::ScopeNotMapped
            | Reason::ChainTooLong
            | Reason::MayActMismatch
            | Reason::UnknownAudience
            | Reason::SeveralAudiences
            | Reason::AudienceClosed
            | Reason::UnknownType
            | Reason::UnknownAction
            | Reason::UnknownMember
            | Reason::NothingAsked => StatusCode::FORBIDDEN,
            Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Reason::RevocationViewStale
            | Reason::StoreUnavailable
            | Reason::IssuerUnavailable
            | Reason::ClientAuthenticationFailed
            | Reason::UnauthorizedClient
            | Reason::UnsupportedGrantType
            | Reason::UnsupportedTokenType
            | Reason::ActorTokenInvalid
            | Reason::ActorTokenExpired
            | Reason::ActorTokenRevoked
            | Reason::ActorTokenNotForClient
            | Reason::NotYours => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the reason means, for the client.
    pub fn description(&self) -> &'static str {
        match self.reason {
            Reason::InvalidDpopProof => NO_PROOFS,
            reason => reason.description(),
        }
    }

    /// Whether it says something of the guard itself, as the broker knows it, and nothing of the request.
    pub(crate) fn is_about_guard(&self) -> bool {
        let is_about_broker = matches!(
            self.reason,
            Reason::RevocationViewStale | Reason::StoreUnavailable | Reason::IssuerUnavailable
        );
        self.status() == StatusCode::SERVICE_UNAVAILABLE && !is_about_broker
    }

    /// The error word of RFC 6750 §3.1 or RFC 9470 §3. Nothing is called wrong where nothing was shown or nothing is served.
    pub fn error(&self) -> Option<&'static str> {
        match (self.status(), self.reason) {
            (_, Reason::NoToken | Reason::NoRoute) => None,
            (_, Reason::InsufficientUserAuthentication) => Some("insufficient_user_authentication"),
            (StatusCode::UNAUTHORIZED, _) => Some("invalid_token"),
            (StatusCode::FORBIDDEN, _) => Some("insufficient_scope"),
            (StatusCode::BAD_REQUEST, _) => Some("invalid_request"),
            _ => None,
        }
    }

    /// `WWW-Authenticate`: for every 401, and for a 403 that another token would mend. Nothing of the request is in it.
    pub fn challenge(&self) -> Option<HeaderValue> {
        let error = self.error();
        let is_mended_by_token = match self.status() {
            StatusCode::UNAUTHORIZED => true,
            status => status == StatusCode::FORBIDDEN && error.is_some(),
        };
        if !is_mended_by_token {
            return None;
        }
        let error = error.map(|error| format!("error=\"{error}\", error_description=\"{}\"", self.description()));
        let parameters: Vec<_> = error.into_iter().chain(self.parameters.iter().cloned()).collect();
        HeaderValue::try_from(format!("Bearer {}", parameters.join(", ")).trim_end()).ok()
    }

    /// For whoever runs the guard.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Whether another key set might know the key that the token names: worth one look, and no more.
    pub fn asks_for_keys(&self) -> bool {
        self.asks_for_keys
    }

    /// Whether the token that was shown holds here and now, and the request is refused for something else.
    pub(crate) fn token_holds(&self) -> bool {
        self.token_holds
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::new(reason, reason.description())
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self {
            cause: Some(malformed.as_str()),
            ..Self::new(Reason::MalformedRequest, malformed.as_str())
        }
    }
}

impl From<CredentialError> for Refusal {
    fn from(error: CredentialError) -> Self {
        Malformed::new(error.as_str()).into()
    }
}

impl From<AuthenticateError> for Refusal {
    fn from(error: AuthenticateError) -> Self {
        Self {
            asks_for_keys: error == AuthenticateError::UnknownKey,
            ..Self::new(Reason::SubjectTokenInvalid, &error.to_string())
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let reason = match error {
            TokenError::Invalid(_) => Reason::SubjectTokenInvalid,
            TokenError::Expired => Reason::SubjectTokenExpired,
            TokenError::Revoked => Reason::SubjectTokenRevoked,
            TokenError::SubjectDisabled => Reason::SubjectDisabled,
            TokenError::ProofMissing => Reason::InvalidDpopProof,
        };
        Self::new(reason, &error.to_string())
    }
}

impl From<intent::Refused> for Refusal {
    fn from(refused: intent::Refused) -> Self {
        let reason = match &refused {
            intent::Refused::Malformed(malformed) => return (*malformed).into(),
            intent::Refused::NoRoute => Reason::NoRoute,
            intent::Refused::Resembles { .. } => Reason::MalformedRequest,
            intent::Refused::Unread(_) | intent::Refused::Hidden => Reason::UnreadInput,
            intent::Refused::Details(_) => Reason::MalformedDetails,
            intent::Refused::Attribute(_) => Reason::WiderThanSubject,
        };
        Self::new(reason, &refused.to_string())
    }
}

#[cfg(test)]
mod tests {
    use delegation::oauth::Reason;
    use http::StatusCode;

    use super::Refusal;

    #[test]
    fn nobodys_token_is_blamed_for_what_is_not_about_it() {
        let about_token = ["subject_", "task_"];
        let others = [
            Reason::NoToken,
            Reason::InvalidDpopProof,
            Reason::InsufficientUserAuthentication,
            Reason::OverbroadToken,
            Reason::TokenUsed,
        ];
        for reason in Reason::ALL {
            let refusal = Refusal::from(reason);
            let is_about_token = about_token.iter().any(|about| reason.as_str().starts_with(about)) || others.contains(&reason);
            assert_eq!(refusal.status() == StatusCode::UNAUTHORIZED, is_about_token, "{reason:?}");
            let is_mended_by_token = refusal.status() == StatusCode::FORBIDDEN && reason != Reason::NoRoute;
            assert_eq!(refusal.challenge().is_some(), is_about_token || is_mended_by_token, "{reason:?}");
        }
    }
}
