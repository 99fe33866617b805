//! The keys of the broker, as each of its addresses publishes them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use delegation::token::KeySet;

use super::Link;

impl<S> Link<S> {
    /// The keys that are here, which are refreshed beside this; if there are none, those of the first address that gives any. All
    /// have the same, and an ask does not wait for one that is away.
    pub async fn keys_at_hand(&self) -> Vec<Arc<KeySet>> {
        let mut found = Vec::new();
        for name in self.held() {
            found.extend(self.keys.keys(&name).await);
        }
        let (count, first) = (self.place.urls.len(), self.first.load(Ordering::Relaxed));
        for name in self.names().cycle().skip(first % count.max(1)).take(count) {
            if !found.is_empty() {
                break;
            }
            found.extend(self.keys.keys(&name).await);
        }
        found
    }

    /// The keys after another look at every address, since a token names one that is not there: the one that gave keys may be away,
    /// and another have the new ones.
    pub async fn keys_again(&self) -> Vec<Arc<KeySet>> {
        let (count, first) = (self.place.urls.len(), self.first.load(Ordering::Relaxed));
        let mut fresh = Vec::new();
        for name in self.names().cycle().skip(first % count.max(1)).take(count) {
            fresh.extend(self.keys.refetch(&name).await);
        }
        fresh
    }

    /// The keys that are here, without any wait.
    pub fn held_keys(&self) -> impl Iterator<Item = Arc<KeySet>> {
        self.names().filter_map(|name| self.keys.held(&name).ok())
    }

    /// Those of them that were looked at last: an address that is away may have older ones.
    pub fn newest_keys(&self) -> Option<Arc<KeySet>> {
        let statuses = self.keys.status().into_iter();
        let held = statuses.filter_map(|status| {
            let age = status.last_success_age.unwrap_or(Duration::MAX);
            Some((age, self.keys.held(&status.name).ok()?))
        });
        held.min_by_key(|(age, _)| *age).map(|(_, keys)| keys)
    }

    fn held(&self) -> impl Iterator<Item = String> {
        self.names().filter(|name| self.keys.held(name).is_ok())
    }

    fn names(&self) -> impl Iterator<Item = String> + Clone + use<S> {
        (0..self.place.urls.len()).map(|at| at.to_string())
    }
}
