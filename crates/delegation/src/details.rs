//! Authorization details (RFC 9396): what a token may do, type by type.

mod declared;
mod detail;
mod short;
mod value;

pub use declared::{ActionRule, DetailType, DetailTypes, IdentifierRule};
pub use detail::{Detail, DetailsError, Standing};
pub use short::{ShortForm, ShortFormError};
pub use value::{ConstraintOrder, ConstraintValue};
