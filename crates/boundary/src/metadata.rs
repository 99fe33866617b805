//! What a protected resource says about itself (RFC 9728).

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use narrows_guard::hygiene::path::Path;
use serde_json::{Map, Value, json};

use crate::settings::Settings;

/// Where it says so, in front of the resource's path (RFC 9728 §3.1).
pub const PLACE: &str = "/.well-known/oauth-protected-resource";
/// How long it may be kept.
const KEPT: &str = "max-age=300";

/// The address of the metadata of the boundary.
///
/// One for the whole origin: callers need the same token everywhere on it, and no path of a request comes back to anybody.
pub(crate) fn address(settings: &Settings) -> String {
    format!("{}{PLACE}", settings.origin.as_str())
}

/// The path of the resource that `asked` asks the metadata of; `None` if it asks for something else, or for what two programs could
/// read in two ways: it stands in the answer.
fn path(asked: &Parts) -> Option<&str> {
    let path = asked.uri.path().strip_prefix(PLACE)?;
    let reads = matches!(asked.method, Method::GET | Method::HEAD);
    (reads && (path.is_empty() || Path::parse(path).is_ok())).then_some(path)
}

/// The metadata of the resource at a path of the boundary's origin, if that is what is asked for.
pub(crate) fn reply(settings: &Settings, asked: &Parts) -> Option<Response<Body>> {
    let mut response = Response::new(Body::from(of(settings, path(asked)?)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(KEPT));
    Some(response)
}

/// The metadata of the resource at `path` of the boundary's origin (RFC 9728 §2), as JSON; without a path that of the origin itself,
/// which every challenge names.
pub fn of(settings: &Settings, path: &str) -> String {
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
    Value::Object(members).to_string()
}
