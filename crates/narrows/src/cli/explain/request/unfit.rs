//! Why a request goes no further than its boundary or guard, and how to mend that.

use narrows_guard::hygiene::Malformed;
use narrows_guard::route::{Matched, Route, Service, Table};
use narrows_guard::{Body, Call, Refused};

use super::door::Door;
use super::guards::ELSEWHERE;
use crate::config::Loaded;

/// No more routes are named to a request that has none.
const NEAREST: usize = 5;

/// What helps where a less strict reader may take a request for another route's.
pub(in super::super::super) const RESEMBLES: &str = "send it with the case, the slash and the ending that the route is written with; if the service \
     tells the two apart, write a route for this very path, or let both ask for the same";

/// Why a request goes no further than its boundary or guard.
pub(super) struct Unfit {
    pub(super) reason: &'static str,
    pub(super) what: String,
    pub(super) mend: String,
    /// Routes that are like what was asked, with where each is written.
    pub(super) nearest: Vec<(String, String)>,
}

pub(super) fn of_malformed(malformed: Malformed) -> Unfit {
    Unfit {
        reason: "malformed_request",
        what: malformed.to_string(),
        mend: "send it in the one form that every reader takes for the same; nothing is tidied up on the way".to_owned(),
        nearest: Vec::new(),
    }
}

pub(super) fn of_refused(refused: &Refused, matched: &Matched<'_>, call: &Call) -> Unfit {
    let no_body = matched.route().reading().reads_body() && *call.body() == Body::Absent;
    let mend = match refused {
        Refused::NoRoute => "add a route for it",
        Refused::Resembles { .. } => RESEMBLES,
        Refused::Malformed(_) if matched.route().reading().reads_body() => {
            "send one JSON object with `Content-Type: application/json`; here with --body and --header"
        }
        Refused::Malformed(_) => "send it in the one form that every reader takes for the same",
        Refused::Unread(_) => {
            "leave it out; or name it in `only` of the route, use it in the detail, or let the rest `pass` with `query_rest` or `body_rest`"
        }
        Refused::Hidden => "let the proxy in front show the body whole",
        Refused::Details(_) if no_body => "the route reads the body; give one with --body",
        Refused::Details(_) => "send a value that the detail's type takes, or mend the route's template",
        Refused::Attribute(_) => "give it with --attribute; at the boundary it comes from the subject's token",
    };
    Unfit {
        reason: refused.reason(),
        what: refused.to_string(),
        mend: mend.to_owned(),
        nearest: Vec::new(),
    }
}

/// At guards that stand before somebody else's backend.
pub(super) fn of_elsewhere() -> Unfit {
    Unfit {
        reason: "wider_than_subject",
        what: ELSEWHERE.to_owned(),
        mend: "none by another token: send it where this value is served".to_owned(),
        nearest: Vec::new(),
    }
}

/// The routes that are most like `call`, with where each is written.
pub(in super::super::super) fn nearest(loaded: &Loaded, table: &Table, call: &Call) -> Vec<(String, String)> {
    let mut near: Vec<_> = table
        .services_at(call.host())
        .flat_map(|service| service.routes.iter().map(move |route| (distance(route, call), service, route)))
        .collect();
    near.sort_by_key(|(distance, _, route)| (*distance, route.pattern().to_string()));
    let named = |(_, service, route): &(usize, &Service, &Route)| {
        let key = route.pattern().to_string();
        let place = loaded.place_of_route(&service.name, &key);
        (key, place)
    };
    near.iter().take(NEAREST).map(named).collect()
}

/// Why `call` has no route, or none that is its route to every reader.
pub(super) fn of_unrouted(refused: &Refused, loaded: &Loaded, door: &Door<'_>, call: &Call) -> Unfit {
    if *refused != Refused::NoRoute {
        return Unfit {
            reason: refused.reason(),
            what: refused.to_string(),
            mend: RESEMBLES.to_owned(),
            nearest: Vec::new(),
        };
    }
    let nearest = nearest(loaded, door.table(), call);
    Unfit {
        reason: Refused::NoRoute.reason(),
        what: Refused::NoRoute.to_string(),
        mend: if nearest.is_empty() {
            let name = door.name();
            format!("the {name} serves no such host; add it to `hosts` of a service, or ask another {name}")
        } else {
            "ask for one of the routes, or add this one to `[services.routes]`; methods have no stand-in, and `HEAD` is not `GET`"
                .to_owned()
        },
        nearest,
    }
}

/// How many things would have to be another for `route` to fit: the method, and segments of the path.
fn distance(route: &Route, call: &Call) -> usize {
    let pattern = route.pattern();
    let other_method = usize::from(pattern.method() != call.method().as_str());
    if pattern.capture(pattern.method(), call.path()).is_some() {
        return other_method;
    }
    let key = pattern.to_string();
    let path = key.split_once(" /").map_or("", |(_, path)| path);
    let (pieces, segments): (Vec<_>, _) = (path.split('/').collect(), call.path().segments());
    let alike = pieces
        .iter()
        .zip(segments)
        .filter(|(piece, segment)| piece.starts_with('{') || **piece == segment.as_str());
    // A path that is another in any way is further away than another method.
    1 + other_method + pieces.len().max(segments.len()) - alike.count()
}
