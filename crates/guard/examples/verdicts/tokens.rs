//! Tokens that were stolen, forged or made wrong, shown for `GET /tickets/7`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delegation::token::Algorithm;
use serde_json::{Value, json};
use testkit::FakeIssuer;

use crate::service::{acme, details};
use crate::{Broker, Row};

pub(crate) fn rows(broker: &Broker) -> Vec<Row> {
    let shown = |(name, token): (&str, String)| Row::new(name, "GET", "/tickets/7").bearer(&token);
    let unfit = broker.unfit.iter().map(|key| (key.kid.as_str(), key.sign("at+jwt", &broker.claims())));
    let changed = claims(broker.now, &broker.issuer).into_iter().map(|(name, changes)| (name, broker.token(&changes)));
    let mut rows: Vec<_> = changed.chain(unfit).chain(forged(broker)).chain(written(broker)).map(shown).collect();
    // A backend of its own honours no exception.
    for (name, exception, changes) in exceptions(broker.now) {
        let mut with = changes.clone();
        with["exception"] = exception;
        let row = Row::new(name, "GET", "/tickets/7").bearer(&broker.token(&with));
        rows.push(row.judged_by(broker.token(&changes)));
    }
    rows
}

/// One claim that is another.
fn claims(now: i64, issuer: &str) -> Vec<(&'static str, Value)> {
    let deep = |levels: usize| {
        (1..levels).fold(
            json!({ "iss": issuer, "sub": "a" }),
            |act, _| json!({ "iss": issuer, "sub": "a", "act": act }),
        )
    };
    let nested = |levels: usize| (0..levels).fold(json!([]), |inner, _| json!([inner]));
    let many = |count: usize| (0..count).map(|_| details(&["ticket:read/7"])[0].clone()).collect::<Value>();
    let ticket = |changes: Value| {
        let mut ticket = json!({ "type": "ticket", "actions": ["read"], "identifier": "7" });
        for (name, value) in changes.as_object().unwrap() {
            ticket[name] = value.clone();
        }
        json!({ "authorization_details": [ticket] })
    };
    vec![
        ("right", json!({})),
        (
            "right, and for the tenant",
            json!({ "authorization_details": acme(&["ticket:read/7"]) }),
        ),
        ("for another audience", json!({ "aud": "https://orders.internal" })),
        (
            "for two audiences",
            json!({ "aud": ["https://tickets.internal", "https://orders.internal"] }),
        ),
        ("for this one, as a list", json!({ "aud": ["https://tickets.internal"] })),
        (
            "for this one twice",
            json!({ "aud": ["https://tickets.internal", "https://tickets.internal"] }),
        ),
        ("for this one in another case", json!({ "aud": "https://tickets.internal/" })),
        ("for nobody", json!({ "aud": null })),
        ("for an empty list", json!({ "aud": [] })),
        ("for a number", json!({ "aud": 5 })),
        ("for a list of a number", json!({ "aud": [5] })),
        ("for this one and an empty text", json!({ "aud": ["https://tickets.internal", ""] })),
        ("of another issuer", json!({ "iss": "https://evil.example" })),
        ("of this issuer with a slash", json!({ "iss": format!("{issuer}/") })),
        ("of no issuer", json!({ "iss": null })),
        ("expired", json!({ "iat": now - 300, "exp": now - 1 })),
        ("ended long ago", json!({ "iat": 1_600_000_000, "exp": 1_600_000_300 })),
        ("never ends", json!({ "exp": null })),
        ("ends before it begins", json!({ "iat": now - 10, "exp": now - 20 })),
        (
            "ends in a fraction",
            json!({ "exp": f64::from(u32::try_from(now).unwrap()) + 100.5 }),
        ),
        (
            "ends in a whole fraction",
            json!({ "exp": f64::from(u32::try_from(now).unwrap()) + 100.0 }),
        ),
        ("ends in a text", json!({ "exp": format!("{}", now + 100) })),
        ("ends in a number that is too large", json!({ "exp": 1_i64 << 60 })),
        ("ends in the year 9999", json!({ "exp": 253_402_300_799_i64 })),
        ("begins tomorrow", json!({ "iat": now + 86_400, "exp": now + 86_700 })),
        ("begins before the epoch", json!({ "iat": -1 })),
        ("was issued never", json!({ "iat": null })),
        ("is not before tomorrow", json!({ "nbf": now + 86_400 })),
        ("is not before its end", json!({ "nbf": now + 500 })),
        ("is not before a minute ago", json!({ "nbf": now - 60 })),
        ("is not before minutes to come", json!({ "nbf": now + 400 })),
        ("is not before the epoch", json!({ "nbf": -1 })),
        ("signed in before the epoch", json!({ "auth_time": -1 })),
        ("lives as long as it may", json!({ "iat": now - 100, "exp": now + 500 })),
        ("lives a second longer", json!({ "iat": now - 101, "exp": now + 500 })),
        (
            "is bound to a DPoP key",
            json!({ "cnf": { "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } }),
        ),
        (
            "is bound to a certificate",
            json!({ "cnf": { "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" } }),
        ),
        ("is bound to nothing that is known", json!({ "cnf": {} })),
        ("is bound to a text", json!({ "cnf": "none" })),
        ("is about nobody", json!({ "sub": null })),
        ("is about an empty name", json!({ "sub": "" })),
        ("is about a number", json!({ "sub": 7 })),
        ("has no id", json!({ "jti": null })),
        ("has no client", json!({ "client_id": null })),
        ("has a client with a blank", json!({ "client_id": "a b" })),
        (
            "has a client with a longer name than may be",
            json!({ "client_id": "c".repeat(256) }),
        ),
        ("has no transaction", json!({ "txn": null })),
        ("has no outside pair", json!({ "sub_id": null })),
        (
            "has half an outside pair",
            json!({ "sub_id": { "iss": "https://login.corp.example" } }),
        ),
        (
            "has an outside subject with a control character",
            json!({ "sub_id": { "iss": "https://a", "sub": "a\nb" } }),
        ),
        (
            "has an outside subject of 255 characters",
            json!({ "sub_id": { "iss": "https://a", "sub": "\u{1f600}".repeat(255) } }),
        ),
        (
            "has an outside subject of 256 characters",
            json!({ "sub_id": { "iss": "https://a", "sub": "a".repeat(256) } }),
        ),
        ("has a task that is a number", json!({ "task": 1 })),
        ("has a chain that is a text", json!({ "chain": "o_1" })),
        ("has a chain of numbers", json!({ "chain": [1] })),
        ("has an approval that is a number", json!({ "approval": 1 })),
        ("has onward that is an object", json!({ "onward": {} })),
        ("has single_use that is a text", json!({ "single_use": "false" })),
        ("has an exception that is a text", json!({ "exception": "e-1" })),
        ("has an exception without an id", json!({ "exception": {} })),
        ("has an exception with an empty id", json!({ "exception": { "id": "" } })),
        ("has an exception with an id that is a number", json!({ "exception": { "id": 1 } })),
        (
            "has an exception with a member that is not known",
            json!({ "exception": { "id": "e-1", "x": 1 } }),
        ),
        (
            "has an exception for details that are a text",
            json!({ "exception": { "id": "e-1", "authorization_details": "ticket:read/7" } }),
        ),
        (
            "has an exception for details that are null",
            json!({ "exception": { "id": "e-1", "authorization_details": null } }),
        ),
        (
            "has an exception for 33 details",
            json!({ "exception": { "id": "e-1", "authorization_details": many(33) } }),
        ),
        (
            "has an exception for details of another type",
            json!({ "exception": { "id": "e-1", "authorization_details": [{ "type": "order", "actions": ["read"], "identifier": "7" }] } }),
        ),
        (
            "has an exception for details without actions",
            json!({ "exception": { "id": "e-1", "authorization_details": [{ "type": "ticket" }] } }),
        ),
        (
            "has an exception for a life that is a text",
            json!({ "exception": { "id": "e-1", "max_lifetime": "3600" } }),
        ),
        (
            "has an exception for a life of no time",
            json!({ "exception": { "id": "e-1", "max_lifetime": 0 } }),
        ),
        (
            "has an exception for less than no time",
            json!({ "exception": { "id": "e-1", "max_lifetime": -1 } }),
        ),
        (
            "has an exception for half seconds",
            json!({ "exception": { "id": "e-1", "max_lifetime": 3600.5 } }),
        ),
        (
            "has an exception for a life with a point",
            json!({ "exception": { "id": "e-1", "max_lifetime": 3600.0 } }),
        ),
        (
            "has an exception for a life that is null",
            json!({ "exception": { "id": "e-1", "max_lifetime": null } }),
        ),
        (
            "has an exception for a life that is true",
            json!({ "exception": { "id": "e-1", "max_lifetime": true } }),
        ),
        (
            "has an exception for a life of 2^53 seconds",
            json!({ "exception": { "id": "e-1", "max_lifetime": 1_i64 << 53 } }),
        ),
        ("has an auth_time that is a text", json!({ "auth_time": "1" })),
        ("has an acr that is a number", json!({ "acr": 1 })),
        ("has eight actors", json!({ "act": deep(8) })),
        ("has nine actors", json!({ "act": deep(9) })),
        (
            "has an actor with a stranger member",
            json!({ "act": { "iss": issuer, "sub": "a", "x": 1 } }),
        ),
        ("has an actor without a name", json!({ "act": { "iss": issuer } })),
        ("has an actor that is a text", json!({ "act": "a" })),
        ("has an actor of no issuer", json!({ "act": { "sub": "a" } })),
        ("has an actor of an empty issuer", json!({ "act": { "iss": "", "sub": "a" } })),
        (
            "has an actor whose actor is null",
            json!({ "act": { "iss": issuer, "sub": "a", "act": Value::Null } }),
        ),
        (
            "has an actor whose actor is a text",
            json!({ "act": { "iss": issuer, "sub": "a", "act": "b" } }),
        ),
        ("is as deep as it may be", json!({ "x": nested(14) })),
        ("is deeper than it may be", json!({ "x": nested(15) })),
        ("has an empty scope", json!({ "scope": "" })),
        ("has two blanks in its scope", json!({ "scope": "a  b" })),
        ("has a scope with a quote", json!({ "scope": "a\"b" })),
        ("has a scope that is a list", json!({ "scope": ["profile"] })),
        ("has details that are an object", json!({ "authorization_details": {} })),
        ("has details that are a text", json!({ "authorization_details": "[]" })),
        ("has 32 details", json!({ "authorization_details": many(32) })),
        ("has 33 details", json!({ "authorization_details": many(33) })),
        ("has a detail of an unknown type", ticket(json!({ "type": "unheard_of" }))),
        ("has a detail of a type that is a number", ticket(json!({ "type": 1 }))),
        (
            "has a detail of a type with a name of every object",
            ticket(json!({ "type": "__proto__" })),
        ),
        (
            "has an action with a name of every object",
            ticket(json!({ "actions": ["constructor"] })),
        ),
        (
            "has a detail with an unknown action",
            ticket(json!({ "actions": ["read", "burn"] })),
        ),
        ("has a detail with an action twice", ticket(json!({ "actions": ["read", "read"] }))),
        ("has a detail with an action that is a text", ticket(json!({ "actions": "read" }))),
        (
            "has a detail with an action that is a number",
            ticket(json!({ "actions": ["read", 1] })),
        ),
        (
            "has a detail with 33 actions",
            ticket(json!({ "actions": (0..33).map(|at| at.to_string()).collect::<Vec<_>>() })),
        ),
        (
            "has a detail with locations that name one twice",
            ticket(json!({ "locations": ["x", "x"] })),
        ),
        (
            "has a detail with a location of 1,025 bytes",
            ticket(json!({ "locations": ["x".repeat(1025)] })),
        ),
        (
            "has a detail with a tenant below every reader",
            ticket(json!({ "tenant": -9_007_199_254_740_992_i64 })),
        ),
        (
            "has a detail with a limit that is a text",
            ticket(json!({ "actions": ["read", "update"], "limit": "5" })),
        ),
        (
            "has a detail with a limit beyond every reader",
            ticket(json!({ "actions": ["read", "update"], "limit": 9_007_199_254_740_992_i64 })),
        ),
        (
            "has a detail with a path that is a number",
            ticket(json!({ "actions": ["read", "update"], "path": 1 })),
        ),
        (
            "has a detail with a path with an escape",
            ticket(json!({ "actions": ["read", "update"], "path": "/a/%62" })),
        ),
        (
            "has a detail with a path with a backslash",
            ticket(json!({ "actions": ["read", "update"], "path": "/a\\b" })),
        ),
        (
            "has a detail with two slashes at the beginning",
            ticket(json!({ "actions": ["read", "update"], "path": "//a" })),
        ),
        (
            "has a detail with a set that is a text",
            ticket(json!({ "actions": ["read", "update"], "fields": "a" })),
        ),
        (
            "has a detail with a set of nothing",
            ticket(json!({ "actions": ["read", "update"], "fields": [] })),
        ),
        (
            "has a detail with a region that is a number",
            ticket(json!({ "actions": ["read", "update"], "region": 1 })),
        ),
        (
            "has a detail with an empty region",
            ticket(json!({ "actions": ["read", "update"], "region": "" })),
        ),
        (
            "has a detail with a region of nothing",
            ticket(json!({ "actions": ["read", "update"], "region": [] })),
        ),
        ("has a detail with no action", ticket(json!({ "actions": [] }))),
        ("has a detail with an unknown member", ticket(json!({ "colour": "red" }))),
        ("has a detail with a member of another action", ticket(json!({ "limit": 5 }))),
        (
            "has a detail with an identifier that is a number",
            ticket(json!({ "identifier": 7 })),
        ),
        ("has a detail with an empty identifier", ticket(json!({ "identifier": "" }))),
        (
            "has a detail with an identifier of 1,025 bytes",
            ticket(json!({ "identifier": "7".repeat(1025) })),
        ),
        ("has a detail with a control character", ticket(json!({ "identifier": "7\u{85}" }))),
        (
            "has a detail with an identifier that is null",
            ticket(json!({ "identifier": Value::Null })),
        ),
        ("has a detail with empty locations", ticket(json!({ "locations": [] }))),
        ("has a detail with locations that are a text", ticket(json!({ "locations": "x" }))),
        ("has a detail with an empty tenant", ticket(json!({ "tenant": "" }))),
        ("has a detail with a tenant that is a list", ticket(json!({ "tenant": ["acme"] }))),
        ("has a detail with a tenant that is true", ticket(json!({ "tenant": true }))),
        ("has a detail with a tenant that is 1.0", ticket(json!({ "tenant": 1.0 }))),
        (
            "has a detail with a tenant beyond every reader",
            ticket(json!({ "tenant": 9_007_199_254_740_992_i64 })),
        ),
        (
            "has a detail with a limit below nothing",
            ticket(json!({ "actions": ["read", "update"], "limit": -1 })),
        ),
        (
            "has a detail with a path that climbs",
            ticket(json!({ "actions": ["read", "update"], "path": "/a/../b" })),
        ),
        (
            "has a detail with a path of nothing",
            ticket(json!({ "actions": ["read", "update"], "path": "/" })),
        ),
        (
            "has a detail with a set that names one twice",
            ticket(json!({ "actions": ["read", "update"], "fields": ["a", "a"] })),
        ),
        ("has a list with an identifier", ticket(json!({ "actions": ["list"] }))),
        (
            "has a member with a name of every object",
            json!({ "__proto__": { "admin": true } }),
        ),
    ]
}

/// What nobody but the broker signs, and what it signs for others.
fn forged(broker: &Broker) -> Vec<(&'static str, String)> {
    let claims = broker.claims();
    let right = broker.sign(&claims);
    let (signed, signature) = right.rsplit_once('.').unwrap();
    let (head, payload) = signed.split_once('.').unwrap();
    let key = &broker.keys[0];
    let other = FakeIssuer::new(&broker.issuer, "k0", Algorithm::Es256);
    let encode = |text: &Value| URL_SAFE_NO_PAD.encode(text.to_string());
    let header = |changes: Value| {
        let mut header = key.header("at+jwt");
        for (name, value) in changes.as_object().unwrap() {
            header[name] = value.clone();
        }
        key.sign_raw(header.to_string().as_bytes(), claims.to_string().as_bytes())
    };
    let without = |name: &str| {
        let mut header = key.header("at+jwt");
        header.as_object_mut().unwrap().remove(name);
        key.sign_raw(header.to_string().as_bytes(), claims.to_string().as_bytes())
    };
    let evil = FakeIssuer::new("https://evil.example", "k0", Algorithm::Es256);
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[5] ^= 1;
    // The last character of 64 bytes has unused bits.
    let twin = {
        let mut text = signature.to_owned();
        let last = text.pop().unwrap();
        text.push(char::from_u32(u32::from(last) + 1).unwrap());
        text
    };
    vec![
        ("by EdDSA", broker.keys[1].sign("at+jwt", &claims)),
        ("by RS256", broker.keys[2].sign("at+jwt", &claims)),
        ("by PS256", broker.keys[3].sign("at+jwt", &claims)),
        ("another key of the same name", other.sign("at+jwt", &claims)),
        (
            "another issuer with a key of the same name",
            evil.sign("at+jwt", &broker.with(&json!({ "iss": "https://evil.example" }))),
        ),
        ("another issuer's key, in the broker's name", evil.sign("at+jwt", &claims)),
        (
            "by nobody",
            format!("{}.{payload}.", encode(&json!({ "alg": "none", "typ": "at+jwt" }))),
        ),
        (
            "by nobody, with a signature",
            format!(
                "{}.{payload}.{signature}",
                encode(&json!({ "alg": "none", "typ": "at+jwt", "kid": "k0" }))
            ),
        ),
        ("by HMAC with the public key", key.hs256(key.jwk().to_string().as_bytes(), &claims)),
        (
            "by HMAC with the x of the public key",
            key.hs256(&URL_SAFE_NO_PAD.decode(key.jwk()["x"].as_str().unwrap()).unwrap(), &claims),
        ),
        ("no key's name", without("kid")),
        ("no algorithm", without("alg")),
        ("no typ", without("typ")),
        ("an unknown key's name", header(json!({ "kid": "k9" }))),
        ("another key's name", header(json!({ "kid": "k1" }))),
        ("a key's name that is a number", header(json!({ "kid": 0 }))),
        ("a key's name that is a path", header(json!({ "kid": "../../dev/null" }))),
        ("a key's name of 513 bytes", header(json!({ "kid": "k".repeat(513) }))),
        ("an algorithm in lower case", header(json!({ "alg": "es256" }))),
        ("an algorithm of another curve", header(json!({ "alg": "ES384" }))),
        ("RSA in the algorithm", header(json!({ "alg": "RS256" }))),
        ("the RSA key by another padding", {
            let head = json!({ "alg": "PS256", "typ": "at+jwt", "kid": "k2" }).to_string();
            broker.keys[2].sign_raw(head.as_bytes(), claims.to_string().as_bytes())
        }),
        ("typ JWT", key.sign("JWT", &claims)),
        ("typ of a transaction token", key.sign("txntoken+jwt", &claims)),
        ("typ of a security event", key.sign("secevent+jwt", &claims)),
        ("typ in capitals", key.sign("AT+JWT", &claims)),
        ("typ with application", key.sign("application/at+jwt", &claims)),
        ("typ with application twice", key.sign("application/application/at+jwt", &claims)),
        ("typ that is empty", key.sign("", &claims)),
        ("typ with a blank", key.sign("at+jwt ", &claims)),
        ("typ that is a list", header(json!({ "typ": ["at+jwt"] }))),
        ("crit", header(json!({ "crit": ["exp"], "exp": 1 }))),
        ("b64", header(json!({ "b64": false }))),
        ("jku", header(json!({ "jku": "https://evil.example/keys" }))),
        ("jwk", header(json!({ "jwk": other.jwk() }))),
        ("x5u", header(json!({ "x5u": "https://evil.example/cert" }))),
        ("zip", header(json!({ "zip": "DEF" }))),
        ("an unknown header member", header(json!({ "colour": "red" }))),
        (
            "a signature with a bit flipped",
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&flipped)),
        ),
        ("a signature of zeros", format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
        ("a signature in another spelling", format!("{signed}.{twin}")),
        ("a signature with padding", format!("{signed}.{signature}==")),
        ("a signature that is cut", format!("{signed}.{}", signature.get(..80).unwrap())),
        ("no signature", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{right}.{signature}")),
        ("five parts", format!("{right}.a.b")),
        ("no header", format!(".{payload}.{signature}")),
        (
            "another payload",
            format!("{head}.{}.{signature}", encode(&broker.with(&json!({ "sub": "mallory" })))),
        ),
        ("an opaque token", "nrwa_7pQd1MZ3kqY0sT5vX2cB8nJ4hL6gF9wR1eU3yI5oP7aS0d".to_owned()),
        ("a word", "secret".to_owned()),
    ]
}

/// Bytes that are signed properly, and read in two ways.
fn written(broker: &Broker) -> Vec<(&'static str, String)> {
    let key = &broker.keys[0];
    let head = key.header("at+jwt").to_string();
    let claims = broker.claims().to_string();
    let and = |more: &str| format!("{},{more}}}", claims.strip_suffix('}').unwrap());
    let payload = |text: &str| key.sign_raw(head.as_bytes(), text.as_bytes());
    let header = |text: &str| key.sign_raw(text.as_bytes(), claims.as_bytes());
    let twice = head.replacen('{', r#"{"alg":"none","#, 1);
    let detail = format!("\"authorization_details\":{}", broker.claims()["authorization_details"]);
    assert!(claims.contains(&detail), "{claims}");
    let details = |text: &str| payload(&claims.replacen(&detail, text, 1));
    vec![
        ("a claim twice", payload(&and(r#""sub":"mallory""#))),
        ("a claim twice, once with an escape", payload(&and(r#""\u0073ub":"mallory""#))),
        ("a nested claim twice", payload(&and(r#""x":[{"y":{"a":1,"a":2}}]"#))),
        (
            "a detail's member twice",
            details(r#""authorization_details":[{"type":"ticket","actions":["read"],"identifier":"8","identifier":"7"}]"#),
        ),
        ("a header member twice", header(&twice)),
        ("the same names in different objects", payload(&and(r#""x":{"a":1},"y":{"a":1}"#))),
        ("blanks around", payload(&format!(" \t\r\n{claims} \n"))),
        ("a blank that is none", payload(&format!("\u{a0}{claims}"))),
        ("a byte order mark", payload(&format!("\u{feff}{claims}"))),
        ("text behind", payload(&format!("{claims} x"))),
        ("a second object", payload(&format!("{claims}{claims}"))),
        ("no colon", payload(&and(r#""x" 1"#))),
        ("no comma between members", payload(&and(r#""x":1 "y":2"#))),
        ("no comma between items", payload(&and(r#""x":[1 2]"#))),
        ("another sign between items", payload(&and(r#""x":[1;2]"#))),
        ("a list that a brace ends", payload(&and(r#""x":[1}"#))),
        ("a text without an end", payload(&and(r#""x":"a"#))),
        ("a comma at the end", payload(&and(r#""x":[1,]"#))),
        ("a comment", payload(&and("\"x\":1 /* */"))),
        ("single quotes", payload(&and("'x':1"))),
        ("NaN", payload(&and(r#""x":NaN"#))),
        ("Infinity", payload(&and(r#""x":-Infinity"#))),
        ("a number with a leading zero", payload(&and(r#""x":01"#))),
        ("a number with a plus", payload(&and(r#""x":+1"#))),
        ("a number that is too large for all", payload(&and(r#""x":1e999"#))),
        ("a number with an exponent", payload(&and(r#""x":1e2"#))),
        ("minus zero", payload(&and(r#""nbf":-0"#))),
        ("half a character", payload(&and(r#""x":"\ud800""#))),
        ("two halves of a character", payload(&and(r#""x":"\ud83d\ude00""#))),
        ("a raw control character", payload(&and("\"x\":\"a\tb\""))),
        ("an escape that is none", payload(&and(r#""x":"\x""#))),
        (
            "text that is no UTF-8",
            key.sign_raw(
                head.as_bytes(),
                &[and(r#""x":""#).trim_end_matches('}').as_bytes(), b"\xff\"}"].concat(),
            ),
        ),
        ("a list in place of claims", payload("[]")),
        ("a text in place of claims", payload("\"a\"")),
        ("nothing in place of claims", payload("")),
        ("a list in place of a header", header("[]")),
        (
            "a thousand brackets",
            payload(&and(&format!("\"x\":{}{}", "[".repeat(1000), "]".repeat(1000)))),
        ),
        ("five thousand open brackets", payload(&and(&format!("\"x\":{}", "[".repeat(5000))))),
        (
            "an identifier with escapes",
            details(r#""authorization_details":[{"type":"ticket","actions":["read"],"identifier":"\u0037"}]"#),
        ),
    ]
}

/// What an exception would lift.
fn exceptions(now: i64) -> Vec<(&'static str, Value, Value)> {
    let wide = details(&["ticket:read/7", "ticket:read/8"]);
    let long = json!({ "iat": now - 10, "exp": now + 1200 });
    vec![
        ("an exception that lifts nothing", json!({ "id": "e-1" }), json!({})),
        (
            "an exception for another resource",
            json!({ "id": "e-1", "authorization_details": details(&["ticket:read/8"]) }),
            json!({ "authorization_details": wide }),
        ),
        (
            "an exception for every resource",
            json!({ "id": "e-1", "authorization_details": [{ "type": "ticket", "actions": ["read"] }] }),
            json!({}),
        ),
        (
            "an exception for nothing, and for the longest life",
            json!({ "id": "e-1", "authorization_details": [], "max_lifetime": (1_i64 << 53) - 1 }),
            json!({}),
        ),
        ("an exception for a longer life", json!({ "id": "e-1", "max_lifetime": 3600 }), long),
    ]
}
