//! The kinds of tokens, and what sets each apart (RFC 8725 §3.12).

mod sealed {
    pub trait Sealed {}
}

/// A kind of token. Sealed: a token of one kind is never taken for another.
pub trait TokenKind: sealed::Sealed {
    /// The `typ` values that a token of this kind may have, without `application/`, in lower case; `""` for none.
    const TYP: &'static [&'static str];
    /// Claims without which there is nothing to judge.
    const REQUIRED: &'static [&'static str];
}

/// The token of the party on whose behalf is asked (RFC 8693 §2.1). Which `typ` an issuer may use is its entry's word.
#[derive(Debug)]
pub enum SubjectToken {}
/// The token of the acting party (RFC 8693 §2.1).
#[derive(Debug)]
pub enum ActorToken {}
/// One of our own transaction tokens, shown for its subject (draft-ietf-oauth-transaction-tokens, *Txn-Token as a
/// `subject_token`*). It is no access token, and no access token is one.
#[derive(Debug)]
pub enum TxnToken {}
/// Whatever this broker issues to be shown to others: an access token or a transaction token, to be looked at or ended. It is
/// no credential and no evidence of anything that could be asked for.
#[derive(Debug)]
pub enum Issued {}
/// One of our own access tokens, at the resource server that it is for (RFC 9068 §4).
#[derive(Debug)]
pub enum AccessToken {}
/// A client's own signed assertion (RFC 7523 §2.2).
#[derive(Debug)]
pub enum ClientAssertion {}
/// A workload's OpenID token, shown as client assertion.
#[derive(Debug)]
pub enum WorkloadAssertion {}
/// An identity assertion authorization grant (draft-ietf-oauth-identity-assertion-authz-grant §3): a trusted issuer's word
/// to this broker, for one of its clients.
#[derive(Debug)]
pub enum IdJag {}
/// A security event token (RFC 8417): what a trusted issuer tells of one of its own subjects.
#[derive(Debug)]
pub enum SecurityEvent {}

impl sealed::Sealed for SubjectToken {}
impl sealed::Sealed for ActorToken {}
impl sealed::Sealed for TxnToken {}
impl sealed::Sealed for Issued {}
impl sealed::Sealed for AccessToken {}
impl sealed::Sealed for ClientAssertion {}
impl sealed::Sealed for WorkloadAssertion {}
impl sealed::Sealed for IdJag {}
impl sealed::Sealed for SecurityEvent {}

impl TokenKind for SubjectToken {
    const TYP: &'static [&'static str] = &["at+jwt", "jwt", ""];
    const REQUIRED: &'static [&'static str] = &["iss", "sub", "aud", "exp", "iat"];
}

impl TokenKind for ActorToken {
    const TYP: &'static [&'static str] = &["at+jwt", "jwt", ""];
    const REQUIRED: &'static [&'static str] = &["iss", "sub", "aud", "exp", "iat"];
}

impl TokenKind for TxnToken {
    const TYP: &'static [&'static str] = &["txntoken+jwt"];
    const REQUIRED: &'static [&'static str] = &["iss", "sub", "aud", "exp", "iat", "jti", "txn", "scope", "req_wl"];
}

impl TokenKind for Issued {
    const TYP: &'static [&'static str] = &["at+jwt", "txntoken+jwt"];
    const REQUIRED: &'static [&'static str] = &["iss", "sub", "aud", "exp", "iat", "jti"];
}

impl TokenKind for AccessToken {
    const TYP: &'static [&'static str] = &["at+jwt"];
    const REQUIRED: &'static [&'static str] = &["iss", "sub", "aud", "exp", "iat", "jti", "client_id"];
}

impl TokenKind for ClientAssertion {
    const TYP: &'static [&'static str] = &["client-authentication+jwt", "jwt", ""];
    const REQUIRED: &'static [&'static str] = &["iss", "sub", "aud", "exp", "iat", "jti"];
}

impl TokenKind for WorkloadAssertion {
    const TYP: &'static [&'static str] = &["jwt", ""];
    const REQUIRED: &'static [&'static str] = &["iss", "sub", "aud", "exp", "iat"];
}

impl TokenKind for IdJag {
    const TYP: &'static [&'static str] = &["oauth-id-jag+jwt"];
    const REQUIRED: &'static [&'static str] = &["iss", "sub", "aud", "client_id", "jti", "exp", "iat"];
}

impl TokenKind for SecurityEvent {
    const TYP: &'static [&'static str] = &["secevent+jwt"];
    const REQUIRED: &'static [&'static str] = &["iss", "aud", "iat", "jti", "events"];
}
