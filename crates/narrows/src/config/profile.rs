//! Presets by the kind of issuer; what an entry says itself wins.

use delegation::registry::Profile;

/// What an entry that is silent gets.
pub(super) struct Presets {
    pub(super) typ: &'static [&'static str],
    pub(super) scope_claim: &'static str,
    pub(super) client_claims: &'static [&'static str],
    pub(super) subject: &'static str,
}

const CLIENTS: &[&str] = &["azp", "client_id", "cid", "appid"];

/// The presets of `profile`.
pub(super) fn presets(profile: Option<Profile>) -> Presets {
    let plain = Presets {
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
        Some(Profile::Entra) => Presets {
            typ: &["JWT"],
            scope_claim: "scp",
            client_claims: &["azp", "appid"],
            ..plain
        },
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
        Some(Profile::Google) => Presets {
            typ: &["JWT"],
            client_claims: &["azp"],
            ..plain
        },
        Some(Profile::Kubernetes | Profile::Github) => Presets {
            typ: &["JWT", ""],
            subject: "workload",
            ..plain
        },
    }
}
