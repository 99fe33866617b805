//! One sum: one client's tokens at one route.

use std::collections::BTreeSet;
use std::time::Duration;

use delegation::authority::{Authority, atoms};
use delegation::details::Detail;
use delegation::oauth::Scope;
use serde_json::{Map, Value, json};

use super::shown::Sight;
use crate::surplus::{Differs, Surplus};

/// So many rows of one kind are told apart in a sum.
pub const MOST_ROWS: usize = 64;
/// Ages at use are counted up to each of these, in seconds; the last takes the rest.
const AGES: [u64; 10] = [1, 5, 15, 30, 60, 120, 300, 900, 3600, u64::MAX];

/// What the tokens of one client granted at one route, beside what the requests used.
#[derive(Debug, Default)]
pub(super) struct Sum {
    requests: u64,
    /// Of these, refused for surplus.
    refused: u64,
    /// Tokens that were shown here, and nowhere before.
    tokens: u64,
    /// Requests of which nobody knows whether their token was new.
    untold: u64,
    /// `TYPE:ACTION`.
    actions: Rows,
    scopes: Rows,
    /// `TYPE NAME`: in requests whose token bounded that less than they needed.
    wider: Rows,
    /// Wherein what was refused differed.
    surplus: Rows,
    /// The longest life that was granted, and the greatest age at use, in seconds.
    life: u64,
    age: u64,
    ages: [u64; AGES.len()],
    /// Rows that found no room.
    others: u64,
}

/// Names, each with in how many requests it was granted, and in how many it was used.
#[derive(Debug, Default)]
struct Rows(Vec<(String, u64, u64)>);

impl Rows {
    /// Counts the name that is made of `parts` once; false where there is no room for it.
    fn add(&mut self, parts: &[&str], is_used: bool) -> bool {
        let used = u64::from(is_used);
        // Most names are known, and to look at one takes no making of it.
        let is_it = |name: &str| parts.iter().try_fold(name, |rest, part| rest.strip_prefix(part)) == Some("");
        if let Some((_, granted, was_used)) = self.0.iter_mut().find(|(known, ..)| is_it(known)) {
            (*granted, *was_used) = (*granted + 1, *was_used + used);
            return true;
        }
        let has_room = self.0.len() < MOST_ROWS;
        if has_room {
            self.0.push((parts.concat(), 1, used));
        }
        has_room
    }

    fn told(&self) -> Value {
        let row = |(name, granted, used): &(String, u64, u64)| json!({ "name": name, "granted": granted, "used": used });
        self.0.iter().map(row).collect()
    }

    fn counted(&self) -> Value {
        let row = |(name, count, _): &(String, u64, u64)| json!({ "name": name, "count": count });
        self.0.iter().map(row).collect()
    }
}

impl Sum {
    /// Counts a request whose token was seen so.
    pub(super) fn shown(&mut self, sight: Sight) {
        self.requests += 1;
        self.seen(sight);
    }

    /// Counts a token that was seen so, with a request that says nothing about use.
    pub(super) fn seen(&mut self, sight: Sight) {
        match sight {
            Sight::First => self.tokens += 1,
            Sight::Untold => self.untold += 1,
            Sight::Again => {}
        }
    }

    /// Counts what `held` granted, of which `needed` and `named` were used. `held` covers them.
    pub(super) fn held(&mut self, held: &Authority, needed: &[Detail], named: &BTreeSet<Scope>) {
        let mut granted: Vec<_> = atoms(&held.details).map(|atom| (atom.detail.kind(), atom.action)).collect();
        granted.sort_unstable();
        granted.dedup();
        for (kind, action) in granted {
            let is_used = needed
                .iter()
                .any(|needed| needed.kind() == kind && needed.actions().iter().any(|used| used == action));
            let has_room = self.actions.add(&[kind, ":", action], is_used);
            self.others += u64::from(!has_room);
        }
        for scope in &held.scopes {
            let has_room = self.scopes.add(&[scope.as_str()], named.contains(scope));
            self.others += u64::from(!has_room);
        }
        let wider: BTreeSet<_> = needed.iter().flat_map(|needed| unbounded(&held.details, needed)).collect();
        for (kind, name) in wider {
            let has_room = self.wider.add(&[kind, " ", name], false);
            self.others += u64::from(!has_room);
        }
    }

    /// Counts how long the token was to live, and how old it was.
    pub(super) fn lived(&mut self, life: Duration, age: Duration) {
        self.life = self.life.max(life.as_secs());
        self.age = self.age.max(age.as_secs());
        let place = AGES.iter().position(|most| age.as_secs() <= *most);
        if let Some(count) = place.and_then(|place| self.ages.get_mut(place)) {
            *count += 1;
        }
    }

    /// Counts a request as refused, for each kind of surplus once.
    pub(super) fn refused(&mut self, surplus: &[Surplus]) {
        self.refused += 1;
        let kinds: BTreeSet<_> = surplus.iter().map(kind).collect();
        for kind in kinds {
            let has_room = self.surplus.add(&[&kind], false);
            self.others += u64::from(!has_room);
        }
    }

    /// As it is sent.
    pub(super) fn told(&self, client: &str, audience: &str, route: &str) -> Value {
        let told = json!({
            "client": client, "audience": audience, "route": route,
            "requests": self.requests, "refused": self.refused, "tokens": self.tokens, "untold": self.untold,
            "actions": self.actions.told(), "scopes": self.scopes.told(),
            "wider": self.wider.counted(), "surplus": self.surplus.counted(),
            "life": self.life, "age": self.age, "ages": self.ages(), "others": self.others,
        });
        // What is empty is left out: most sums have few of these.
        let is_said = |value: &Value| value != &json!([]) && value != &json!(0);
        let members = told.as_object().into_iter().flatten().filter(|(_, value)| is_said(value));
        members.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
    }

    fn ages(&self) -> Value {
        let counted = AGES.iter().zip(self.ages).filter(|(_, count)| *count > 0);
        let row = |(most, count): (&u64, u64)| {
            let most = Some(*most).filter(|most| *most < u64::MAX);
            json!({ "most": most, "count": count })
        };
        counted.map(row).collect()
    }
}

/// In what a detail of `held` bounds less than `needed` does, an action of which it grants. It covers that, so what differs is wider.
fn unbounded<'d>(held: &'d [Detail], needed: &'d Detail) -> impl Iterator<Item = (&'d str, &'d str)> + 'd {
    let grants = |held: &&Detail| held.kind() == needed.kind() && held.actions().iter().any(|action| needed.actions().contains(action));
    held.iter().filter(grants).flat_map(move |held| {
        let identifier = (held.identifier() != needed.identifier()).then_some("identifier");
        let locations = (held.locations() != needed.locations() && needed.locations().is_some()).then_some("locations");
        let constraints = needed.constraints().iter();
        let wider = constraints.filter(|(name, value)| held.constraints().get(*name) != Some(*value));
        let names = identifier.into_iter().chain(locations).chain(wider.map(|(name, _)| name.as_str()));
        names.map(|name| (needed.kind(), name))
    })
}

/// A kind of surplus. An identifier, a value or a scope's name is in none of them.
fn kind(surplus: &Surplus) -> String {
    let why = match surplus {
        Surplus::Scope(_) => return "scope".to_owned(),
        Surplus::Detail { why, .. } => why,
    };
    match why {
        Differs::Type => "type".to_owned(),
        Differs::Identifier => "identifier".to_owned(),
        Differs::Action => "action".to_owned(),
        Differs::Value(name) => format!("value {name}"),
        Differs::Wider(name) => format!("wider {name}"),
        Differs::Narrower(name) => format!("narrower {name}"),
    }
}
