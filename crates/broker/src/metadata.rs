//! What clients find by themselves: metadata (RFC 8414, AuthZEN 1.0 §9) and keys (RFC 7517).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use delegation::oauth::GrantType;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use issuance::mint::Signer;
use serde_json::{Value, json};

use crate::broker::Broker;

/// The algorithms that client assertions may be signed with.
const ASSERTION_ALGORITHMS: [&str; 6] = ["ES256", "ES384", "EdDSA", "RS256", "PS256", "ES512"];

/// The one profile of the assertion grant that is served (draft-ietf-oauth-identity-assertion-authz-grant §7).
const ID_JAG_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// How clients authenticate; a workload's own token comes in the place of a signed assertion.
const AUTH_METHODS: [&str; 3] = ["private_key_jwt", "client_secret_basic", "client_secret_post"];

/// `GET /.well-known/oauth-authorization-server`: every endpoint that is served, and no other.
pub(crate) async fn authorization_server(State(broker): State<Arc<Broker>>) -> Response {
    let in_force = broker.in_force();
    let issuer = &in_force.snapshot.issuer;
    let base = issuer.trim_end_matches('/');
    let types: Vec<_> = in_force.snapshot.types.iter().map(|declared| declared.name.as_str()).collect();
    let grants = [GrantType::TokenExchange, GrantType::ClientCredentials, GrantType::JwtBearer].map(GrantType::as_str);
    let signing = [broker.signer().current().algorithm.as_str()];
    cacheable(
        "application/json",
        &json!({
            "issuer": issuer,
            "token_endpoint": format!("{base}/oauth2/token"),
            "introspection_endpoint": format!("{base}/oauth2/introspect"),
            "revocation_endpoint": format!("{base}/oauth2/revoke"),
            "jwks_uri": format!("{base}/oauth2/jwks"),
            "grant_types_supported": grants,
            "authorization_grant_profiles_supported": [ID_JAG_PROFILE],
            // Required by RFC 8414, section 2; there is no authorization endpoint to name one for.
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": AUTH_METHODS,
            "token_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
            "introspection_endpoint_auth_methods_supported": AUTH_METHODS,
            "introspection_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
            "introspection_signing_alg_values_supported": signing,
            "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
            "revocation_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
            "authorization_details_types_supported": types,
        }),
    )
}

/// `GET /.well-known/authzen-configuration`: the endpoints that answer questions; there is nothing to search in.
pub(crate) async fn policy_decision_point(State(broker): State<Arc<Broker>>) -> Response {
    let issuer = broker.in_force().snapshot.issuer.clone();
    let base = issuer.trim_end_matches('/');
    cacheable(
        "application/json",
        &json!({
            "policy_decision_point": issuer,
            "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
            "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
        }),
    )
}

/// `GET /oauth2/jwks`: the public keys of everything that is signed.
pub(crate) async fn jwks(State(broker): State<Arc<Broker>>) -> Response {
    cacheable("application/jwk-set+json", &broker.signer().jwks())
}

fn cacheable(media: &'static str, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
