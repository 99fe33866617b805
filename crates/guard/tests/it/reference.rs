//! Random routes and tokens, judged twice: by the guard, and by an evaluator that was written here another way.
//!
//! `NARROWS_PAIRS` says how many (4,000 by default; `scripts/test --long` asks for a million), `NARROWS_SEED` from where. The
//! evaluator shares no line with the product, and no idea: it has no orders. It lists for each action of each detail what
//! could be done with it in a small world, and compares those sets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use delegation::details::{Detail, DetailTypes, Standing};
use delegation::oauth::Scope;
use narrows_guard::Guard;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Demand, Route, Rule};
use narrows_guard::surplus::Excess;
use serde_json::{Map, Value, json};
use testkit::{now, snapshot};

use crate::guarded::{build, decided_at, settings, with};
use crate::service::demand;

/// What could be done in a world with few things in it.
mod evaluator {
    use super::*;

    /// By facet (the resource, the place, each constraint), all that is allowed.
    type Facets = BTreeMap<String, BTreeSet<String>>;

    /// What the configuration says of an action: its constraints.
    fn constraints(kind: &str, action: &str) -> &'static [&'static str] {
        match (kind, action) {
            ("ticket", "read") => &["tenant"],
            ("ticket", "update") => &["tenant", "fields", "limit", "path", "region"],
            ("ticket", "search") => &["limit"],
            ("refund", "create") => &["amount"],
            _ => &[],
        }
    }

    fn set<T: ToString>(items: impl IntoIterator<Item = T>) -> BTreeSet<String> {
        items.into_iter().map(|item| item.to_string()).collect()
    }

    /// Everything in the world that `value` allows of the facet `name`. The last thing in each is what nobody names.
    fn allowed(name: &str, value: Option<&Value>) -> BTreeSet<String> {
        let several = |value: &Value| match value {
            Value::Array(items) => set(items),
            one => set([one]),
        };
        let paths = ["/a", "/a/b", "/a/b/c", "/ab", "/c", "a", "*"];
        match (name, value) {
            ("limit" | "amount", Some(most)) => set(0..=most.as_u64().unwrap()),
            ("limit" | "amount", None) => set(0..=1000),
            ("path", Some(top)) => {
                let (top, below) = (top.as_str().unwrap(), format!("{}/", top.as_str().unwrap()));
                set(paths.into_iter().filter(|path| *path == top || path.starts_with(&below)))
            }
            ("path", None) => set(paths),
            (_, Some(value)) => several(value),
            (_, None) => set([
                "\"a\"", "\"b\"", "\"c\"", "\"eu\"", "\"us\"", "\"acme\"", "\"evil\"", "5", "\"5\"", "true", "\"7\"", "\"8\"",
            ])
            .into_iter()
            .chain(set(["\"https://tickets.internal\"", "\"https://orders.internal\"", "*"]))
            .collect(),
        }
    }

    /// What `detail` allows, as far as `action` can tell; what it does not say of an `equal` constraint `otherwise` may.
    fn facets(detail: &Value, action: &str, otherwise: &Value) -> Facets {
        let mut facets = Facets::new();
        for name in ["identifier", "locations"] {
            facets.insert(name.to_owned(), allowed(name, detail.get(name)));
        }
        for name in constraints(detail["type"].as_str().unwrap(), action) {
            let fallback = (*name == "tenant").then(|| otherwise.get(name)).flatten();
            facets.insert((*name).to_owned(), allowed(name, detail.get(name).or(fallback)));
        }
        facets
    }

    fn atoms(details: &Value) -> Vec<(Value, String)> {
        let mut atoms = Vec::new();
        for detail in details.as_array().unwrap() {
            for action in detail["actions"].as_array().unwrap() {
                atoms.push((detail.clone(), action.as_str().unwrap().to_owned()));
            }
        }
        atoms
    }

    /// Whether one of `ceiling` allows all that `inner` does.
    fn contained(inner: &(Value, String), otherwise: &Value, ceiling: &Value) -> bool {
        let all = facets(&inner.0, &inner.1, otherwise);
        atoms(ceiling).iter().any(|outer| {
            let same = outer.0["type"] == inner.0["type"] && outer.1 == inner.1;
            same && facets(&outer.0, &outer.1, &json!({})).iter().all(|(name, outer)| all[name].is_subset(outer))
        })
    }

    /// What becomes of a request for `target` at `/r/{id}`, `/q` and another route `beside` it, where that is not decided by its token.
    pub(super) fn unrouted(target: &str, beside: Option<(&str, &str)>) -> Option<&'static str> {
        let parts: Vec<_> = target.split('/').skip(1).collect();
        if parts == ["r", "7"] || target.starts_with("/q?") {
            return None;
        }
        let fits = |(key, _): &(&str, &str)| *key == "GET /{path:rest}" || (parts.len() == 2 && !parts.contains(&""));
        let Some((_, rule)) = beside.filter(fits) else {
            return Some("no_route");
        };
        // Somebody may take it for the ticket, which needs what it needs.
        let means = |part: &&str| !part.is_empty();
        let is_the_ticket = parts.iter().filter(|part| means(part)).map(|part| part.to_lowercase()).eq(["r", "7"]);
        match (rule, is_the_ticket) {
            ("same", _) => None,
            (_, true) => Some("malformed_request"),
            (_, false) => Some("public"),
        }
    }

    /// Whether a program that trims takes the identifier for another than it says, where it stands in the query and is read.
    fn is_trimmed(query: &str, required: &Value) -> bool {
        let said = query.replace("%20", " ").replace("%C2%A0", "\u{a0}");
        let value = said.split_once('=').map_or("", |(_, value)| value);
        required[0]["identifier"] == "7" && value.trim() != value
    }

    pub(super) struct Case<'c> {
        /// What the target says behind its `?`.
        pub(super) query: &'c str,
        pub(super) required: &'c Value,
        pub(super) scopes: &'c [&'c str],
        pub(super) wider: &'c BTreeSet<String>,
        pub(super) fixed: &'c Value,
        pub(super) excess: &'c str,
        pub(super) claims: &'c Value,
    }

    pub(super) fn verdict(case: &Case<'_>) -> &'static str {
        let claims = case.claims;
        let exception = claims.get("exception");
        let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        let longer = exception.and_then(|exception| exception.get("max_lifetime")).and_then(Value::as_i64).unwrap_or(0);
        if life > 120 && life > longer {
            return "subject_token_invalid";
        }
        if is_trimmed(case.query, case.required) {
            return "malformed_request";
        }
        let held = &claims["authorization_details"];
        let held_scopes: BTreeSet<_> = claims.get("scope").map_or("", |scope| scope.as_str().unwrap()).split(' ').collect();
        let needed_scopes: BTreeSet<_> = case.scopes.iter().copied().collect();
        let tenant = case.fixed.get("tenant");
        let contradicts = |detail: &Value| match (detail.get("tenant"), tenant) {
            (Some(named), Some(fixed)) => named != fixed,
            _ => false,
        };
        let required = case.required.as_array().unwrap();
        let covered = atoms(case.required).iter().all(|atom| contained(atom, case.fixed, held));
        if required.iter().any(contradicts) || !covered || !needed_scopes.is_subset(&held_scopes) {
            return "wider_than_subject";
        }
        if case.excess == "any" {
            return "allowed";
        }
        let none = json!([]);
        let lifted = exception.and_then(|exception| exception.get("authorization_details")).unwrap_or(&none);
        let is_needed = |atom: &(Value, String)| {
            required.iter().any(|detail| {
                let (held, need) = (facets(&atom.0, &atom.1, &json!({})), facets(detail, &atom.1, case.fixed));
                let is_free = |name: &String| case.excess == "same_resource" && case.wider.contains(name);
                let fits = |(name, held): (&String, &BTreeSet<String>)| match name.as_str() {
                    "identifier" | "tenant" => *held == need[name],
                    _ if case.excess == "none" => *held == need[name],
                    _ => held.is_subset(&need[name]) || is_free(name),
                };
                let named = detail["actions"].as_array().unwrap().iter().any(|action| *action == atom.1.as_str());
                detail["type"] == atom.0["type"] && (named || case.excess != "none") && held.iter().all(fits)
            })
        };
        let surplus = atoms(held).iter().any(|atom| !is_needed(atom) && !contained(atom, &json!({}), lifted));
        let extra = held_scopes.iter().any(|scope| !scope.is_empty() && !needed_scopes.contains(scope));
        if surplus || extra { "overbroad_token" } else { "allowed" }
    }
}

static TYPES: LazyLock<DetailTypes> = LazyLock::new(|| snapshot().types);

/// A small generator of its own, so that a seed is a run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick(&mut self, items: &[Value]) -> Value {
        items[self.roll(items.len())].clone()
    }

    /// A value of the constraint `name`.
    fn value(&mut self, name: &str) -> Value {
        match name {
            "tenant" => self.pick(&[json!("acme"), json!("acme"), json!("evil"), json!(5), json!("5"), json!(true)]),
            "fields" => self.pick(&[
                json!(["a"]),
                json!(["a", "b"]),
                json!(["b", "a"]),
                json!(["a", "b", "c"]),
                json!(["c"]),
            ]),
            "path" => self.pick(&[json!("/a"), json!("/a/b"), json!("/a/b/c"), json!("/ab"), json!("/c"), json!("a")]),
            "region" => self.pick(&[json!("eu"), json!(["eu"]), json!(["us", "eu"]), json!(["eu", "us"]), json!("us")]),
            "locations" => self.pick(&[
                json!(["https://tickets.internal"]),
                json!(["https://orders.internal", "https://tickets.internal"]),
            ]),
            _ => self.pick(&[json!(0), json!(5), json!(6), json!(100)]),
        }
    }

    /// A detail; without a resource that it must have only if it stands in a ceiling.
    fn detail(&mut self, standing: Standing) -> Value {
        const SHAPES: [(&str, &[&str], &str, &[&str]); 9] = [
            ("ticket", &["read"], "required", &["tenant"]),
            ("ticket", &["read"], "required", &["tenant"]),
            ("ticket", &["update"], "required", &["tenant", "fields", "limit", "path", "region"]),
            (
                "ticket",
                &["update", "read"],
                "required",
                &["tenant", "fields", "limit", "path", "region"],
            ),
            ("ticket", &["search", "read"], "required", &["tenant", "limit"]),
            ("ticket", &["search"], "optional", &["limit"]),
            ("ticket", &["search"], "none", &["limit"]),
            ("ticket", &["list"], "none", &[]),
            ("refund", &["create"], "required", &["amount"]),
        ];
        let (kind, actions, identifier, constraints) = SHAPES[self.roll(SHAPES.len())];
        let mut detail = Map::from_iter([("type".to_owned(), json!(kind)), ("actions".to_owned(), json!(actions))]);
        let is_open = match identifier {
            "none" => true,
            "optional" => self.one_in(2),
            _ => standing == Standing::Ceiling && self.one_in(3),
        };
        if !is_open {
            let identifier = if self.one_in(4) { "8" } else { "7" };
            detail.insert("identifier".to_owned(), json!(identifier));
        }
        for name in constraints {
            if self.one_in(3) {
                detail.insert((*name).to_owned(), self.value(name));
            }
        }
        if self.one_in(12) {
            detail.insert("locations".to_owned(), self.value("locations"));
        }
        Value::Object(detail)
    }

    /// A detail that differs from `detail` in nothing, or in one thing.
    fn changed(&mut self, detail: &Value) -> Value {
        let mut changed = detail.clone();
        let names = ["identifier", "locations", "tenant", "fields", "limit", "path", "region", "amount"];
        let name = names[self.roll(names.len())];
        match self.roll(6) {
            0 | 1 => {}
            2 if name != "identifier" => {
                changed.as_object_mut().unwrap().remove(name);
            }
            3 if changed["actions"] == json!(["read"]) => changed["actions"] = json!(["read", "update"]),
            4 if changed.get("identifier").is_some() => changed["identifier"] = json!("8"),
            _ if name != "identifier" => changed[name] = self.value(name),
            _ => {}
        }
        let is_sound = Detail::from_json(&changed, &TYPES, Standing::Asked).is_ok();
        if is_sound { changed } else { detail.clone() }
    }
}

/// A route, with the guard that serves it.
struct Pair {
    required: Value,
    scopes: Vec<&'static str>,
    wider: BTreeSet<String>,
    fixed: Value,
    excess: &'static str,
    beside: Option<(&'static str, &'static str)>,
    guard: Guard,
}

fn route(dice: &mut Dice) -> Pair {
    let scopes = if dice.one_in(4) { vec!["profile"] } else { Vec::new() };
    let required = match (dice.one_in(12), scopes.is_empty()) {
        (true, false) => json!([]),
        _ => json!([dice.detail(Standing::Asked)]),
    };
    let names = ["fields", "limit", "path", "region", "amount", "locations", "tenant", "identifier"];
    let wider: BTreeSet<_> = names.iter().filter(|_| dice.one_in(4)).map(|name| (*name).to_owned()).collect();
    let fixed = match dice.roll(4) {
        0 => json!({ "tenant": "acme" }),
        1 => json!({ "tenant": 5 }),
        _ => json!({}),
    };
    let (excess, mode) = Excess::ALL[[0, 0, 1, 1, 1, 2][dice.roll(6)]];
    let demanded = |key: &str, identifier: &str| {
        let mut needed = match required.get(0) {
            None => Demand::default(),
            Some(detail) => {
                let detail = Detail::from_json(detail, &TYPES, Standing::Asked).unwrap();
                demand(key, &detail.to_string().replacen("/7", identifier, 1))
            }
        };
        needed.scope = scopes.first().map(|scope| Scope::parse(scope).unwrap());
        needed.wider.clone_from(&wider);
        needed
    };
    let needed = demanded("GET /r/{id}", "/{id}");
    let by_query = Rule::Needs(Box::new(demanded("GET /q", "/{query.id}")));
    let by_query = Route::new("query".to_owned(), Pattern::parse("GET /q").unwrap(), by_query);
    let beside = [
        None,
        Some(("GET /{path:rest}", "public")),
        Some(("GET /{kind}/{id}", "public")),
        Some(("GET /{kind}/{id}", "same")),
    ][dice.roll(4)];
    let also = beside.map(|(key, rule)| match rule {
        "same" => Route::new(key.to_owned(), Pattern::parse(key).unwrap(), Rule::Needs(Box::new(needed.clone()))),
        rule => crate::service::route(key, rule),
    });
    let mut settings = settings(needed, mode, &fixed);
    settings.service.routes.extend(also.into_iter().chain([by_query]));
    Pair {
        guard: build(settings),
        beside,
        required,
        scopes,
        wider,
        fixed,
        excess,
    }
}

fn token(dice: &mut Dice, pair: &Pair) -> Value {
    let mut held = Vec::new();
    for detail in pair.required.as_array().unwrap() {
        let mut right = detail.clone();
        if let Some(tenant) = pair.fixed.get("tenant").filter(|_| !dice.one_in(6)) {
            let mut joined = right.clone();
            joined["tenant"] = tenant.clone();
            if Detail::from_json(&joined, &TYPES, Standing::Asked).is_ok() {
                right = joined;
            }
        }
        held.push(dice.changed(&right));
        if dice.one_in(3) {
            held.push(dice.changed(&right));
        }
    }
    if dice.one_in(4) {
        held.push(dice.detail(Standing::Asked));
    }
    let now = now().seconds();
    let life = [60, 60, 60, 60, 60, 120, 121, 300][dice.roll(8)];
    let mut claims = with(json!({ "authorization_details": held, "iat": now, "exp": now + life }));
    let mut scopes = pair.scopes.clone();
    if dice.one_in(8) {
        scopes.push("email");
    }
    if dice.one_in(16) {
        scopes.clear();
    }
    if !scopes.is_empty() {
        claims["scope"] = json!(scopes.join(" "));
    }
    if dice.one_in(3) {
        let mut exception = json!({ "id": "e-1" });
        if dice.one_in(2) {
            exception["max_lifetime"] = json!([90, 121, 300][dice.roll(3)]);
        }
        let mut named: Vec<_> = held.iter().filter(|_| dice.one_in(2)).cloned().collect();
        if dice.one_in(2) {
            named.push(dice.detail(Standing::Ceiling));
        }
        if !named.is_empty() {
            exception["authorization_details"] = json!(named);
        }
        claims["exception"] = exception;
    }
    claims
}

#[test]
fn guard_and_evaluator_agree_on_every_route_and_token() {
    #[expect(clippy::disallowed_methods, reason = "a long run is asked for from outside")]
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (total, seed) = (number("NARROWS_PAIRS", 4000), number("NARROWS_SEED", 20_261_126));
    let mut dice = Dice(seed);
    let mut counts = BTreeMap::<_, u64>::new();
    for _ in 0..total.div_ceil(8) {
        let pair = route(&mut dice);
        for _ in 0..8 {
            let claims = token(&mut dice, &pair);
            let strict = ["/r/7", "/r/7", "/r/7", "/r/7", "/R/7", "/r/7/", "/R/7/", "/s/7"];
            let asked = ["/q?id=7", "/q?id=%207", "/q?id=7%20", "/q?id=7%C2%A0"];
            let target = if dice.one_in(4) {
                asked[dice.roll(4)]
            } else {
                strict[dice.roll(8)]
            };
            let ours = decided_at(&pair.guard, target, &claims);
            let by_token = || {
                evaluator::verdict(&evaluator::Case {
                    query: target.split_once('?').map_or("", |(_, query)| query),
                    required: &pair.required,
                    scopes: &pair.scopes,
                    wider: &pair.wider,
                    fixed: &pair.fixed,
                    excess: pair.excess,
                    claims: &claims,
                })
            };
            let theirs = evaluator::unrouted(target, pair.beside).unwrap_or_else(by_token);
            assert_eq!(
                ours, theirs,
                "seed {seed}: {target} beside {:?}: {} wider {:?} scopes {:?} fixed {} excess {}: {claims}",
                pair.beside, pair.required, pair.wider, pair.scopes, pair.fixed, pair.excess
            );
            *counts.entry((pair.excess, ours)).or_default() += 1;
        }
    }
    println!("pairs: {total} from seed {seed}, 0 differences: {counts:?}");
    // Every mode says every word that it can, and none of them seldom.
    for excess in ["none", "same_resource", "any"] {
        for verdict in [
            "allowed",
            "wider_than_subject",
            "overbroad_token",
            "subject_token_invalid",
            "malformed_request",
        ] {
            let often = counts.get(&(excess, verdict)).copied().unwrap_or_default();
            assert!(
                often > total / 100 || (excess, verdict) == ("any", "overbroad_token"),
                "{excess} {verdict}: {often}"
            );
        }
    }
}
