//! Why a request was refused: a stable reason, and the OAuth error it goes out under.

/// The `error` member of an OAuth error response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// RFC 6749 §5.2; RFC 8693 §2.2.2 for a bad subject or actor token.
    InvalidRequest,
    /// RFC 6749 §5.2.
    InvalidClient,
    /// RFC 6749 §5.2; RFC 7523 §3.1 for a bad assertion; RFC 7009 §2.1 for a token that was issued to another client.
    InvalidGrant,
    /// RFC 6749 §5.2.
    InvalidScope,
    /// RFC 8693 §2.2.2, RFC 8707 §2.
    InvalidTarget,
    /// RFC 9396 §5.
    InvalidAuthorizationDetails,
    /// RFC 9449 §5.
    InvalidDpopProof,
    /// RFC 6749 §5.2.
    UnauthorizedClient,
    /// RFC 6749 §5.2.
    UnsupportedGrantType,
    /// A dependency is down.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// What of a request decides between two error codes for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// It asks for details; an empty array counts as absent.
    pub asks_details: bool,
    /// What it shows is an authorization grant (RFC 7521 §4.1), not a token to be exchanged.
    pub shows_grant: bool,
}

/// Why a request was refused: fixed words that clients, operators and auditors share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each variant is the reason that `as_str` spells out; the contract explains them"
)]
pub enum Reason {
    MalformedRequest,
    MalformedScope,
    UnsupportedTokenType,
    SubjectTokenInvalid,
    SubjectTokenExpired,
    SubjectTokenRevoked,
    SubjectTokenNotForClient,
    ActorTokenInvalid,
    ActorTokenExpired,
    ActorTokenRevoked,
    ActorTokenNotForClient,
    MayActMismatch,
    ChainTooLong,
    SubjectDisabled,
    TaskPayloadMismatch,
    TaskCompleted,
    TaskCancelled,
    TaskExpired,
    TaskExhausted,
    UnknownAudience,
    SeveralAudiences,
    AudienceClosed,
    WiderThanSubject,
    ScopeNotMapped,
    PolicyDenied,
    MalformedDetails,
    UnknownType,
    UnknownAction,
    UnknownMember,
    NothingAsked,
    NotYours,
    InvalidDpopProof,
    ClientAuthenticationFailed,
    UnauthorizedClient,
    UnsupportedGrantType,
    StoreUnavailable,
    IssuerUnavailable,
    RevocationViewStale,
    RateLimited,
    TooLarge,
    NoToken,
    NoRoute,
    UnreadInput,
    InsufficientUserAuthentication,
    OverbroadToken,
    TokenUsed,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 46] = [
        Self::MalformedRequest,
        Self::MalformedScope,
        Self::UnsupportedTokenType,
        Self::SubjectTokenInvalid,
        Self::SubjectTokenExpired,
        Self::SubjectTokenRevoked,
        Self::SubjectTokenNotForClient,
        Self::ActorTokenInvalid,
        Self::ActorTokenExpired,
        Self::ActorTokenRevoked,
        Self::ActorTokenNotForClient,
        Self::MayActMismatch,
        Self::ChainTooLong,
        Self::SubjectDisabled,
        Self::TaskPayloadMismatch,
        Self::TaskCompleted,
        Self::TaskCancelled,
        Self::TaskExpired,
        Self::TaskExhausted,
        Self::UnknownAudience,
        Self::SeveralAudiences,
        Self::AudienceClosed,
        Self::WiderThanSubject,
        Self::ScopeNotMapped,
        Self::PolicyDenied,
        Self::MalformedDetails,
        Self::UnknownType,
        Self::UnknownAction,
        Self::UnknownMember,
        Self::NothingAsked,
        Self::NotYours,
        Self::InvalidDpopProof,
        Self::ClientAuthenticationFailed,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::StoreUnavailable,
        Self::IssuerUnavailable,
        Self::RevocationViewStale,
        Self::RateLimited,
        Self::TooLarge,
        Self::NoToken,
        Self::NoRoute,
        Self::UnreadInput,
        Self::InsufficientUserAuthentication,
        Self::OverbroadToken,
        Self::TokenUsed,
    ];

    /// The reason that is spelled so on the wire; of two with one spelling the first.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The reason on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest | Self::MalformedScope => "malformed_request",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::SubjectTokenInvalid => "subject_token_invalid",
            Self::SubjectTokenExpired => "subject_token_expired",
            Self::SubjectTokenRevoked => "subject_token_revoked",
            Self::SubjectTokenNotForClient => "subject_token_not_for_client",
            Self::ActorTokenInvalid => "actor_token_invalid",
            Self::ActorTokenExpired => "actor_token_expired",
            Self::ActorTokenRevoked => "actor_token_revoked",
            Self::ActorTokenNotForClient => "actor_token_not_for_client",
            Self::MayActMismatch => "may_act_mismatch",
            Self::ChainTooLong => "chain_too_long",
            Self::SubjectDisabled => "subject_disabled",
            Self::TaskPayloadMismatch => "task_payload_mismatch",
            Self::TaskCompleted => "task_completed",
            Self::TaskCancelled => "task_cancelled",
            Self::TaskExpired => "task_expired",
            Self::TaskExhausted => "task_exhausted",
            Self::UnknownAudience => "unknown_audience",
            Self::SeveralAudiences => "several_audiences",
            Self::AudienceClosed => "audience_closed",
            Self::WiderThanSubject => "wider_than_subject",
            Self::ScopeNotMapped => "scope_not_mapped",
            Self::PolicyDenied => "policy_denied",
            Self::MalformedDetails => "malformed_details",
            Self::UnknownType => "unknown_type",
            Self::UnknownAction => "unknown_action",
            Self::UnknownMember => "unknown_member",
            Self::NothingAsked => "nothing_asked",
            Self::NotYours => "invalid_grant",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::ClientAuthenticationFailed => "client_authentication_failed",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::StoreUnavailable => "store_unavailable",
            Self::IssuerUnavailable => "issuer_unavailable",
            Self::RevocationViewStale => "revocation_view_stale",
            Self::RateLimited => "rate_limited",
            Self::TooLarge => "too_large",
            Self::NoToken => "no_token",
            Self::NoRoute => "no_route",
            Self::UnreadInput => "unread_input",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::OverbroadToken => "overbroad_token",
            Self::TokenUsed => "token_used",
        }
    }

    /// The OAuth error that this reason goes out under, in answer to a request of this `manner`.
    pub fn code(self, manner: Manner) -> ErrorCode {
        match self {
            // RFC 8693 §2.2.2 and RFC 7523 §3.1 ask for different codes.
            Self::SubjectTokenInvalid
            | Self::SubjectTokenExpired
            | Self::SubjectTokenRevoked
            | Self::SubjectTokenNotForClient
            | Self::MayActMismatch
            | Self::ChainTooLong
            | Self::SubjectDisabled
                if manner.shows_grant =>
            {
                ErrorCode::InvalidGrant
            }
            Self::MalformedRequest
            | Self::TooLarge
            | Self::UnsupportedTokenType
            | Self::SubjectTokenInvalid
            | Self::SubjectTokenExpired
            | Self::SubjectTokenRevoked
            | Self::SubjectTokenNotForClient
            | Self::ActorTokenInvalid
            | Self::ActorTokenExpired
            | Self::ActorTokenRevoked
            | Self::ActorTokenNotForClient
            | Self::MayActMismatch
            | Self::ChainTooLong
            | Self::SubjectDisabled
            | Self::TaskPayloadMismatch
            | Self::TaskCompleted
            | Self::TaskCancelled
            | Self::TaskExpired
            | Self::TaskExhausted
            // Boundaries and guards alone say these, and not under an OAuth error of this endpoint.
            | Self::NoToken
            | Self::NoRoute
            | Self::UnreadInput
            | Self::InsufficientUserAuthentication
            | Self::OverbroadToken
            | Self::TokenUsed => ErrorCode::InvalidRequest,
            Self::UnknownAudience | Self::SeveralAudiences | Self::AudienceClosed => ErrorCode::InvalidTarget,
            Self::WiderThanSubject | Self::ScopeNotMapped | Self::PolicyDenied if manner.asks_details => {
                ErrorCode::InvalidAuthorizationDetails
            }
            Self::WiderThanSubject | Self::ScopeNotMapped | Self::PolicyDenied | Self::NothingAsked | Self::MalformedScope => {
                ErrorCode::InvalidScope
            }
            Self::MalformedDetails | Self::UnknownType | Self::UnknownAction | Self::UnknownMember => {
                ErrorCode::InvalidAuthorizationDetails
            }
            Self::NotYours => ErrorCode::InvalidGrant,
            Self::InvalidDpopProof => ErrorCode::InvalidDpopProof,
            Self::ClientAuthenticationFailed => ErrorCode::InvalidClient,
            Self::UnauthorizedClient => ErrorCode::UnauthorizedClient,
            Self::UnsupportedGrantType => ErrorCode::UnsupportedGrantType,
            Self::StoreUnavailable | Self::IssuerUnavailable | Self::RevocationViewStale | Self::RateLimited => {
                ErrorCode::TemporarilyUnavailable
            }
        }
    }

    /// One sentence for the client: what to mend, without a word of what was sent.
    pub fn description(self) -> &'static str {
        match self {
            Self::MalformedRequest => "a parameter is missing, repeated or malformed, or the body is not a form",
            Self::MalformedScope => "scope does not follow RFC 6749, section 3.3",
            Self::UnsupportedTokenType => "this token type is not supported here",
            Self::SubjectTokenInvalid => "the subject token is not acceptable as the declared type",
            Self::SubjectTokenExpired => "the subject token has expired",
            Self::SubjectTokenRevoked => "the subject token has been revoked",
            Self::SubjectTokenNotForClient => "the subject token is not addressed to this client",
            Self::ActorTokenInvalid => "the actor token is not acceptable as the declared type",
            Self::ActorTokenExpired => "the actor token has expired",
            Self::ActorTokenRevoked => "the actor token has been revoked",
            Self::ActorTokenNotForClient => "the actor token does not denote this client",
            Self::MayActMismatch => "the subject token names another actor in may_act",
            Self::ChainTooLong => "the chain of actors would be too long",
            Self::SubjectDisabled => "the subject is disabled",
            Self::TaskPayloadMismatch => "the task was opened for another payload; send its SHA-256 as payload_sha256",
            Self::TaskCompleted => "the task has been completed",
            Self::TaskCancelled => "the task has been cancelled",
            Self::TaskExpired => "the task has expired",
            Self::TaskExhausted => "the task has given as many tokens as it may",
            Self::UnknownAudience => "this audience is not known",
            Self::SeveralAudiences => "exactly one audience or resource may be named",
            Self::AudienceClosed => "this audience is not available to this client",
            Self::WiderThanSubject => "more was asked for than the subject token and the audience allow",
            Self::ScopeNotMapped => "no scope of the subject token is mapped to details in the configuration of the broker",
            Self::PolicyDenied => "policy does not allow this; ask the operator of the broker with the decision_id",
            Self::MalformedDetails => "authorization_details are malformed, or an identifier is missing or not allowed",
            Self::UnknownType => "a type in authorization_details is not known at this audience",
            Self::UnknownAction => "an action in authorization_details is not declared for its type",
            Self::UnknownMember => "a member in authorization_details is not declared for its type and actions",
            Self::NothingAsked => "name scope or authorization_details; this audience has no defaults",
            Self::NotYours => "the token was issued to another client",
            Self::InvalidDpopProof => "the token is bound to a key and no proof of that key was given",
            Self::ClientAuthenticationFailed => "client authentication failed",
            Self::UnauthorizedClient => "this client may not use this grant",
            Self::UnsupportedGrantType => "this grant type is not served",
            Self::StoreUnavailable => "the store is not available; try again",
            Self::IssuerUnavailable => "the keys of the issuer of the token are not available; try again",
            Self::RateLimited => "too many requests; try again later",
            Self::TooLarge => "the request is larger than this broker takes",
            Self::RevocationViewStale => "the view of revocations is too old; try again",
            Self::NoToken => "send an access token as Authorization: Bearer",
            Self::NoRoute => "nothing is served at this method and path",
            Self::UnreadInput => "the request holds members that its route does not read",
            Self::InsufficientUserAuthentication => "the person must authenticate again, or more strongly",
            Self::OverbroadToken => "the token allows more than this request needs; ask for a token for exactly this",
            Self::TokenUsed => "the token was for one use, and that has been made",
        }
    }
}
