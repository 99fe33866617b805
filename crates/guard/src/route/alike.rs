//! Whether two routes ask a request for the same.

use std::collections::BTreeMap;

use super::template::Template;
use super::values::Origin;
use super::{Demand, Route, Rule};

impl Route {
    /// Whether `other` asks for the same in the same words, of variables in the same places: what a token must be for and how its person
    /// signed in, what of the request is read, and what it goes on with.
    ///
    /// How large its body may be, how long its answer takes, and whether it is observed, plays no part.
    pub fn asks_like(&self, other: &Self) -> bool {
        match (&self.rule, &other.rule) {
            (Rule::Public, Rule::Public) => true,
            (Rule::Needs(own), Rule::Needs(others)) => own.asks_like(others) && self.read_of_path(own) == other.read_of_path(others),
            (Rule::Public, Rule::Needs(_)) | (Rule::Needs(_), Rule::Public) => false,
        }
    }

    /// The variables of the path that make what it asks for, with where each stands.
    fn read_of_path<'r>(&self, demand: &'r Demand) -> BTreeMap<&'r str, Option<(usize, bool)>> {
        let sources = demand.detail.iter().chain(&demand.onward).flat_map(Template::sources);
        let of_path = sources.filter_map(|source| match &source.from {
            Origin::Path(name) => Some(name.as_str()),
            _ => None,
        });
        of_path.map(|name| (name, self.pattern.place(name))).collect()
    }
}

impl Demand {
    fn asks_like(&self, other: &Self) -> bool {
        let Self {
            detail,
            scope,
            onward,
            max_auth_age,
            acr,
            connection,
            stream: _,
            upgrade,
            body_max: _,
            mode: _,
            body_rest,
            query_rest,
            only,
            wider,
        } = self;
        (detail, scope, onward, wider) == (&other.detail, &other.scope, &other.onward, &other.wider)
            && (max_auth_age, acr, connection, upgrade) == (&other.max_auth_age, &other.acr, &other.connection, &other.upgrade)
            && (body_rest, query_rest, only) == (&other.body_rest, &other.query_rest, &other.only)
    }
}
