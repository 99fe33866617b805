//! Workloads that are known by a name alone: whoever takes the name next would be the client.

use delegation::registry::Profile;

use super::file::{Auth, File};
use super::problem::{Problem, Problems};

/// A warning for each `workload_jwt` of a platform that also gives ids, where no id is asked for.
pub(super) fn check(file: &File, problems: &Problems) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (at, client) in file.clients.iter().enumerate() {
        for auth in client.auth.as_slice().iter().filter(|auth| auth.method == "workload_jwt") {
            let issuer = file.trusted_issuers.iter().find(|issuer| Some(&issuer.name) == auth.issuer.as_ref());
            let profile = issuer.and_then(|issuer| issuer.profile.as_deref()).and_then(Profile::parse);
            if let Some(claim) = missing(auth, profile) {
                let message = format!(
                    "is known by a name alone, and a name can be taken by another; add claims = {{ \"{claim}\" = \"…\" }}, \
                     whose value `narrows inspect` shows of a token"
                );
                warnings.push(problems.at(&format!("clients[{at}].auth"), message));
            }
        }
    }
    warnings
}

/// The claim that would tell the workload from a later one of its name.
fn missing(auth: &Auth, profile: Option<Profile>) -> Option<&'static str> {
    let names = |claim: &str| auth.claims.contains_key(claim);
    match profile? {
        Profile::Kubernetes if !names("kubernetes.io.serviceaccount.uid") => Some("kubernetes.io.serviceaccount.uid"),
        Profile::Github if !names("repository_id") && !auth.subject.as_deref().is_some_and(holds_ids) => Some("repository_id"),
        _ => None,
    }
}

/// Whether a subject of GitHub Actions is of the form that holds ids: `repo:OWNER@ID/NAME@ID:…`; no name has an `@`.
fn holds_ids(subject: &str) -> bool {
    let repository = subject.strip_prefix("repo:").and_then(|rest| rest.split(':').next()).unwrap_or_default();
    let with_id = |name: &str| {
        let id = name.split_once('@').map(|(_, id)| id).unwrap_or_default();
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())
    };
    repository.split_once('/').is_some_and(|(owner, name)| with_id(owner) && with_id(name))
}
