//! Hops that were seen forwarding a token without exchanging it.
//!
//! *Refused*: a client showed a token that is not for it, and the token endpoint said so. Whoever the token was for had passed it
//! on, or lost it. *Seen*: an outside token was exchanged by one client for an audience, and then shown itself by a client that
//! receives this very audience and may exchange such tokens only because it is named as an exchanger at the edge: it should have
//! got the token that was made for it. A client whose own `receives` name the outside issuer's audience is nobody's second hop:
//! callers may come to it straight.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Value, json};

use super::addressed::Addressed;
use super::line::Line;

/// How many tokens are followed at a time; of more, the newest.
const MOST_TOKENS: usize = 20_000;
/// How many exchanges of one outside token are remembered.
const MOST_HOPS: usize = 16;
/// No more hops are told apart.
const MOST_FOUND: usize = 100;

/// A client at a boundary, and what it had made of a token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hop {
    client: String,
    boundary: Option<String>,
    audience: Option<String>,
    /// The task that what was made hangs from.
    task: Option<String>,
}

/// What makes two findings one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    is_refused: bool,
    /// The issuer of the token's subject; none where it was one of our own tokens.
    issuer: Option<String>,
    /// What one of our own tokens was for, and what an outside one had been exchanged for.
    audience: Option<String>,
    /// Who had it before, as far as it is known.
    from: Vec<String>,
    /// Where it had been exchanged, or made.
    made_at: Option<String>,
    client: String,
    boundary: Option<String>,
}

#[derive(Debug)]
struct Seen {
    count: u64,
    first: i64,
    last: i64,
}

/// The tokens that are being followed, and what was found.
#[derive(Debug, Default)]
pub(super) struct Forwarded {
    /// The hops of outside tokens by their entry, and the one hop that each of ours came from by its `jti`.
    tokens: HashMap<String, Vec<Hop>>,
    order: VecDeque<String>,
    not_followed: u64,
    found: BTreeMap<Finding, Seen>,
}

impl Forwarded {
    /// The client that handed on the token that was shown: the one that it had been made for, where that one alone receives it.
    pub(super) fn handed_on(&self, line: &Line, addressed: &Addressed) -> Option<String> {
        let hop = self.shown(line).first().filter(|_| line.outside().is_none())?;
        let is_meant = addressed.receives(line.client.as_ref()?, hop.audience.as_ref()?);
        is_meant.then(|| hop.client.clone())
    }

    /// What is known of the token that was shown. With a task of its own it is the task's token that was shown, and its chain
    /// tells of another.
    fn shown(&self, line: &Line) -> &[Hop] {
        let hops = line.chain.last().and_then(|entry| self.tokens.get(entry)).map_or(&[][..], Vec::as_slice);
        let is_of_task = hops.first().is_some_and(|hop| hop.task == line.task);
        if line.outside().is_some() || is_of_task { hops } else { &[] }
    }

    /// Looks whether the token of `line` was forwarded to its client, and remembers what it made of it.
    pub(super) fn follow(&mut self, line: &Line, addressed: &Addressed) {
        let Some(client) = line.client.clone().filter(|_| matches!(line.kind.as_str(), "exchange" | "task")) else {
            return;
        };
        if !line.is_allowed() && line.reason == "subject_token_not_for_client" {
            self.refused(line, client, addressed);
            return;
        }
        if !line.is_allowed() || line.kind != "exchange" {
            return;
        }
        let hop = Hop {
            client,
            boundary: line.boundary.clone(),
            audience: line.audience.clone(),
            task: line.task.clone(),
        };
        if let Some(entry) = line.outside() {
            self.seen(line, entry, &hop, addressed);
            self.remember(entry, hop.clone());
        }
        if let Some(jti) = &line.jti {
            self.remember(jti, hop);
        }
    }

    fn refused(&mut self, line: &Line, client: String, addressed: &Addressed) {
        let outside = line.outside().is_some();
        let hops = self.shown(line);
        if line.task.is_some() && hops.is_empty() {
            return;
        }
        let made = hops.first();
        let audience = made.and_then(|hop| hop.audience.clone());
        // An outside token was at whoever exchanged it; one of ours at those that it was made for.
        let from = match (&audience, outside) {
            (_, true) => hops.iter().map(|hop| hop.client.clone()).filter(|from| *from != client).collect(),
            (Some(audience), false) => addressed.receivers.get(audience).into_iter().flatten().cloned().collect(),
            (None, false) => Vec::new(),
        };
        let finding = Finding {
            is_refused: true,
            issuer: line.subject.as_ref().map(|subject| subject.iss.clone()).filter(|_| outside),
            made_at: made.and_then(|hop| hop.boundary.clone()),
            audience,
            from: distinct(from),
            client,
            boundary: line.boundary.clone(),
        };
        self.find(finding, line);
    }

    /// Whether the token that `entry` names was exchanged before, for the very client that now shows it itself.
    fn seen(&mut self, line: &Line, entry: &str, hop: &Hop, addressed: &Addressed) {
        let Some(issuer) = line.subject.as_ref().map(|subject| subject.iss.clone()) else {
            return;
        };
        if !addressed.is_at_edge_alone(&hop.client, &issuer) {
            return;
        }
        let hops = self.tokens.get(entry).map_or(&[][..], Vec::as_slice);
        let was_meant = |before: &&Hop| {
            before.client != hop.client && before.audience.as_ref().is_some_and(|audience| addressed.receives(&hop.client, audience))
        };
        let Some(before) = hops.iter().find(was_meant).cloned() else {
            return;
        };
        let finding = Finding {
            is_refused: false,
            issuer: Some(issuer),
            audience: before.audience,
            from: vec![before.client],
            made_at: before.boundary,
            client: hop.client.clone(),
            boundary: line.boundary.clone(),
        };
        self.find(finding, line);
    }

    fn find(&mut self, finding: Finding, line: &Line) {
        if self.found.len() >= MOST_FOUND && !self.found.contains_key(&finding) {
            return;
        }
        let seen = self.found.entry(finding).or_insert(Seen {
            count: 0,
            first: line.time,
            last: line.time,
        });
        seen.count += line.weight();
        seen.first = seen.first.min(line.time);
        seen.last = seen.last.max(line.time);
    }

    fn remember(&mut self, token: &str, hop: Hop) {
        if let Some(hops) = self.tokens.get_mut(token) {
            if hops.len() < MOST_HOPS && !hops.contains(&hop) {
                hops.push(hop);
            }
            return;
        }
        if self.order.len() >= MOST_TOKENS
            && let Some(oldest) = self.order.pop_front()
        {
            self.tokens.remove(&oldest);
            self.not_followed += 1;
        }
        self.order.push_back(token.to_owned());
        self.tokens.insert(token.to_owned(), vec![hop]);
    }

    /// How many tokens were let go to make room: of what was shown of them later, nothing is said.
    pub(super) fn not_followed(&self) -> u64 {
        self.not_followed
    }

    pub(super) fn to_json(&self) -> Value {
        let told = |(finding, seen): (&Finding, &Seen)| {
            json!({
                "how": if finding.is_refused { "refused" } else { "seen" },
                "token": if finding.issuer.is_some() { "outside" } else { "own" },
                "issuer": finding.issuer, "audience": finding.audience, "from": finding.from, "made_at": finding.made_at,
                "client": finding.client, "boundary": finding.boundary,
                "count": seen.count, "first": seen.first, "last": seen.last,
            })
        };
        self.found.iter().map(told).collect()
    }
}

fn distinct(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::super::addressed::Addressed;
    use super::super::line::{Line, Party};
    use super::{Forwarded, MOST_TOKENS};

    const CORP: &str = "https://login.corp.example";
    const ORDERS: &str = "https://orders.internal";

    /// `edge` and `mesh` may exchange tokens of corp; `mesh` receives tokens for orders.
    fn addressed(at_edge_alone: &[&str]) -> Addressed {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        Addressed {
            receivers: BTreeMap::from([(ORDERS.to_owned(), named(&["mesh"]))]),
            at_edge_alone: BTreeMap::from([(CORP.to_owned(), named(at_edge_alone))]),
            ..Addressed::default()
        }
    }

    fn exchange(client: &str, chain: &[&str], audience: &str, jti: &str) -> Line {
        Line {
            kind: "exchange".to_owned(),
            decision: "allow".to_owned(),
            client: Some(client.to_owned()),
            boundary: Some(format!("at-{client}")),
            chain: chain.iter().map(|entry| (*entry).to_owned()).collect(),
            audience: Some(audience.to_owned()),
            jti: Some(jti.to_owned()),
            subject: Some(Party {
                iss: CORP.to_owned(),
                sub: "alice".to_owned(),
            }),
            ..Line::default()
        }
    }

    fn not_for(client: &str, chain: &[&str]) -> Line {
        Line {
            decision: "deny".to_owned(),
            reason: "subject_token_not_for_client".to_owned(),
            audience: None,
            jti: None,
            ..exchange(client, chain, "", "")
        }
    }

    fn found(at_edge_alone: &[&str], lines: &[Line]) -> Vec<Value> {
        let (mut forwarded, addressed) = (Forwarded::default(), addressed(at_edge_alone));
        for line in lines {
            forwarded.follow(line, &addressed);
        }
        forwarded.to_json().as_array().cloned().unwrap_or_default()
    }

    #[test]
    fn an_outside_token_that_comes_to_whom_it_was_exchanged_for_was_forwarded() {
        let lines = [
            exchange("edge", &["o_1"], ORDERS, "j1"),
            exchange("mesh", &["o_1"], "https://tickets.internal", "j2"),
        ];
        let told = found(&["edge", "mesh"], &lines);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(
            (&told[0]["how"], &told[0]["from"], &told[0]["client"]),
            (&json!("seen"), &json!(["edge"]), &json!("mesh"))
        );
        assert_eq!((&told[0]["made_at"], &told[0]["boundary"]), (&json!("at-edge"), &json!("at-mesh")));
    }

    #[test]
    fn nobody_forwards_who_exchanges_or_whom_callers_may_come_to_straight() {
        let both = ["edge", "mesh"];
        let tickets = "https://tickets.internal";
        let first = || exchange("edge", &["o_1"], ORDERS, "j1");
        let mesh = |chain: &[&str]| exchange("mesh", chain, tickets, "j2");
        let in_task = Line {
            task: Some("t".to_owned()),
            ..mesh(&["o_1"])
        };
        let rows: [(&str, &[&str], Vec<Line>); 6] = [
            ("the token that was made for it", &both, vec![first(), mesh(&["o_1", "j1"])]),
            (
                "its own `receives` name the issuer's audience",
                &["edge"],
                vec![first(), mesh(&["o_1"])],
            ),
            ("another token of the same user", &both, vec![first(), mesh(&["o_2"])]),
            ("callers that come to it before", &both, vec![mesh(&["o_1"]), first()]),
            (
                "an exchange for somebody else",
                &both,
                vec![exchange("edge", &["o_1"], tickets, "j1"), mesh(&["o_1"])],
            ),
            ("a task's token, which shows no outside token", &both, vec![first(), in_task]),
        ];
        for (why, at_edge_alone, lines) in rows {
            assert_eq!(found(at_edge_alone, &lines), Vec::<Value>::new(), "{why}");
        }
    }

    #[test]
    fn a_token_shown_by_whom_it_is_not_for_is_told_with_whom_it_was_for() {
        let own = found(
            &["edge"],
            &[exchange("edge", &["o_1"], ORDERS, "j1"), not_for("other", &["o_1", "j1"])],
        );
        assert_eq!(
            (&own[0]["how"], &own[0]["token"], &own[0]["from"]),
            (&json!("refused"), &json!("own"), &json!(["mesh"]))
        );
        assert_eq!((&own[0]["audience"], &own[0]["client"]), (&json!(ORDERS), &json!("other")));
        let outside = found(&["edge"], &[exchange("edge", &["o_1"], ORDERS, "j1"), not_for("mesh", &["o_1"])]);
        assert_eq!((&outside[0]["token"], &outside[0]["from"]), (&json!("outside"), &json!(["edge"])));
        let redeemed = Line {
            task: Some("t".to_owned()),
            ..not_for("other", &["o_1", "j1"])
        };
        assert!(
            found(&[], &[exchange("edge", &["o_1"], ORDERS, "j1"), redeemed]).is_empty(),
            "a task's token tells of the token that the task was opened with"
        );
        let unknown = found(&[], &[not_for("other", &["o_9", "j9"]), not_for("other", &["o_9", "j9"])]);
        assert_eq!(
            (&unknown[0]["from"], &unknown[0]["count"], unknown.len()),
            (&json!([]), &json!(2), 1)
        );
    }

    #[test]
    fn of_more_tokens_than_are_followed_the_oldest_are_let_go_and_counted() {
        let (mut forwarded, addressed) = (Forwarded::default(), addressed(&[]));
        for at in 0..=MOST_TOKENS {
            forwarded.follow(&exchange("edge", &["o_1", "x"], ORDERS, &at.to_string()), &addressed);
        }
        assert_eq!((forwarded.not_followed(), forwarded.tokens.len()), (1, MOST_TOKENS));
        assert!(!forwarded.tokens.contains_key("0"));
    }
}
