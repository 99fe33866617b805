//! `introspection`: the one issuer whose opaque tokens are taken.

use fetch::Introspection;

use super::file::File;
use super::issuers::issuer_url;
use super::problem::Problems;

/// The endpoint, if an issuer has one. An opaque token does not say who issued it, so at most one may.
pub(super) fn build(file: &File, problems: &mut Problems) -> Option<Introspection> {
    let mut built: Option<Introspection> = None;
    for (at, issuer) in file.trusted_issuers.iter().enumerate() {
        let Some(entry) = &issuer.introspection else { continue };
        let path = format!("trusted_issuers[{at}].introspection");
        if let Some(first) = &built {
            problems.add(
                &path,
                format!(
                    "`{}` has one already, and an opaque token does not say whose it is; keep one",
                    first.name
                ),
            );
        }
        let taken = issuer.token_types.as_ref().is_none_or(|types| types.iter().any(|word| word == "access_token"));
        if !taken {
            problems.add(
                &path,
                "opaque tokens are access tokens; add access_token to `token_types`".to_owned(),
            );
        }
        for (key, value) in [("client_id", &entry.client_id), ("client_secret", &entry.client_secret)] {
            if value.is_empty() {
                problems.add(&format!("{path}.{key}"), "is empty; the issuer has to know who asks".to_owned());
            }
        }
        match issuer_url(&entry.url) {
            Some(url) => {
                built.get_or_insert_with(|| Introspection {
                    name: issuer.name.clone(),
                    issuer: issuer.issuer.clone(),
                    url,
                    client_id: entry.client_id.clone(),
                    client_secret: entry.client_secret.trim_end().to_owned(),
                });
            }
            None => problems.add(&format!("{path}.url"), format!("expected an https URL, found `{}`", entry.url)),
        }
    }
    built
}
