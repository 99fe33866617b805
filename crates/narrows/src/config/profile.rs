//! Presets by the kind of issuer; what an entry says itself wins.

use delegation::registry::Profile;

/// What an entry that is silent gets.
pub(super) struct Presets {
    pub(super) algorithms: &'static [&'static str],
    pub(super) token_types: &'static [&'static str],
    pub(super) typ: &'static [&'static str],
    pub(super) scope_claim: &'static str,
    pub(super) client_claims: &'static [&'static str],
    pub(super) subject: &'static str,
}

const CLIENTS: &[&str] = &["azp", "client_id", "cid", "appid"];

/// The presets of `profile`.
pub(super) fn presets(profile: Option<Profile>) -> Presets {
    let plain = Presets {
        algorithms: &["RS256", "ES256"],
        token_types: &["access_token", "id_token"],
        typ: &["at+jwt"],
        scope_claim: "scope",
        client_claims: CLIENTS,
        subject: "user",
    };
    match profile {
        None | Some(Profile::Rfc9068) => plain,
        // No `typ` in Okta's access tokens, and scopes as an array.
        Some(Profile::Okta) => Presets {
            typ: &["at+jwt", "JWT", ""],
            scope_claim: "scp",
            client_claims: &["cid"],
            ..plain
        },
        // Version 1 names the client `appid`, version 2 `azp`.
        Some(Profile::Entra) => Presets {
            typ: &["JWT"],
            scope_claim: "scp",
            client_claims: &["azp", "appid"],
            ..plain
        },
        // `at+jwt` and `client_id` where the API's token profile is RFC 9068.
        Some(Profile::Auth0) => Presets {
            typ: &["at+jwt", "JWT"],
            client_claims: &["azp", "client_id"],
            ..plain
        },
        Some(Profile::Cognito) => Presets {
            typ: &["JWT", ""],
            client_claims: &["client_id"],
            ..plain
        },
        Some(Profile::Keycloak) => Presets {
            typ: &["at+jwt", "JWT"],
            client_claims: &["azp"],
            ..plain
        },
        // Google's access tokens are opaque, and known to Google alone.
        Some(Profile::Google) => Presets {
            token_types: &["id_token"],
            typ: &["JWT"],
            client_claims: &["azp"],
            ..plain
        },
        // Tokens of workloads are shaped like id_tokens: there is no scope and no client in them.
        Some(Profile::Kubernetes) => Presets {
            token_types: &["id_token", "jwt"],
            typ: &["JWT", ""],
            subject: "workload",
            ..plain
        },
        Some(Profile::Github) => Presets {
            token_types: &["id_token", "jwt"],
            typ: &["JWT"],
            subject: "workload",
            ..plain
        },
    }
}
