//! One question as it came (AuthZEN 1.0 §5, §6).

use issuance::evaluation::{About, StatedAction, StatedParty, Statement};
use serde_json::{Map, Value};

use super::super::problem::Problem;
use super::super::question::{Asker, Question, circumstances, object, optional_text, text};

/// Reads the question of `asker`. Members that are not known mean nothing; one that is known and malformed is no question.
pub(super) fn read(question: &Map<String, Value>, asker: &Asker) -> Result<Question, Problem> {
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
    let (client, seen) = asker.client(context)?;
    Ok(Question {
        client,
        statement: Statement {
            subject: StatedParty {
                kind: text(subject, "type")?,
                id: text(subject, "id")?,
                issuer,
                properties: subject_properties,
            },
            about: About::Action(StatedAction {
                action: text(action, "name")?,
                action_properties: object(action, "properties")?.cloned().unwrap_or_default(),
                kind: text(resource, "type")?,
                identifier: text(resource, "id")?,
                resource_properties,
                audience,
            }),
            circumstances: circumstances(context, seen)?,
        },
    })
}

/// An entity that must be there.
fn entity<'q>(question: &'q Map<String, Value>, name: &str) -> Result<&'q Map<String, Value>, Problem> {
    object(question, name)?.ok_or(Problem::Malformed("`subject`, `action` and `resource` are required"))
}
