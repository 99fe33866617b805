//! What a token holds beyond its request.

use delegation::authority::Authority;
use delegation::details::{Detail, Standing};
use narrows_guard::route::Demand;
use narrows_guard::surplus::{Compared, Differs, Excess, Surplus, wider};
use serde_json::{Value, json};
use testkit::snapshot;

use crate::guarded::{at, bearer, build, call, decided, refused, settings, token, with};
use crate::service::demand;

/// Details in the short form, as a claim.
fn details(texts: &[&str]) -> Value {
    let types = snapshot().types;
    let detail = |text: &&str| Detail::parse_short(text, &types, Standing::Ceiling).unwrap().to_json();
    texts.iter().map(detail).collect()
}

/// The verdict on a token of these details where the route asks for `template`.
fn shown(template: &str, excess: Excess, fixed: &Value, held: &[&str]) -> &'static str {
    let guard = build(settings(demand("GET /r/{id}", template), excess, fixed));
    decided(&guard, &with(json!({ "authorization_details": details(held) })))
}

#[test]
fn exactly_the_request_is_no_surplus_in_any_mode() {
    for (_, excess) in Excess::ALL {
        assert_eq!(shown("ticket:read/{id}", excess, &json!({}), &["ticket:read/7"]), "allowed");
        assert_eq!(
            shown(
                "ticket:update/{id}?fields=a,b&region=eu",
                excess,
                &json!({}),
                &["ticket:update/7?fields=b,a&region=eu"]
            ),
            "allowed",
            "sets have no order"
        );
    }
}

#[test]
fn other_actions_on_the_same_resource_are_free_where_the_mode_says_so() {
    let held = ["ticket:read,update/7", "ticket:search/7"];
    assert_eq!(shown("ticket:read/{id}", Excess::None, &json!({}), &held), "overbroad_token");
    assert_eq!(shown("ticket:read/{id}", Excess::SameResource, &json!({}), &held), "allowed");
    assert_eq!(shown("ticket:read/{id}", Excess::Any, &json!({}), &held), "allowed");
}

#[test]
fn another_resource_is_surplus() {
    for other in ["ticket:read/8", "ticket:list", "refund:create/7"] {
        let held = ["ticket:read/7", other];
        assert_eq!(
            shown("ticket:read/{id}", Excess::SameResource, &json!({}), &held),
            "overbroad_token",
            "{other}"
        );
        assert_eq!(
            shown("ticket:read/{id}", Excess::None, &json!({}), &held),
            "overbroad_token",
            "{other}"
        );
        assert_eq!(shown("ticket:read/{id}", Excess::Any, &json!({}), &held), "allowed", "{other}");
    }
    let all = ["ticket:search"];
    assert_eq!(
        shown("ticket:search/{id}", Excess::SameResource, &json!({}), &all),
        "overbroad_token",
        "every one"
    );
    assert_eq!(
        shown("ticket:search", Excess::SameResource, &json!({}), &all),
        "allowed",
        "both absent is equal"
    );
}

#[test]
fn a_wider_constraint_is_surplus_unless_the_route_lists_it() {
    let listing = |wider: &[&str], excess, held: &str| {
        let demand = Demand {
            wider: wider.iter().map(|name| (*name).to_owned()).collect(),
            ..demand("GET /r/{id}", "ticket:update/{id}?fields=a&limit=5&path=%2Fa%2Fb&region=eu")
        };
        decided(
            &build(settings(demand, excess, &json!({}))),
            &with(json!({ "authorization_details": details(&[held]) })),
        )
    };
    for (name, held) in [
        ("fields", "ticket:update/7?fields=a,b&limit=5&path=%2Fa%2Fb&region=eu"),
        ("fields", "ticket:update/7?limit=5&path=%2Fa%2Fb&region=eu"),
        ("limit", "ticket:update/7?fields=a&limit=6&path=%2Fa%2Fb&region=eu"),
        ("path", "ticket:update/7?fields=a&limit=5&path=%2Fa&region=eu"),
        ("region", "ticket:update/7?fields=a&limit=5&path=%2Fa%2Fb&region=eu,us"),
    ] {
        assert_eq!(listing(&[], Excess::SameResource, held), "overbroad_token", "{held}");
        assert_eq!(listing(&[name], Excess::SameResource, held), "allowed", "{held}");
        assert_eq!(listing(&["tenant"], Excess::SameResource, held), "overbroad_token", "{held}");
        assert_eq!(
            listing(&[name], Excess::None, held),
            "overbroad_token",
            "nothing is listed there: {held}"
        );
    }
}

#[test]
fn a_narrower_piece_beside_is_surplus_only_where_nothing_may_be() {
    let held = ["ticket:update/7?fields=a,b", "ticket:update/7?fields=a"];
    assert_eq!(
        shown("ticket:update/{id}?fields=a,b", Excess::None, &json!({}), &held),
        "overbroad_token"
    );
    assert_eq!(
        shown("ticket:update/{id}?fields=a,b", Excess::SameResource, &json!({}), &held),
        "allowed"
    );
}

#[test]
fn locations_are_compared_like_constraints() {
    let template = "ticket:read/{id}?locations=https%3A%2F%2Ftickets.internal";
    let here = "ticket:read/7?locations=https%3A%2F%2Ftickets.internal";
    let wide = "ticket:read/7?locations=https%3A%2F%2Ftickets.internal,https%3A%2F%2Forders.internal";
    for (held, verdict) in [(here, "allowed"), (wide, "overbroad_token"), ("ticket:read/7", "overbroad_token")] {
        assert_eq!(shown(template, Excess::SameResource, &json!({}), &[held]), verdict, "{held}");
        assert_eq!(shown(template, Excess::None, &json!({}), &[held]), verdict, "{held}");
    }
    assert_eq!(
        shown("ticket:read/{id}", Excess::None, &json!({}), &["ticket:read/7", here]),
        "overbroad_token"
    );
}

#[test]
fn a_token_names_the_fixed_value() {
    let fixed = json!({ "tenant": "acme" });
    let held = |excess, held: &str| shown("ticket:read/{id}", excess, &fixed, &[held]);
    for excess in [Excess::None, Excess::SameResource] {
        assert_eq!(held(excess, "ticket:read/7?tenant=acme"), "allowed");
        assert_eq!(held(excess, "ticket:read/7"), "overbroad_token", "every tenant");
        assert_eq!(held(excess, "ticket:read/7?tenant=other"), "wider_than_subject");
    }
    assert_eq!(held(Excess::Any, "ticket:read/7"), "allowed");
    assert_eq!(held(Excess::Any, "ticket:read/7?tenant=other"), "wider_than_subject");
    // `1` is no `"1"`.
    assert_eq!(
        shown(
            "ticket:read/{id}",
            Excess::SameResource,
            &json!({ "tenant": 1 }),
            &["ticket:read/7?tenant=1"]
        ),
        "wider_than_subject"
    );
    // An action that declares no tenant cannot name one, and another beside it can.
    assert_eq!(
        shown(
            "ticket:search/{id}",
            Excess::SameResource,
            &fixed,
            &["ticket:search,update/7?tenant=acme"]
        ),
        "allowed"
    );
    assert_eq!(
        shown("ticket:search/{id}", Excess::SameResource, &fixed, &["ticket:search,update/7"]),
        "overbroad_token"
    );
}

#[test]
fn a_request_for_another_value_than_the_fixed_one_is_for_nobody() {
    let fixed = json!({ "tenant": "acme" });
    for (_, excess) in Excess::ALL {
        for held in ["ticket:read/7?tenant=other", "ticket:read/7"] {
            assert_eq!(
                shown("ticket:read/{id}?tenant=other", excess, &fixed, &[held]),
                "wider_than_subject",
                "{held}"
            );
        }
        let acme = ["ticket:read/7?tenant=acme"];
        assert_eq!(shown("ticket:read/{id}?tenant=acme", excess, &fixed, &acme), "allowed");
    }
}

#[test]
fn an_exception_is_honoured_for_exactly_what_it_names() {
    let guard = build(settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::None, &json!({})));
    let held = |held: &[&str], named: &[&str]| {
        let exception = json!({ "id": "e-1", "authorization_details": details(named) });
        decided(
            &guard,
            &with(json!({ "authorization_details": details(held), "exception": exception })),
        )
    };
    assert_eq!(held(&["ticket:read/7", "ticket:update/8"], &["ticket:update/8"]), "allowed");
    assert_eq!(
        held(&["ticket:read/7", "ticket:update/8"], &["ticket:update"]),
        "allowed",
        "it names every resource"
    );
    assert_eq!(held(&["ticket:read/7", "ticket:update/8"], &["ticket:update/9"]), "overbroad_token");
    assert_eq!(
        held(&["ticket:read/7", "ticket:read,update/8"], &["ticket:update/8"]),
        "overbroad_token"
    );
    assert_eq!(
        held(&["ticket:read/7", "ticket:update/8"], &["ticket:update/8?tenant=acme"]),
        "overbroad_token",
        "the token is wider"
    );
    let scoped = json!({ "scope": "profile", "exception": { "id": "e-1", "authorization_details": details(&["ticket:read/7"]) } });
    assert_eq!(decided(&guard, &with(scoped)), "overbroad_token", "it names no scope");
}

#[test]
fn what_is_for_later_hops_is_never_surplus() {
    for (_, excess) in Excess::ALL {
        let guard = build(settings(demand("GET /r/{id}", "ticket:read/{id}"), excess, &json!({})));
        let onward = json!([{ "type": "unheard_of", "actions": ["do"] }, { "type": "refund", "actions": ["create"], "identifier": "9" }]);
        assert_eq!(decided(&guard, &with(json!({ "onward": onward }))), "allowed");
    }
}

#[test]
fn a_comparison_says_what_is_needed_shown_and_surplus() {
    let demand = demand("GET /r/{id}", "ticket:update/{id}?fields=a&limit=5");
    let guard = build(settings(demand, Excess::None, &json!({ "tenant": "acme" })));
    let held = [
        "refund:create/7",
        "ticket:update/8",
        "ticket:update/7?tenant=other",
        "ticket:update/7?tenant=acme&fields=a",
        "ticket:read/7?tenant=acme",
        "ticket:update/7?tenant=acme&fields=a&limit=4",
        "ticket:update/7?tenant=acme&fields=a&limit=5",
    ];
    let claims = with(json!({ "authorization_details": details(&held), "scope": "profile" }));
    let compared = guard.explain(&call(), &bearer(&token(&claims)), &at()).unwrap().unwrap();
    let why: Vec<_> = compared
        .surplus
        .iter()
        .map(|surplus| match surplus {
            Surplus::Detail { why, .. } => Some(why.clone()),
            Surplus::Scope(_) => None,
        })
        .collect();
    let named = |name: &str| name.to_owned();
    assert_eq!(
        why,
        [
            Some(Differs::Type),
            Some(Differs::Identifier),
            Some(Differs::Value(named("tenant"))),
            Some(Differs::Wider(named("limit"))),
            Some(Differs::Action),
            Some(Differs::Narrower(named("limit"))),
            None
        ]
    );
    assert!(!compared.fits() && compared.missing.is_none());
    assert_eq!(
        compared.required.details[0].to_string(),
        "ticket:update/7?fields=a&limit=5&tenant=acme"
    );
    assert_eq!(compared.presented.details.len(), 7);
    assert!(
        compared.for_operator().contains("(wider in `limit`)") && !compared.for_operator().contains("the route's `wider`"),
        "the route helps against one of them alone: {}",
        compared.for_operator()
    );
    let wider = Compared {
        surplus: compared
            .surplus
            .iter()
            .filter(|surplus| {
                matches!(
                    surplus,
                    Surplus::Detail {
                        why: Differs::Wider(_),
                        ..
                    }
                )
            })
            .cloned()
            .collect(),
        ..compared.clone()
    };
    assert!(
        wider.for_operator().contains("list `limit` in the route's `wider`, or choose"),
        "{}",
        wider.for_operator()
    );
    assert_eq!(
        *refused(&guard, &claims).compared.unwrap(),
        compared,
        "what is refused is what is explained"
    );
}

#[test]
fn what_fits_is_explained_too_and_what_does_not_hold_is_not() {
    let guard = build(settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::None, &json!({})));
    let compared = guard.explain(&call(), &bearer(&token(&with(json!({})))), &at()).unwrap().unwrap();
    assert!(compared.fits() && compared.required == compared.presented);
    assert_ne!(compared.required, Authority::default());
    let dead = with(json!({ "aud": "https://orders.internal" }));
    let refusal = guard.explain(&call(), &bearer(&token(&dead)), &at()).unwrap_err();
    assert_eq!(refusal.reason.as_str(), "subject_token_not_for_client");
    let missing = with(json!({ "authorization_details": details(&["ticket:list"]) }));
    let compared = guard.explain(&call(), &bearer(&token(&missing)), &at()).unwrap().unwrap();
    assert!(!compared.fits() && compared.for_operator().contains("does not allow ticket:read/7"));
}

/// By the words of a record, for whoever has no more of the token.
#[test]
fn what_is_wider_in_constraints_alone_is_told_from_every_other_surplus() {
    let types = snapshot().types;
    let told = |required: &str, surplus: &[&str]| {
        let names = wider([required], surplus.iter().copied(), &types);
        names.map(|names| names.into_iter().collect::<Vec<_>>().join(","))
    };
    let needed = "ticket:update/7?fields=a&limit=5&tenant=acme";
    let rows: [(&[&str], Option<&str>); 8] = [
        (&["ticket:update/7?fields=a,b&limit=5&tenant=acme"], Some("fields")),
        (
            &[
                "ticket:update/7?fields=a,b&limit=5&tenant=acme",
                "ticket:update/7?fields=a&tenant=acme",
            ],
            Some("fields,limit"),
        ),
        (&["ticket:update/7?fields=a&limit=4&tenant=acme"], None),
        (&["ticket:update/7?fields=a,b&limit=5&tenant=other"], None),
        (&["ticket:update/8?fields=a,b&limit=5&tenant=acme"], None),
        (&["ticket:update/7?fields=a,b&limit=5&tenant=acme", "ticket:list"], None),
        (&["ticket:update/7?fields=a,b&limit=5&tenant=acme", "scope profile"], None),
        (&[], None),
    ];
    for (surplus, expected) in rows {
        assert_eq!(told(needed, surplus).as_deref(), expected, "{surplus:?}");
    }
}
