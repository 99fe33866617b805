//! Who a token is about: always the pair of an issuer and a name there.

use std::fmt;

/// A subject as the rest of the product knows it.
///
/// Two issuers' equal `sub` values are two subjects; nothing is folded, trimmed or joined by e-mail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The issuer's name in the configuration; `narrows` for a client that acts for itself.
    pub issuer_name: String,
    /// The issuer's identifier, as in `sub_id.iss`.
    pub iss: String,
    /// The outside `sub`, as in `sub_id.sub`.
    pub sub: String,
}

/// The issuer name of subjects that are clients of this broker.
pub const OUR_NAME: &str = "narrows";

/// `<issuer name>|<sub>`, the subject's id in policy.
impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}|{}", self.issuer_name, self.sub)
    }
}

/// Whether a subject is a person or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A person.
    User,
    /// A workload.
    Workload,
}

impl SubjectKind {
    /// The word in configuration, policy and store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Workload => "workload",
        }
    }

    /// The kind by its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::User, Self::Workload].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// How risky it is to act for a subject, as somebody other than its token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// Nobody can say.
    Unknown,
}

impl Risk {
    /// Every risk, with its word in policy and on the wire.
    pub const ALL: [(&'static str, Self); 4] = [
        ("low", Self::Low),
        ("medium", Self::Medium),
        ("high", Self::High),
        ("unknown", Self::Unknown),
    ];

    /// The risk by its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == word).map(|(_, risk)| risk)
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }
}

/// Whether `sub` is one that an outside issuer may name: 1 to 255 characters, none of U+0000–001F and U+007F.
pub fn is_sub(sub: &str) -> bool {
    (1..=255).contains(&sub.chars().count()) && !sub.chars().any(|each| matches!(each, '\u{0}'..='\u{1f}' | '\u{7f}'))
}

/// Attributes of a subject that policy may read, with the groups it is in.
///
/// Read once, from the outside token that begins a transaction, and kept with that transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attributes {
    /// Single values, by the attribute's name.
    #[serde(default)]
    pub values: std::collections::BTreeMap<String, AttributeValue>,
    /// The groups, without the issuer's name.
    #[serde(default)]
    pub groups: std::collections::BTreeSet<String>,
}

/// The value of one attribute.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// `true` or `false`.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A string.
    Text(String),
    /// Strings without order.
    Set(std::collections::BTreeSet<String>),
}

/// The type that the configuration declares for an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeKind {
    /// `"bool"`.
    Boolean,
    /// `"long"`.
    Integer,
    /// `"string"`.
    Text,
    /// `"set"`: an array of strings.
    Set,
}

/// One claim of outside tokens that policy may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeRule {
    /// Its type; another type in a token is a bad token.
    pub kind: AttributeKind,
    /// Whether it may be absent (`?`).
    pub optional: bool,
}

impl AttributeRule {
    /// Parses the configuration's word: `string`, `set`, `bool` or `long`, with `?` for one that may be absent.
    pub fn parse(word: &str) -> Option<Self> {
        let (word, optional) = match word.strip_suffix('?') {
            Some(word) => (word, true),
            None => (word, false),
        };
        let kind = match word {
            "string" => AttributeKind::Text,
            "set" => AttributeKind::Set,
            "bool" => AttributeKind::Boolean,
            "long" => AttributeKind::Integer,
            _ => return None,
        };
        Some(Self { kind, optional })
    }
}
