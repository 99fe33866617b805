// Service `tickets`, guarded in its own process: a layer for axum and every other service over tower, by the crate narrows-guard.
// Printed by `narrows snippet axum`; print it again when services, routes, detail types or audiences change.
//
//     let guard = tickets_guard::guard(|| std::fs::read_to_string("assertion.jwt").ok())?;
//     let app = app.layer(guard.layer(tickets_guard::sender));
//     axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).with_graceful_shutdown(told_to_end).await?;
//     guard.stop().await;
//
// A handler that takes a `narrows_guard::Identity` learns who asks, and cannot be reached by anybody else. `guard` is called once and
// within the runtime; what it is handed gives an assertion of client `tickets` (RFC 7523), signed anew whenever it is asked. At the
// end `stop` tells the broker what it does not know yet of refusals and of what was used, for five seconds at most.
//
// A request goes on if it shows, once and in `Authorization: Bearer` alone, a token of this installation for https://tickets.internal
// that holds now, was not revoked, allows this very request, and no more than excess = "same_resource" lets it. Refusals are on record at
// the broker, and so is what was used. Without the broker nothing is allowed for longer than 5000 ms. `mode = "observe"` means
// nothing here: everything is enforced, from the first request on.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use fetch::{FetchSettings, Fetcher};
use narrows_guard::delegation::details::{ActionRule, ConstraintOrder, DetailType, DetailTypes, IdentifierRule};
use narrows_guard::delegation::oauth::{AudienceId, ClientId};
use narrows_guard::link::{Link, Place};
use narrows_guard::live::{self, Live, Modes, Recheck};
use narrows_guard::remote::Remote;
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Route, Rule, Service};
use narrows_guard::surplus::Excess;
use narrows_guard::{Clock, Running, Sender, Settings};

const ISSUER: &str = "http://127.0.0.1:8420";
const AUDIENCE: &str = "https://tickets.internal";
const CLIENT: &str = "tickets";
const SERVICE: &str = "tickets";
const HOSTS: &[&str] = &["tickets.internal"];
/// Where the broker is asked, in the order in which it is tried.
const URLS: &[&str] = &["http://127.0.0.1:8420"];
/// Private networks that may be connected to.
const ALLOW_PRIVATE: &[&str] = &[];

/// The guard, with all that keeps it: the broker's keys, the feed of revocations, and what is told to the broker.
pub(crate) fn guard<S>(assertion: S) -> Result<Running<Remote<S>>, Box<dyn Error>>
where
    S: Fn() -> Option<String> + Send + Sync + 'static,
{
    let place = Place {
        issuer: ISSUER.to_owned(),
        urls: URLS.iter().map(|url| url.parse()).collect::<Result<_, _>>()?,
        client: ClientId::parse(CLIENT)?,
        deadline: Duration::from_millis(500),
        max_age: Duration::from_millis(5000),
    };
    let allow_private = ALLOW_PRIVATE.iter().map(|network| network.parse()).collect::<Result<_, _>>()?;
    let fetcher = Arc::new(Fetcher::new(FetchSettings { allow_private })?);
    let link = Link::new(place, fetcher, assertion)?;
    let types = types();
    let settings = live::Settings {
        guard: Settings {
            service: Service {
                name: SERVICE.to_owned(),
                hosts: HOSTS.iter().map(|host| HostPattern::parse(host)).collect::<Result<_, _>>()?,
                audience: Some(AudienceId::parse(AUDIENCE)?),
                routes: routes(&types)?,
            },
            types,
            issuer: ISSUER.to_owned(),
            audience: AudienceId::parse(AUDIENCE)?,
            max_lifetime: Duration::from_secs(120),
            max_chain: 8,
            max_age: Duration::from_millis(5000),
            sender: Sender::None,
            single_use: false,
            excess: Excess::SameResource,
            fixed: BTreeMap::from([]),
        },
        recheck: Recheck::Never,
        modes: Modes::default(),
        clock: Clock::machine(),
    };
    Ok(Live::start(settings, link)?)
}

/// Who sent a request.
pub(crate) fn sender(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
}

#[rustfmt::skip] // a line for each
fn types() -> DetailTypes {
    [
        detail_type("ticket", "Ticket", &[("list", IdentifierRule::None, &[]), ("read", IdentifierRule::Required, &[]), ("update", IdentifierRule::Required, &["fields"])], &[("fields", ConstraintOrder::Subset)]),
    ]
    .into_iter()
    .collect()
}

#[rustfmt::skip] // a line for each
fn routes(types: &DetailTypes) -> Result<Vec<Route>, Box<dyn Error>> {
    Ok(vec![
        Route::new("GET /healthz".to_owned(), Pattern::parse("GET /healthz")?, Rule::Public),
        route("GET /tickets/{id}", "GET /tickets/{id}", (Some("ticket:read/{id}"), &[]), Demand::default(), types)?,
        route("PATCH /tickets/{id}", "PATCH /tickets/{id}", (Some("ticket:update/{id}?fields={body:keys}"), &[]), Demand { body_max: Some(65536), ..Demand::default() }, types)?,
    ])
}

/// An action, whether it names a resource, and what bounds it.
type Action<'t> = (&'t str, IdentifierRule, &'t [&'t str]);

fn detail_type(name: &str, entity: &str, actions: &[Action<'_>], constraints: &[(&str, ConstraintOrder)]) -> DetailType {
    let action = |(name, identifier, constraints): &Action<'_>| {
        let constraints: BTreeSet<_> = constraints.iter().map(|name| (*name).to_owned()).collect();
        let rule = ActionRule {
            identifier: *identifier,
            constraints,
        };
        ((*name).to_owned(), rule)
    };
    DetailType {
        name: name.to_owned(),
        entity: entity.to_owned(),
        actions: actions.iter().map(action).collect(),
        constraints: constraints.iter().map(|(name, order)| ((*name).to_owned(), *order)).collect(),
    }
}

/// A route that needs what `demand` says, with these details.
fn route(
    name: &str,
    key: &str,
    (detail, onward): (Option<&str>, &[&str]),
    demand: Demand,
    types: &DetailTypes,
) -> Result<Route, Box<dyn Error>> {
    let pattern = Pattern::parse(key)?;
    let reads = Reads::Request(pattern.variables());
    let template = |text: &str| Template::parse(text, types, &reads);
    let demand = Demand {
        detail: detail.map(template).transpose()?,
        onward: onward.iter().map(|text| template(text)).collect::<Result<_, _>>()?,
        ..demand
    };
    Ok(Route::new(name.to_owned(), pattern, Rule::Needs(Box::new(demand))))
}
