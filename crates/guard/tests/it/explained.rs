//! How a program of one's own has a request explained, as the documentation shows it.

use serde_json::{Value, json};
use testkit::now;

use crate::guarded::{build, settings, token, with};
use crate::service::{demand, route, service};

include!("explained/call.rs");

#[test]
fn a_program_has_a_request_explained_as_the_documentation_shows_it() {
    let page = include_str!("../../../../docs/guard-library.md");
    let shown = include_str!("explained/call.rs");
    assert!(
        page.contains(&format!("```rust\n{shown}```\n")),
        "docs/guard-library.md holds another program"
    );

    let (demand, excess) = (
        demand("GET /r/{id}", "ticket:read/{id}"),
        narrows_guard::surplus::Excess::SameResource,
    );
    let mut settings = settings(demand, excess, &json!({}));
    let routes = vec![route("GET /tickets/{id}", "ticket:read/{id}")];
    settings.service = service("tickets", &["tickets.internal"], routes);
    let (guard, clock) = (build(settings), Clock::showing(now));
    let said = |claims: Value| explained(&guard, &clock, &token(&with(claims))).unwrap();
    let one = |identifier: &str| json!({ "type": "ticket", "actions": ["read"], "identifier": identifier });
    assert!(said(json!({})).contains("holds no more than it may"));
    let surplus = said(json!({ "authorization_details": [one("7"), one("8")] }));
    assert!(surplus.contains("`ticket:read/8` (another identifier)"), "{surplus}");
    let missing = said(json!({ "authorization_details": [one("8")] }));
    assert!(missing.contains("does not allow ticket:read/7"), "{missing}");
    let elsewhere = said(json!({ "aud": "https://orders.internal" }));
    assert!(elsewhere.ends_with("subject_token_not_for_client"), "{elsewhere}");
}
