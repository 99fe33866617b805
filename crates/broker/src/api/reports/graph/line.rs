//! What the graph reads of a record.

use serde::Deserialize;
use serde_json::Value;

/// The members of a record that matter here; those it lacks are empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line {
    /// Milliseconds since 1970.
    pub(super) time: i64,
    pub(super) kind: String,
    pub(super) decision: String,
    pub(super) reason: String,
    pub(super) subject: Option<Party>,
    /// Who acts, the newest first.
    pub(super) actor: Vec<Party>,
    /// What the token came from, the root first; its last entry is the token that was shown.
    pub(super) chain: Vec<String>,
    pub(super) client: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) task: Option<String>,
    /// The token that came of it.
    pub(super) jti: Option<String>,
    pub(super) boundary: Option<String>,
    /// Says that it bound nobody.
    pub(super) effect: Option<String>,
    /// How many refusals it stands for.
    pub(super) count: Option<u64>,
    /// What was looked at.
    pub(super) inputs: Value,
}

/// Who, and for whom that is a name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Party {
    pub(super) iss: String,
    pub(super) sub: String,
}

impl Line {
    /// Whether a token came of it.
    pub(super) fn is_allowed(&self) -> bool {
        self.decision == "allow"
    }

    /// Whether the request went on whatever was decided: nobody was handed anything, and what it came with was to be forwarded.
    pub(super) fn is_observed(&self) -> bool {
        self.effect.as_deref() == Some("observed")
    }

    /// Whether somebody only wanted to know (`/access/v1`, `/v1/explain`): nobody was handed anything, and nobody was kept from it.
    pub(super) fn is_question(&self) -> bool {
        let asked = self.inputs.get("asked").and_then(Value::as_str).unwrap_or_default();
        self.kind == "exchange" && (asked.starts_with("POST /") || (self.is_allowed() && self.jti.is_none()))
    }

    /// How many decisions it stands for.
    pub(super) fn weight(&self) -> u64 {
        self.count.unwrap_or(1)
    }

    /// The entry of the token that was shown, where that was an outside token; what is made of a task shows none.
    pub(super) fn outside(&self) -> Option<&str> {
        match self.chain.as_slice() {
            [only] if self.task.is_none() && only.starts_with("o_") => Some(only),
            _ => None,
        }
    }
}
