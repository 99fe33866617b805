//! The truth table: which client may do what.

use std::collections::BTreeMap;
use std::process::ExitCode;

use issuance::policy::{Answer, Policy as _};
use policy_cedar::CedarPolicy;

use super::super::Outcome;
use super::super::output::{say, table};
use super::case::Case;
use crate::config::Loaded;

/// Every client at every audience and action, for a subject in `groups`, after `chain`.
pub(super) fn matrix(loaded: &Loaded, policy: &CedarPolicy, groups: &[String], chain: &[String], json: bool) -> Outcome {
    let snapshot = &loaded.snapshot;
    let issuer = groups
        .first()
        .and_then(|group| group.split_once('|'))
        .and_then(|(name, _)| snapshot.issuer_named(name))
        .or_else(|| snapshot.issuers.values().next());
    let issuer_name = issuer.map_or_else(|| "narrows".to_owned(), |issuer| issuer.name.clone());
    let mut rows = Vec::new();
    for client in snapshot.clients.keys() {
        for audience in snapshot.audiences.values() {
            let closed = audience.clients.as_ref().is_some_and(|clients| !clients.contains(client));
            for declared in audience.detail_types.iter().filter_map(|name| snapshot.types.get(name)) {
                for (action, rule) in &declared.actions {
                    let id = if rule.identifier == delegation::details::IdentifierRule::None {
                        ""
                    } else {
                        "/1"
                    };
                    let case = Case {
                        name: String::new(),
                        client: client.to_string(),
                        subject: format!("{issuer_name}|someone"),
                        groups: groups
                            .iter()
                            .map(|group| group.split_once('|').map_or(group.as_str(), |(_, name)| name).to_owned())
                            .collect(),
                        attributes: BTreeMap::new(),
                        audience: audience.id.to_string(),
                        details: vec![format!("{}:{action}{id}", declared.name)],
                        onward: Vec::new(),
                        scope: Vec::new(),
                        chain: chain.to_vec(),
                        task: None,
                        expires_in: Some(60),
                        now: None,
                        expect: String::new(),
                        rules: None,
                    };
                    // Where the audience is closed to the client, policy is not asked.
                    let (answer, rules) = if closed {
                        ("closed", String::new())
                    } else {
                        let verdict = policy.ask(&case.inquiry(loaded)?);
                        let answer = if verdict.answer == Answer::Allow { "allow" } else { "deny" };
                        (answer, verdict.rules.join(" "))
                    };
                    rows.push(vec![
                        client.to_string(),
                        audience.id.to_string(),
                        format!("{}:{action}", declared.name),
                        answer.to_owned(),
                        rules,
                    ]);
                }
            }
        }
    }
    if json {
        let items: Vec<_> = rows.iter().map(|row| serde_json::json!({ "client": row.first(), "audience": row.get(1), "action": row.get(2), "answer": row.get(3), "rules": row.get(4) })).collect();
        say(serde_json::Value::from(items));
    } else {
        say(format!(
            "for a subject {}{}\n",
            listed("in", groups, "in no group"),
            listed(", after", chain, "")
        ));
        say(table(&["client", "audience", "action", "answer", "rules"], rows));
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(word: &str, names: &[String], none: &str) -> String {
    if names.is_empty() {
        none.to_owned()
    } else {
        format!("{word} {}", names.join(", "))
    }
}
