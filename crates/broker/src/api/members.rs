//! The body of a question, read member by member.

mod line;

use std::net::IpAddr;

use issuance::audit::RequestLine;
use serde_json::{Map, Value};

use super::problem::Problem;

/// The members of a body, each of which is taken out as it is read.
pub(super) struct Members(pub(super) Map<String, Value>);

impl Members {
    /// Whether there is such a member.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A string that may be absent.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::Malformed("a member that must be a string is not")),
        }
    }

    /// A string that must be there and not be empty.
    pub(super) fn required(&mut self, name: &str) -> Result<String, Problem> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or(Problem::Malformed("a member that must be there is missing"))
    }

    /// A boolean that may be absent.
    pub(super) fn truth(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        let truth = |value: Value| value.as_bool().ok_or(Problem::Malformed("a member that must be true or false is not"));
        self.0.remove(name).map(truth).transpose()
    }

    /// A number that may be absent.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let number = |value: Value| value.as_u64().ok_or(Problem::Malformed("a member that must be a whole number from 0 on is not"));
        self.0.remove(name).map(number).transpose()
    }

    /// A list that may be absent.
    pub(super) fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, Problem> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(Problem::Malformed("a member that must be a list is not")),
        }
    }

    /// An object that may be absent.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, Problem> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self(members))),
            Some(_) => Err(Problem::Malformed("a member that must be an object is not")),
        }
    }

    /// A list as a form has it: its JSON, or nothing.
    pub(super) fn list(&mut self, name: &str) -> Result<String, Problem> {
        match self.0.remove(name) {
            None => Ok(String::new()),
            Some(list @ Value::Array(_)) => Ok(list.to_string()),
            Some(_) => Err(Problem::Malformed("details must be a list")),
        }
    }

    /// An address that must be there.
    pub(super) fn address(&mut self, name: &str) -> Result<IpAddr, Problem> {
        let address = self.required(name)?.parse::<IpAddr>();
        Ok(address.map_err(|_| Problem::Malformed("`client_ip` must be an address"))?.to_canonical())
    }

    /// The line of a request, if it could be read there.
    pub(super) fn request(&mut self) -> Result<Option<RequestLine>, Problem> {
        const NOT_SEEN: Problem = Problem::Malformed("`request` must have `method`, `host` and `path`, and nothing else");
        match self.0.remove("request") {
            None => Ok(None),
            Some(Value::Object(line)) => {
                let mut line = Self(line);
                let (method, host, path) = (line.text("method")?, line.text("host")?, line.text("path")?);
                let (Some(method), Some(host), Some(path)) = (method, host, path) else {
                    return Err(NOT_SEEN);
                };
                line.ends().map_err(|_| NOT_SEEN)?;
                let line = line::read(method, &host, path);
                Ok(Some(
                    line.ok_or(Problem::Malformed("no request has such a `method`, `host` or `path`"))?,
                ))
            }
            Some(_) => Err(NOT_SEEN),
        }
    }

    /// Refuses what was not read: one that is misspelt would be taken for absent.
    pub(super) fn ends(&self) -> Result<(), Problem> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Problem::Malformed("a member of the body is not known"))
        }
    }
}
