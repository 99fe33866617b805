//! What a protected resource says about itself (RFC 9728).

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde_json::{Map, Value, json};

use crate::settings::Settings;

/// Where it says so, in front of the resource's path (RFC 9728 §3.1).
pub(crate) const PLACE: &str = "/.well-known/oauth-protected-resource";

/// The address of the metadata of the boundary.
///
/// One for the whole origin: callers need the same token everywhere on it, and no path of a request comes back to anybody.
pub(crate) fn address(settings: &Settings) -> String {
    format!("{}{PLACE}", settings.origin.as_str())
}

/// The path of the resource that `path` asks the metadata of; `None` if it asks for something else.
pub(crate) fn asked(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(PLACE)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The metadata of the resource at `path` of the boundary's origin.
pub(crate) fn reply(settings: &Settings, path: &str) -> Response<Body> {
    let mut members = Map::new();
    members.insert("resource".to_owned(), json!(format!("{}{path}", settings.origin.as_str())));
    let lists = [
        ("authorization_servers", &settings.login),
        ("scopes_supported", &settings.scopes),
        ("authorization_details_types_supported", &settings.detail_types),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        members.insert(name.to_owned(), json!(list));
    }
    members.insert("bearer_methods_supported".to_owned(), json!(["header"]));
    let mut response = Response::new(Body::from(Value::Object(members).to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}
