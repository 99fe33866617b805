//! A request to a boundary or a guard, explained: its route, what it is understood as, and what policy says to that, or what token it needs.
//!
//! It is read by the code of the boundary and the guard, so that what is told here is what would happen there.

mod door;
mod guards;
mod told;
mod unfit;

use std::process::ExitCode;

use boundary::LARGEST_BODY;
use broker::front_door::StepUp;
use http::{HeaderMap, HeaderName, HeaderValue};
use narrows_guard::hygiene::credential::Credential;
use narrows_guard::route::Matched;
use narrows_guard::{Body, Call, Intent};
use serde_json::Value;

use super::super::Outcome;
use super::super::output::say;
use super::{Asked, ExplainArgs, Failure, answer, attributes, elsewhere, parties, questions, subject_of};
use crate::config::Loaded;
use door::{Door, door};
use told::{public_json, refused, tell, undecided, understood_json};
pub(in super::super) use unfit::{RESEMBLES, nearest};
use unfit::{Unfit, of_elsewhere, of_malformed, of_refused, of_unrouted};

/// Said where a guard is asked, and nobody is named who wants such a token.
const NO_CLIENT: &str = "policy, which makes such a token or not: --client says for whom, and --subject on whose behalf";
/// Said where nobody is named whom policy could be asked about.
const NO_SUBJECT: &str = "policy, which needs --subject, as `--subject 'corp|alice'`";

pub(super) fn run(args: &ExplainArgs, loaded: &Loaded, method: &str, url: &str) -> Outcome {
    let (authority, target) = parts(url)?;
    let door = door(args, loaded, authority)?;
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

    // 1. The request and its route, as the boundary or the guard finds them.
    let call = match Call::parse(method, authority.as_bytes(), target.as_bytes(), &headers, body) {
        Ok(call) => call,
        Err(malformed) => return Ok(refused(args, &door, None, &of_malformed(malformed))),
    };
    // A guard looks at the credential first.
    if let (Door::Guards(_), Err(unfit)) = (&door, credential(&headers, &call)) {
        return Ok(refused(args, &door, None, &unfit));
    }
    let matched = match door.table().only(&call) {
        Ok(matched) => matched,
        Err(unmet) => {
            let found = door.table().find(&call).map(|matched| at(&matched));
            return Ok(refused(args, &door, found.as_ref(), &of_unrouted(&unmet, loaded, &door, &call)));
        }
    };
    let found = at(&matched);

    // 2. What it needs, to the byte.
    let issuer_name = args.subject.is_some().then(|| subject_of(args)).transpose()?.map_or("", |(name, _)| name);
    let needs = match understood(&matched, &call, &headers, &attributes(args, issuer_name)?) {
        Err(unfit) => return Ok(refused(args, &door, Some(&found), &unfit)),
        Ok(Intent::Public) => {
            tell(args, &door, &found, None);
            if args.json {
                say(public_json(&door, &found));
            } else {
                say("the route is public: it goes on without a token and without an identity");
            }
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Intent::Needs(needs)) => needs,
    };

    // 3. What policy says, asked as the boundary's client. A guard goes by the token: there it is asked as whoever wants one.
    let (client, asks) = match &door {
        Door::Boundary(front) => (Some(front.client.as_str()), (needs.details.clone(), needs.onward.clone())),
        Door::Guards(guards) => match guards.first_needed(&needs) {
            None => return Ok(refused(args, &door, Some(&found), &of_elsewhere())),
            Some(details) => (args.client.as_deref(), (details, Vec::new())),
        },
    };
    if let (Door::Guards(_), None, _) | (Door::Guards(_), _, None) = (&door, client, &args.subject) {
        undecided(args, &door, &found, &needs, ("not asked", "needed"), NO_CLIENT);
        return Ok(ExitCode::from(2));
    }
    if let Some(elsewhere) = elsewhere(loaded) {
        undecided(args, &door, &found, &needs, ("undecided", "what"), elsewhere);
        return Ok(ExitCode::FAILURE);
    }
    if args.subject.is_none() {
        undecided(args, &door, &found, &needs, ("not asked", "needed"), NO_SUBJECT);
        // Neither allowed nor refused.
        return Ok(ExitCode::from(2));
    }
    let (client, audience) = parties(loaded, client.unwrap_or_default(), needs.audience.as_str())?;
    let asked = Asked {
        client,
        audience,
        questions: questions(&asks.0, &asks.1, needs.scopes.iter().cloned()),
        step_up: StepUp {
            max_auth_age: needs.max_auth_age,
            acr: needs.acr.clone(),
        },
    };
    let answered = answer(args, loaded, asked)?;
    tell(args, &door, &found, Some(&needs));
    if args.json {
        let mut told = answered.json();
        if let (Some(members), Value::Object(request)) = (told.as_object_mut(), understood_json(&door, &found, &needs)) {
            members.extend(request);
        }
        say(told);
    } else {
        answered.say();
    }
    Ok(answered.code())
}

/// Host with port, and the target as it would be sent. Nothing is tidied up: what is wrong with it is to be told.
fn parts(url: &str) -> Result<(&str, String), Failure> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| format!("expected a URL such as `https://tickets.internal/tickets/42`, found `{url}`"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((authority, format!("{slash}{target}")))
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
    credential(headers, call)?;
    matched.intent(call, attributes).map_err(|refused| of_refused(&refused, matched, call))
}

/// That the token stands in its one place, if there is one.
fn credential(headers: &HeaderMap, call: &Call) -> Result<(), Unfit> {
    let shown = Credential::of(headers, call);
    shown.map(drop).map_err(|error| Unfit {
        reason: "malformed_request",
        what: error.to_string(),
        mend: "send the token once, as `Authorization: Bearer TOKEN`".to_owned(),
        nearest: Vec::new(),
    })
}
