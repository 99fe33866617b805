//! `GET /v1/openapi.json`: what is served here and by AuthZEN's door, in OpenAPI 3.1, for anybody.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::call::reply;
use crate::broker::Broker;

/// Everything but where the broker is. A test compares it with what is served.
const DOCUMENT: &str = include_str!("openapi.json");

/// Gives the document, with this broker's address.
pub(crate) async fn show(State(broker): State<Arc<Broker>>) -> Response {
    let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    if let Some(members) = document.as_object_mut() {
        let url = broker.in_force().snapshot.issuer.trim_end_matches('/').to_owned();
        members.insert("servers".to_owned(), json!([{ "url": url }]));
    }
    reply(StatusCode::OK, &document)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeSet;

    use delegation::revocation::MarkKind;
    use serde_json::Value;

    use super::super::problem::Problem;
    use super::super::{authzen, endpoints};
    use super::DOCUMENT;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn words(list: &Value) -> BTreeSet<&str> {
        list.as_array().unwrap().iter().filter_map(Value::as_str).collect()
    }

    #[test]
    fn the_document_describes_what_is_served_and_nothing_else() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, operations)| {
                operations
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let under = |prefix: &'static str| move |(method, path, _): (&str, &str, _)| format!("{method} {prefix}{path}");
        let questions = authzen::endpoints().into_iter().map(under("/access/v1"));
        let served: BTreeSet<_> = endpoints().into_iter().map(under("/v1")).chain(questions).collect();
        assert_eq!(described, served);
    }

    #[test]
    fn every_operation_has_its_own_name_and_every_reference_leads_somewhere() {
        let document = document();
        let mut names = BTreeSet::new();
        for operations in document["paths"].as_object().unwrap().values() {
            for operation in operations.as_object().unwrap().values() {
                assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()));
                assert!(operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with('2')));
            }
        }
        let references: Vec<_> = DOCUMENT.split("\"$ref\": \"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() > 20);
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn its_lists_of_words_are_ours() {
        let document = document();
        let kinds: BTreeSet<_> = MarkKind::ALL.into_iter().map(|(word, _)| word).collect();
        assert_eq!(
            words(&document["components"]["schemas"]["Revocation"]["properties"]["kind"]["enum"]),
            kinds
        );
        let reasons: BTreeSet<_> = Problem::ALL.into_iter().map(Problem::reason).collect();
        assert_eq!(
            words(&document["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"]),
            reasons
        );
        let forms = document["paths"]["/v1/revocations"]["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"].clone();
        let forms: BTreeSet<_> = forms.as_array().unwrap().iter().map(|form| form["title"].as_str().unwrap().to_owned()).collect();
        let may_be_named = kinds.into_iter().filter(|kind| *kind != "restore").map(str::to_owned).collect();
        assert_eq!(forms, may_be_named);
    }
}
