//! Where an issuer's keys are, by its own metadata: OpenID Connect Discovery first, then RFC 8414.

use serde::Deserialize;
use url::Url;

use crate::fetcher::{FetchError, Fetcher};

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Url,
}

/// Why no metadata of an issuer was taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    #[error("expected an absolute URL as issuer for discovery")]
    NotAUrl,
    #[error("discovery failed: {openid}; then {oauth}")]
    NotFound { openid: String, oauth: String },
}

/// Finds `jwks_uri`. The document must name exactly `issuer`, or it is somebody else's (RFC 8414 §3.3).
pub(crate) async fn jwks_uri(fetcher: &Fetcher, issuer: &str) -> Result<Url, DiscoveryError> {
    let openid = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let mut oauth = Url::parse(issuer).map_err(|_| DiscoveryError::NotAUrl)?;
    let path = format!("/.well-known/oauth-authorization-server{}", oauth.path().trim_end_matches('/'));
    oauth.set_path(&path);
    let openid = Url::parse(&openid).map_err(|_| DiscoveryError::NotAUrl)?;
    match read(fetcher, issuer, &openid).await {
        Ok(found) => Ok(found),
        Err(first) => read(fetcher, issuer, &oauth).await.map_err(|then| DiscoveryError::NotFound {
            openid: first,
            oauth: then,
        }),
    }
}

async fn read(fetcher: &Fetcher, issuer: &str, at: &Url) -> Result<Url, String> {
    let body = fetcher.get(at).await.map_err(|error: FetchError| error.to_string())?;
    let metadata: Metadata = serde_json::from_slice(&body).map_err(|_| format!("`{at}` holds no metadata with `issuer` and `jwks_uri`"))?;
    if metadata.issuer == issuer {
        Ok(metadata.jwks_uri)
    } else {
        Err(format!("`{at}` names another issuer"))
    }
}
