//! Claims about a guard whose clock is set while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use delegation::time::Timestamp;
use narrows_guard::live::{Modes, Recheck, Settings};
use narrows_guard::surplus::Excess;
use narrows_guard::{Clock, Live};
use serde_json::json;
use testkit::now;

use crate::guarded::{settings, token, with};
use crate::service::demand;
use crate::told::{broker, shown};

#[tokio::test]
async fn a_clock_that_is_set_back_brings_no_token_back() {
    let time = Arc::new(AtomicI64::new(now().millis()));
    let shows = Arc::clone(&time);
    let clock = Clock::showing(move || Timestamp::from_millis(shows.load(Ordering::SeqCst)));
    let usual = || Settings {
        guard: settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({})),
        recheck: Recheck::Never,
        modes: Modes::default(),
        clock: clock.clone(),
    };
    let live = Live::new(usual(), broker()).unwrap();
    let over = token(&with(json!({ "iat": now().seconds() - 60, "exp": now().seconds() - 1 })));
    assert_eq!(shown(&live, &over).await, "subject_token_expired");
    time.fetch_sub(30_000, Ordering::SeqCst);
    assert_eq!(shown(&live, &over).await, "subject_token_expired");
    // A change of the configuration is no reason to believe it.
    live.swap(usual()).unwrap();
    assert_eq!(shown(&live, &over).await, "subject_token_expired");
    // One that was set ahead, and is right again, ended nothing for good.
    let holds = token(&with(json!({ "jti": "t-9" })));
    time.store(now().millis() + 3_600_000, Ordering::SeqCst);
    assert_eq!(shown(&live, &holds).await, "subject_token_expired");
    time.store(now().millis(), Ordering::SeqCst);
    assert_eq!(shown(&live, &holds).await, "allowed");
}
