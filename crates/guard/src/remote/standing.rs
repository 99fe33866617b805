//! Who is disabled, as one stream of the feed tells it.

use std::sync::Arc;

use delegation::revocation::{Disabled, Party, PartyKind};
use serde_json::Value;

use super::key;

/// So many are known. A broker that tells of more is not followed: whom it has left out, nobody would know.
const MOST: usize = 1 << 20;

/// What one stream has told. The next one tells all of it again, since who was enabled meanwhile has no place in any feed.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Nothing before the stream said that it begins with it, or with nobody.
    disabled: Option<Arc<Disabled>>,
    is_whole: bool,
}

/// What cannot be understood, or not be kept.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Standing {
    /// Takes an event. Who is disabled now, where that was known before it.
    pub(super) fn take(&mut self, said: &Value) -> Result<Option<&Arc<Disabled>>, Unreadable> {
        let begins = said.get("begins").and_then(Value::as_bool).ok_or(Unreadable)?;
        if begins == self.disabled.is_some() {
            return Err(Unreadable);
        }
        let mut disabled = self.disabled.take().unwrap_or_default();
        let known = Arc::make_mut(&mut disabled);
        for (list, is_disabled) in [("disabled", true), ("enabled", false)] {
            for party in said.get(list).and_then(Value::as_array).ok_or(Unreadable)? {
                known.set(of(party).ok_or(Unreadable)?, is_disabled);
            }
        }
        if known.len() > MOST {
            return Err(Unreadable);
        }
        let disabled = self.disabled.insert(disabled);
        Ok(self.is_whole.then_some(disabled))
    }

    /// Everybody who is disabled, since the broker says by this heartbeat that all is told; nothing if nothing was, not even that it is
    /// nobody.
    pub(super) fn is_whole(&mut self, heartbeat: &Value) -> Option<&Arc<Disabled>> {
        if self.disabled.is_none() && heartbeat.get("disabled").and_then(Value::as_u64) == Some(0) {
            self.disabled = Some(Arc::default());
        }
        self.is_whole = self.disabled.is_some();
        self.disabled.as_ref()
    }
}

/// Somebody. A kind that is not known here could be anybody, so then the feed is not one that we can follow.
fn of(said: &Value) -> Option<Party> {
    Some((PartyKind::parse(said.get("kind")?.as_str()?)?, key::of(said.get("key")?)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use delegation::revocation::{Disabled, Key, PartyKind};
    use serde_json::json;

    use super::{MOST, Standing};

    fn many(count: usize) -> Standing {
        let key = |at: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&at.to_be_bytes());
            (PartyKind::Subject, Key::from_bytes(bytes))
        };
        let disabled: Disabled = (0..count).map(key).collect();
        Standing {
            disabled: Some(Arc::new(disabled)),
            is_whole: true,
        }
    }

    #[test]
    fn so_many_are_known_and_with_one_more_the_feed_is_not_followed() {
        let one = |key: &str| json!({ "begins": false, "disabled": [{ "kind": "client", "key": key }], "enabled": [] });
        let mut full = many(MOST - 1);
        assert!(full.take(&one(&"a".repeat(64))).is_ok());
        assert!(full.take(&one(&"a".repeat(64))).is_ok(), "it is there already");
        assert!(full.take(&one(&"b".repeat(64))).is_err());
    }
}
