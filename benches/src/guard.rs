//! Guards in the process that measures: what a request costs, what is remembered of tokens, and how soon a revocation is known.

mod cost;
mod memory;
mod quiet;
mod revocation;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use delegation::details::{ActionRule, DetailType, DetailTypes, IdentifierRule};
use delegation::oauth::AudienceId;
use http::{HeaderMap, HeaderValue, header};
use narrows_guard::broker::Broker;
use narrows_guard::live::{Decision, Live, Modes, Recheck};
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Route, Rule, Service};
use narrows_guard::surplus::Excess;
use narrows_guard::{Body, Call, Clock, Sender, Settings};

use crate::Arguments;
use crate::table::Print;

pub(crate) use memory::{Remembered, measure as remembered};

const AUDIENCE: &str = "https://orders.internal";
const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Measures all but memory, which is `remembered` and was measured while this process was small; prints the tables, and gives what
/// became of the aims.
pub(crate) async fn measure(arguments: &Arguments, remembered: &Remembered, print: Print) -> Vec<Vec<String>> {
    let (rows, mut aims) = cost::measure(arguments).await;
    print.table(&cost::HEAD, &rows);
    print.table(&memory::HEAD, &remembered.rows());
    let (rows, of_revocations) = revocation::measure(arguments).await;
    print.table(&revocation::HEAD, &rows);
    aims.extend(of_revocations);
    aims
}

/// A guard before the service of orders, which takes tokens of `issuer`.
fn live<B: Broker>(issuer: &str, broker: B) -> Live<B> {
    let read = |name: &str| {
        let rule = ActionRule {
            identifier: IdentifierRule::Optional,
            constraints: BTreeSet::new(),
        };
        (name.to_owned(), rule)
    };
    let types: DetailTypes = [DetailType {
        name: "order".to_owned(),
        entity: "Order".to_owned(),
        actions: ["read", "cancel"].map(read).into_iter().collect(),
        constraints: BTreeMap::new(),
    }]
    .into_iter()
    .collect();
    let key = "GET /orders/{id}";
    let pattern = Pattern::parse(key).unwrap();
    let detail = Template::parse("order:read/{id}", &types, &Reads::Request(pattern.variables())).unwrap();
    let demand = Demand {
        detail: Some(detail),
        ..Demand::default()
    };
    let guard = Settings {
        service: Service {
            name: "orders".to_owned(),
            hosts: vec![HostPattern::parse("orders.internal").unwrap()],
            audience: Some(AudienceId::parse(AUDIENCE).unwrap()),
            routes: vec![Route::new(key.to_owned(), pattern, Rule::Needs(Box::new(demand)))],
        },
        types,
        issuer: issuer.to_owned(),
        audience: AudienceId::parse(AUDIENCE).unwrap(),
        max_lifetime: Duration::from_secs(120),
        max_chain: 8,
        max_age: Duration::from_secs(5),
        sender: Sender::None,
        single_use: false,
        excess: Excess::SameResource,
        fixed: BTreeMap::new(),
    };
    let settings = narrows_guard::live::Settings {
        guard,
        recheck: Recheck::Never,
        modes: Modes::default(),
        clock: Clock::machine(),
    };
    Live::new(settings, broker).unwrap()
}

/// What `live` decides about a request for an order, from its line and `headers` on.
async fn decide<B: Broker>(live: &Live<B>, headers: &HeaderMap) -> Decision {
    let call = Call::parse("GET", b"orders.internal", b"/orders/4711", headers, Body::Absent).unwrap();
    live.decide(&call, headers, CALLER).await
}

/// Headers that show `token`.
fn shown(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}
