//! Which tokens were shown before.

use std::collections::BTreeSet;

use delegation::revocation::Key;
use delegation::time::Timestamp;

/// So many tokens that have not expired are told apart.
pub const MOST_TOKENS: usize = 65_536;

/// Digests of the `jti`s of tokens that have not expired, those that end first in front.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeSet<(Timestamp, Key)>);

/// Whether a token was shown before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    First,
    Again,
    /// Too many others are remembered to tell.
    Untold,
}

impl Shown {
    /// Takes note of the token whose `jti` has this `key`, and which ends at `exp`.
    pub(super) fn see(&mut self, key: &Key, exp: Timestamp) -> Sight {
        let token = (exp, *key);
        if self.0.contains(&token) {
            Sight::Again
        } else if self.0.len() >= MOST_TOKENS {
            Sight::Untold
        } else {
            self.0.insert(token);
            Sight::First
        }
    }

    /// Forgets what has expired by `now`: it is not shown any more.
    pub(super) fn forget(&mut self, now: Timestamp) {
        while self.0.first().is_some_and(|(exp, _)| *exp <= now) {
            self.0.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, MOST_TOKENS, Shown, Sight, Timestamp};

    #[test]
    fn no_more_tokens_are_remembered_than_there_is_room_for_and_that_is_said() {
        let see = |shown: &mut Shown, jti: &str, exp| shown.see(&Key::of(jti), exp);
        let (mut shown, soon, late) = (Shown::default(), Timestamp::from_seconds(60), Timestamp::from_seconds(120));
        for token in 1..MOST_TOKENS {
            assert_eq!(see(&mut shown, &token.to_string(), late), Sight::First);
        }
        assert_eq!(see(&mut shown, "soon", soon), Sight::First);
        assert_eq!(see(&mut shown, "one more", late), Sight::Untold);
        assert_eq!(see(&mut shown, "soon", soon), Sight::Again);
        shown.forget(soon);
        assert_eq!(see(&mut shown, "one more", late), Sight::First);
        assert_eq!(see(&mut shown, "1", late), Sight::Again);
    }
}
