//! Claims about a guard that only observes.

use std::time::Duration;

use delegation::time::Timestamp;
use narrows_guard::Live;
use narrows_guard::live::{Modes, Recheck};
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Demand, Mode, Route, Rule};
use narrows_guard::surplus::Excess;
use serde_json::json;
use testkit::now;

use crate::guarded::{bearer, call, settings, token, with};
use crate::service::{asked, demand};
use crate::told::{Beside, broker, caller, live};

fn tomorrow() -> Timestamp {
    now().plus(Duration::from_secs(86_400))
}

/// A guard with `GET /r/{id}`, `GET /{word}`, and `GET /enforced` and `GET /observed`, which say so themselves.
fn guard(modes: Modes, broker: &Beside) -> Live<Beside> {
    let mut settings = settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({}));
    for (key, mode) in [("GET /enforced", Mode::Enforce), ("GET /observed", Mode::Observe)] {
        let said = Demand {
            mode: Some(mode),
            ..demand(key, "ticket:list")
        };
        let route = Route::new(key.to_owned(), Pattern::parse(key).unwrap(), Rule::Needs(Box::new(said)));
        settings.service.routes.push(route);
    }
    settings.service.routes.push(crate::service::route("GET /{word}", "ticket:list"));
    live(settings, Recheck::Each, modes, broker)
}

#[tokio::test]
async fn the_most_specific_word_says_what_binds_and_no_word_without_a_day() {
    let observes = |mode, until| Modes { mode, until };
    let (day, past) = (Some(tomorrow()), Some(now()));
    let rows = [
        // The mode, and whether /r/7, /enforced, /observed, /ENFORCED, /word, what has no route and what could not be read go on.
        (observes(None, None), [false; 7]),
        (observes(None, day), [false, false, true, false, false, false, false]),
        (observes(Some(Mode::Enforce), day), [false, false, true, false, false, false, false]),
        (observes(Some(Mode::Observe), day), [true, false, true, false, true, false, false]),
        (observes(Some(Mode::Observe), past), [false; 7]),
        (observes(Some(Mode::Observe), None), [false; 7]),
    ];
    for (modes, expected) in rows {
        let live = guard(modes, &broker());
        let paths = ["/r/7", "/enforced", "/observed", "/ENFORCED", "/word", "/no/route"];
        let found: Vec<_> = paths.iter().map(|path| live.observes(&asked("GET", path))).collect();
        assert_eq!(
            (found.as_slice(), live.observes_unread()),
            (&expected[..6], expected[6]),
            "{modes:?}"
        );
    }
    // Where every route observes, so does what is none.
    let whole = settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({}));
    let live = live(whole, Recheck::Never, observes(Some(Mode::Observe), day), &broker());
    assert!(live.observes(&asked("GET", "/nothing")) && live.observes_unread());
}

#[tokio::test]
async fn what_is_observed_is_on_record_as_such_and_uses_nothing_up() {
    let broker = broker();
    let modes = Modes {
        mode: Some(Mode::Observe),
        until: Some(tomorrow()),
    };
    let live = guard(modes, &broker);
    live.observe(&call(), &bearer(&token(&with(json!({ "single_use": true })))), caller()).await;
    live.observe(&call(), &bearer(&token(&with(json!({ "scope": "profile" })))), caller()).await;
    let told = broker.0.refusals();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].reason.as_str(), told[0].observed), ("overbroad_token", true));
    assert_eq!((broker.0.count(&broker.0.uses), broker.0.count(&broker.0.rechecks)), (0, 0));
}
