//! The one route of a request, among all that a boundary serves.

mod resembling;

use std::collections::{BTreeSet, HashMap};

use delegation::details::DetailTypes;

use super::hosts::HostPattern;
use super::pattern::{Pattern, Piece};
use super::{Route, Rule, Service};
use crate::call::Call;
use crate::hygiene::host::Host;

/// All routes of the services that a boundary or guard serves.
///
/// A request has at most one: its host by name goes before its host by pattern; then, segment by segment, a literal goes
/// before `{x}`, and that before `{x:rest}`. A host that is named is that service's alone: what its routes do not match is
/// not looked for under a pattern.
#[derive(Debug)]
pub struct Table {
    services: Vec<Service>,
    types: DetailTypes,
    /// By the host's pattern as it is written, and by the method.
    hosts: HashMap<String, HashMap<String, Node>>,
}

/// Where a route stands: the service, and the route in it.
type Place = (usize, usize);

/// What is below one beginning of a path.
#[derive(Debug, Default)]
struct Node {
    literal: HashMap<String, Self>,
    one: Option<Box<Self>>,
    rest: Option<Place>,
    end: Option<Place>,
}

/// Why services cannot be served together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Two routes of equal rank.
    #[error("{second} matches what {first} matches, and neither wins; keep one")]
    Tie {
        /// Service and key of the one.
        first: String,
        /// Service and key of the other.
        second: String,
    },
    /// A route that needs a token for nobody.
    #[error("{0} needs a token, so its service must name the audience that it is made for")]
    NoAudience(String),
    /// A route that is neither public nor asks for anything.
    #[error("{0} needs a detail or a scope, or is public")]
    AsksNothing(String),
    /// Two routes of one service with one name.
    #[error("two routes of service `{service}` are named `{name}`")]
    Name {
        /// The service.
        service: String,
        /// The name.
        name: String,
    },
}

/// A request's route.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'t> {
    service: &'t Service,
    route: &'t Route,
    types: &'t DetailTypes,
}

impl Table {
    /// Joins the routes of `services`, whose details are of `types`.
    pub fn build(services: Vec<Service>, types: DetailTypes) -> Result<Self, TableError> {
        let mut hosts: HashMap<String, HashMap<String, Node>> = HashMap::new();
        let called = |(service, route): Place| {
            let service = services.get(service);
            let route = service.and_then(|service| service.routes.get(route));
            let name = service.map_or("", |service| service.name.as_str());
            format!("`{}` of service `{name}`", route.map_or("", Route::name))
        };
        for (at, service) in services.iter().enumerate() {
            let mut names = BTreeSet::new();
            for (index, route) in service.routes.iter().enumerate() {
                if !names.insert(route.name()) {
                    return Err(TableError::Name {
                        service: service.name.clone(),
                        name: route.name().to_owned(),
                    });
                }
                if let Rule::Needs(demand) = route.rule() {
                    if demand.detail.is_none() && demand.scope.is_none() {
                        return Err(TableError::AsksNothing(called((at, index))));
                    }
                    if service.audience.is_none() {
                        return Err(TableError::NoAudience(called((at, index))));
                    }
                }
                for host in service.hosts.iter().collect::<BTreeSet<_>>() {
                    let methods = hosts.entry(host.to_string()).or_default();
                    let place = methods.entry(route.pattern().method().to_owned()).or_default().place(route.pattern());
                    if let Some(first) = place.replace((at, index)) {
                        return Err(TableError::Tie {
                            first: called(first),
                            second: called((at, index)),
                        });
                    }
                }
            }
            // A host without any route is its service's all the same.
            for host in &service.hosts {
                hosts.entry(host.to_string()).or_default();
            }
        }
        Ok(Self { services, types, hosts })
    }

    /// The route of `call`; without one, it is refused.
    pub fn find(&self, call: &Call) -> Option<Matched<'_>> {
        let methods = self.at(call.host())?;
        let (service, route) = methods.get(call.method().as_str())?.find(call.path().segments())?;
        let service = self.services.get(service)?;
        Some(Matched {
            service,
            route: service.routes.get(route)?,
            types: &self.types,
        })
    }

    /// What is served at `host`, by method.
    fn at(&self, host: &Host) -> Option<&HashMap<String, Node>> {
        let below = || HostPattern::of(host).skip(1).find_map(|host| self.hosts.get(&host.to_string()));
        self.hosts.get(host.name()).or_else(below)
    }

    /// The services that a request to `host` may be for, in the order in which they were given; none, if the host is nobody's.
    pub fn services_at<'t>(&'t self, host: &Host) -> impl Iterator<Item = &'t Service> {
        let served = HostPattern::of(host).find(|host| self.hosts.contains_key(&host.to_string()));
        self.services
            .iter()
            .filter(move |service| served.as_ref().is_some_and(|host| service.hosts.contains(host)))
    }

    /// The services, in the order in which they were given.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The types of their details.
    pub fn types(&self) -> &DetailTypes {
        &self.types
    }
}

impl<'t> Matched<'t> {
    /// The service.
    pub fn service(&self) -> &'t Service {
        self.service
    }

    /// The route.
    pub fn route(&self) -> &'t Route {
        self.route
    }

    /// The largest body that the route takes, in bytes, where it says so.
    pub fn body_max(&self) -> Option<usize> {
        match self.route.rule() {
            Rule::Public => None,
            Rule::Needs(demand) => demand.body_max,
        }
    }

    pub(crate) fn types(&self) -> &'t DetailTypes {
        self.types
    }
}

impl Node {
    /// Where a route with `pattern` stands.
    fn place(&mut self, pattern: &Pattern) -> &mut Option<Place> {
        let mut node = self;
        for piece in pattern.segments() {
            node = match piece {
                Piece::Literal(text) => node.literal.entry(text.clone()).or_default(),
                Piece::One(_) => node.one.get_or_insert_default(),
                Piece::Rest(_) => return &mut node.rest,
            };
        }
        &mut node.end
    }

    /// The place of the best route for what remains of a path.
    fn find(&self, segments: &[String]) -> Option<Place> {
        let Some((first, behind)) = segments.split_first() else {
            return self.end;
        };
        let literal = self.literal.get(first).and_then(|node| node.find(behind));
        if first.is_empty() {
            return literal;
        }
        literal.or_else(|| self.one.as_ref().and_then(|node| node.find(behind))).or(self.rest)
    }
}
