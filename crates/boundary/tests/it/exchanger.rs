//! A broker that is made up, and a boundary in front of it.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boundary::{Bodies, Boundary, Exchanger, Granted, Greeted, Origin, Peers, Refused, Seen, Settings, Shown, Upstream};
use delegation::oauth::{AudienceId, Reason, TokenType};
use narrows_guard::Needs;
use narrows_guard::live::Guest;
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Mode, Route, Rule, Service, Table};

/// A token that it takes, and of which it cannot tell before the request has come whole whose it is.
pub(crate) const GOOD: &str = "good.token.signature";
/// Those of two subjects.
pub(crate) const ALICES: &str = "good.alice.signature";
pub(crate) const BOBS: &str = "good.bob.signature";

/// Gives `minted:` and the detail that is needed for [`GOOD`], and refuses every other token.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeExchanger {
    /// What was decided: a detail, or why not.
    decided: Arc<Mutex<Vec<String>>>,
    /// Where requests came from.
    from: Arc<Mutex<Vec<String>>>,
    /// What their records say of the path.
    paths: Arc<Mutex<Vec<Option<String>>>>,
    /// The tokens that were looked at before their requests had come whole, and those that came back with what was found.
    greeted: Arc<Mutex<Vec<String>>>,
    found: Arc<Mutex<Vec<String>>>,
}

impl FakeExchanger {
    /// What was decided last.
    pub(crate) fn last(&self) -> String {
        self.decided.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// How much was decided.
    pub(crate) fn decisions(&self) -> usize {
        self.decided.lock().unwrap().len()
    }

    /// Where the last request came from.
    pub(crate) fn from(&self) -> String {
        self.from.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// What the last record says of the path.
    pub(crate) fn path(&self) -> Option<String> {
        self.paths.lock().unwrap().last().cloned().flatten()
    }

    /// All that was decided.
    pub(crate) fn decided(&self) -> Vec<String> {
        self.decided.lock().unwrap().clone()
    }

    /// The tokens that were looked at before their requests had come whole, and those that came back with what was found.
    pub(crate) fn greeted(&self) -> (Vec<String>, Vec<String>) {
        (self.greeted.lock().unwrap().clone(), self.found.lock().unwrap().clone())
    }

    fn is_good(&self, shown: &Shown<'_, String>) -> bool {
        if let Some(found) = shown.found {
            assert_eq!(found, shown.token);
            self.found.lock().unwrap().push(found.clone());
        }
        [GOOD, ALICES, BOBS].contains(&shown.token)
    }

    fn note(&self, seen: &Seen, what: &str) -> String {
        let mut decided = self.decided.lock().unwrap();
        decided.push(what.to_owned());
        self.from.lock().unwrap().push(seen.from.to_string());
        self.paths.lock().unwrap().push(seen.line.as_ref().map(|(_, _, path)| path.clone()));
        format!("decision-{}", decided.len())
    }
}

impl Exchanger for FakeExchanger {
    type Found = String;

    async fn greet(&self, seen: &Seen, token: &str) -> Result<Greeted<String>, Refused> {
        self.greeted.lock().unwrap().push(token.to_owned());
        let guest = match token {
            GOOD => Guest::Anybody,
            ALICES | BOBS => Guest::holder("https://corp.example", token),
            _ => return Err(self.refuse(seen, Reason::SubjectTokenInvalid).await),
        };
        Ok(Greeted {
            guest,
            found: token.to_owned(),
        })
    }

    async fn exchange(&self, seen: &Seen, shown: Shown<'_, String>, needs: &Needs) -> Result<Granted, Refused> {
        if !self.is_good(&shown) {
            return Err(self.refuse(seen, Reason::SubjectTokenInvalid).await);
        }
        let detail = needs.details[0].to_string();
        self.note(seen, &detail);
        Ok(Granted {
            token: format!("minted:{detail}"),
            kind: TokenType::AccessToken,
            expires_in: Duration::from_secs(60),
            credential: None,
        })
    }

    async fn observe(&self, seen: &Seen, shown: Shown<'_, String>, needs: &Needs) -> Result<(), Refused> {
        if !self.is_good(&shown) {
            return Err(self.refuse(seen, Reason::SubjectTokenInvalid).await);
        }
        self.note(seen, &format!("observed {}", needs.details[0]));
        Ok(())
    }

    async fn refuse(&self, seen: &Seen, reason: Reason) -> Refused {
        Refused {
            reason,
            decision_id: self.note(seen, reason.as_str()),
        }
    }

    async fn ended(&self, _: &Granted) -> Reason {
        pending().await
    }
}

/// A boundary with [`usual`] settings.
pub(crate) fn boundary() -> (Arc<Boundary<FakeExchanger>>, FakeExchanger) {
    let exchanger = FakeExchanger::default();
    (Arc::new(Boundary::new(usual(), exchanger.clone())), exchanger)
}

/// A boundary with room for bodies of so many bytes together.
pub(crate) fn cramped(bytes: usize) -> (Arc<Boundary<FakeExchanger>>, FakeExchanger) {
    let (boundary, exchanger) = boundary();
    let boundary = Arc::into_inner(boundary).unwrap();
    (Arc::new(boundary.sharing(Bodies::of(bytes))), exchanger)
}

/// A boundary before `tickets.internal`, with a public route, one that reads the path and one that reads the body.
/// What a boundary before `tickets.internal` is told that has [`routes`].
pub(crate) fn usual() -> Settings {
    settings(routes(|_| None), BTreeMap::new())
}

/// A public route, one that reads the path, one that reads the body and one that reads the subject; they say that `mode`.
pub(crate) fn routes(mode: impl Fn(&str) -> Option<Mode>) -> Vec<Route> {
    let types = testkit::snapshot().types;
    let route = |key: &str, detail: Option<&str>| {
        let pattern = Pattern::parse(key).unwrap();
        let template = detail.map(|text| Template::parse(text, &types, &Reads::Request(pattern.variables())).unwrap());
        let demand = |detail| Demand {
            detail: Some(detail),
            mode: mode(key),
            ..Demand::default()
        };
        let rule = template.map_or(Rule::Public, |detail| Rule::Needs(Box::new(demand(detail))));
        Route::new(key.to_owned(), pattern, rule)
    };
    vec![
        route("GET /healthz", None),
        route("GET /tickets/{id}", Some("ticket:read/{id}")),
        route("POST /tickets", Some("ticket:read/{body.id}")),
        route("GET /mine", Some("ticket:read/{subject.site}")),
    ]
}

/// What a boundary before `tickets.internal` is told that has these routes to these upstreams.
pub(crate) fn settings(routes: Vec<Route>, upstreams: BTreeMap<String, Upstream>) -> Settings {
    let service = Service {
        name: "tickets".to_owned(),
        hosts: vec![HostPattern::parse("tickets.internal").unwrap()],
        audience: Some(AudienceId::parse("https://tickets.internal").unwrap()),
        routes,
    };
    let network = |text: &str| text.parse().unwrap();
    Settings {
        name: "front".to_owned(),
        origin: Origin::parse("https://edge.example").unwrap(),
        table: Arc::new(Table::build(vec![service], testkit::snapshot().types).unwrap()),
        upstreams,
        login: Vec::new(),
        scopes: Vec::new(),
        detail_types: Vec::new(),
        peers: Peers(vec![network("127.0.0.1/32")]),
        trusted_proxies: Peers(vec![network("127.0.0.1/32")]),
        rebuilds_forwarded: true,
        modes: Default::default(),
    }
}
