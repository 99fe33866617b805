//! Registered claims, read strictly: one of the wrong type is an invalid token, never an absent claim.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::time::Timestamp;

/// Why an authentic token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something in it is wrong; the text is for the operator.
    #[error("{0}")]
    Invalid(&'static str),
    /// It holds no longer.
    #[error("expired")]
    Expired,
    /// It was revoked, or something that it came from.
    #[error("revoked")]
    Revoked,
    /// Its subject is disabled.
    #[error("the subject is disabled")]
    SubjectDisabled,
    /// It is bound to a DPoP key that was not proved.
    #[error("bound to a key that was not proved")]
    ProofMissing,
}

/// Claims as a reader that takes each by its type.
#[derive(Clone, Copy)]
pub(super) struct Claims<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Claims<'a> {
    /// A string that may be absent.
    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Invalid("a claim that must be a string is not")),
        }
    }

    /// A string that must be there and not be empty.
    pub(super) fn required_text(self, name: &str) -> Result<&'a str, TokenError> {
        self.text(name)?
            .filter(|text| !text.is_empty())
            .ok_or(TokenError::Invalid("a required claim is missing or empty"))
    }

    /// A boolean; absent is `false`.
    pub(super) fn flag(self, name: &str) -> Result<bool, TokenError> {
        match self.0.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(TokenError::Invalid("a claim that must be true or false is not")),
        }
    }

    /// A NumericDate (RFC 7519 §2) that may be absent: an integer from 0 that every JSON reader reads alike.
    pub(super) fn date(self, name: &str) -> Result<Option<Timestamp>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(seconds) if (0..1 << 53).contains(&seconds) => Ok(Some(Timestamp::from_seconds(seconds))),
                _ => Err(TokenError::Invalid("a date is not an integer of seconds")),
            },
        }
    }

    /// A date that must be there.
    pub(super) fn required_date(self, name: &str) -> Result<Timestamp, TokenError> {
        self.date(name)?.ok_or(TokenError::Invalid("a required date is missing"))
    }

    /// `aud` as a list (RFC 7519 §4.1.3): a string or a non-empty array of strings.
    pub(super) fn audiences(self) -> Result<Vec<String>, TokenError> {
        let audiences = match self.0.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => {
                let texts: Option<Vec<_>> = several.iter().map(|each| each.as_str().map(str::to_owned)).collect();
                texts.ok_or(TokenError::Invalid("`aud` holds something that is no string"))?
            }
            _ => return Err(TokenError::Invalid("`aud` is missing or of the wrong type")),
        };
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            return Err(TokenError::Invalid("`aud` is empty"));
        }
        Ok(audiences)
    }

    /// `resource` (RFC 8707 §2): a string or a non-empty array of strings, which may be absent.
    pub(super) fn resources(self) -> Result<Option<Vec<String>>, TokenError> {
        let resources = match self.0.get("resource") {
            Some(Value::String(one)) => Some(vec![one.clone()]),
            _ => self.texts("resource")?,
        };
        if resources
            .as_ref()
            .is_some_and(|resources| resources.is_empty() || resources.iter().any(String::is_empty))
        {
            return Err(TokenError::Invalid("`resource` is empty"));
        }
        Ok(resources)
    }

    /// A list of strings that may be absent.
    pub(super) fn texts(self, name: &str) -> Result<Option<Vec<String>>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<_>> = items.iter().map(|each| each.as_str().map(str::to_owned)).collect();
                texts.map(Some).ok_or(TokenError::Invalid("a claim that must be an array of strings is not"))
            }
            Some(_) => Err(TokenError::Invalid("a claim that must be an array of strings is not")),
        }
    }

    /// Checks `exp`, `nbf` and `iat` at `now`; `leeway` covers the last two alone. Gives `(exp, iat)`.
    ///
    /// With less than a second left a token is expired: nothing made from it could live.
    pub(super) fn times(self, now: Timestamp, leeway: Duration) -> Result<(Timestamp, Timestamp), TokenError> {
        let times = Times {
            exp: self.required_date("exp")?,
            iat: self.required_date("iat")?,
            nbf: self.date("nbf")?,
        };
        times.hold(now, leeway)?;
        Ok((times.exp, times.iat))
    }
}

/// When a token holds, by its own word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) exp: Timestamp,
    pub(super) iat: Timestamp,
    pub(super) nbf: Option<Timestamp>,
}

impl Times {
    /// The rule of [`Claims::times`].
    pub(super) fn hold(self, now: Timestamp, leeway: Duration) -> Result<(), TokenError> {
        let Self { exp, iat, nbf } = self;
        if exp <= iat || nbf.is_some_and(|nbf| nbf >= exp) {
            return Err(TokenError::Invalid("its times contradict each other"));
        }
        let latest = now.plus(leeway);
        if iat > latest || nbf.is_some_and(|nbf| nbf > latest) {
            return Err(TokenError::Invalid("it is not valid yet"));
        }
        if exp.millis() - now.millis() < 1000 {
            return Err(TokenError::Expired);
        }
        Ok(())
    }
}
