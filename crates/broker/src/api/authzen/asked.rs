//! One question as it came (AuthZEN 1.0 §5, §6): what is read of it, and whom it may be about.

use std::net::IpAddr;

use delegation::oauth::ClientId;
use issuance::evaluation::{StatedCircumstances, StatedParty, Statement};
use serde_json::{Map, Value};

use super::super::caller::Caller;
use super::super::problem::Problem;

/// One question, and about which client.
pub(super) struct Asked {
    pub(super) client: ClientId,
    pub(super) statement: Statement,
}

impl Asked {
    /// Reads the question of `caller`, who asks from that address. Members that are not known mean nothing; one that is known and
    /// malformed is no question.
    pub(super) fn read(question: &Map<String, Value>, caller: &Caller, from: Option<IpAddr>) -> Result<Self, Problem> {
        let subject = entity(question, "subject")?;
        let action = entity(question, "action")?;
        let resource = entity(question, "resource")?;
        let none = Map::new();
        let context = object(question, "context")?.unwrap_or(&none);
        let mut subject_properties = object(subject, "properties")?.cloned().unwrap_or_default();
        let mut resource_properties = object(resource, "properties")?.cloned().unwrap_or_default();
        let issuer = optional_text(&subject_properties, "issuer")?;
        subject_properties.remove("issuer");
        let audience = optional_text(&resource_properties, "audience")?;
        resource_properties.remove("audience");

        let named = optional_text(context, "client")?;
        let named = named.map(|id| ClientId::parse(&id).map_err(|_| Problem::Malformed("`context.client` is no client identifier")));
        let (client, seen) = match (caller, named.transpose()?) {
            (Caller::Client { id, .. }, None) => (id.clone(), from),
            (Caller::Client { id, .. }, Some(named)) if named == *id => (named, from),
            // What is decided about others is not theirs to know.
            (Caller::Client { .. }, Some(_)) => return Err(Problem::NotPermitted),
            (Caller::Operator(_), Some(named)) => (named, None),
            (Caller::Operator(_), None) => return Err(Problem::Malformed("name the client that would ask in `context.client`")),
        };
        Ok(Self {
            client,
            statement: Statement {
                subject: StatedParty {
                    kind: text(subject, "type")?,
                    id: text(subject, "id")?,
                    issuer,
                    properties: subject_properties,
                },
                action: text(action, "name")?,
                action_properties: object(action, "properties")?.cloned().unwrap_or_default(),
                kind: text(resource, "type")?,
                identifier: text(resource, "id")?,
                resource_properties,
                audience,
                circumstances: circumstances(context, seen)?,
            },
        })
    }
}

/// What `context` says of what policy calls the circumstances. Time is not among it: that is ours.
fn circumstances(context: &Map<String, Value>, seen: Option<IpAddr>) -> Result<StatedCircumstances, Problem> {
    let client_ip = match optional_text(context, "client_ip")? {
        None => seen,
        Some(text) => Some(text.parse().map_err(|_| Problem::Malformed("`context.client_ip` is no address"))?),
    };
    let chain = match context.get("chain") {
        None => Vec::new(),
        Some(Value::Array(chain)) => {
            let client = |each: &Value| each.as_str().and_then(|id| ClientId::parse(id).ok());
            let chain: Option<_> = chain.iter().map(client).collect();
            chain.ok_or(Problem::Malformed("`context.chain` must hold client identifiers"))?
        }
        Some(_) => return Err(Problem::Malformed("`context.chain` must be an array")),
    };
    let age = |name| match seconds(context, name)? {
        None => Ok(None),
        Some(seconds) => i64::try_from(seconds).map(Some).map_err(|_| NO_SECONDS),
    };
    Ok(StatedCircumstances {
        client_ip: client_ip.map(|address| address.to_canonical()),
        chain,
        requested_by: optional_text(context, "requested_by")?,
        acr: optional_text(context, "acr")?,
        auth_age_seconds: age("auth_age_seconds")?,
        subject_age_seconds: age("subject_age_seconds")?.unwrap_or(0),
        expires_in: match seconds(context, "expires_in")? {
            Some(0) => return Err(NO_SECONDS),
            life => life,
        },
    })
}

const NO_SECONDS: Problem = Problem::Malformed("a number of seconds in `context` must be a whole one, and a life more than none");

fn seconds(context: &Map<String, Value>, name: &str) -> Result<Option<u64>, Problem> {
    context.get(name).map(|value| value.as_u64().ok_or(NO_SECONDS)).transpose()
}

/// An entity that must be there.
fn entity<'q>(question: &'q Map<String, Value>, name: &str) -> Result<&'q Map<String, Value>, Problem> {
    object(question, name)?.ok_or(Problem::Malformed("`subject`, `action` and `resource` are required"))
}

fn object<'q>(members: &'q Map<String, Value>, name: &str) -> Result<Option<&'q Map<String, Value>>, Problem> {
    let value = members
        .get(name)
        .map(|value| value.as_object().ok_or(Problem::Malformed("an entity or its `properties` is no object")));
    value.transpose()
}

/// A text that must be there and not empty.
fn text(members: &Map<String, Value>, name: &str) -> Result<String, Problem> {
    let text = members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or(Problem::Malformed(
        "subject and resource have a `type` and an `id`, an action has a `name`, each a text",
    ))
}

fn optional_text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Problem> {
    let text = members
        .get(name)
        .map(|value| value.as_str().ok_or(Problem::Malformed("a member that must be a text is none")));
    Ok(text.transpose()?.map(str::to_owned))
}
