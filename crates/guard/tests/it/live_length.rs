//! Claims about bodies that are longer than their routes take, at a guard that has not seen them.

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use narrows_guard::Live;
use narrows_guard::live::{Modes, Recheck};
use narrows_guard::route::Demand;
use narrows_guard::surplus::Excess;
use serde_json::{Value, json};

use crate::guarded::{bearer, call, settings, token, with};
use crate::service::demand;
use crate::told::{Beside, broker, caller, live};

/// A guard whose route takes 1,024 bytes and reads none of them.
fn guard(broker: &Beside) -> Live<Beside> {
    let bounded = Demand {
        body_max: Some(1024),
        ..demand("GET /r/{id}", "ticket:read/{id}")
    };
    live(
        settings(bounded, Excess::SameResource, &json!({})),
        Recheck::Each,
        Modes::default(),
        broker,
    )
}

/// A good token for one use, and a body of `length`.
fn announcing(length: usize) -> HeaderMap {
    let mut headers = bearer(&token(&with(json!({ "single_use": true }))));
    headers.insert(CONTENT_LENGTH, length.into());
    headers
}

#[tokio::test]
async fn a_body_that_says_to_be_too_long_is_no_use_of_its_token() {
    let broker = broker();
    let live = guard(&broker);
    let asked = || (broker.0.count(&broker.0.rechecks), broker.0.count(&broker.0.uses));
    let decided = live.decide(&call(), &announcing(1025), caller()).await;
    assert_eq!((crate::told::word(&decided), asked()), ("too_large", (0, 0)));
    let told = broker.0.refusals();
    assert_eq!((told[0].reason.as_str(), told[0].observed), ("too_large", false));
    assert_eq!(told[0].claims.as_ref().unwrap().jti, "t-2");
    assert_eq!(
        handed_over(&live, &broker).await,
        (Value::Null, json!(1)),
        "it was shown, and not used"
    );

    let decided = live.decide(&call(), &announcing(1024), caller()).await;
    assert_eq!((crate::told::word(&decided), asked()), ("allowed", (1, 1)));
    assert_eq!(handed_over(&live, &broker).await, (json!(1), Value::Null));

    // Whoever may not do it at all is told that.
    let mut other = bearer(&token(&with(json!({ "scope": "profile" }))));
    other.insert(CONTENT_LENGTH, 1025.into());
    let decided = live.decide(&call(), &other, caller()).await;
    assert_eq!(crate::told::word(&decided), "overbroad_token");
}

/// Requests and tokens of the last batch.
async fn handed_over(live: &Live<Beside>, broker: &Beside) -> (Value, Value) {
    live.hand_over().await;
    let batches = broker.0.batches.lock().unwrap();
    let sum = &batches.last().unwrap().sums["sums"][0];
    (sum["requests"].clone(), sum["tokens"].clone())
}
