//! `[[detail_types]]`: actions, identifiers, constraints, and the name in policy.

use std::collections::{BTreeMap, BTreeSet};

use delegation::details::{ActionRule, ConstraintOrder, DetailType, DetailTypes, IdentifierRule};

use super::either::Actions;
use super::file::{Action, File};
use super::problem::Problems;

/// Words that Cedar keeps for itself.
const RESERVED: [&str; 9] = ["True", "False", "If", "Then", "Else", "In", "Is", "Like", "Has"];

/// Every declared type that is right.
pub(super) fn build(file: &File, problems: &mut Problems) -> DetailTypes {
    let mut built: Vec<DetailType> = Vec::new();
    for (at, declared) in file.detail_types.iter().enumerate() {
        let path = format!("detail_types[{at}]");
        if declared.name.is_empty() {
            problems.add(&format!("{path}.type"), "is empty".to_owned());
        }
        // What is said of a second one would only repeat that there are two.
        if let Some(other) = built.iter().position(|other| other.name == declared.name) {
            problems.add_twice(&format!("{path}.type"), &format!("detail_types[{other}].type"), &declared.name);
            continue;
        }
        let mut constraints = BTreeMap::new();
        for (name, order) in &declared.constraints {
            match ConstraintOrder::parse(order) {
                Some(order) if !matches!(name.as_str(), "type" | "actions" | "identifier" | "locations") => {
                    constraints.insert(name.clone(), order);
                }
                Some(_) => problems.add(
                    &format!("{path}.constraints.{name}"),
                    "is a member that every detail has; use another name".to_owned(),
                ),
                None => problems.add(
                    &format!("{path}.constraints.{name}"),
                    format!("expected equal, subset, at_most, prefix or one_of, found `{order}`"),
                ),
            }
        }
        let table = match &declared.actions {
            Actions::Table(table) => table.clone(),
            Actions::List(names) => {
                let action = Action {
                    identifier: declared.identifier.clone(),
                    constraints: constraints.keys().cloned().collect(),
                };
                names.iter().map(|name| (name.clone(), action.clone())).collect()
            }
        };
        if table.is_empty() {
            problems.add(&format!("{path}.actions"), "names no action".to_owned());
        }
        let mut actions = BTreeMap::new();
        for (name, action) in table {
            let identifier = match action.identifier.as_deref() {
                None | Some("required") => IdentifierRule::Required,
                Some("optional") => IdentifierRule::Optional,
                Some("none") => IdentifierRule::None,
                Some(other) => {
                    problems.add(
                        &format!("{path}.actions.{name}"),
                        format!("`identifier`: expected required, optional or none, found `{other}`"),
                    );
                    IdentifierRule::Required
                }
            };
            for constraint in action.constraints.iter().filter(|constraint| !constraints.contains_key(*constraint)) {
                problems.add(
                    &format!("{path}.actions.{name}"),
                    format!("uses constraint `{constraint}`, which is not among `constraints`; give it an order there"),
                );
            }
            actions.insert(
                name,
                ActionRule {
                    identifier,
                    constraints: action.constraints.into_iter().collect::<BTreeSet<_>>(),
                },
            );
        }
        let entity = declared.entity.clone().or_else(|| entity_name(&declared.name)).unwrap_or_default();
        let named = entity.starts_with(|first: char| first.is_ascii_uppercase())
            && entity.chars().all(|each| each.is_ascii_alphanumeric() || each == '_');
        if !named || RESERVED.contains(&entity.as_str()) || !policy_cedar::is_detail_entity(&entity) {
            problems.add(
                &path,
                format!(
                    "`{}` makes no name for policy; add `entity = \"Name\"`",
                    declared.entity.as_ref().unwrap_or(&declared.name)
                ),
            );
        } else if let Some(other) = built.iter().find(|other| other.entity == entity) {
            problems.add(
                &path,
                format!(
                    "is `Detail::{entity}` in policy like `{}`; give one of them an `entity`",
                    other.name
                ),
            );
        }
        built.push(DetailType {
            name: declared.name.clone(),
            entity,
            actions,
            constraints,
        });
    }
    built.into_iter().collect()
}

/// The type's name in UpperCamelCase, if it is made of lower-case words.
fn entity_name(name: &str) -> Option<String> {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let upper = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
            .unwrap_or_default()
    };
    plain.then(|| name.split('_').map(upper).collect())
}
