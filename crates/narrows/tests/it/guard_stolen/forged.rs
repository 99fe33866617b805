//! What nobody issued: signed in the broker's name by whoever has its key, changed afterwards, or made elsewhere.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::signer::KeyRing;
use broker::store::{Store, StoreAddress};
use delegation::time::Timestamp;
use delegation::token::{Algorithm, OpaqueForm, OpaqueKind};
use issuance::mint::Signer as _;
use serde_json::{Value, json};
use testkit::FakeIssuer;

use super::{Acme, BOUND, ELSEWHERE, EXPIRED, INVALID, OVERBROAD, Stolen, WIDER};
use crate::boundary::claims;
use crate::guard::TICKETS;

/// The broker's own key, out of its store: what it signs has the one flaw that it is meant to have.
pub(super) struct BrokersName {
    ring: KeyRing,
    runtime: tokio::runtime::Runtime,
}

impl BrokersName {
    pub(super) fn of(folder: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ring = runtime.block_on(async {
            let store = Store::open(&StoreAddress::sqlite(folder.join("narrows.db"))).await.unwrap();
            let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
            KeyRing::open(&store, &[folder.join("narrows.key")], Algorithm::Es256, now).await.unwrap()
        });
        Self { ring, runtime }
    }

    fn kid(&self) -> String {
        self.ring.current().kid
    }

    pub(super) fn signs(&self, claims: &Value) -> String {
        self.signs_as("at+jwt", claims)
    }

    fn signs_as(&self, typ: &str, claims: &Value) -> String {
        let input = unsigned(&json!({ "alg": "ES256", "typ": typ, "kid": self.kid() }), claims);
        let signature = self.runtime.block_on(self.ring.sign(&self.ring.current(), input.as_bytes())).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}")
}

pub(super) fn all(acme: &Acme, name: &BrokersName, honest: &str) -> Vec<Stolen> {
    let mut all = in_the_brokers_name(name, honest);
    all.extend(changed(honest));
    all.extend(of_nobody(name, honest));
    all.extend(of_others(acme, name, honest));
    all
}

/// Signed by the broker, and not what it would say here.
fn in_the_brokers_name(name: &BrokersName, honest: &str) -> Vec<Stolen> {
    let right = claims(honest);
    let number = |claim: &str| right[claim].as_i64().unwrap();
    let now = jiff::Timestamp::now().as_second();
    let ticket = |changes: Value| {
        let mut detail = right["authorization_details"][0].clone();
        detail.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        detail
    };
    let one = |changes| json!({ "authorization_details": [ticket(changes)] });
    let beside = |changes| json!({ "authorization_details": [ticket(json!({})), ticket(changes)] });
    let mut all = Vec::new();
    let mut add = |kind, expected, changes: Value| {
        let mut claims = right.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims["jti"] = json!(format!("forged-{}", all.len()));
        all.push(Stolen::new(kind, name.signs(&claims), expected));
    };
    let near = ["/", "/tickets", ":443", ":8443", ".", ".example", "?", "#", "%2f", " "].map(|end| format!("{TICKETS}{end}"));
    let far = [
        "http://tickets.internal",
        "https://TICKETS.internal",
        "HTTPS://tickets.internal",
        "tickets.internal",
        "tickets",
        "*",
    ];
    for audience in near.iter().map(String::as_str).chain(far) {
        add("audience", ELSEWHERE, json!({ "aud": audience }));
        add("audience", ELSEWHERE, json!({ "aud": [TICKETS, audience] }));
    }
    for seconds in [0, 1, 30, 59, 3600, 86_400] {
        add("time", EXPIRED, json!({ "iat": now - seconds - 60, "exp": now - seconds }));
        let later = now + 600 + seconds;
        add("time", INVALID, json!({ "iat": later, "exp": later + 60 }));
        add("time", INVALID, json!({ "nbf": later, "exp": now + 60 }));
        add("time", INVALID, json!({ "exp": number("iat") + 121 + seconds }));
    }
    for issuer in ["https://login.corp.example", "https://broker.example", "", "/"] {
        add("issuer", INVALID, json!({ "iss": issuer }));
        add(
            "issuer",
            INVALID,
            json!({ "iss": format!("{}{issuer}x", right["iss"].as_str().unwrap()) }),
        );
    }
    for at in 0..8 {
        add("tenant", WIDER, one(json!({ "tenant": format!("acme{at}") })));
        add("tenant", OVERBROAD, beside(json!({ "tenant": format!("acme{at}") })));
        add("request", WIDER, one(json!({ "identifier": format!("42{at}") })));
        add("too broad", OVERBROAD, beside(json!({ "identifier": format!("42{at}") })));
        add("too broad", OVERBROAD, json!({ "scope": format!("scope-{at}") }));
        add("bound to a key", BOUND, json!({ "cnf": { "jkt": format!("{at}") } }));
    }
    add("request", WIDER, json!({ "authorization_details": [] }));
    for typ in [
        "JWT",
        "jwt",
        "",
        "dpop+jwt",
        "txntoken+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "oauth-id-jag+jwt",
    ] {
        all.push(Stolen::new("type", name.signs_as(typ, &right), INVALID));
    }
    all
}

/// The honest token with another body, and with parts of its signature.
fn changed(honest: &str) -> Vec<Stolen> {
    let parts: Vec<_> = honest.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let right = claims(honest);
    let changes = [
        json!({ "sub": "bob" }),
        json!({ "aud": "https://notes.internal" }),
        json!({ "exp": right["exp"].as_i64().unwrap() + 1 }),
        json!({ "iat": right["iat"].as_i64().unwrap() - 1 }),
        json!({ "jti": "another" }),
        json!({ "client_id": "other" }),
        json!({ "act": { "sub": "other" } }),
        json!({ "task": "another" }),
        json!({ "scope": "all" }),
        json!({ "authorization_details": [] }),
        json!({ "exception": { "id": "e-1" } }),
        json!({ "single_use": true }),
        json!({ "cnf": { "jkt": "k" } }),
        json!({ "iss": "https://login.corp.example" }),
        json!({ "one": "more" }),
    ];
    let bodies = changes.into_iter().map(|changes| {
        let mut claims = right.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let token = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        Stolen::new("body", token, INVALID)
    });
    let cut = (0..signature.len())
        .step_by(2)
        .map(|end| format!("{header}.{payload}.{}", signature.get(..end).unwrap()));
    let bits = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let flipped = (0..bits.len()).step_by(2).map(|at| {
        let mut bits = bits.clone();
        bits[at] ^= 1 << (at % 8);
        format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(bits))
    });
    let signatures = cut.chain(flipped).map(|token| Stolen::new("signature", token, INVALID));
    bodies.chain(signatures).collect()
}

/// Without a signature, or with one that anybody can make of the public key.
fn of_nobody(name: &BrokersName, honest: &str) -> Vec<Stolen> {
    let right = claims(honest);
    let signature = honest.rsplit('.').next().unwrap();
    let unsigned = ["none", "None", "NONE", "nOnE", "", "HS256", "ES384", "RS256"].into_iter().flat_map(|alg| {
        let input = unsigned(&json!({ "alg": alg, "typ": "at+jwt", "kid": name.kid() }), &right);
        [format!("{input}."), format!("{input}.{signature}")]
    });
    let (set, key) = (name.ring.jwks(), name.ring.jwks()["keys"][0].clone());
    let part = |part: &str| key[part].as_str().unwrap().to_owned();
    let point = |part: &str| URL_SAFE_NO_PAD.decode(key[part].as_str().unwrap()).unwrap();
    let secrets = [
        set.to_string().into_bytes(),
        key.to_string().into_bytes(),
        part("x").into_bytes(),
        part("y").into_bytes(),
        point("x"),
        [point("x"), point("y")].concat(),
        [vec![4], point("x"), point("y")].concat(),
        name.kid().into_bytes(),
        b"secret".to_vec(),
        vec![0],
    ];
    let impostor = FakeIssuer::new("", &name.kid(), Algorithm::Es256);
    let confused = secrets.iter().map(|secret| impostor.hs256(secret, &right));
    unsigned
        .map(|token| Stolen::new("unsigned", token, INVALID))
        .chain(confused.map(|token| Stolen::new("shared secret", token, INVALID)))
        .collect()
}

/// Of issuers that take the broker's name and key id, of its identity provider, and opaque ones of elsewhere.
fn of_others(acme: &Acme, name: &BrokersName, honest: &str) -> Vec<Stolen> {
    let (right, corp) = (claims(honest), &acme.issuer);
    let broker = right["iss"].as_str().unwrap();
    let impostors = (0..20).map(|at| {
        let algorithm = [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa][at % 3];
        let kid = if at % 4 == 3 { "another".to_owned() } else { name.kid() };
        Stolen::new("issuer", FakeIssuer::new(broker, &kid, algorithm).sign("at+jwt", &right), INVALID)
    });
    let outside = ["at+jwt", "JWT", "id_token+jwt"].into_iter().flat_map(|typ| {
        ["api://shop", TICKETS, "web", broker].into_iter().map(move |audience| {
            let mut said = claims(&acme.guarded.alice);
            said["aud"] = json!(audience);
            if typ != "at+jwt" {
                said["nonce"] = json!("n");
            }
            Stolen::new("identity provider", corp.sign(typ, &said), INVALID)
        })
    });
    let own = std::iter::once(Stolen::new("identity provider", corp.sign("at+jwt", &right), INVALID));
    // Well formed, so that the broker is asked; fewer than one place may ask about in a second.
    let formed = (0..6).map(|at| OpaqueForm::make(OpaqueKind::Access, &[at; 32]).expose().to_owned());
    let formless = ["nrwa_", "gho_", "ya29.", "sk-", "v2.local.", "AQoDYXdz"].map(|start| format!("{start}{}", "a".repeat(40)));
    let opaque = formed.chain(formless).map(|token| Stolen::new("opaque", token, INVALID));
    impostors.chain(outside).chain(own).chain(opaque).collect()
}
