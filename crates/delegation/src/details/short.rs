//! The short form of a detail: `type:action[,action][/identifier][?constraint=value[,value][&…]]`.
//!
//! One to one with the JSON form. Parts are percent-encoded; a value of an `equal` constraint is a string
//! unless a colon before it says otherwise (`:5`, `:true`, `:false`).

use std::collections::BTreeMap;
use std::fmt;

use super::declared::DetailTypes;
use super::detail::{Detail, DetailsError, Standing};
use super::value::{ConstraintOrder, ConstraintValue};

/// Why a short form was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShortFormError {
    /// The text does not follow the grammar.
    #[error("expected `type:action[,action][/identifier][?constraint=value]`: {0}")]
    Grammar(&'static str),
    /// It follows the grammar, and the declared type does not admit it.
    #[error("{error}: `{part}`")]
    Details {
        /// What the type holds against it.
        error: DetailsError,
        /// The part that is at fault.
        part: String,
    },
}

/// The parts of a short form as they stand in the text, still percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortForm<'a> {
    /// Before the colon.
    pub kind: &'a str,
    /// Between the colon and what follows.
    pub actions: &'a str,
    /// Behind the slash.
    pub identifier: Option<&'a str>,
    /// Behind the question mark: name and value of each member.
    pub members: Vec<(&'a str, &'a str)>,
}

impl<'a> ShortForm<'a> {
    /// Splits `text` where its parts meet, and looks at none of them.
    pub fn split(text: &'a str) -> Result<Self, ShortFormError> {
        let (head, query) = match text.split_once('?') {
            Some((head, query)) => (head, Some(query)),
            None => (text, None),
        };
        let (head, identifier) = match head.split_once('/') {
            Some((head, identifier)) => (head, Some(identifier)),
            None => (head, None),
        };
        let (kind, actions) = head.split_once(':').ok_or(ShortFormError::Grammar("a colon stands between type and actions"))?;
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        let member = |pair: &'a str| pair.split_once('=').ok_or(ShortFormError::Grammar("a constraint is `name=value`"));
        Ok(Self {
            kind,
            actions,
            identifier,
            members: pairs.map(member).collect::<Result<_, _>>()?,
        })
    }

    /// One part, decoded.
    pub fn decode(part: &str) -> Result<String, ShortFormError> {
        decode(part)
    }

    /// A part as it stands in the text: all but unreserved characters (RFC 3986 §2.3) is percent-encoded.
    pub fn encode(part: &str) -> String {
        encode(part)
    }
}

impl Detail {
    /// Parses the short form of one detail.
    pub fn parse_short(text: &str, types: &DetailTypes, standing: Standing) -> Result<Self, ShortFormError> {
        let ShortForm {
            kind,
            actions,
            identifier,
            members,
        } = ShortForm::split(text)?;
        let kind = decode(kind)?;
        let blame = |error, part: &str| ShortFormError::Details {
            error,
            part: part.to_owned(),
        };
        let declared = types.get(&kind).ok_or_else(|| blame(DetailsError::UnknownType, &kind))?;
        let actions = decode_list(actions)?;
        let identifier = identifier.map(decode).transpose()?;
        let mut locations = None;
        let mut constraints = BTreeMap::new();
        for (name, value) in members {
            let name = decode(name)?;
            let twice = if name == "locations" {
                locations.replace(decode_list(value)?).is_some()
            } else {
                let order = *declared.constraints.get(&name).ok_or_else(|| blame(DetailsError::UnknownMember, &name))?;
                let parsed = parse_value(order, value)?;
                if !order.admits(&parsed) {
                    return Err(blame(DetailsError::Malformed, &format!("{name}={value}")));
                }
                constraints.insert(name, parsed).is_some()
            };
            if twice {
                return Err(ShortFormError::Grammar("a constraint is named once"));
            }
        }
        Self::from_parts(declared, actions, identifier, locations, constraints, standing).map_err(|error| blame(error, text))
    }
}

/// The short form; parsing it gives the same detail again.
impl fmt::Display for Detail {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", encode(self.kind()), encode_list(self.actions()))?;
        if let Some(identifier) = self.identifier() {
            write!(out, "/{}", encode(identifier))?;
        }
        let mut separator = '?';
        if let Some(locations) = self.locations() {
            write!(out, "{separator}locations={}", encode_list(locations))?;
            separator = '&';
        }
        for (name, value) in self.constraints() {
            write!(out, "{separator}{}=", encode(name))?;
            match value {
                ConstraintValue::Text(text) => write!(out, "{}", encode(text))?,
                ConstraintValue::Texts(items) => write!(out, "{}", encode_list(items))?,
                ConstraintValue::Boolean(flag) => write!(out, ":{flag}")?,
                ConstraintValue::Integer(number) => write!(out, ":{number}")?,
                ConstraintValue::Limit(number) => write!(out, "{number}")?,
            }
            separator = '&';
        }
        Ok(())
    }
}

fn parse_value(order: ConstraintOrder, text: &str) -> Result<ConstraintValue, ShortFormError> {
    let integer = |text: &str| {
        let canonical = |number: &i64| number.to_string() == text;
        text.parse::<i64>().ok().filter(canonical).ok_or(ShortFormError::Grammar("expected an integer"))
    };
    match order {
        ConstraintOrder::Equal => match text.strip_prefix(':') {
            None => decode(text).map(ConstraintValue::Text),
            Some("true") => Ok(ConstraintValue::Boolean(true)),
            Some("false") => Ok(ConstraintValue::Boolean(false)),
            Some(number) => integer(number).map(ConstraintValue::Integer),
        },
        ConstraintOrder::AtMost => integer(text).map(ConstraintValue::Limit),
        ConstraintOrder::Prefix => decode(text).map(ConstraintValue::Text),
        ConstraintOrder::Subset => decode_list(text).map(ConstraintValue::Texts),
        ConstraintOrder::OneOf => match decode_list(text)?.as_slice() {
            [only] => Ok(ConstraintValue::Text(only.clone())),
            several => Ok(ConstraintValue::Texts(several.to_vec())),
        },
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn encode_list(items: &[String]) -> String {
    items.iter().map(|item| encode(item)).collect::<Vec<_>>().join(",")
}

fn decode_list(text: &str) -> Result<Vec<String>, ShortFormError> {
    text.split(',').map(decode).collect()
}

fn decode(text: &str) -> Result<String, ShortFormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
                    return Err(ShortFormError::Grammar("`%` is followed by two hexadecimal digits"));
                };
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            b'/' | b'?' | b'&' | b'=' | b',' | b' ' => {
                return Err(ShortFormError::Grammar("`/ ? & = ,` and spaces inside a part are percent-encoded"));
            }
            other => other,
        };
        bytes.push(decoded);
    }
    String::from_utf8(bytes).map_err(|_| ShortFormError::Grammar("parts are UTF-8"))
}
