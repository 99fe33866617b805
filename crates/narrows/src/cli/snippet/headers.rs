//! Headers that a proxy takes off a client's request. What it leaves, its door takes off or refuses.

use narrows_guard::hygiene::names::{ANOTHER_REQUEST, CERTIFICATES, COMMANDS, OF_PROXIES, OURS, PERSONS};

/// Headers of a client that go no further, by what they say. Of ours `Txn-Token` is none: each proxy is told by itself to take it from us
/// alone.
fn all() -> impl Iterator<Item = &'static str> {
    let ours = OURS.into_iter().filter(|name| *name != "txn-token");
    let others = ANOTHER_REQUEST.into_iter().chain(COMMANDS).chain(PERSONS).chain(CERTIFICATES);
    ours.chain(OF_PROXIES).chain(others)
}

/// Families of which none goes further, each by how its members begin.
pub(super) fn families() -> impl Iterator<Item = &'static str> {
    all().filter(|name| name.ends_with('-'))
}

/// Headers that go no further and belong to no family.
pub(super) fn stripped() -> impl Iterator<Item = &'static str> {
    all().filter(|name| !families().any(|family| name.starts_with(family)))
}

/// What Envoy does not overwrite, and the door takes for the proxy's own.
pub(super) const UNSAID: [&str; 8] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-original-method",
    "x-original-uri",
];

/// Of families that go no further, the members that are met: for proxies that take off headers by their whole name alone.
pub(super) const MEMBERS: [&str; 48] = [
    "narrows-subject",
    "narrows-issuer",
    "narrows-actor",
    "narrows-task",
    "narrows-status",
    "narrows-decision",
    "x-forwarded",
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-forwarded-prefix",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-by",
    "x-forwarded-ssl",
    "x-forwarded-scheme",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-original-url",
    "x-original-host",
    "x-original-path",
    "x-envoy-original-path",
    "x-envoy-external-address",
    "x-accel-mapping",
    "x-accel-redirect",
    "x-webauth-user",
    "x-webauth-email",
    "x-webauth-groups",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-access-token",
    "x-ms-client-principal-id",
    "x-ms-client-principal-name",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "tailscale-user-login",
    "client-cert-chain",
    "x-ssl-client-cert",
    "x-ssl-client-verify",
    "x-ssl-client-s-dn",
    "ssl-client-cert",
    "ssl-client-verify",
];

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use http::HeaderName;
    use narrows_guard::hygiene::headers::{ProxyHeaders, removed};

    use super::{MEMBERS, families, stripped};

    #[test]
    fn what_is_taken_off_is_what_a_door_takes_off() {
        let is_removed = |name: &str| removed(&HeaderName::from_bytes(name.as_bytes()).unwrap(), ProxyHeaders::Removed);
        for name in stripped().chain(MEMBERS) {
            assert!(is_removed(name), "{name}");
        }
        for family in families() {
            assert!(is_removed(&format!("{family}any")), "{family}");
        }
        // By its name alone, or as one of a family.
        for name in ["script-name", "path-info", "remote-user", "proxy", "client-cert"] {
            assert!(stripped().any(|each| each == name), "{name}");
        }
        for family in ["x-accel-", "x-ssl-client-", "x-webauth-", "x-auth-request-"] {
            assert!(families().any(|each| each == family), "{family}");
            assert!(MEMBERS.iter().any(|member| member.starts_with(family)), "{family}");
        }
    }
}
