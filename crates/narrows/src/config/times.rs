//! How long tokens and tasks live, keys are used, and a view of revocations may be old.

use std::time::Duration;

use delegation::registry::Lifetimes;
use delegation::revocation::LONGEST_WORK;

use super::duration;
use super::file::File;
use super::problem::Problems;

/// All of them, with their defaults.
pub(super) struct Times {
    pub(super) lifetimes: Lifetimes,
    pub(super) rotate_every: Duration,
    pub(super) publish_before: Duration,
    pub(super) max_view_age: Duration,
}

/// Reads them.
pub(super) fn build(file: &File, problems: &mut Problems) -> Times {
    let tokens = file.tokens.clone().unwrap_or_default();
    let tasks = file.tasks.clone().unwrap_or_default();
    let key_times = file.keys.clone().unwrap_or_default();
    let mut time = |text: &Option<String>, path: &str, default: &str| {
        let text = text.as_deref().unwrap_or(default);
        duration::parse(text).unwrap_or_else(|| {
            problems.add(path, format!("expected a duration such as `90s`, `5m` or `1h`, found `{text}`"));
            duration::parse(default).unwrap_or_default()
        })
    };
    let lifetimes = Lifetimes {
        default: time(&tokens.lifetime, "tokens.lifetime", "5m"),
        max: time(&tokens.max_lifetime, "tokens.max_lifetime", "10m"),
        task: time(&tasks.max_lifetime, "tasks.max_lifetime", "1h"),
        deferred_task: time(&tasks.deferred_max_lifetime, "tasks.deferred_max_lifetime", "24h"),
        deferred_token: time(&tasks.deferred_token_lifetime, "tasks.deferred_token_lifetime", "60s"),
    };
    let rotate_every = time(&key_times.rotate_every, "keys.rotate_every", "30d");
    let publish_before = time(&key_times.publish_before, "keys.publish_before", "1h");
    let revocation = file.revocation.clone().unwrap_or_default();
    let max_view_age = time(&revocation.max_age, "revocation.max_age", "5s");
    for (key, life) in [
        ("tokens.max_lifetime", lifetimes.max),
        ("tasks.max_lifetime", lifetimes.task),
        ("tasks.deferred_max_lifetime", lifetimes.deferred_task),
    ] {
        if life > LONGEST_WORK {
            problems.add(
                key,
                "no token or task lasts for more than 7d: revocations are kept for as long as anything can hang from them".to_owned(),
            );
        }
    }
    if lifetimes.default > lifetimes.max {
        problems.add("tokens.lifetime", "is longer than `tokens.max_lifetime`; shorten it".to_owned());
    }
    if publish_before >= rotate_every {
        problems.add("keys.publish_before", "expected less than `keys.rotate_every`".to_owned());
    }
    for (path, zero) in [
        ("tokens.lifetime", lifetimes.default < Duration::from_secs(1)),
        ("tokens.max_lifetime", lifetimes.max < Duration::from_secs(1)),
        ("revocation.max_age", max_view_age.is_zero()),
    ] {
        if zero {
            problems.add(path, "expected more than nothing".to_owned());
        }
    }
    Times {
        lifetimes,
        rotate_every,
        publish_before,
        max_view_age,
    }
}
