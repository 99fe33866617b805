//! Headers that a proxy takes off a client's request. What it leaves, its door takes off or refuses.

/// Headers of a client that go no further. `Txn-Token` is none of them: each proxy is told by itself to take it from us alone.
pub(super) const STRIPPED: [&str; 6] = [
    "Forwarded",
    "Proxy-Authorization",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
];

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
pub(super) const MEMBERS: [&str; 22] = [
    "Narrows-Subject",
    "Narrows-Issuer",
    "Narrows-Actor",
    "Narrows-Task",
    "Narrows-Status",
    "Narrows-Decision",
    "X-Forwarded",
    "X-Forwarded-Method",
    "X-Forwarded-Uri",
    "X-Forwarded-Prefix",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-By",
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "X-Forwarded-User",
    "X-Forwarded-Client-Cert",
    "X-Original-URL",
    "X-Original-Host",
    "X-Original-Path",
    "X-Envoy-Original-Path",
    "X-Envoy-External-Address",
];
