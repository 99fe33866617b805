//! The shape of `narrows.toml`: names and types as they are written, before anything is checked.
//!
//! The comments are what `narrows check --schema` says about each key.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::either::{Actions, OneOrMany, Receives, Rule};

/// The configuration of a broker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    /// `iss` of all that is signed, and the audience of client assertions.
    pub(crate) issuer: Option<String>,
    /// Where requests are served.
    pub(crate) listen: Option<String>,
    /// `sqlite:PATH` or `postgres://USER@HOST/DATABASE`.
    pub(crate) store: Option<String>,
    /// Patterns of Cedar files.
    pub(crate) policies: Option<Vec<String>>,
    /// Patterns of files that are joined with this one; followed before the shape is read, so it is empty here.
    pub(crate) include: Option<OneOrMany<String>>,
    /// Encrypts signing keys in the store; of a list the first encrypts and all decrypt.
    pub(crate) key_file: Option<OneOrMany<String>>,
    /// Where metrics are served, if not on `listen`.
    pub(crate) metrics_listen: Option<String>,
    /// TLS of `listen` and `metrics_listen`.
    pub(crate) tls: Option<Tls>,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) tasks: Option<Tasks>,
    pub(crate) limits: Option<Limits>,
    pub(crate) revocation: Option<Revocation>,
    pub(crate) trusted_issuers: Vec<TrustedIssuer>,
    pub(crate) clients: Vec<Client>,
    pub(crate) audiences: Vec<Audience>,
    pub(crate) detail_types: Vec<DetailType>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) fetch: Option<Fetch>,
    pub(crate) policy: Option<Policy>,
    pub(crate) keys: Option<Keys>,
    pub(crate) services: Vec<Service>,
    pub(crate) boundaries: Vec<Boundary>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) mcp: Vec<Mcp>,
    pub(crate) guards: Vec<Guard>,
    pub(crate) broker: Option<Remote>,
    pub(crate) exceptions: Option<Exceptions>,
    pub(crate) notify: Option<Notify>,
    pub(crate) audit: Option<Audit>,
    pub(crate) operators: Vec<Operator>,
}

/// TLS of a listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The certificate and its chain, in PEM.
    pub(crate) cert_file: String,
    /// Its private key, in PEM.
    pub(crate) key_file: String,
    /// Authorities, in PEM: a peer must show a certificate that one of them signed.
    pub(crate) client_ca_file: Option<String>,
}

/// TLS to an upstream.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UpstreamTls {
    /// Authorities, in PEM: one of them signed the upstream's certificate; those of the system.
    pub(crate) ca_file: Option<String>,
    /// The certificate that is shown to the upstream, and its chain, in PEM.
    pub(crate) cert_file: Option<String>,
    /// Its private key, in PEM.
    pub(crate) key_file: Option<String>,
}

/// Lifetimes, algorithm and chain of issued tokens.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tokens {
    /// When the request does not say; 5m.
    pub(crate) lifetime: Option<String>,
    /// No token lives longer; 10m.
    pub(crate) max_lifetime: Option<String>,
    /// ES256, EdDSA, RS256 or PS256.
    pub(crate) algorithm: Option<String>,
    /// The most levels of `act`; 8.
    pub(crate) max_chain: Option<usize>,
}

/// Lifetimes of tasks.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tasks {
    /// No task lives longer; 1h.
    pub(crate) max_lifetime: Option<String>,
    /// No task for later work lives longer; 24h.
    pub(crate) deferred_max_lifetime: Option<String>,
    /// No token of a task for later work lives longer; 60s.
    pub(crate) deferred_token_lifetime: Option<String>,
}

/// What a broker takes at a time.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) requests_per_second: Option<Rates>,
    /// The largest form; 64KiB.
    pub(crate) body: Option<String>,
    /// The most connections; 10000.
    pub(crate) connections: Option<usize>,
}

/// Requests in a second.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rates {
    pub(crate) per_client: Option<u32>,
    pub(crate) per_address: Option<u32>,
}

/// Revocation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Revocation {
    pub(crate) max_age: Option<String>,
}

/// An issuer whose tokens are evidence.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustedIssuer {
    pub(crate) name: String,
    /// `iss`, byte for byte.
    pub(crate) issuer: String,
    pub(crate) jwks_file: Option<String>,
    pub(crate) jwks_uri: Option<String>,
    /// Presets of what follows.
    pub(crate) profile: Option<String>,
    pub(crate) algorithms: Option<Vec<String>>,
    pub(crate) token_types: Option<Vec<String>>,
    /// `user` or `workload`.
    pub(crate) subject: Option<String>,
    pub(crate) sub_prefix: Option<String>,
    /// `scope` or `policy`.
    pub(crate) authority: Option<String>,
    pub(crate) audiences: Option<Vec<String>>,
    pub(crate) exchangers: Option<Vec<String>>,
    pub(crate) typ: Option<Vec<String>>,
    pub(crate) scope_claim: Option<String>,
    pub(crate) client_claims: Option<Vec<String>>,
    pub(crate) attributes: Option<BTreeMap<String, String>>,
    /// For opaque tokens; one issuer at most.
    pub(crate) introspection: Option<Introspection>,
    pub(crate) leeway: Option<String>,
    /// `keep`: not built yet.
    pub(crate) act: Option<String>,
    /// `ceiling`: not built yet.
    pub(crate) details: Option<String>,
}

/// Where an issuer answers about its opaque tokens, and who we are there.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Introspection {
    pub(crate) url: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

/// A client.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) receives: Vec<Receives>,
    #[serde(default)]
    pub(crate) delegates: Vec<String>,
    pub(crate) grants: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, Value>,
    pub(crate) owner: Option<String>,
    /// Its last day, as `2027-06-30`.
    pub(crate) ends: Option<String>,
    #[serde(default)]
    pub(crate) data_plane: bool,
    pub(crate) auth: OneOrMany<Auth>,
}

/// How a client authenticates.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) method: String,
    pub(crate) jwks_file: Option<String>,
    pub(crate) jwks_uri: Option<String>,
    pub(crate) secret_sha256: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    #[serde(default)]
    pub(crate) claims: BTreeMap<String, Value>,
    pub(crate) san_uri: Option<String>,
    /// When this way stops to be taken, as `2027-06-30`.
    pub(crate) until: Option<String>,
}

/// An audience.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Audience {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) details: Vec<String>,
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    pub(crate) clients: Option<Vec<String>>,
    pub(crate) max_lifetime: Option<String>,
    pub(crate) token: Option<String>,
    #[serde(default)]
    pub(crate) claims: Vec<String>,
    pub(crate) sender: Option<String>,
    #[serde(default)]
    pub(crate) single_use: bool,
    pub(crate) on_duplicate: Option<String>,
    #[serde(default)]
    pub(crate) defaults: Vec<String>,
}

/// A type of details.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetailType {
    #[serde(rename = "type")]
    pub(crate) name: String,
    /// Its name in policy; needed where `type` is a URI.
    pub(crate) entity: Option<String>,
    pub(crate) actions: Actions,
    /// For the short form of `actions`: `required`, `optional` or `none`.
    pub(crate) identifier: Option<String>,
    #[serde(default)]
    pub(crate) constraints: BTreeMap<String, String>,
}

/// One action.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Action {
    pub(crate) identifier: Option<String>,
    pub(crate) constraints: Vec<String>,
}

/// What a scope of an outside token amounts to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scope {
    pub(crate) name: String,
    pub(crate) details: Vec<String>,
}

/// Outbound requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fetch {
    pub(crate) allow_private: Option<Vec<String>>,
}

/// Policy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Policy {
    pub(crate) timezone: Option<String>,
    pub(crate) shadow: Option<Vec<String>>,
}

/// Signing keys.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Keys {
    pub(crate) rotate_every: Option<String>,
    pub(crate) publish_before: Option<String>,
}

/// A service behind a boundary or guard.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) upstream: Option<String>,
    pub(crate) upstream_tls: Option<UpstreamTls>,
    pub(crate) audience: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) observe_until: Option<String>,
    #[serde(default)]
    pub(crate) routes: BTreeMap<String, Rule>,
}

/// A route or a tool, written out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RouteRule {
    /// A detail in short form, with `{…}` for values of the request.
    pub(crate) detail: Option<String>,
    pub(crate) scope: Option<String>,
    /// Details that are needed at later hops.
    pub(crate) onward: Vec<String>,
    /// Its name; the key, if there is none.
    pub(crate) name: Option<String>,
    pub(crate) connection: Option<String>,
    pub(crate) stream: bool,
    pub(crate) upgrade: Option<String>,
    pub(crate) body_max: Option<String>,
    pub(crate) max_auth_age: Option<String>,
    pub(crate) acr: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) body_rest: Option<String>,
    pub(crate) query_rest: Option<String>,
    /// Members that may come besides those that are read.
    pub(crate) only: Vec<String>,
    /// Constraints that a token may bound less than this request needs.
    pub(crate) wider: Vec<String>,
}

/// A front door.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Boundary {
    pub(crate) name: String,
    pub(crate) client: Option<String>,
    pub(crate) services: Option<OneOrMany<String>>,
    pub(crate) origin: Option<String>,
    pub(crate) proxy: Option<String>,
    pub(crate) ext_authz_grpc: Option<String>,
    pub(crate) ext_authz_http: Option<String>,
    pub(crate) forward_auth: Option<String>,
    pub(crate) peers: Option<Vec<String>>,
    pub(crate) trusted_proxies: Option<Vec<String>>,
    pub(crate) forwarded: Option<String>,
    pub(crate) login: Option<Vec<String>>,
    pub(crate) mode: Option<String>,
    pub(crate) observe_until: Option<String>,
    pub(crate) tls: Option<Tls>,
}

/// An upstream credential.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    pub(crate) name: String,
    pub(crate) kind: Option<String>,
    /// Whose it is: `all` (one for everybody), `client` or `user`.
    pub(crate) per: Option<String>,
    pub(crate) send: Option<SendTo>,
}

/// Where an upstream credential goes, and in what.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendTo {
    /// Scheme, host and port, and nothing behind them: it goes nowhere else.
    pub(crate) origin: String,
    /// The header that it goes in.
    pub(crate) header: String,
    /// The header's value, with `{}` for the credential; `{}` alone.
    #[serde(rename = "as")]
    pub(crate) form: Option<String>,
}

/// An MCP server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mcp {
    pub(crate) name: String,
    pub(crate) boundary: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) audience: Option<String>,
    #[serde(default)]
    pub(crate) tools: BTreeMap<String, Rule>,
}

/// A guard before a backend.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guard {
    /// The service whose backend it stands before.
    pub(crate) service: String,
    /// Its own identity at the broker, which receives the service's audience.
    pub(crate) client: Option<String>,
    /// Where requests come in.
    pub(crate) listen: Option<String>,
    /// What a token may hold beyond its request: `none`, `same_resource` or `any`; same_resource.
    pub(crate) excess: Option<String>,
    /// What the backend gets to know of the caller: `token`, `identity` or `nothing`; identity.
    pub(crate) forward: Option<String>,
    /// Values of `equal` constraints that the request cannot name.
    pub(crate) fixed: Option<BTreeMap<String, Value>>,
    /// `each` asks policy again for every request; never.
    pub(crate) recheck: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) observe_until: Option<String>,
    /// Whether nobody but the guard can reach the backend, though it is not on this machine.
    pub(crate) trust_network: Option<bool>,
    pub(crate) tls: Option<Tls>,
}

/// A broker in another process.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Remote {
    pub(crate) urls: Option<Vec<String>>,
    pub(crate) client: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) deadline: Option<String>,
}

/// Exceptions.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Exceptions {
    pub(crate) max_days: Option<u32>,
    pub(crate) on_overdue: Option<String>,
    pub(crate) break_glass: Option<Value>,
}

/// Who is told.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Notify {
    pub(crate) webhook: Option<Value>,
    pub(crate) smtp: Option<Value>,
}

/// The log outside the store.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    pub(crate) checkpoints: Option<Vec<String>>,
    pub(crate) export: Option<Vec<Value>>,
}

/// People who may decide.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operator {
    pub(crate) issuer: String,
    pub(crate) group: String,
    pub(crate) roles: Vec<String>,
}
