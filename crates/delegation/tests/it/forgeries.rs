//! Forgeries as the known tools make them from a right token, each with the reason for which it is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delegation::token::{Algorithm, AuthenticateError, SubjectToken, Unverified};
use serde_json::{Value, json};
use testkit::{CORP, FakeIssuer, user_claims};

const ALGORITHM: &str = "no known algorithm";
const HEADER: &str = "a header member that is never taken";
const MEMBER_TYPE: &str = "a header member has the wrong type";
const NO_SIGNATURE: &str = "no signature";
const SEGMENTS: &str = "expected three segments";
const BASE64: &str = "a segment is not canonical base64url";
const JSON: &str = "a segment is not a JSON object";
const TYP: &str = "its `typ` belongs to another kind of token";
const SIGNATURE: &str = "the signature does not verify";
const KEY: &str = "the issuer's key set has no such key";

/// Why `token` is refused; none if it is authentic.
fn reason(token: &str, keys: &delegation::token::KeySet) -> Option<String> {
    let judged = Unverified::<SubjectToken>::parse(token).and_then(|token| token.authenticate(keys));
    judged.err().map(|error: AuthenticateError| error.to_string())
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An integer of a DER signature.
fn der_integer(bytes: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if digits.first().is_none_or(|first| *first >= 0x80) {
        digits.insert(0, 0);
    }
    [&[2, u8::try_from(digits.len()).unwrap()], digits.as_slice()].concat()
}

#[test]
fn every_known_forgery_is_refused_for_what_is_wrong_with_it() {
    let (issuer, attacker) = (FakeIssuer::es256(CORP), FakeIssuer::es256(CORP));
    let keys = issuer.key_set();
    let claims = user_claims();
    let payload = text(claims.to_string());
    let good = issuer.sign("at+jwt", &claims);
    assert_eq!(reason(&good, &keys), None, "the token that is forged from is right");
    let parts: Vec<&str> = good.split('.').collect();
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let signed_with = |signer: &FakeIssuer, name: &str, value: Value| {
        let mut header = issuer.header("at+jwt");
        header[name] = value;
        signer.sign_raw(header.to_string().as_bytes(), claims.to_string().as_bytes())
    };
    let resigned = |bytes: &[u8]| format!("{}.{}.{}", parts[0], parts[1], text(bytes));
    let mut table: Vec<(String, String, &str)> = Vec::new();
    let mut row = |what: &str, token: String, reason: &'static str| table.push((what.to_owned(), token, reason));

    // `alg`: none in every case of its letters, HMAC, what is no signature, and near misses of the right name.
    for bits in 0..16_u32 {
        let alg: String = "none"
            .chars()
            .enumerate()
            .map(|(at, each)| if bits >> at & 1 == 1 { each.to_ascii_uppercase() } else { each })
            .collect();
        let header = text(json!({ "alg": alg, "typ": "at+jwt", "kid": "k1" }).to_string());
        row(&alg, format!("{header}.{payload}."), ALGORITHM);
        row(&alg, format!("{header}.{payload}.{}", parts[2]), ALGORITHM);
    }
    for alg in [
        "",
        " ES256",
        "ES256\n",
        "es256",
        "ES256K",
        "ES521",
        "RS1",
        "HS256",
        "HS384",
        "HS512",
        "dir",
        "A256GCMKW",
    ] {
        row(alg, signed_with(&issuer, "alg", json!(alg)), ALGORITHM);
    }
    row("alg is a list", signed_with(&issuer, "alg", json!(["ES256"])), MEMBER_TYPE);
    row("alg is null", signed_with(&issuer, "alg", Value::Null), MEMBER_TYPE);
    row(
        "HMAC by the public key",
        issuer.hs256(issuer.jwk().to_string().as_bytes(), &claims),
        ALGORITHM,
    );
    row("HMAC by nothing", issuer.hs256(b"", &claims), ALGORITHM);
    row("another family", signed_with(&issuer, "alg", json!("RS256")), SIGNATURE);
    row("another curve", signed_with(&issuer, "alg", json!("ES384")), SIGNATURE);

    // Keys that the token brings along or points to.
    for (name, value) in [
        ("jwk", attacker.jwk()),
        ("jku", json!("https://login.corp.example@evil.example/jwks")),
        ("jku", json!("file:///dev/null")),
        ("x5u", json!("https://evil.example/chain.pem")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        row(name, signed_with(&attacker, name, value), HEADER);
    }
    row("x5c", signed_with(&attacker, "x5c", json!(["MIIB"])), SIGNATURE);
    row("x5t", signed_with(&attacker, "x5t", json!("AAAA")), SIGNATURE);

    // `kid` as a path, a query, a command, a template.
    for kid in [
        "../../../../../../dev/null",
        "/proc/sys/kernel/randomize_va_space",
        "%2e%2e%2fkey",
        "k1' OR '1'='1",
        "x' UNION SELECT 'AA",
        "$(id)",
        "|sleep 1",
        "{{7*7}}",
        "k1\u{0}",
        "K1",
        "",
    ] {
        row(kid, signed_with(&attacker, "kid", json!(kid)), KEY);
    }
    row("kid is a number", signed_with(&issuer, "kid", json!(1)), MEMBER_TYPE);
    row("kid is an object", signed_with(&issuer, "kid", json!({ "k1": 1 })), MEMBER_TYPE);

    // The signature: none, blank, psychic (r = s = 0), the group's order, DER, cut, grown, swapped, another's.
    row("blank", format!("{}.{}.", parts[0], parts[1]), NO_SIGNATURE);
    row("left out", format!("{}.{}", parts[0], parts[1]), SEGMENTS);
    row("the word null", format!("{}.{}.null", parts[0], parts[1]), SIGNATURE);
    row("psychic", resigned(&[0; 64]), SIGNATURE);
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
        0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    row("the order twice", resigned(&[order, order].concat()), SIGNATURE);
    let integers = [der_integer(&signature[..32]), der_integer(&signature[32..])].concat();
    row(
        "DER",
        resigned(&[&[0x30, u8::try_from(integers.len()).unwrap()], integers.as_slice()].concat()),
        SIGNATURE,
    );
    row("cut", resigned(&signature[..63]), SIGNATURE);
    row("grown", resigned(&[&signature[..], &[0]].concat()), SIGNATURE);
    row(
        "halves swapped",
        resigned(&[&signature[32..], &signature[..32]].concat()),
        SIGNATURE,
    );
    row("another's", attacker.sign("at+jwt", &claims), SIGNATURE);
    row("padded", format!("{good}=="), BASE64);

    // Claims changed under the old signature.
    for (name, value) in [
        ("sub", json!("admin")),
        ("scope", json!("admin")),
        ("exp", json!(9_999_999_999_u64)),
        ("aud", json!("https://narrows.example")),
    ] {
        let mut changed = claims.clone();
        changed[name] = value;
        row(name, format!("{}.{}.{}", parts[0], text(changed.to_string()), parts[2]), SIGNATURE);
    }
    let mut typed = claims.clone();
    typed["iss"] = json!([CORP]);
    row("iss is a list", issuer.sign("at+jwt", &typed), "`iss` is not a string");
    for required in ["iss", "sub", "aud", "exp", "iat"] {
        let mut without = claims.clone();
        without.as_object_mut().unwrap().remove(required);
        row(required, issuer.sign("at+jwt", &without), "a required claim is missing");
    }

    // Members twice, other shapes, tokens inside tokens, other kinds.
    let twice = claims.to_string().replacen('{', r#"{"sub":"admin","#, 1);
    row(
        "sub twice",
        issuer.sign_raw(issuer.header("at+jwt").to_string().as_bytes(), twice.as_bytes()),
        JSON,
    );
    row(
        "nested",
        issuer.sign_raw(br#"{"alg":"ES256","typ":"at+jwt","cty":"JWT","kid":"k1"}"#, good.as_bytes()),
        JSON,
    );
    let flat = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
    row("flat JSON", flat.to_string(), SEGMENTS);
    row("JSON around dots", format!(r#"{{"a":"{good}"}}"#), BASE64);
    row(
        "encrypted",
        format!("{}.AA.AA.AA.AA", text(r#"{"alg":"dir","enc":"A256GCM"}"#)),
        SEGMENTS,
    );
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "client-authentication+jwt",
        "secevent+jwt",
        "application/",
        "x/at+jwt",
    ] {
        row(typ, issuer.sign(typ, &claims), TYP);
    }

    let mut wrong = Vec::new();
    for (what, token, expected) in table {
        let told = reason(&token, &keys);
        if told.as_deref() != Some(expected) {
            wrong.push((what, expected, told));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_forgery_for_one_algorithm_is_none_for_another() {
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::EdDsa, Algorithm::Es384] {
        let issuer = FakeIssuer::new(CORP, "k1", algorithm);
        let keys = issuer.key_set();
        let claims = user_claims();
        for alg in [
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
        ] {
            let mut header = issuer.header("at+jwt");
            header["alg"] = json!(alg);
            let token = issuer.sign_raw(header.to_string().as_bytes(), claims.to_string().as_bytes());
            let expected = (alg != algorithm.as_str()).then(|| SIGNATURE.to_owned());
            assert_eq!(reason(&token, &keys), expected, "{algorithm:?} shown as {alg}");
        }
    }
}
