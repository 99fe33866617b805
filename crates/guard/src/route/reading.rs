//! What a route reads, it reads whole: nothing comes along that was not decided on.

mod written;

use std::collections::{BTreeMap, BTreeSet};

use delegation::json;
use serde_json::{Map, Value};

use super::template::Template;
use super::values::Origin;
use super::{Demand, Rest};
use crate::call::{Body, Call};
use crate::hygiene::{Malformed, percent};
use crate::intent::Refused;

/// How deep the JSON of a body that is read may be nested.
const DEPTH: usize = 8;

/// What of a request a route looks into.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    object: Option<Shape>,
    object_rest: Rest,
    query: BTreeSet<String>,
    query_only: BTreeSet<String>,
    query_rest: Rest,
    attributes: bool,
}

/// The members of an object that are named.
#[derive(Clone, Debug, Default)]
struct Shape {
    /// Its member names are read, so none of them is unread.
    names: bool,
    /// All of it may come.
    whole: bool,
    members: BTreeMap<String, Self>,
}

/// What was read of one request.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) body: Option<Map<String, Value>>,
}

impl Reading {
    /// What the templates of `demand` read, and what may come besides.
    pub fn of(demand: &Demand) -> Self {
        let mut reading = Self {
            object_rest: demand.body_rest,
            query_rest: demand.query_rest,
            ..Self::default()
        };
        for source in demand.detail.iter().chain(&demand.onward).flat_map(Template::sources) {
            match &source.from {
                Origin::Path(_) | Origin::Host => {}
                Origin::Query(name) => {
                    reading.query.insert(name.clone());
                }
                Origin::Subject(_) => reading.attributes = true,
                Origin::Member(path) => reading.object.get_or_insert_default().at(path).whole = true,
                Origin::Keys(path) => reading.object.get_or_insert_default().at(path).names = true,
            }
        }
        for name in &demand.only {
            reading.query_only.insert(name.clone());
            if let Some(shape) = &mut reading.object {
                let path: Vec<_> = name.split('.').map(str::to_owned).collect();
                shape.at(&path).whole = true;
            }
        }
        reading
    }

    /// Whether a door must show the body whole.
    pub fn reads_body(&self) -> bool {
        self.object.is_some()
    }

    /// Whether this name of the query is read.
    pub(crate) fn reads_query(&self, name: &str) -> bool {
        self.query.contains(name)
    }

    /// Whether verified attributes of the subject are read, so that the token is looked at first.
    pub fn reads_attributes(&self) -> bool {
        self.attributes
    }

    /// Whether the arguments of a tool hold nothing but what is read or may come besides.
    pub fn covers(&self, arguments: &Map<String, Value>) -> Result<(), Refused> {
        self.object.as_ref().map_or(Ok(()), |shape| shape.covers(arguments, self.object_rest))
    }

    pub(crate) fn read(&self, call: &Call) -> Result<Read, Refused> {
        Ok(Read {
            query: self.read_query(call.query())?,
            body: self.read_body(call)?,
        })
    }

    fn read_query(&self, query: Option<&str>) -> Result<BTreeMap<String, String>, Refused> {
        let mut read = BTreeMap::new();
        let query = query.filter(|query| !self.query.is_empty() && !query.is_empty());
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if pair.contains(';') || name.contains('+') {
                return Err(Malformed("the query holds a `;`, or a `+` in a name").into());
            }
            let (name, decoded) = (percent::decode(name)?, percent::decode(value)?);
            if !self.query.contains(&name) {
                let listed = self.query_rest == Rest::Pass || self.query_only.contains(&name);
                if !listed || self.query.iter().any(|read| folded_name(read) == folded_name(&name)) {
                    return Err(unread(&name));
                }
                continue;
            }
            // Some take it for a blank and some for itself.
            if value.contains('+') {
                return Err(Malformed("a `+` in a value of the query that is read; write %20 or %2B").into());
            }
            if read.insert(name, decoded).is_some() {
                return Err(Malformed("a name of the query that is read comes twice").into());
            }
        }
        Ok(read)
    }

    fn read_body(&self, call: &Call) -> Result<Option<Map<String, Value>>, Refused> {
        let Some(shape) = &self.object else {
            return Ok(None);
        };
        let bytes = match call.body() {
            Body::Absent => return Ok(None),
            Body::Hidden => return Err(Refused::Hidden),
            Body::Whole(bytes) => bytes,
        };
        if !call.media().json || call.media().coded {
            return Err(Malformed("expected a body of application/json in UTF-8, without a content coding").into());
        }
        let object = json::parse_object(bytes, DEPTH);
        let object = object.map_err(|_| Malformed("expected one JSON object, no member twice, at most 8 deep"))?;
        shape.covers(&object, self.object_rest)?;
        Ok(Some(object))
    }
}

impl Shape {
    /// The shape at the end of `path`.
    fn at(&mut self, path: &[String]) -> &mut Self {
        path.iter().fold(self, |shape, name| shape.members.entry(name.clone()).or_default())
    }

    fn covers(&self, object: &Map<String, Value>, rest: Rest) -> Result<(), Refused> {
        for (name, value) in object {
            match (self.members.get(name), value) {
                (Some(inner), Value::Object(members)) if !inner.whole => inner.covers(members, rest)?,
                // What is named is within it, and there is nothing within it.
                (Some(inner), _) if !inner.whole && !inner.names => return Err(unread(name)),
                (Some(_), _) => {}
                (None, _) => {
                    let listed = self.whole || self.names || rest == Rest::Pass;
                    // Readers that do not tell case apart would take it for the member that is read.
                    if !listed || self.members.keys().any(|read| folded(read) == folded(name)) {
                        return Err(unread(name));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Says which name is too much; a client chose it, so only its beginning is repeated.
fn unread(name: &str) -> Refused {
    Refused::Unread(name.chars().filter(|each| !each.is_control()).take(64).collect())
}

/// A member's name without case.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

/// A query's name as readers are known to fold it: without case, without an index, `.` and blanks as `_`.
fn folded_name(name: &str) -> String {
    let name = name.split_once('[').map_or(name, |(name, _)| name);
    folded(name.trim()).replace(['.', ' '], "_")
}
