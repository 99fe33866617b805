//! Names of headers that no client may send on, by what they say; one that ends in `-` stands for all that begin so.
//!
//! They are in lower case, with `-` for all that is no letter and no digit. Proxies and middlewares that are told what to take off are told
//! these.

/// Who asks and what was decided, as a guard says it, and the token that goes with it.
pub const OURS: [&str; 2] = ["narrows-", "txn-token"];

/// Another method, path or host than the request has, to one program or another: `SCRIPT_NAME` and `PATH_INFO` are what CGI calls the two
/// halves of a path (RFC 3875 §4.1), and some servers read them from headers.
pub const ANOTHER_REQUEST: [&str; 12] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-rewrite-url",
    "x-original-url",
    "script-name",
    "x-script-name",
    "path-info",
    "path-translated",
    "x-proxycontextpath",
    "x-http-host-override",
    "x-host",
];

/// What a program or the proxy before it is to do: answer with another file or address, or go by a proxy of the client's.
pub const COMMANDS: [&str; 4] = ["x-accel-", "x-sendfile-type", "x-sendfile", "proxy"];

/// Who asks, as a proxy that logs people in tells a program that believes it.
pub const PERSONS: [&str; 24] = [
    "remote-user",
    "remote-groups",
    "remote-name",
    "remote-email",
    "x-remote-user",
    "x-remote-uid",
    "x-remote-group",
    "x-remote-groups",
    "x-remote-extra-",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-webauth-",
    "x-auth-request-",
    "x-ms-client-principal",
    "x-ms-client-principal-",
    "x-goog-authenticated-user-",
    "x-amzn-oidc-identity",
    "cf-access-authenticated-user-email",
    "tailscale-user-",
    "x-authenticated-user",
    "x-authenticated-userid",
];

/// The certificate that a client showed to a proxy (`Client-Cert` is RFC 9440).
pub const CERTIFICATES: [&str; 9] = [
    "client-cert",
    "client-cert-",
    "x-client-cert",
    "x-client-cert-",
    "x-ssl-client-",
    "ssl-client-",
    "x-arr-clientcert",
    "x-amzn-mtls-clientcert-",
    "x-forwarded-client-cert",
];

/// What a proxy says of itself and of what it saw.
pub const OF_PROXIES: [&str; 5] = ["forwarded", "proxy-authorization", "x-forwarded-", "x-original-", "x-envoy-"];

/// The client's address, in which one product or another tells it, so that some program believes it from anybody.
///
/// The own proxy says it in `X-Forwarded-For` alone, and Envoy in names of its own. A proxy that asks by `forward_auth` may set any of
/// these itself, as Traefik does, or stand behind somebody who does: there they stay.
pub const ADDRESSES: [&str; 12] = [
    "x-real-ip",
    "true-client-ip",
    "client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "fly-client-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
];

/// Whether `folded` is one of `names`, or of one of their families.
pub(super) fn is_any(folded: &str, names: &[&str]) -> bool {
    let is = |name: &&str| match name.strip_suffix('-') {
        Some(stem) => folded == stem || folded.starts_with(*name),
        None => folded == *name,
    };
    names.iter().any(is)
}
