//! The edges of the graph, as sums.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use super::addressed::Addressed;
use super::line::Line;

/// No more edges are told apart; what comes after them is one sum.
const MOST_EDGES: usize = 500;
/// No more subjects of one edge are told apart.
const MOST_SUBJECTS: usize = 10_000;

/// What makes two decisions one edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ends {
    /// The issuer of the subject.
    issuer: Option<String>,
    /// The client that had the authority before; none where it came straight from the issuer.
    from: Option<String>,
    client: Option<String>,
    audience: Option<String>,
    /// The token endpoint, where there is none.
    boundary: Option<String>,
}

/// What happened between them.
#[derive(Debug, Default)]
struct Edge {
    allowed: u64,
    refused: BTreeMap<String, u64>,
    subjects: HashSet<u64>,
    /// The most that acted one after the other.
    depth: usize,
    first: i64,
    last: i64,
}

/// All edges, and what found no room among them.
#[derive(Debug, Default)]
pub(super) struct Sums {
    edges: BTreeMap<Ends, Edge>,
    /// Allowed and refused of edges that are not told apart.
    rest: (u64, u64),
    /// Refusals of whoever did not show who they are.
    strangers: u64,
}

impl Sums {
    /// Adds what `line` says; `from` handed on the token that was shown, where that is known.
    pub(super) fn add(&mut self, line: &Line, from: Option<String>) {
        if line.kind == "client_auth" {
            self.strangers += line.weight();
        }
        if line.kind != "exchange" {
            return;
        }
        let ends = Ends {
            issuer: line.subject.as_ref().map(|subject| subject.iss.clone()),
            from: line.actor.get(1).map(|before| before.sub.clone()).or(from),
            client: line.client.clone(),
            audience: line.audience.clone(),
            boundary: line.boundary.clone(),
        };
        if self.edges.len() >= MOST_EDGES && !self.edges.contains_key(&ends) {
            let (allowed, refused) = &mut self.rest;
            *(if line.is_allowed() { allowed } else { refused }) += line.weight();
            return;
        }
        let edge = self.edges.entry(ends).or_insert_with(|| Edge {
            first: line.time,
            last: line.time,
            ..Edge::default()
        });
        if line.is_allowed() {
            edge.allowed += line.weight();
            edge.depth = edge.depth.max(line.actor.len());
        } else {
            *edge.refused.entry(line.reason.clone()).or_default() += line.weight();
        }
        if let Some(subject) = line.subject.as_ref().filter(|_| edge.subjects.len() < MOST_SUBJECTS) {
            let mut hasher = DefaultHasher::new();
            (&subject.iss, &subject.sub).hash(&mut hasher);
            edge.subjects.insert(hasher.finish());
        }
        edge.first = edge.first.min(line.time);
        edge.last = edge.last.max(line.time);
    }

    /// Everybody that an edge names.
    pub(super) fn nodes(&self, addressed: &Addressed) -> Value {
        let all = |of: fn(&Ends) -> Vec<&String>| self.edges.keys().flat_map(of).collect::<BTreeSet<_>>();
        let issuer = |iss: &String| match addressed.issuers.get(iss) {
            Some((name, subjects)) => json!({ "issuer": iss, "name": name, "subjects": subjects }),
            // Our own: a client that asks for itself.
            None => json!({ "issuer": iss, "name": null, "subjects": "workload" }),
        };
        let audience =
            |id: &String| json!({ "id": id, "receivers": addressed.receivers.get(id).into_iter().flatten().collect::<Vec<_>>() });
        json!({
            "issuers": all(|ends| ends.issuer.iter().collect()).into_iter().map(issuer).collect::<Vec<_>>(),
            "clients": all(|ends| ends.client.iter().chain(&ends.from).collect()),
            "audiences": all(|ends| ends.audience.iter().collect()).into_iter().map(audience).collect::<Vec<_>>(),
            "boundaries": all(|ends| ends.boundary.iter().collect()),
        })
    }

    /// `edges`, `rest` and `strangers`.
    pub(super) fn to_json(&self) -> Value {
        let edge = |(ends, edge): (&Ends, &Edge)| {
            json!({
                "issuer": ends.issuer, "from": ends.from, "client": ends.client, "audience": ends.audience, "boundary": ends.boundary,
                "allowed": edge.allowed, "refused": edge.refused, "subjects": edge.subjects.len(), "depth": edge.depth,
                "first": edge.first, "last": edge.last,
            })
        };
        let (allowed, refused) = self.rest;
        Map::from_iter([
            ("edges".to_owned(), self.edges.iter().map(edge).collect()),
            ("rest".to_owned(), json!({ "allowed": allowed, "refused": refused })),
            ("strangers".to_owned(), self.strangers.into()),
        ])
        .into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::line::{Line, Party};
    use super::{MOST_EDGES, Sums};

    fn line(client: &str, decision: &str, count: Option<u64>) -> Line {
        Line {
            time: 5,
            kind: "exchange".to_owned(),
            decision: decision.to_owned(),
            reason: "no_route".to_owned(),
            client: Some(client.to_owned()),
            subject: Some(Party {
                iss: "i".to_owned(),
                sub: format!("{count:?}"),
            }),
            count,
            ..Line::default()
        }
    }

    #[test]
    fn a_record_counts_for_as_many_refusals_as_it_stands_for_and_edges_past_the_bound_are_one_sum() {
        let mut sums = Sums::default();
        for at in 0..MOST_EDGES {
            sums.add(&line(&at.to_string(), "allow", None), None);
        }
        sums.add(&line("0", "deny", Some(7)), None);
        sums.add(&line("0", "deny", None), None);
        sums.add(&line("another", "deny", Some(4)), None);
        sums.add(&line("another", "allow", None), None);
        let told = sums.to_json();
        assert_eq!(
            told.pointer("/edges").and_then(|edges| edges.as_array()).map(Vec::len),
            Some(MOST_EDGES)
        );
        assert_eq!(told.pointer("/edges/0/refused"), Some(&json!({ "no_route": 8 })));
        assert_eq!(
            (told.pointer("/edges/0/allowed"), told.pointer("/edges/0/subjects")),
            (Some(&json!(1)), Some(&json!(2)))
        );
        assert_eq!(told.pointer("/rest"), Some(&json!({ "allowed": 1, "refused": 4 })));
    }
}
