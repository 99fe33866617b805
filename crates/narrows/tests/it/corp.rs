//! The identity provider `corp`, as a file of keys that a test signs with.

use std::path::Path;

use serde_json::json;
use testkit::FakeIssuer;

/// Its identifier, as `init` writes it.
const CORP: &str = "https://login.corp.example";

/// A fresh key pair.
pub(crate) fn issuer() -> FakeIssuer {
    FakeIssuer::es256(CORP)
}

/// Makes the installation in `folder` take the keys of `corp` from a file.
pub(crate) fn trust(folder: &Path, corp: &FakeIssuer) {
    std::fs::write(folder.join("corp.jwks.json"), corp.jwks().to_string()).unwrap();
    let config = folder.join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let audiences = "audiences  = [\"api://shop\"]";
    assert!(text.contains(audiences));
    std::fs::write(
        &config,
        text.replace(audiences, &format!("jwks_file = \"corp.jwks.json\"\n{audiences}")),
    )
    .unwrap();
}

/// A token of alice that ends in `life` seconds, which may be over.
pub(crate) fn token(corp: &FakeIssuer, scope: &str, group: &str, life: i64) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(since.as_secs()).unwrap();
    let claims = json!({
        "iss": CORP, "sub": "alice", "aud": "api://shop", "iat": now - 3600, "exp": now + life, "jti": "one",
        "client_id": "web", "scope": scope, "groups": [group],
    });
    corp.sign("at+jwt", &claims)
}
