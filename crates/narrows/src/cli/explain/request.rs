//! A request to a boundary, explained: its route, what it is understood as, and what policy says to that.
//!
//! It is read by the code of the boundary, so that what is told here is what would happen there.

use std::process::ExitCode;

use boundary::LARGEST_BODY;
use broker::front_door::StepUp;
use delegation::details::Detail;
use delegation::oauth::Scope;
use http::{HeaderMap, HeaderName, HeaderValue};
use narrows_guard::hygiene::Malformed;
use narrows_guard::hygiene::credential::Credential;
use narrows_guard::hygiene::host::Host;
use narrows_guard::route::{Matched, Route, Service};
use narrows_guard::{Body, Call, Intent, Needs, Refused};
use serde_json::{Value, json};

use super::super::Outcome;
use super::super::output::say;
use super::{Asked, ExplainArgs, Failure, answer, attributes, elsewhere, parties, questions, subject_of};
use crate::config::{Front, Loaded};

/// No more routes are named to a request that has none.
const NEAREST: usize = 5;
/// Said where nobody is named whom policy could be asked about.
const NO_SUBJECT: &str = "policy, which needs --subject, as `--subject 'corp|alice'`";

/// Why a request goes no further than its boundary.
struct Unfit {
    reason: &'static str,
    what: String,
    mend: String,
    /// Routes that are like what was asked, with where each is written.
    nearest: Vec<(String, String)>,
}

pub(super) fn run(args: &ExplainArgs, loaded: &Loaded, method: &str, url: &str) -> Outcome {
    let (authority, target) = parts(url)?;
    let front = front(args, loaded, authority)?;
    let headers = headers(&args.header)?;
    let body = match &args.body {
        None => Body::Absent,
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|error| format!("--body: `{}`: {error}", path.display()))?;
            Body::Whole(bytes.into())
        }
    };
    let at = |matched: &Matched<'_>| {
        let key = matched.route().pattern().to_string();
        let place = loaded.place_of_route(&matched.service().name, &key);
        (matched.service().name.clone(), matched.route().name().to_owned(), key, place)
    };

    // 1. The request and its route, as the boundary finds them.
    let call = match Call::parse(method, authority.as_bytes(), target.as_bytes(), &headers, body) {
        Ok(call) => call,
        Err(malformed) => return Ok(refused(args, front, None, &of_malformed(malformed))),
    };
    let Some(matched) = front.settings.table.find(&call) else {
        return Ok(refused(args, front, None, &no_route(loaded, front, &call)));
    };
    let found = at(&matched);

    // 2. What it needs, to the byte.
    let issuer_name = args.subject.is_some().then(|| subject_of(args)).transpose()?.map_or("", |(name, _)| name);
    let needs = match understood(&matched, &call, &headers, &attributes(args, issuer_name)?) {
        Err(unfit) => return Ok(refused(args, front, Some(&found), &unfit)),
        Ok(Intent::Public) => {
            tell(args, front, &found, None);
            if args.json {
                say(
                    json!({ "allowed": true, "public": true, "boundary": front.settings.name, "service": found.0, "route": route_of(&found) }),
                );
            } else {
                say("the route is public: it goes on without a token and without an identity");
            }
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Intent::Needs(needs)) => needs,
    };

    // 3. What policy says, asked as the boundary's client.
    if let Some(elsewhere) = elsewhere(loaded) {
        undecided(args, front, &found, &needs, ("undecided", "what"), elsewhere);
        return Ok(ExitCode::FAILURE);
    }
    if args.subject.is_none() {
        undecided(args, front, &found, &needs, ("not asked", "needed"), NO_SUBJECT);
        // Neither allowed nor refused.
        return Ok(ExitCode::from(2));
    }
    let (client, audience) = parties(loaded, front.client.as_str(), needs.audience.as_str())?;
    let asked = Asked {
        client,
        audience,
        questions: questions(&needs.details, &needs.onward, needs.scopes.iter().cloned()),
        step_up: StepUp {
            max_auth_age: needs.max_auth_age,
            acr: needs.acr.clone(),
        },
    };
    let answered = answer(args, loaded, asked)?;
    tell(args, front, &found, Some(&needs));
    if args.json {
        let mut told = answered.json();
        if let (Some(members), Value::Object(request)) = (told.as_object_mut(), understood_json(front, &found, &needs)) {
            members.extend(request);
        }
        say(told);
    } else {
        answered.say();
    }
    Ok(answered.code())
}

/// Service, name, pattern and place of a route.
type Found = (String, String, String, String);

/// Host with port, and the target as it would be sent. Nothing is tidied up: what is wrong with it is to be told.
fn parts(url: &str) -> Result<(&str, String), Failure> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| format!("expected a URL such as `https://tickets.internal/tickets/42`, found `{url}`"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((authority, format!("{slash}{target}")))
}

/// The boundary that serves the host.
fn front<'l>(args: &ExplainArgs, loaded: &'l Loaded, authority: &str) -> Result<&'l Front, Failure> {
    let host = Host::parse(authority.as_bytes()).map_err(|malformed| format!("`{authority}`: {malformed}"))?;
    let is_meant = |front: &&Front| {
        args.boundary.as_ref().is_none_or(|name| *name == front.settings.name)
            && args.client.as_ref().is_none_or(|client| *client == front.client.as_str())
    };
    let meant: Vec<_> = loaded.fronts.iter().filter(is_meant).collect();
    let names = |fronts: &[&Front]| fronts.iter().map(|front| front.settings.name.clone()).collect::<Vec<_>>().join(", ");
    let all: Vec<_> = loaded.fronts.iter().collect();
    let serving: Vec<_> = meant
        .iter()
        .copied()
        .filter(|front| front.settings.table.services_at(&host).next().is_some())
        .collect();
    match (serving.as_slice(), meant.as_slice()) {
        ([only], _) => Ok(only),
        ([], []) if loaded.fronts.is_empty() => Err("there is no boundary; add a table `[[boundaries]]`".into()),
        ([], []) => Err(format!("no boundary has this name and this client; there are: {}", names(&all)).into()),
        // Named, so what happens there is told: it has no route.
        ([], [only]) if args.boundary.is_some() => Ok(only),
        ([], _) => Err(format!("no boundary serves the host `{}`; add it to `hosts` of a service", host.name()).into()),
        (several, _) => Err(format!("several boundaries serve this host; name one with --boundary: {}", names(several)).into()),
    }
}

fn headers(lines: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("--header: expected `Name: value`")?;
        // The value may be a secret, so it is not repeated.
        let read = |_| format!("--header: `{name}` has a value that no request can have");
        headers.append(
            HeaderName::from_bytes(name.as_bytes())?,
            HeaderValue::from_str(value.trim()).map_err(read)?,
        );
    }
    Ok(headers)
}

/// What `call` needs by its route, once its body and its credential are as they must be.
fn understood(
    matched: &Matched<'_>,
    call: &Call,
    headers: &HeaderMap,
    attributes: &delegation::identity::Attributes,
) -> Result<Intent, Unfit> {
    let most = matched.body_max().unwrap_or(LARGEST_BODY);
    if matched.route().reading().reads_body()
        && let Body::Whole(bytes) = call.body()
        && bytes.len() > most
    {
        return Err(Unfit {
            reason: "too_large",
            what: format!("the body has {} bytes, and this route takes {most}", bytes.len()),
            mend: "send less, or set `body_max` of the route".to_owned(),
            nearest: Vec::new(),
        });
    }
    Credential::of(headers, call).map_err(|error| Unfit {
        reason: "malformed_request",
        what: error.to_string(),
        mend: "send the token once, as `Authorization: Bearer TOKEN`".to_owned(),
        nearest: Vec::new(),
    })?;
    matched.intent(call, attributes).map_err(|refused| of_refused(&refused, matched, call))
}

fn of_malformed(malformed: Malformed) -> Unfit {
    Unfit {
        reason: "malformed_request",
        what: malformed.to_string(),
        mend: "send it in the one form that every reader takes for the same; nothing is tidied up on the way".to_owned(),
        nearest: Vec::new(),
    }
}

fn of_refused(refused: &Refused, matched: &Matched<'_>, call: &Call) -> Unfit {
    let no_body = matched.route().reading().reads_body() && *call.body() == Body::Absent;
    let mend = match refused {
        Refused::NoRoute => "add a route for it",
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

/// The routes that are most like `call`, with where each is written.
pub(in super::super) fn nearest(loaded: &Loaded, front: &Front, call: &Call) -> Vec<(String, String)> {
    let mut near: Vec<_> = front
        .settings
        .table
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

fn no_route(loaded: &Loaded, front: &Front, call: &Call) -> Unfit {
    let nearest = nearest(loaded, front, call);
    Unfit {
        reason: Refused::NoRoute.reason(),
        what: Refused::NoRoute.to_string(),
        mend: if nearest.is_empty() {
            "the boundary serves no such host; add it to `hosts` of a service, or ask another boundary".to_owned()
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

fn refused(args: &ExplainArgs, front: &Front, found: Option<&Found>, unfit: &Unfit) -> ExitCode {
    if args.json {
        let nearest: Vec<_> = unfit.nearest.iter().map(|(route, place)| json!({ "pattern": route, "place": place })).collect();
        let mut told = json!({
            "allowed": false, "reason": unfit.reason, "what": unfit.what, "mend": unfit.mend, "nearest": nearest,
            "boundary": front.settings.name, "client": front.client.as_str(),
        });
        if let (Some(found), Some(members)) = (found, told.as_object_mut()) {
            members.insert("service".to_owned(), found.0.as_str().into());
            members.insert("route".to_owned(), route_of(found));
        }
        say(told);
        return ExitCode::FAILURE;
    }
    match found {
        Some(found) => tell(args, front, found, None),
        None => line("boundary", boundary_of(front)),
    }
    line("refused", format!("{}: {}", unfit.reason, unfit.what));
    for (route, place) in &unfit.nearest {
        line("near it", format!("{route}  at {place}"));
    }
    line("mend", &unfit.mend);
    ExitCode::FAILURE
}

/// What is understood, where nobody has asked policy and why: `word` says so in a line, `member` in JSON.
fn undecided(args: &ExplainArgs, front: &Front, found: &Found, needs: &Needs, (word, member): (&str, &str), why: &str) {
    tell(args, front, found, Some(needs));
    if !args.json {
        return line(word, why);
    }
    let mut told = understood_json(front, found, needs);
    if let Some(members) = told.as_object_mut() {
        members.insert("allowed".to_owned(), Value::Null);
        members.insert(member.to_owned(), why.into());
    }
    say(told);
}

/// Where the request came to, and what it is understood as.
fn tell(args: &ExplainArgs, front: &Front, (service, name, key, place): &Found, needs: Option<&Needs>) {
    if args.json {
        return;
    }
    line("boundary", boundary_of(front));
    line("service", service);
    let named = if name == key { String::new() } else { format!("  named `{name}`") };
    line("route", format!("{key}{named}  at {place}"));
    let Some(needs) = needs else { return };
    line("audience", &needs.audience);
    for detail in &needs.details {
        line("understood", detail);
    }
    for scope in &needs.scopes {
        line("scope", scope.as_str());
    }
    for detail in &needs.onward {
        line("onward", detail);
    }
    if let Some(connection) = &needs.connection {
        line(
            "connection",
            format!("{connection}: through `proxy` alone; the doors of other proxies answer no_route"),
        );
    }
    if let Some(age) = needs.max_auth_age {
        line("step-up", format!("signed in at most {} s ago", age.as_secs()));
    }
    if let Some(acr) = &needs.acr {
        line("step-up", format!("signed in with `acr` = `{acr}`"));
    }
}

fn understood_json(front: &Front, found: &Found, needs: &Needs) -> Value {
    let details = |details: &[Detail]| Value::from_iter(details.iter().map(ToString::to_string));
    json!({
        "boundary": front.settings.name, "client": front.client.as_str(), "service": found.0, "route": route_of(found),
        "audience": needs.audience.as_str(), "details": details(&needs.details), "onward": details(&needs.onward),
        "scopes": needs.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
        "max_auth_age": needs.max_auth_age.map(|age| age.as_secs()), "acr": needs.acr, "connection": needs.connection,
    })
}

fn route_of((_, name, key, place): &Found) -> Value {
    json!({ "name": name, "pattern": key, "place": place })
}

fn boundary_of(front: &Front) -> String {
    format!("{}, acting as `{}`", front.settings.name, front.client)
}

fn line(label: &str, value: impl std::fmt::Display) {
    say(format!("{label:<12} {value}"));
}
