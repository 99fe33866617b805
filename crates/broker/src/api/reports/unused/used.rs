//! What guards reported, by client and audience.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::store::Used;
use crate::usage::What;

/// Names, each with how often it was granted and used, in requests.
pub(super) type Rows = BTreeMap<String, (i64, i64)>;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// By audience.
    pub(super) audiences: BTreeMap<String, Reported>,
    /// By client and audience.
    pub(super) by_client: BTreeMap<(String, String), Client>,
    /// Whether all that was reported is in it.
    pub(super) complete: bool,
}

/// How an audience is reported on.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// By service and client of the guard: since when, until when.
    guards: BTreeMap<(String, String), (i64, i64)>,
    /// Requests of which nobody knows whose they were.
    others: i64,
}

/// What one client did with its tokens for one audience.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// By service and name.
    pub(super) routes: BTreeMap<(String, String), Route>,
}

/// The same at one route.
#[derive(Debug, Default)]
pub(super) struct Route {
    pub(super) requests: i64,
    pub(super) tokens: i64,
    pub(super) refused: i64,
    untold: i64,
    others: i64,
    pub(super) actions: Rows,
    pub(super) scopes: Rows,
    pub(super) wider: Rows,
    pub(super) surplus: Rows,
    pub(super) life: i64,
    pub(super) age: i64,
    /// By the age that they are not older than; older ones have the largest.
    pub(super) ages: BTreeMap<i64, i64>,
}

impl Usage {
    /// Puts what was read together. Of more than could be read the last client is left out, since part of it is missing.
    pub(super) fn of(read: Used) -> Self {
        let mut usage = Self {
            complete: read.complete,
            ..Self::default()
        };
        let last = read.facts.last().map(|(_, fact, _)| (fact.audience.clone(), fact.client.clone()));
        for (service, fact, (granted, used)) in read.facts {
            let of = (fact.client, fact.audience);
            if of.0.is_empty() {
                usage.of_all(&of.1, fact.what, (service, fact.name), (granted, used));
                continue;
            }
            if !read.complete && last.as_ref().is_some_and(|(audience, client)| (client, audience) == (&of.0, &of.1)) {
                continue;
            }
            let client = usage.by_client.entry(of).or_default();
            let route = client.routes.entry((service, fact.route)).or_default();
            route.add(fact.what, fact.name, granted, used);
        }
        usage
    }

    fn of_all(&mut self, audience: &str, what: What, guard: (String, String), (granted, used): (i64, i64)) {
        let reported = self.audiences.entry(audience.to_owned()).or_default();
        match what {
            What::Reported => drop(reported.guards.insert(guard, (granted, used))),
            What::Others => reported.others += used,
            _ => {}
        }
    }

    /// From when to when an audience is reported on; `None` where it is not.
    pub(super) fn span(&self, audience: &str) -> Option<(i64, i64)> {
        let guards = self.audiences.get(audience)?.guards.values();
        guards.copied().reduce(|(since, until), (from, to)| (since.min(from), until.max(to)))
    }

    /// Whether all that was seen at guards of an audience is known by client and route.
    pub(super) fn is_told(&self, audience: &str) -> bool {
        self.complete && self.audiences.get(audience).is_some_and(|reported| reported.others == 0)
    }

    /// Who reports.
    pub(super) fn reporting(&self) -> Vec<Value> {
        let mut told = Vec::new();
        for (audience, reported) in &self.audiences {
            for ((service, client), (since, until)) in &reported.guards {
                told.push(json!({ "audience": audience, "service": service, "client": client, "since": since, "until": until }));
            }
        }
        told
    }
}

impl Client {
    pub(super) fn requests(&self) -> i64 {
        self.routes.values().map(|route| route.requests).sum()
    }

    /// Tokens that were shown; `None` where nobody counted them all.
    pub(super) fn shown(&self) -> Option<i64> {
        let is_told = self.routes.values().all(|route| route.untold == 0);
        is_told.then(|| self.routes.values().map(|route| route.tokens).sum())
    }

    /// Whether each row of it is there.
    pub(super) fn is_told(&self) -> bool {
        self.routes.values().all(|route| route.others == 0)
    }

    /// The rows that `of` names, of all routes together.
    pub(super) fn rows(&self, of: impl Fn(&Route) -> &Rows) -> Rows {
        let mut all = Rows::new();
        for (name, (granted, used)) in self.routes.values().flat_map(of) {
            let (all_granted, all_used) = all.entry(name.clone()).or_default();
            (*all_granted, *all_used) = (*all_granted + granted, *all_used + used);
        }
        all
    }
}

impl Route {
    fn add(&mut self, what: What, name: String, granted: i64, used: i64) {
        match what {
            What::Request => (self.tokens, self.requests) = (granted, used),
            What::Refused => self.refused = used,
            What::Untold => self.untold = used,
            What::Others => self.others = used,
            What::Life => (self.life, self.age) = (granted, used),
            What::Age => drop(self.ages.insert(name.parse().unwrap_or(i64::MAX), used)),
            What::Action => drop(self.actions.insert(name, (granted, used))),
            What::Scope => drop(self.scopes.insert(name, (granted, used))),
            What::Wider => drop(self.wider.insert(name, (granted, used))),
            What::Surplus => drop(self.surplus.insert(name, (granted, used))),
            What::Reported => {}
        }
    }
}
