//! The order between authorities.

use delegation::authority::Authority;
use delegation::details::{ConstraintOrder, Detail, DetailType, DetailTypes, Standing};
use delegation::oauth::Scope;
use proptest::prelude::*;
use testkit::snapshot;

fn types() -> DetailTypes {
    snapshot().types
}

fn authority(details: &[&str]) -> Authority {
    let types = types();
    let parse = |text: &&str| Detail::parse_short(text, &types, Standing::Ceiling).unwrap();
    Authority {
        details: details.iter().map(parse).collect(),
        ..Authority::default()
    }
}

#[track_caller]
fn compare(inner: &[&str], outer: &[&str], within: bool) {
    assert_eq!(
        authority(inner).is_within(&authority(outer), &types()).is_ok(),
        within,
        "{inner:?} within {outer:?}"
    );
}

#[test]
fn each_order_narrows_as_declared() {
    let update = |query: &str| format!("ticket:update/1?{query}");
    let rows = [
        ("tenant=a", "tenant=a", true),
        ("tenant=a", "tenant=b", false),
        ("tenant=:5", "tenant=5", false),
        ("tenant=:5", "tenant=:5", true),
        ("tenant=:true", "tenant=true", false),
        ("fields=a", "fields=a,b", true),
        ("fields=a,b", "fields=b,a", true),
        ("fields=a,c", "fields=a,b", false),
        ("limit=5", "limit=5", true),
        ("limit=4", "limit=5", true),
        ("limit=6", "limit=5", false),
        ("path=%2Fa", "path=%2Fa", true),
        ("path=%2Fa%2Fb", "path=%2Fa", true),
        ("path=%2Fab", "path=%2Fa", false),
        ("path=a", "path=%2Fa", false),
        ("path=%2Fa", "path=%2Fa%2Fb", false),
        ("region=eu", "region=eu,us", true),
        ("region=eu,us", "region=eu", false),
    ];
    for (inner, outer, within) in rows {
        compare(&[&update(inner)], &[&update(outer)], within);
    }
    compare(&["ticket:update/1"], &["ticket:update/1?limit=5"], false);
    compare(&["ticket:update/1?limit=5"], &["ticket:update/1"], true);
}

#[test]
fn identifiers_types_and_actions_compare_whole() {
    compare(&["ticket:read/1"], &["ticket:read"], true);
    compare(&["ticket:read"], &["ticket:read/1"], false);
    compare(&["ticket:read/1"], &["ticket:read/2"], false);
    compare(&["ticket:read/1"], &["ticket:update/1"], false);
    compare(&["ticket:read,update/1"], &["ticket:read/1", "ticket:update/1"], true);
    compare(&["refund:create/1"], &["ticket:read"], false);
    compare(&["ticket:read/1?locations=a"], &["ticket:read/1?locations=a,b"], true);
    compare(&["ticket:read/1"], &["ticket:read/1?locations=a"], false);
}

#[test]
fn one_action_of_two_types_is_two() {
    let read = types().get("ticket").unwrap().actions["read"].clone();
    let declared = |name: &str| DetailType {
        name: name.to_owned(),
        entity: name.to_owned(),
        actions: [("read".to_owned(), read.clone())].into(),
        constraints: [("tenant".to_owned(), ConstraintOrder::Equal)].into(),
    };
    let both: DetailTypes = [declared("invoice"), declared("letter")].into_iter().collect();
    let held = |text: &str| Authority {
        details: vec![Detail::parse_short(text, &both, Standing::Ceiling).unwrap()],
        ..Authority::default()
    };
    assert!(held("invoice:read/1").is_within(&held("invoice:read/1"), &both).is_ok());
    assert!(held("invoice:read/1").is_within(&held("letter:read/1"), &both).is_err());
    // What is declared no longer is within nothing, not even itself.
    let letters: DetailTypes = [declared("letter")].into_iter().collect();
    assert!(held("invoice:read/1").is_within(&held("invoice:read/1"), &letters).is_err());
    let mut silent = declared("invoice");
    silent.actions.clear();
    let silent: DetailTypes = [silent].into_iter().collect();
    assert!(held("invoice:read/1").is_within(&held("invoice:read/1"), &silent).is_err());
}

#[test]
fn one_atom_of_the_ceiling_must_cover_alone() {
    compare(
        &["ticket:update/1?limit=5&tenant=a"],
        &["ticket:update/1?limit=9", "ticket:update/1?tenant=a"],
        true,
    );
    compare(
        &["ticket:update/1"],
        &["ticket:update/1?limit=5", "ticket:update/1?tenant=a"],
        false,
    );
    compare(
        &["ticket:update/1?fields=a,b"],
        &["ticket:update/1?fields=a", "ticket:update/1?fields=b"],
        false,
    );
}

#[test]
fn a_bound_of_another_action_is_not_this_ones() {
    // `read` declares `tenant` alone: the limit in the ceiling was meant for `update`.
    compare(&["ticket:read/1"], &["ticket:read,update/1?limit=5"], true);
    compare(&["ticket:update/1"], &["ticket:read,update/1?limit=5"], false);
    compare(&["ticket:read/1"], &["ticket:read/1?tenant=a"], false);
}

#[test]
fn scopes_are_a_subset() {
    let scopes = |names: &[&str]| Authority {
        scopes: names.iter().map(|name| Scope::parse(name).unwrap()).collect(),
        ..Authority::default()
    };
    assert!(scopes(&["a"]).is_within(&scopes(&["a", "b"]), &types()).is_ok());
    assert!(scopes(&["a", "c"]).is_within(&scopes(&["a", "b"]), &types()).is_err());
    assert!(scopes(&["*"]).is_within(&scopes(&["a"]), &types()).is_err());
}

fn a_detail() -> impl Strategy<Value = String> {
    let letters = |most| prop::sample::subsequence(vec!["a", "b", "c"], 1..=most).prop_map(|items| items.join(","));
    let maybe = |strategy: BoxedStrategy<String>| prop::option::of(strategy);
    let tenant = maybe(
        prop::sample::select(vec!["a", "b", ":1", ":true"])
            .prop_map(|value| format!("tenant={value}"))
            .boxed(),
    );
    let fields = maybe(letters(3).prop_map(|value| format!("fields={value}")).boxed());
    let limit = maybe((0..4_u8).prop_map(|value| format!("limit={value}")).boxed());
    let path = maybe(
        prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..3)
            .prop_map(|parts| format!("path={}", parts.join("%2F")))
            .boxed(),
    );
    let region = maybe(letters(2).prop_map(|value| format!("region={value}")).boxed());
    let id = prop::option::of(prop::sample::select(vec!["1", "2"]));
    let actions = prop::sample::subsequence(vec!["read", "update"], 1..=2);
    (actions, id, tenant, fields, limit, path, region).prop_map(|(actions, id, tenant, fields, limit, path, region)| {
        let bounds: Vec<_> = if actions.contains(&"update") {
            [tenant, fields, limit, path, region].into_iter().flatten().collect()
        } else {
            tenant.into_iter().collect()
        };
        let id = id.map(|id| format!("/{id}")).unwrap_or_default();
        let query = if bounds.is_empty() {
            String::new()
        } else {
            format!("?{}", bounds.join("&"))
        };
        format!("ticket:{}{id}{query}", actions.join(","))
    })
}

fn an_authority() -> impl Strategy<Value = Authority> {
    prop::collection::vec(a_detail(), 0..4).prop_map(|details| authority(&details.iter().map(String::as_str).collect::<Vec<_>>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_order_is_reflexive(a in an_authority()) {
        prop_assert!(a.is_within(&a, &types()).is_ok());
    }

    #[test]
    fn the_order_is_transitive(a in an_authority(), b in an_authority(), c in an_authority()) {
        let types = types();
        if a.is_within(&b, &types).is_ok() && b.is_within(&c, &types).is_ok() {
            prop_assert!(a.is_within(&c, &types).is_ok());
        }
    }

    #[test]
    fn the_order_is_antisymmetric_up_to_what_is_covered(a in an_authority(), b in an_authority(), c in an_authority()) {
        let types = types();
        if a.is_within(&b, &types).is_ok() && b.is_within(&a, &types).is_ok() {
            prop_assert_eq!(c.is_within(&a, &types).is_ok(), c.is_within(&b, &types).is_ok());
        }
    }

    #[test]
    fn more_in_the_ceiling_never_covers_less(a in an_authority(), b in an_authority(), c in an_authority()) {
        let types = types();
        let both = Authority { details: [b.details.clone(), c.details].concat(), ..Authority::default() };
        if a.is_within(&b, &types).is_ok() {
            prop_assert!(a.is_within(&both, &types).is_ok());
        }
    }

    #[test]
    fn the_short_form_and_json_say_the_same(text in a_detail()) {
        let types = types();
        let detail = Detail::parse_short(&text, &types, Standing::Ceiling).unwrap();
        prop_assert_eq!(&Detail::parse_short(&detail.to_string(), &types, Standing::Ceiling).unwrap(), &detail);
        prop_assert_eq!(&Detail::from_json(&detail.to_json(), &types, Standing::Ceiling).unwrap(), &detail);
    }

    #[test]
    fn any_text_survives_the_short_form(id in "[^\\p{Cc}]{1,40}", tenant in "[^\\p{Cc}]{1,40}") {
        let types = types();
        let json = serde_json::json!({ "type": "ticket", "actions": ["read"], "identifier": id, "tenant": tenant });
        let detail = Detail::from_json(&json, &types, Standing::Asked).unwrap();
        prop_assert_eq!(Detail::parse_short(&detail.to_string(), &types, Standing::Asked).unwrap(), detail);
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let types = types();
        let _ = Detail::parse_short(&text, &types, Standing::Asked);
        let _ = Detail::parse_array(&text, &types);
        let _ = delegation::oauth::Form::parse(&bytes);
        let _ = delegation::token::Unverified::<delegation::token::SubjectToken>::parse(&text);
        let _ = delegation::token::KeySet::parse("x", &bytes, &[delegation::token::Algorithm::Es256]);
    }
}
