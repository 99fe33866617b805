//! OAuth's words on the wire, each parsed once.

mod form;
mod names;
mod reason;
mod request;

pub use form::{Form, FormError, decode_credential};
pub use names::{AudienceId, ClientId, GrantType, InvalidName, Scope, TokenType, parse_scope};
pub use reason::{ErrorCode, Manner, Reason};
pub use request::{
    ActorPart, AskedPart, AttemptPart, ClientCredentialsRequest, JwtBearerRequest, RequestError, SubjectPart, TaskPart,
    TokenExchangeRequest,
};
