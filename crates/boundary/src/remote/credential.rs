//! The upstream credential of a reply: the one that was asked for and whole, or the reply is not believed.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::credential::Credential;
use crate::settings::Origin;

/// What `said` is, where the request goes on with the credential of the connection `asked`, or with none.
///
/// The texts of what is wrong say nothing of what was said, and what was said is wiped.
pub(super) fn of(said: Option<Value>, asked: Option<&str>) -> Result<Option<Credential>, &'static str> {
    let (mut said, asked) = match (said, asked) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err("it has an upstream credential that nobody asked for"),
        (None, Some(_)) => return Err("the upstream credential is missing"),
        (Some(Value::Object(said)), Some(asked)) => (said, asked),
        (Some(_), Some(_)) => return Err("its upstream credential is none"),
    };
    if *text(&mut said, "connection")? != asked {
        return Err("its upstream credential is another one than was asked for");
    }
    let (value, secret) = (text(&mut said, "value")?, text(&mut said, "secret")?);
    // What is looked for in the response is what the upstream was shown.
    if !value.contains(secret.as_str()) {
        return Err("the secret of its upstream credential is not in what would be shown");
    }
    let origin = Origin::parse(&text(&mut said, "origin")?).map_err(|_| "its upstream credential is for no origin")?;
    let header = text(&mut said, "header")?;
    let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| "its upstream credential goes in no header")?;
    let value = HeaderValue::from_str(&value).map_err(|_| "its upstream credential makes no header")?;
    let credential = Credential::new(asked.to_owned(), origin, header, value, &secret);
    credential.map(Some).ok_or("the secret of its upstream credential is none")
}

fn text(said: &mut Map<String, Value>, name: &str) -> Result<Zeroizing<String>, &'static str> {
    match said.remove(name) {
        Some(Value::String(text)) => Ok(Zeroizing::new(text)),
        _ => Err("its upstream credential lacks a member"),
    }
}
