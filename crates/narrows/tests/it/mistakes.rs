//! What is wrong in the configuration with every key: its key, and how to mend it.

use std::path::Path;

use crate::every_key::installation;
use crate::run::narrows;

/// Checks the configuration with `from` replaced by `to`.
fn checked(folder: &Path, from: &str, to: &str) -> String {
    let text = include_str!("every_key.toml");
    assert!(text.contains(from), "`{from}` is in the configuration");
    std::fs::write(folder.join("narrows.toml"), text.replacen(from, to, 1)).unwrap();
    let ran = narrows(folder, &["check"], "");
    assert_eq!(ran.code, 1, "{to}: {}{}", ran.out, ran.err);
    ran.out
}

#[test]
fn every_mistake_has_its_key_and_its_mend() {
    let folder = installation();
    let upstream_tls = "ca_file = \"ca.pem\", cert_file = \"backend.crt\", key_file = \"backend.key\"";
    let rows = [
        // keys and types
        (
            "max_age = ",
            "max_aeg = ",
            "revocation.max_aeg: unknown key; did you mean `max_age`?",
        ),
        (
            "connections         = 500",
            "connections = \"500\"",
            "limits.connections: expected a whole number, found a string",
        ),
        ("name    = \"parcels\"\ndetails", "details", "scopes[0].name: is required"),
        (
            "jwks_uri = \"https://parcels.internal/keys\"",
            "jwks = \"x\"",
            "clients[2].auth.jwks: unknown key",
        ),
        (
            "{ method = \"private_key_jwt\", jwks_file = \"edge.jwks.json\" },",
            "{ metod = \"none\" },",
            "clients[0].auth[0].metod: unknown key",
        ),
        (
            "audience = \"shop-front\" }",
            "aud = \"x\" }",
            "clients[0].receives[1].aud: unknown key",
        ),
        // the broker itself
        (
            "algorithm    = \"EdDSA\"",
            "algorithm = \"HS256\"",
            "tokens.algorithm: expected ES256, EdDSA, RS256 or PS256",
        ),
        ("max_chain    = 4", "max_chain = 0", "tokens.max_chain: expected 1 to 32"),
        (
            "max_lifetime = \"4m\"",
            "max_lifetime = \"8d\"",
            "tokens.max_lifetime: no token or task lasts for more than 7d",
        ),
        (
            "max_lifetime = \"1m\"",
            "max_lifetime = \"0s\"",
            "audiences[0].max_lifetime: expected more than nothing",
        ),
        (
            "lifetime     = \"90s\"",
            "lifetime = \"0s\"",
            "tokens.lifetime: expected more than nothing",
        ),
        ("lifetime     = \"90s\"", "lifetime = \"5m\"", "tokens.lifetime: is longer than"),
        (
            "deferred_max_lifetime   = \"8h\"",
            "deferred_max_lifetime = \"192h\"",
            "tasks.deferred_max_lifetime: no token or task lasts for more than 7d",
        ),
        ("\"narrows.key\"", "\"gone.key\"", "key_file: there is no file"),
        // DOS-020: what is missing has its default, and nothing per second is a mistake.
        (
            "per_address = 20",
            "per_address = 0",
            "limits.requests_per_second.per_address: expected more than nothing",
        ),
        (
            "publish_before = \"2h\"",
            "publish_before = \"8d\"",
            "keys.publish_before: expected less than",
        ),
        ("10.20.0.0/16", "10.20.0.0", "fetch.allow_private[0]: expected a network"),
        (
            "sqlite:state/broker.db",
            "mysql://root:hunter2@db/x",
            "store: expected `sqlite:PATH`",
        ),
        (
            "conf.d/*.toml",
            "conf.d/more.toml",
            "include: `./conf.d/more.toml`: there is no such file",
        ),
        (
            "{ env = \"PATH\" }",
            "{ env = \"NARROWS_GONE\" }",
            "notify.webhook.secret: environment variable `NARROWS_GONE` is not set",
        ),
        // issuers
        (
            "jwks_uri  = \"https:",
            "jwks_uri = \"http:",
            "trusted_issuers[1].jwks_uri: expected an https URL, found `http://kubernetes",
        ),
        (
            "jwks_file     = \"edge.jwks.json\"",
            "jwks_file = \"narrows.key\"",
            "trusted_issuers[0].jwks_file: `./narrows.key`:",
        ),
        (
            "sub_prefix    = \"staff:\"",
            "",
            "trusted_issuers[1].sub_prefix: `` is also the prefix of `staff`",
        ),
        (
            "profile       = \"keycloak\"",
            "profile = \"ldap\"",
            "trusted_issuers[0].profile: expected one of rfc9068, okta",
        ),
        (
            "algorithms    = [\"ES256\"]",
            "algorithms = [\"HS256\", \"ES256\"]",
            "trusted_issuers[0].algorithms: `HS256`",
        ),
        (
            "typ           = [\"at+jwt\", \"JWT\", \"\"]",
            "typ = []",
            "trusted_issuers[0].typ: names none",
        ),
        (
            "grade = \"long\"",
            "grade = \"float\"",
            "trusted_issuers[0].attributes.grade: expected string, set, bool or long",
        ),
        (
            "leeway        = \"10s\"",
            "introspect = { url = \"https://x\" }",
            "trusted_issuers[0].introspect: unknown key; known here",
        ),
        (
            "leeway        = \"10s\"",
            "act = \"keep\"",
            "trusted_issuers[0].act: is not served yet",
        ),
        (
            "https://id.shop.example/introspect",
            "http://id.shop.example/introspect",
            "trusted_issuers[0].introspection.url: expected an https URL",
        ),
        (
            "{ file = \"edge.key\" } }",
            "\"\" }",
            "trusted_issuers[0].introspection.client_secret: is empty",
        ),
        (
            "profile   = \"kubernetes\"",
            "introspection = { url = \"https://x\", client_id = \"n\", client_secret = \"hunter2\" }",
            "trusted_issuers[1].introspection: `staff` has one already",
        ),
        (
            "token_types   = [\"access_token\", \"id_token\", \"jwt\", \"id_jag\"]",
            "token_types = [\"id_token\"]",
            "trusted_issuers[0].introspection: opaque tokens are access tokens",
        ),
        // clients
        (
            "00112233",
            "00112233A",
            "clients[0].auth[1].secret_sha256: expected 64 hexadecimal digits in lower case",
        ),
        (
            "aabbccddeeff\", until",
            "aabbccddeefF\", until",
            "clients[0].auth[1].secret_sha256: expected 64 hexadecimal digits in lower case",
        ),
        ("2030-01-31", "31.01.2030", "clients[0].auth[1].until: expected a day such as"),
        (
            "id   = \"helper\"",
            "id = \"https://id.shop.example\"",
            "clients[1].id: `https://id.shop.example` is also an issuer",
        ),
        (
            "subject = \"system:serviceaccount:shop:helper\"",
            "subject = \"system:*\"",
            "clients[1].auth: `subject` is compared whole",
        ),
        (
            "{ method = \"workload_jwt\", issuer = \"pods\"",
            "{ method = \"workload_jwt\", issuer = \"nodes\"",
            "clients[1].auth: there is no trusted issuer `nodes`",
        ),
        (
            "jwks_uri = \"https://parcels.internal/keys\"",
            "jwks_uri = \"https://parcels.internal/keys\", subject = \"x\"",
            "clients[2].auth.subject: is not read by `private_key_jwt`",
        ),
        (
            "{ method = \"private_key_jwt\", jwks_uri = \"https://parcels.internal/keys\" }",
            "[]",
            "clients[2].auth: names no method",
        ),
        (
            "{ method = \"private_key_jwt\", jwks_uri = \"https://parcels.internal/keys\" }",
            "{ method = \"workload_jwt\", issuer = \"pods\", subject = \"system:serviceaccount:shop:helper\" }",
            "clients[2].auth: one token may match this and client `helper`",
        ),
        (
            "{ method = \"private_key_jwt\", jwks_uri = \"https://parcels.internal/keys\" }",
            "{ method = \"tls_client_auth\", san_uri = \"spiffe://x\" }",
            "clients[2].auth: tls_client_auth (`spiffe://x`) is not served yet",
        ),
        // audiences, types, scopes
        (
            "claims       = [\"site\"]",
            "claims = [\"mail\"]",
            "audiences[0].claims: `mail` is no mapped attribute",
        ),
        (
            "defaults     = [\"parcel:list\"]",
            "defaults = [\"parcel:move\"]",
            "audiences[0].defaults[0]: `parcel:move`",
        ),
        (
            "on_duplicate = \"revoke\"",
            "on_duplicate = \"ignore\"",
            "audiences[0].on_duplicate: expected `report` or `revoke`",
        ),
        (
            "defaults     = [\"parcel:list\"]",
            "[[audiences]]\nid = \"http://127.0.0.1:8420\"\nsingle_use = true",
            "audiences[1].single_use: tokens for this broker are shown with each request",
        ),
        (
            "sender       = \"none\"",
            "sender = \"mtls\"",
            "audiences[0].sender: only `none` is served yet",
        ),
        (
            "token        = \"jwt\"",
            "token = \"saml\"",
            "audiences[0].token: expected `jwt`, `opaque` or `txn`, found `saml`",
        ),
        (
            "entity      = \"Label\"",
            "",
            "detail_types[1]: `https://shop.example/label` makes no name for policy; add `entity",
        ),
        (
            "entity      = \"Label\"",
            "entity = \"Parcel\"",
            "detail_types[1]: is `Detail::Parcel` in policy like `parcel`",
        ),
        (
            "entity      = \"Label\"",
            "entity = \"Set\"",
            "detail_types[1]: `Set` makes no name for policy",
        ),
        ("[\"depot\", \"fields\", ", "[\"depot\", \"colour\", ", "uses constraint `colour`"),
        (
            "shelf = \"prefix\"",
            "locations = \"prefix\", shelf = \"prefix\"",
            "detail_types[0].constraints.locations: is a member that every detail has",
        ),
        (
            "parcel:move?grams=500",
            "parcel:move?grams=many",
            "scopes[0].details[1]: `parcel:move?grams=many`: expected",
        ),
        // services and routes
        (
            "\"GET /parcels\"",
            "\"/parcels\"",
            "expected a method and a path such as `GET /tickets/{id}`, found `/parcels`",
        ),
        (
            "\"GET /me\" ",
            "\"GET /shelves/{other:rest}\" ",
            "matches what `GET /shelves/{other:rest}` matches, and neither wins",
        ),
        ("move/{id}?", "move/{number}?", "`{number}` is no value of this request"),
        (
            "move/{id}?",
            "move/{id}{host.1}?",
            "nothing stands between `{host.1}` and the value before it",
        ),
        (
            "\"*.parcels.internal\"",
            "\"parcels.internal:80\"",
            "services[0].hosts: expected a host such as `tickets.internal`, or `*.tickets.internal`, without a port; found `parcels.internal:80`",
        ),
        (
            "move/{id}?fields={body:keys}",
            "move/{id}?fields={body}",
            "`{body}` is no value of this request",
        ),
        (
            "\"GET /parcels\"            = \"parcel:list\"",
            "\"GET /parcels\" = \"parcel:burn\"",
            "unknown action",
        ),
        (
            "\"GET /parcels\"            = \"parcel:list\"",
            "\"GET /parcels\" = { stream = true }",
            "needs `detail` or `scope`, or is \"public\"",
        ),
        (
            "scope = \"whoami\"",
            "scope = \"parcels\"",
            "`parcels` is not among `scopes` of the audience",
        ),
        (
            "{subject.site}",
            "{subject.sight}",
            "no trusted issuer says `sight` of its subjects; add it to `attributes` of one",
        ),
        (
            "wider = [\"grams\"]",
            "wider = [\"gram\"]",
            "services[0].routes.PUT /parcels/{id}.wider: `gram` is no constraint of the route's detail; there is `carrier`, `fields`, `grams`, `shelf`, `locations`",
        ),
        (
            "wider = [\"grams\"]",
            "wider = [\"depot\"]",
            "another value of `depot` is for something else, never wider; leave it out",
        ),
        (
            "{ scope = \"whoami\" }",
            "{ scope = \"whoami\", wider = [\"grams\"] }",
            "`grams` is no constraint of the route's detail; there is none",
        ),
        (
            "connection = \"depot-key\"",
            "connection = \"depot\"",
            "there is no connection `depot`",
        ),
        (
            "name = \"shelf\"",
            "name = \"GET /ping\"",
            "another route of this service is named `GET /ping`",
        ),
        ("acr = \"high\"", "acrs = \"high\"", "unknown key; did you mean `acr`?"),
        ("upgrade = \"websocket\"", "upgrade = \"h2c\"", "expected websocket, found `h2c`"),
        ("{arguments.id}", "{id}", "`{id}` is no value of a tool"),
        (
            "http://127.0.0.1:9101/mcp",
            "tcp://127.0.0.1",
            "mcp[0].upstream: expected an http or https URL",
        ),
        (
            "kind = \"key\"",
            "kind = \"oauth\"",
            "connections[0].kind: expected key, found `oauth`",
        ),
        (
            "per  = \"all\"",
            "per = \"team\"",
            "connections[0].per: expected all, client or user, found `team`",
        ),
        (
            "http://127.0.0.1:9100\", header",
            "http://127.0.0.1:9100/api\", header",
            "connections[0].send.origin: expected scheme, host and port",
        ),
        (
            "http://127.0.0.1:9100\", header",
            "https://127.0.0.1:9100\", header",
            "`depot-key` may go to `https://127.0.0.1:9100` alone, and `upstream` is at `http://127.0.0.1:9100`",
        ),
        (
            "http://127.0.0.1:9100\", header",
            "http://127.0.0.1:9101\", header",
            "`depot-key` may go to `http://127.0.0.1:9101` alone, and `upstream` is at `http://127.0.0.1:9100`",
        ),
        (
            "header = \"X-Depot-Key\"",
            "header = \"Host\"",
            "connections[0].send.header: `Host` says something else than who asks",
        ),
        (
            "header = \"X-Depot-Key\"",
            "header = \"Transfer-Encoding\"",
            "connections[0].send.header: `Transfer-Encoding` says something else",
        ),
        (
            "header = \"X-Depot-Key\"",
            "header = \"X_Forwarded-For\"",
            "connections[0].send.header: `X_Forwarded-For` says something else",
        ),
        (
            "header = \"X-Depot-Key\"",
            "header = \"Narrows-Key\"",
            "connections[0].send.header: `Narrows-Key` says something else",
        ),
        (
            "header = \"X-Depot-Key\"",
            "header = \"X Key\"",
            "connections[0].send.header: `X Key` is no name of a header",
        ),
        (
            "as = \"{}\"",
            "as = \"Bearer {} {}\"",
            "connections[0].send.as: expected printable ASCII with exactly one `{}`",
        ),
        (
            "as = \"{}\"",
            "as = \"Bearer\"",
            "connections[0].send.as: expected printable ASCII with exactly one `{}`",
        ),
        (
            "connection = \"depot-key\"",
            "connection = \"depot-key\", upgrade = \"websocket\"",
            "an upstream's echo is not looked for behind an `upgrade`",
        ),
        (
            "proxy           = \"127.0.0.1:8430\"\n",
            "",
            "boundaries[0].services: a route of `parcels` goes on with an upstream credential, which only the own proxy puts on requests",
        ),
        // one address for two
        (
            "127.0.0.1:8432",
            "127.0.0.1:8430",
            "boundaries[0].forward_auth: `127.0.0.1:8430` is taken by `boundaries[0].proxy`, at narrows.toml:139; give one",
        ),
        (
            "127.0.0.1:8431",
            "0.0.0.0:8420",
            "boundaries[0].ext_authz_grpc: `0.0.0.0:8420` is taken by `listen`, at narrows.toml:4; give one",
        ),
        (
            "127.0.0.1:9464",
            "127.0.0.1:8420",
            "metrics_listen: `127.0.0.1:8420` is taken by `listen`",
        ),
        (
            "127.0.0.1:8440",
            "127.0.0.1:9464",
            "guards[0].listen: `127.0.0.1:9464` is taken by `metrics_listen`",
        ),
        // boundaries and guards
        (
            "services        = \"*\"",
            "services = [\"letters\"]",
            "boundaries[0].services: there is no service `letters`",
        ),
        (
            "name            = \"outer\"",
            "name = \"out|er\"",
            "boundaries[0].name: expected a name without `|`",
        ),
        (
            "observe_until   = \"2020-01-01\"",
            "observe_until = \"2999-01-01\"",
            "boundaries[0].observe_until: expected a day at most 90 days ahead",
        ),
        (
            "observe_until   = \"2020-01-01\"",
            "",
            "boundaries[0].observe_until: is required to observe",
        ),
        (
            "mode            = \"observe\"\nobserve_until   = \"2020-01-01\"",
            "",
            "services[0].routes.GET /events.mode: observes until the `observe_until` of its service",
        ),
        (
            "proxy           = \"127.0.0.1:8430\"",
            "proxy = \"8430\"",
            "boundaries[0].proxy: expected ADDRESS:PORT",
        ),
        (
            "peers           = [\"127.0.0.1/32\"]",
            "peers = [\"localhost\"]",
            "boundaries[0].peers: expected a network",
        ),
        (
            "login           = [\"staff\"]",
            "login = [\"guests\"]",
            "boundaries[0].login: there is no trusted issuer `guests`",
        ),
        (
            "client        = \"parcel-guard\"",
            "client = \"front\"",
            "guards[0].client: `front` does not receive `https://parcels.internal`",
        ),
        (
            "service       = \"depots\"",
            "service = \"letters\"",
            "guards[0].service: there is no service `letters`",
        ),
        (
            "excess        = \"none\"",
            "excess = \"all\"",
            "guards[0].excess: expected one of none, same_resource, any, found `all`",
        ),
        (
            "fixed         = { depot = \"north\" }",
            "fixed = { shelf = \"a\" }",
            "guards[0].fixed.shelf: expected a value of a constraint that is declared as `equal`",
        ),
        (
            "http://127.0.0.1:9102\"",
            "https://10.0.0.9:9102\"",
            "guards[0].forward: identity headers leave this machine for `https://10.0.0.9:9102`",
        ),
        (
            "http://127.0.0.1:9102\"",
            "http://127.0.0.1:9102/api\"",
            "guards[0].service: `upstream` of `depots` must be scheme, host and port",
        ),
        (
            "http://127.0.0.1:9102\"",
            "unix:run/app.sock\"",
            "services[1].upstream: a socket is named by its whole path, as `unix:/run/app.sock`, found `unix:run/app.sock`",
        ),
        (
            "http://127.0.0.1:9102\"",
            "unix:/run/app.sock\"",
            "boundaries[0].services: `upstream` of `depots` must be scheme, host and port",
        ),
        (
            upstream_tls,
            "ca_file = \"ca.pem\", cert_file = \"backend.crt\"",
            "services[2].upstream_tls.key_file: is required beside `cert_file`, which is `./backend.crt`; name the file",
        ),
        (
            upstream_tls,
            "key_file = \"backend.key\"",
            "services[2].upstream_tls.cert_file: is required beside `key_file`, which is `./backend.key`; name the file",
        ),
        (upstream_tls, "", "services[2].upstream_tls: says nothing; name `ca_file`"),
        (
            upstream_tls,
            "ca_file = \"none.pem\"",
            "services[2].upstream_tls.ca_file: `./none.pem`: no certificates in PEM",
        ),
        (
            upstream_tls,
            "ca_file = \"backend.key\"",
            "services[2].upstream_tls.ca_file: `./backend.key`: holds no certificate in PEM",
        ),
        (
            upstream_tls,
            "cert_file = \"none.pem\", key_file = \"backend.key\"",
            "services[2].upstream_tls.cert_file: `./none.pem`: no certificates in PEM",
        ),
        (
            upstream_tls,
            "cert_file = \"backend.crt\", key_file = \"none.pem\"",
            "services[2].upstream_tls.key_file: `./none.pem`: no private key in PEM",
        ),
        (
            upstream_tls,
            "cert_file = \"backend.crt\", key_file = \"tls.key\"",
            "services[2].upstream_tls.key_file: `./tls.key`: does not go with the certificate",
        ),
        (
            upstream_tls,
            "client_ca_file = \"ca.pem\"",
            "services[2].upstream_tls.client_ca_file: unknown key",
        ),
        (
            "https://labels.internal:9443",
            "http://labels.internal:9443",
            "services[2].upstream_tls: is for TLS, and `upstream` is `http://labels.internal:9443`; write that as `https://",
        ),
        (
            "tls           = { cert_file = \"tls.crt\", key_file = \"tls.key\" }",
            "tls = { cert_file = \"x\", key_file = \"y\" }",
            "guards[0].tls.cert_file: `./x`: no certificates",
        ),
        (
            "fixed         = { depot = \"north\" }",
            "fixed = { depot = \"\" }",
            "guards[0].fixed.depot: expected a string that is not empty",
        ),
        (
            "mode          = \"observe\"\nobserve_until = \"2020-01-01\"",
            "mode = \"observe\"",
            "guards[0].observe_until: is required to observe",
        ),
        (
            "mode          = \"observe\"\nobserve_until = \"2020-01-01\"",
            "observe_until = \"2020-01-01\"",
            "guards[0].observe_until: says nothing without `mode = \"observe\"`",
        ),
        (
            "mode          = \"observe\"\nobserve_until = \"2020-01-01\"",
            "mode = \"observe\"\nobserve_until = \"2999-01-01\"",
            "guards[0].observe_until: expected a day at most 90 days ahead",
        ),
        (
            "service       = \"depots\"",
            "service = \"parcels\"",
            "guards[0].service: `GET /shelves/{path:rest}` of `parcels` reads `{subject.site}`, which only a boundary knows",
        ),
        (
            "\"http://127.0.0.1:9102\"\naudience      = \"https://parcels.internal\"",
            "\"http://127.0.0.1:9102\"",
            "guards[0].service: `depots` names no `audience`",
        ),
        (
            "token        = \"jwt\"",
            "token = \"txn\"",
            "guards[0].service: tokens for `https://parcels.internal` are transaction tokens",
        ),
        (
            "sender       = \"none\"",
            "sender = \"dpop\"",
            "guards[0].service: tokens for `https://parcels.internal` are bound to a key (`sender`)",
        ),
        (
            "[[guards]]",
            "[[guards]]\nservice = \"depots\"\nclient = \"parcel-guard\"\nlisten = \"127.0.0.1:8440\"\n[[guards]]",
            "guards[1].listen: `127.0.0.1:8440` is taken by `guards[0].listen`",
        ),
        (
            "roles  = [\"approver\", \"auditor\"]",
            "roles = [\"king\"]",
            "operators[0].roles: expected one of admin",
        ),
        (
            "timezone = \"Europe/Berlin\"",
            "timezone = \"Europe/Atlantis\"",
            "policy.timezone: expected a name such as",
        ),
    ];
    for (from, to, expected) in rows {
        let out = checked(folder.path(), from, to);
        assert!(out.contains(expected), "{to}\nexpected: {expected}\nfound: {out}");
        assert!(!out.contains("hunter2"), "{out}");
    }
}

#[test]
fn all_mistakes_of_structure_are_told_at_once_each_with_its_line() {
    let folder = installation();
    let text = "issuer = 5\nlistn = \"x\"\n\n[[clients]]\nido = \"a\"\nreceives = [{ issuer = \"a\", audienc = \"x\" }]\n\n\
                [[clients]]\nid = \"b\"\nauth = [{ method = 4 }]\n\n[limits]\nconnections = \"many\"\n";
    std::fs::write(folder.path().join("narrows.toml"), text).unwrap();
    let ran = narrows(folder.path(), &["check"], "");
    assert_eq!(ran.code, 1);
    for line in [
        "narrows.toml:1: issuer: expected a string, found `5`",
        "narrows.toml:2: listn: unknown key; did you mean `listen`?",
        "narrows.toml:5: clients[0].ido: unknown key; did you mean `id`?",
        "narrows.toml:4: clients[0].id: is required",
        "narrows.toml:4: clients[0].auth: is required",
        "narrows.toml:6: clients[0].receives[0].audienc: unknown key; did you mean `audience`?",
        "narrows.toml:6: clients[0].receives[0].audience: is required",
        "narrows.toml:10: clients[1].auth[0].method: expected a string, found `4`",
        "narrows.toml:13: limits.connections: expected a whole number, found a string",
    ] {
        assert!(ran.out.lines().any(|found| found == line), "{line}\n{}", ran.out);
    }
    assert!(ran.out.ends_with("9 problems found\n"), "{}", ran.out);
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let folder = installation();
    for (from, to) in [
        ("{ file = \"edge.key\" }", "{ pem = \"hunter2\" }"),
        ("fixed         = { depot = \"north\" }", "fixed = \"hunter2\""),
        ("[limits]", "limits = \"hunter2\"\n[later]"),
        ("00112233445566778899aabbccddeeff", "hunter2"),
    ] {
        let out = checked(folder.path(), from, to);
        assert!(!out.contains("hunter2"), "{out}");
    }
}

#[test]
fn a_mistake_names_every_file_that_it_lies_in() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let plain = std::fs::read_to_string(folder.path().join("narrows.toml")).unwrap();
    std::fs::create_dir(folder.path().join("more")).unwrap();
    let included = |text: &str| {
        std::fs::write(folder.path().join("narrows.toml"), format!("include = [\"more/*.toml\"]\n{plain}")).unwrap();
        std::fs::write(folder.path().join("more/a.toml"), text).unwrap();
        let ran = narrows(folder.path(), &["check"], "");
        assert_eq!(ran.code, 1, "{text}");
        ran.out
    };
    let auth = "auth = { method = \"private_key_jwt\", jwks_file = \"../edge.jwks.json\" }";
    let rows = [
        (
            format!("[[clients]]\n{auth}\nid = \"edge\""),
            "more/a.toml:3: clients[1].id: `edge` is there twice, at narrows.toml:20 and more/a.toml:3; keep one",
        ),
        (
            "[[audiences]]\nid = \"https://tickets.internal\"".to_owned(),
            "`https://tickets.internal` is there twice, at narrows.toml:25 and more/a.toml:2",
        ),
        (
            "[[detail_types]]\ntype = \"ticket\"\nactions = [\"x\"]".to_owned(),
            "`ticket` is there twice, at narrows.toml:31 and more/a.toml:2",
        ),
        (
            "[[scopes]]\nname = \"tickets.full\"\ndetails = []".to_owned(),
            "`tickets.full` is there twice, at narrows.toml:39 and more/a.toml:2",
        ),
        (
            "[[trusted_issuers]]\nname = \"corp\"\nissuer = \"https://b.example\"".to_owned(),
            "name or issuer of `corp` is there twice, first at narrows.toml:11",
        ),
        (
            "[[clients]]\nid = \"b\"\nauth = { method = \"client_secret_basic\", secret_sha256 = { env = \"NARROWS_NOWHERE\" } }"
                .to_owned(),
            "more/a.toml:3: clients[0].auth.secret_sha256: environment variable `NARROWS_NOWHERE` is not set",
        ),
        (
            "\n\n[policy]\ntimezone = \"Mars/One\"".to_owned(),
            "more/a.toml:4: policy.timezone: expected a name such as `Europe/Berlin`, found `Mars/One`",
        ),
        (
            "[[detail_types]]\ntype = \"long\"\nactions = [\"x\"]".to_owned(),
            "more/a.toml:1: detail_types[1]: `long` makes no name for policy",
        ),
    ];
    for (text, expected) in rows {
        let found = included(&text);
        assert!(found.contains(expected), "{text}\nexpected: {expected}\nfound: {found}");
    }
    std::fs::write(folder.path().join("narrows.toml"), plain.replace("store ", "# store ")).unwrap();
    assert!(narrows(folder.path(), &["check"], "").out.contains("narrows.toml: store: is required"));
}

/// Nor is an address that two boundaries have; any number may ask for any port that is free.
#[test]
fn two_boundaries_have_two_addresses() {
    let folder = installation();
    let second = |proxy: &str| {
        format!(
            "[[boundaries]]\nname = \"inner\"\nclient = \"front\"\nservices = \"*\"\norigin = \"http://127.0.0.1:8439\"\nobserve_until = \"2020-01-01\"\nproxy = \"{proxy}\"\n\n[[connections]]"
        )
    };
    let told = checked(folder.path(), "[[connections]]", &second("127.0.0.1:8430"));
    let expected = "boundaries[1].proxy: `127.0.0.1:8430` is taken by `boundaries[0].proxy`, at ";
    assert_eq!(told.matches(expected).count(), 1, "{told}");
    let text = include_str!("every_key.toml").replace("127.0.0.1:8430\"\next", "127.0.0.1:0\"\next");
    std::fs::write(
        folder.path().join("narrows.toml"),
        text.replace("[[connections]]", &second("127.0.0.1:0")),
    )
    .unwrap();
    let ran = narrows(folder.path(), &["check"], "");
    assert_eq!(ran.code, 0, "{}", ran.out);
}

/// Of guards too, wherever they run; boundaries beside them have another process where the broker is elsewhere.
#[test]
fn two_guards_have_two_addresses_and_one_that_both_name_is_told_once() {
    let folder = installation();
    let second = |address: &str| {
        format!("[[guards]]\nservice = \"depots\"\nclient = \"parcel-guard\"\nlisten = \"{address}\"\ntrust_network = true\n\n[[guards]]")
    };
    let told = checked(folder.path(), "[[guards]]", &second("127.0.0.1:8440"));
    assert_eq!(told.matches("127.0.0.1:8440").count(), 1, "{told}");
    let config = folder.path().join("narrows.toml");
    let apart = |address: &str| {
        let text = include_str!("every_key.toml").replace("[[guards]]", &second(address));
        let text: Vec<_> = text.lines().filter(|line| !line.starts_with("store ")).collect();
        std::fs::write(&config, text.join("\n")).unwrap();
        narrows(folder.path(), &["check"], "").out
    };
    let told = apart("127.0.0.1:8440");
    let expected = "guards[1].listen: `127.0.0.1:8440` is taken by `guards[0].listen`";
    assert_eq!((told.matches("is taken by").count(), told.contains(expected)), (1, true), "{told}");
    let told = apart("127.0.0.1:8430");
    assert!(!told.contains("is taken by"), "{told}");
}

/// Neither wins of two routes of one service, or of two: that is told once, however many boundaries serve them.
#[test]
fn routes_of_equal_rank_are_told_once() {
    let folder = installation();
    let told = checked(folder.path(), "\"GET /me\" ", "\"GET /shelves/{other:rest}\" ");
    assert_eq!(told.matches("neither wins").count(), 1, "{told}");
    let service = "[[services]]\nname = \"other\"\nhosts = [\"parcels.internal\"]\nupstream = \"http://127.0.0.1:9100\"\n\
                   [services.routes]\n\"GET /ping\" = \"public\"\n\n\
                   [[boundaries]]\nname = \"inner\"\nclient = \"front\"\nservices = \"*\"\norigin = \"http://127.0.0.1:8439\"\n\
                   observe_until = \"2020-01-01\"\nproxy = \"127.0.0.1:8439\"\n\n[[connections]]";
    let told = checked(folder.path(), "[[connections]]", service);
    assert_eq!(told.matches("neither wins").count(), 1, "{told}");
    assert!(
        told.contains("boundaries[0].services: `GET /ping` of service `other` matches"),
        "{told}"
    );
}
