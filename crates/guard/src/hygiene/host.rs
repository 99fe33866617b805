//! The one host that a request is for.

use super::Malformed;

/// The host of a request: lower-cased, its port split off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Takes the value of `Host` or `:authority` (RFC 9110 §7.2).
    ///
    /// Two hosts that a proxy joined with a comma, user information and a trailing dot are refused: each is read in two ways.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(text).map_err(|_| Malformed("the host is no name"))?;
        let (name, port) = match text.rsplit_once(':') {
            // The colons of an IPv6 address are within its brackets.
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (text, None),
        };
        let port = port.map(number).transpose()?;
        let name = name.to_ascii_lowercase();
        if is_name(&name) || is_ipv6(&name) {
            Ok(Self { name, port })
        } else {
            Err(Malformed("the host is no name"))
        }
    }

    /// The name, in lower case; an IPv6 address in its brackets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, where one is named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// The name, and the port where one is named.
impl std::fmt::Display for Host {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(out, "{}:{port}", self.name),
            None => out.write_str(&self.name),
        }
    }
}

/// Whether `name`, in lower case, is made of labels: no empty one, so no dot at either end.
pub(crate) fn is_name(name: &str) -> bool {
    let label = |label: &str| !label.is_empty() && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    name.len() <= 255 && name.split('.').all(label)
}

/// Whether `name` is an IPv6 address in brackets.
pub(crate) fn is_ipv6(name: &str) -> bool {
    let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    inside.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok())
}

fn number(text: &str) -> Result<u16, Malformed> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(Malformed("the port of the host is no number"))
}
