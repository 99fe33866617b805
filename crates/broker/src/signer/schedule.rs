//! When a key is published, when it signs, and when it goes.

use std::time::Duration;

use delegation::time::Timestamp;
use delegation::token::Algorithm;

use super::stored::{KeyInfo, KeyState};

/// How long a key is kept after the last token that it may have signed: for nodes that follow a second late, and for
/// clocks that differ.
const MARGIN: Duration = Duration::from_secs(30);

/// The rhythm of rotation.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The algorithm of the next key.
    pub algorithm: Algorithm,
    /// When a key that signs is followed by the next.
    pub rotate_every: Duration,
    /// How long a key is published before it signs.
    pub publish_before: Duration,
    /// The longest life of a token that is issued now.
    pub longest_life: Duration,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Publish,
    Activate(String),
    Retire(String),
    /// The key that signs must be kept longer than is written there.
    Promise(String),
}

impl Schedule {
    /// The longest life in whole seconds.
    pub(super) fn life(&self) -> i64 {
        i64::try_from(self.longest_life.as_secs()).unwrap_or(i64::MAX)
    }

    /// The next step that is due, if any.
    pub(super) fn due(&self, keys: &[KeyInfo], now: Timestamp) -> Option<Step> {
        let active = keys.iter().find(|key| key.state == KeyState::Active);
        let published = keys.iter().find(|key| key.state == KeyState::Published);
        if let Some(active) = active
            && active.longest_life < self.life()
        {
            return Some(Step::Promise(active.kid.clone()));
        }
        match (active, published) {
            (_, Some(next)) if now.since(next.created_at) >= self.publish_before => return Some(Step::Activate(next.kid.clone())),
            (Some(active), None) if now.since(active.changed_at) + self.publish_before >= self.rotate_every => return Some(Step::Publish),
            _ => {}
        }
        let is_over = |key: &&KeyInfo| {
            let life = Duration::from_secs(u64::try_from(key.longest_life).unwrap_or_default());
            key.state == KeyState::Previous && now.since(key.changed_at) >= life + MARGIN
        };
        keys.iter().find(is_over).map(|key| Step::Retire(key.kid.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use delegation::time::Timestamp;
    use delegation::token::Algorithm;

    use super::{KeyInfo, KeyState, Schedule, Step};

    fn key(kid: &str, state: KeyState, created: i64, changed: i64) -> KeyInfo {
        KeyInfo {
            kid: kid.to_owned(),
            algorithm: "ES256".to_owned(),
            state,
            created_at: Timestamp::from_seconds(created),
            changed_at: Timestamp::from_seconds(changed),
            longest_life: 600,
            public_jwk: serde_json::Value::Null,
        }
    }

    fn due(keys: &[KeyInfo], at: i64) -> Option<Step> {
        let schedule = Schedule {
            algorithm: Algorithm::Es256,
            rotate_every: Duration::from_secs(1000),
            publish_before: Duration::from_secs(100),
            longest_life: Duration::from_secs(600),
        };
        schedule.due(keys, Timestamp::from_seconds(at))
    }

    #[test]
    fn a_key_is_published_signs_and_goes_each_at_its_time_and_not_before() {
        let one = [key("a", KeyState::Active, 0, 0)];
        assert_eq!(due(&one, 899), None);
        assert_eq!(due(&one, 900), Some(Step::Publish));
        let two = [key("a", KeyState::Active, 0, 0), key("b", KeyState::Published, 900, 900)];
        assert_eq!(due(&two, 999), None);
        assert_eq!(due(&two, 1000), Some(Step::Activate("b".to_owned())));
        let after = [key("a", KeyState::Previous, 0, 1000), key("b", KeyState::Active, 900, 1000)];
        assert_eq!(due(&after, 1629), None, "its last token may live until 1600");
        assert_eq!(due(&after, 1630), Some(Step::Retire("a".to_owned())));
    }

    #[test]
    fn a_key_that_signed_longer_tokens_is_kept_for_those() {
        let mut old = key("a", KeyState::Previous, 0, 1000);
        old.longest_life = 3600;
        let keys = [old, key("b", KeyState::Active, 900, 1000)];
        assert_eq!(due(&keys, 1900), Some(Step::Publish));
        let keys = [keys[0].clone(), key("b", KeyState::Active, 900, 4000)];
        assert_eq!(due(&keys, 4629), None);
        assert_eq!(due(&keys, 4630), Some(Step::Retire("a".to_owned())));
        let mut short = key("b", KeyState::Active, 900, 1000);
        short.longest_life = 60;
        assert_eq!(due(&[short], 1000), Some(Step::Promise("b".to_owned())));
    }

    #[test]
    fn a_clock_that_goes_back_brings_nothing_forward() {
        let keys = [key("a", KeyState::Previous, 5000, 6000), key("b", KeyState::Active, 5900, 6000)];
        assert_eq!(due(&keys, 10), None);
    }
}
