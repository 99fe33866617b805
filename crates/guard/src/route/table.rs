//! The one route of a request, among all that a boundary serves.

mod resembling;
mod tree;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use delegation::details::DetailTypes;

use super::hosts::HostPattern;
use super::{Route, Rule, Service};
use crate::call::Call;
use crate::hygiene::host::Host;
use crate::intent::Refused;
use tree::{Node, Place};

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
        let route = |(service, route): Place| services.get(service).and_then(|service: &Service| service.routes.get(route));
        let called = |place: Place| {
            let name = services.get(place.0).map_or("", |service| service.name.as_str());
            format!("`{}` of service `{name}`", route(place).map_or("", Route::name))
        };
        for (at, service) in services.iter().enumerate() {
            let mut names = BTreeSet::new();
            for (index, new) in service.routes.iter().enumerate() {
                if !names.insert(new.name()) {
                    return Err(TableError::Name {
                        service: service.name.clone(),
                        name: new.name().to_owned(),
                    });
                }
                if let Rule::Needs(demand) = new.rule() {
                    if demand.detail.is_none() && demand.scope.is_none() {
                        return Err(TableError::AsksNothing(called((at, index))));
                    }
                    if service.audience.is_none() {
                        return Err(TableError::NoAudience(called((at, index))));
                    }
                }
                for host in service.hosts.iter().collect::<BTreeSet<_>>() {
                    let methods = hosts.entry(host.to_string()).or_default();
                    let node = methods.entry(new.pattern().method().to_owned()).or_default();
                    let there = node.place(new.pattern());
                    let ties = |place: &Place| route(*place).is_some_and(|first| first.pattern().ties(new.pattern()));
                    if let Some(first) = there.iter().copied().find(ties) {
                        return Err(TableError::Tie {
                            first: called(first),
                            second: called((at, index)),
                        });
                    }
                    there.push((at, index));
                }
            }
            // A host without any route is its service's all the same.
            for host in &service.hosts {
                hosts.entry(host.to_string()).or_default();
            }
        }
        Ok(Self { services, types, hosts })
    }

    /// The route that `call` is for as it is. Whoever decides about it asks for its [`only`](Self::only) route.
    pub fn find(&self, call: &Call) -> Option<Matched<'_>> {
        self.look(call).map(|(own, _)| own)
    }

    /// The route that `call` is for, to every reader: without one, it is refused, and so it is where a program that reads less strictly
    /// takes it for another route first, which [asks for something else](Matched::asks_like).
    ///
    /// What such a program makes of a path: case is of no account, nor is a slash at the end, nor what may be an extension, and it
    /// answers `HEAD` by what it has for `GET`.
    pub fn only(&self, call: &Call) -> Result<Matched<'_>, Refused> {
        let (own, before) = self.look(call).ok_or(Refused::NoRoute)?;
        match before.iter().find(|other| !other.asks_like(&own)) {
            None => Ok(own),
            Some(other) => Err(Refused::Resembles {
                own: own.route.name().to_owned(),
                other: other.route.name().to_owned(),
            }),
        }
    }

    /// The route that `call` is for as it is, and those that a less strict reader takes it for before that.
    fn look(&self, call: &Call) -> Option<(Matched<'_>, Vec<Matched<'_>>)> {
        let methods = self.methods(call)?;
        let (mut own, mut before) = (None, Vec::new());
        let _ = methods.get(call.method().as_str())?.walk(call.path(), &mut |place| {
            match self.at(place) {
                Some(matched) if matched.route.pattern().fits(call.path()) => {
                    own = Some(matched);
                    return ControlFlow::Break(());
                }
                matched => before.extend(matched),
            }
            ControlFlow::Continue(())
        });
        let own = own?;
        if let Some(node) = resembling::answering(call.method()).and_then(|method| methods.get(method)) {
            let _ = node.walk(call.path(), &mut |place| {
                before.extend(self.at(place));
                ControlFlow::Continue(())
            });
        }
        before.retain(|other| other.route.pattern().goes_before(own.route.pattern()));
        Some((own, before))
    }

    /// The routes of the host that `call` is to, by method.
    fn methods(&self, call: &Call) -> Option<&HashMap<String, Node>> {
        let host = call.host();
        let below = || HostPattern::of(host).skip(1).find_map(|host| self.hosts.get(&host.to_string()));
        self.hosts.get(host.name()).or_else(below)
    }

    fn at(&self, (service, route): Place) -> Option<Matched<'_>> {
        let service = self.services.get(service)?;
        Some(Matched {
            service,
            route: service.routes.get(route)?,
            types: &self.types,
        })
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

    /// Whether `other` asks a request for the very same: a token of the same audience for the same, or none.
    pub fn asks_like(&self, other: &Self) -> bool {
        match (self.route.rule(), other.route.rule()) {
            (Rule::Public, Rule::Public) => true,
            _ => self.service.audience == other.service.audience && self.route.asks_like(other.route),
        }
    }

    pub(crate) fn types(&self) -> &'t DetailTypes {
        self.types
    }
}
