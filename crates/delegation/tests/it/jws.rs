//! Hostile tokens: structure and signature. Each row names the attack that it tries.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use delegation::token::{Algorithm, AuthenticateError, KeySet, KeySetError, SubjectToken, Unverified};
use serde_json::{Value, json};
use testkit::{CORP, FakeIssuer, user_claims};

/// Whether `token` is authentic with `keys`.
fn authentic(token: &str, keys: &KeySet) -> Result<(), AuthenticateError> {
    Unverified::<SubjectToken>::parse(token)?.authenticate(keys).map(drop)
}

fn refused(id: &str, token: &str, keys: &KeySet) {
    assert!(authentic(token, keys).is_err(), "{id}: {token}");
}

fn with_header(issuer: &FakeIssuer, change: impl FnOnce(&mut Value)) -> String {
    let mut header = issuer.header("at+jwt");
    change(&mut header);
    issuer.sign_raw(header.to_string().as_bytes(), user_claims().to_string().as_bytes())
}

#[test]
fn a_right_token_of_every_algorithm_is_authentic() {
    for algorithm in [
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
        Algorithm::Rs256,
        Algorithm::Ps256,
    ] {
        let issuer = FakeIssuer::new(CORP, "k1", algorithm);
        assert_eq!(
            authentic(&issuer.sign("at+jwt", &user_claims()), &issuer.key_set()),
            Ok(()),
            "{algorithm:?}"
        );
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let issuer = FakeIssuer::es256(CORP);
    let keys = issuer.key_set();
    let payload = URL_SAFE_NO_PAD.encode(user_claims().to_string());
    for alg in ["none", "None", "NONE", "nOnE", " none", "none\u{0}"] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "typ": "at+jwt" }).to_string());
        refused("JWS-001", &format!("{header}.{payload}."), &keys);
        refused("JWS-002", &format!("{header}.{payload}.AAAA"), &keys);
    }
    let escaped = URL_SAFE_NO_PAD.encode(br#"{"alg":"n\u006fne","typ":"at+jwt"}"#);
    refused("JWS-002", &format!("{escaped}.{payload}."), &keys);
}

#[test]
fn a_shared_secret_is_never_taken_for_a_signature() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let issuer = FakeIssuer::new(CORP, "k1", algorithm);
        let keys = issuer.key_set();
        let jwk = issuer.jwk();
        let raw = |name: &str| {
            jwk.get(name)
                .and_then(Value::as_str)
                .map(|text| URL_SAFE_NO_PAD.decode(text).unwrap())
                .unwrap_or_default()
        };
        let point = [&[4], raw("x").as_slice(), &raw("y")].concat();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(raw("n"))
        );
        for secret in [
            jwk.to_string().into_bytes(),
            raw("n"),
            raw("x"),
            point,
            pem.clone().into_bytes(),
            pem.replace('\n', "\r\n").into_bytes(),
        ] {
            refused("JWS-004 JWS-005", &issuer.hs256(&secret, &user_claims()), &keys);
        }
        refused("JWS-007", &issuer.hs256(b"", &user_claims()), &keys);
        refused("JWS-008", &issuer.hs256(b"edge-secret", &user_claims()), &keys);
    }
}

#[test]
fn a_set_with_a_shared_secret_is_refused() {
    let secret = json!({ "kty": "oct", "k": "AAAA", "kid": "k2", "alg": "HS256" });
    for jwks in [
        json!({ "keys": [secret] }),
        json!({ "keys": [FakeIssuer::es256(CORP).jwk(), secret] }),
    ] {
        let read = KeySet::parse(CORP, jwks.to_string().as_bytes(), &[Algorithm::Es256]);
        assert!(matches!(read, Err(KeySetError::SharedSecret)), "JWS-007");
    }
}

#[test]
fn headers_that_would_name_the_key_are_refused() {
    let (issuer, attacker) = (FakeIssuer::es256(CORP), FakeIssuer::es256(CORP));
    let keys = issuer.key_set();
    refused(
        "JWS-010",
        &with_header(&issuer, |header| header["jku"] = json!("http://127.0.0.1:9/jwks")),
        &keys,
    );
    refused(
        "JWS-011",
        &with_header(&issuer, |header| header["x5u"] = json!("http://127.0.0.1:9/cert")),
        &keys,
    );
    refused("JWS-011", &with_header(&attacker, |header| header["x5c"] = json!(["AAAA"])), &keys);
    refused("JWS-010", &with_header(&attacker, |header| header["jwk"] = attacker.jwk()), &keys);
    for alg in ["dir", "A256KW", "RSA-OAEP", "ES256K", "es256", "ES256 "] {
        refused("JWS-002", &with_header(&issuer, |header| header["alg"] = json!(alg)), &keys);
    }
}

#[test]
fn a_key_name_is_only_ever_a_name() {
    let issuer = FakeIssuer::es256(CORP);
    let keys = issuer.key_set();
    for kid in [
        "x' UNION SELECT 'secret'--",
        "k1\r\nx: y",
        "\u{1b}]0;pwn\u{7}",
        "../../etc/passwd",
        "",
    ] {
        refused("JWS-013", &with_header(&issuer, |header| header["kid"] = json!(kid)), &keys);
    }
    refused(
        "JWS-013",
        &with_header(&issuer, |header| header["kid"] = json!("k".repeat(64 * 1024))),
        &keys,
    );
    refused("JWS-013", &with_header(&issuer, |header| header["kid"] = json!(["k1"])), &keys);
    for (length, taken) in [(512, true), (513, false)] {
        let long = FakeIssuer::new(CORP, &"k".repeat(length), Algorithm::Es256);
        let token = long.sign("at+jwt", &user_claims());
        assert_eq!(
            authentic(&token, &long.key_set()).is_ok(),
            taken,
            "JWS-013: {length} bytes, and there is such a key"
        );
    }
}

#[test]
fn a_named_key_verifies_alone() {
    let (x, y) = (
        FakeIssuer::new(CORP, "x", Algorithm::Es256),
        FakeIssuer::new(CORP, "y", Algorithm::Es256),
    );
    let both = json!({ "keys": [x.jwk(), y.jwk()] });
    let keys = KeySet::parse(CORP, both.to_string().as_bytes(), &[Algorithm::Es256]).unwrap();
    refused("JWS-014", &with_header(&y, |header| header["kid"] = json!("x")), &keys);
    let without_name = |issuer| with_header(issuer, |header| drop(header.as_object_mut().unwrap().remove("kid")));
    let unnamed = without_name(&y);
    refused("JWS-014", &unnamed, &keys);
    refused("JWS-014", &without_name(&x), &keys);
    assert_eq!(
        authentic(&y.sign("at+jwt", &user_claims()), &keys),
        Ok(()),
        "a name tells them apart"
    );
    assert_eq!(authentic(&unnamed, &y.key_set()), Ok(()), "with one key no name is needed");
    let twice = json!({ "keys": [x.jwk(), FakeIssuer::new(CORP, "x", Algorithm::Es256).jwk()] });
    assert!(
        matches!(
            KeySet::parse(CORP, twice.to_string().as_bytes(), &[Algorithm::Es256]),
            Err(KeySetError::OneNameTwice)
        ),
        "JWS-014: two keys of one name"
    );
    let mut encrypts = FakeIssuer::new(CORP, "x", Algorithm::Es256).jwk();
    encrypts["use"] = json!("enc");
    let beside = json!({ "keys": [encrypts, x.jwk(), FakeIssuer::new(CORP, "x", Algorithm::EdDsa).jwk()] });
    let keys = KeySet::parse(CORP, beside.to_string().as_bytes(), &[Algorithm::Es256]).unwrap();
    assert_eq!(
        authentic(&x.sign("at+jwt", &user_claims()), &keys),
        Ok(()),
        "keys that cannot be meant do not count"
    );
}

#[test]
fn keys_belong_to_their_issuer() {
    let (first, second) = (
        FakeIssuer::new(CORP, "default", Algorithm::Es256),
        FakeIssuer::new("https://t2.example", "default", Algorithm::Es256),
    );
    let mut claims = user_claims();
    claims["iss"] = json!("https://t2.example");
    refused("JWS-016 JWS-035 CLM-017", &first.sign("at+jwt", &claims), &second.key_set());
    refused("JWS-016 JWS-035 CLM-017", &first.sign("at+jwt", &claims), &first.key_set());
}

#[test]
fn an_unknown_key_is_told_apart_from_a_bad_signature() {
    let (issuer, other) = (
        FakeIssuer::new(CORP, "old", Algorithm::Es256),
        FakeIssuer::new(CORP, "new", Algorithm::Es256),
    );
    assert_eq!(
        authentic(&other.sign("at+jwt", &user_claims()), &issuer.key_set()),
        Err(AuthenticateError::UnknownKey)
    );
}

#[test]
fn critical_and_unencoded_headers_are_refused() {
    let issuer = FakeIssuer::es256(CORP);
    let keys = issuer.key_set();
    for crit in [
        json!([]),
        json!("exp"),
        json!(["alg"]),
        json!(["x", "x"]),
        json!(["gone"]),
        json!(["b64"]),
    ] {
        refused("JWS-019", &with_header(&issuer, |header| header["crit"] = crit), &keys);
    }
    refused("JWS-020", &with_header(&issuer, |header| header["b64"] = json!(false)), &keys);
    refused("JWS-020", &with_header(&issuer, |header| header["zip"] = json!("DEF")), &keys);
}

#[test]
fn a_member_named_twice_is_refused_at_any_depth() {
    let issuer = FakeIssuer::es256(CORP);
    let keys = issuer.key_set();
    let claims = user_claims().to_string();
    let open = claims.strip_suffix('}').unwrap();
    for twin in [
        r#","sub":"admin"}"#,
        r#","cnf":{"jkt":"A","jkt":"B"}}"#,
        r#","act":{"sub":"x","sub":"y"}}"#,
        r#","s\u0075b":"admin"}"#,
    ] {
        let token = issuer.sign_raw(issuer.header("at+jwt").to_string().as_bytes(), format!("{open}{twin}").as_bytes());
        refused("JWS-022", &token, &keys);
    }
    let token = issuer.sign_raw(br#"{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"k1"}"#, claims.as_bytes());
    refused("JWS-022", &token, &keys);
}

#[test]
fn only_plain_json_is_read() {
    let issuer = FakeIssuer::es256(CORP);
    let keys = issuer.key_set();
    let claims = user_claims().to_string();
    let open = claims.strip_suffix('}').unwrap();
    let bad: Vec<Vec<u8>> = vec![
        [b"\xEF\xBB\xBF", claims.as_bytes()].concat(),
        format!("{claims}garbage").into_bytes(),
        format!("{open},\"x\":NaN}}").into_bytes(),
        format!("{open},\"x\":01}}").into_bytes(),
        format!("{open},\"x\":\"\\ud800\"}}").into_bytes(),
        [open.as_bytes(), b",\"x\":\"\xFF\"}"].concat(),
        format!("{open}/* x */}}").into_bytes(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
    ];
    for payload in bad {
        refused(
            "JWS-023",
            &issuer.sign_raw(issuer.header("at+jwt").to_string().as_bytes(), &payload),
            &keys,
        );
    }
    let deep = format!("{open},\"x\":{}{}}}", "[".repeat(2000), "]".repeat(2000));
    refused(
        "JWS-024",
        &issuer.sign_raw(issuer.header("at+jwt").to_string().as_bytes(), deep.as_bytes()),
        &keys,
    );
}

#[test]
fn size_and_shape_are_bounded_before_cryptography() {
    let issuer = FakeIssuer::es256(CORP);
    let keys = issuer.key_set();
    let padded = |length: usize| {
        let mut claims = user_claims();
        claims["padding"] = json!("x".repeat(length));
        issuer.sign("at+jwt", &claims)
    };
    assert_eq!(authentic(&padded(11_000), &keys), Ok(()));
    assert!(padded(13_000).len() > 16 * 1024);
    refused("JWS-025: well signed and too long", &padded(13_000), &keys);
    refused(
        "JWS-025",
        &format!("{}.{}.{}", "A".repeat(8000), "A".repeat(8000), "A".repeat(8000)),
        &keys,
    );
    for flood in [
        ".".repeat(16_000),
        "a.".repeat(8_000),
        ".".repeat(1_000_000),
        "a.b".to_owned(),
        "a.b.c.d".to_owned(),
        String::new(),
    ] {
        refused("JWS-026", &flood, &keys);
    }
}

#[test]
fn base64_has_one_spelling() {
    let issuer = FakeIssuer::es256(CORP);
    let keys = issuer.key_set();
    let good = issuer.sign("at+jwt", &user_claims());
    assert_eq!(authentic(&good, &keys), Ok(()));
    for bad in [
        format!("{good}="),
        format!("{good}=="),
        format!(" {good}"),
        format!("{good}\n"),
        good.replacen('.', "=.", 1),
    ] {
        refused("JWS-028", &bad, &keys);
    }
    // 64 bytes leave four unused bits in the last character: another character decodes to the same bytes.
    let (head, last) = good.split_at(good.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    for twin in at + 1..(at / 16 + 1) * 16 {
        refused("JWS-028", &format!("{head}{}", &alphabet[twin..=twin]), &keys);
    }
    let padded = URL_SAFE.encode(issuer.signature(b"x"));
    refused("JWS-028", &format!("{}.{padded}", good.rsplit_once('.').unwrap().0), &keys);
}

#[test]
fn signatures_have_the_length_of_their_algorithm() {
    for algorithm in [Algorithm::Es256, Algorithm::Rs256] {
        let issuer = FakeIssuer::new(CORP, "k1", algorithm);
        let keys = issuer.key_set();
        let good = issuer.sign("at+jwt", &user_claims());
        let (input, signature) = good.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for length in [1, 63, signature.len() - 1] {
            refused(
                "JWS-029",
                &format!("{input}.{}", URL_SAFE_NO_PAD.encode(&signature[..length])),
                &keys,
            );
        }
        let longer = [signature.as_slice(), &[0]].concat();
        refused("JWS-029", &format!("{input}.{}", URL_SAFE_NO_PAD.encode(longer)), &keys);
        refused(
            "JWS-029",
            &format!("{input}.{}", URL_SAFE_NO_PAD.encode(vec![0; signature.len()])),
            &keys,
        );
        refused(
            "JWS-029",
            &format!("{input}.{}", URL_SAFE_NO_PAD.encode([&[0x30, 0x44], signature.as_slice()].concat())),
            &keys,
        );
    }
}

#[test]
fn unfit_keys_are_left_out_of_a_set() {
    let p384 = FakeIssuer::new(CORP, "k1", Algorithm::Es384).jwk();
    let mut wrong_curve = p384;
    wrong_curve["alg"] = json!("ES256");
    let good = FakeIssuer::es256(CORP).jwk();
    // Coordinates of one curve under the name of another.
    let mut another_name = good.clone();
    another_name["crv"] = json!("P-384");
    let mut off_curve = good.clone();
    off_curve["y"] = good["x"].clone();
    let mut zero = good.clone();
    zero["x"] = json!(URL_SAFE_NO_PAD.encode([0; 32]));
    zero["y"] = json!(URL_SAFE_NO_PAD.encode([0; 32]));
    let mut encrypts = good.clone();
    encrypts["use"] = json!("enc");
    let mut signs = good.clone();
    signs["key_ops"] = json!(["sign"]);
    let mut private = good.clone();
    private["d"] = json!("AAAA");
    let mut number = good.clone();
    number["kid"] = json!(7);
    let rsa = FakeIssuer::new(CORP, "k1", Algorithm::Rs256).jwk();
    let mut weak = rsa.clone();
    weak["n"] = json!(URL_SAFE_NO_PAD.encode([&[0xc1][..], &[7; 127]].concat()));
    let mut exponent = rsa;
    exponent["e"] = json!(URL_SAFE_NO_PAD.encode([3]));
    let mut padded = rsa_padded(&FakeIssuer::new(CORP, "k1", Algorithm::Rs256).jwk());
    padded["kid"] = json!("k1");
    // The same 64 bytes, cut elsewhere.
    let mut uneven = good.clone();
    let point = ["x", "y"].map(|name| URL_SAFE_NO_PAD.decode(good[name].as_str().unwrap()).unwrap()).concat();
    uneven["x"] = json!(URL_SAFE_NO_PAD.encode(&point[..31]));
    uneven["y"] = json!(URL_SAFE_NO_PAD.encode(&point[31..]));
    let small_order = |y: [u8; 32]| json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(y), "kid": "k1", "alg": "EdDSA" });
    let mut one = [0; 32];
    one[0] = 1;
    let all = [Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::EdDsa];
    let bad = [
        wrong_curve,
        another_name,
        off_curve,
        zero,
        encrypts,
        signs,
        private,
        number,
        weak,
        exponent,
        padded,
        uneven,
        small_order([0; 32]),
        small_order(one),
    ];
    for (at, jwk) in bad.into_iter().enumerate() {
        let set = json!({ "keys": [jwk] }).to_string();
        assert!(
            KeySet::parse(CORP, set.as_bytes(), &all).is_err(),
            "JWS-032 JWS-034 JWS-044: key {at}"
        );
    }
    // One bad key does not take the good ones with it.
    let set = json!({ "keys": [{ "kty": "EC" }, good] }).to_string();
    assert_eq!(KeySet::parse(CORP, set.as_bytes(), &all).unwrap().len(), 1);
}

/// An RSA key whose modulus has a zero before it.
fn rsa_padded(jwk: &Value) -> Value {
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let mut padded = jwk.clone();
    padded["n"] = json!(URL_SAFE_NO_PAD.encode([&[0][..], &modulus].concat()));
    padded
}

#[test]
fn a_token_counts_again_only_under_the_very_set_that_verified_it() {
    let (issuer, both) = (FakeIssuer::es256(CORP), [Algorithm::Es256, Algorithm::EdDsa]);
    let set = |issuer_name: &str, jwks: &Value, algorithms: &[Algorithm]| {
        KeySet::parse(issuer_name, jwks.to_string().as_bytes(), algorithms).unwrap()
    };
    let first = set(CORP, &issuer.jwks(), &both[..1]);
    let token = Unverified::<SubjectToken>::parse(&issuer.sign("at+jwt", &user_claims())).unwrap();
    let token = token.authenticate(&first).unwrap();
    assert!(token.holds_under(&set(CORP, &issuer.jwks(), &both[..1])));
    let more = json!({ "keys": [issuer.jwk(), FakeIssuer::new(CORP, "k2", Algorithm::Es256).jwk()] });
    for (what, other) in [
        ("another issuer's", set("https://t2.example", &issuer.jwks(), &both[..1])),
        ("one key more", set(CORP, &more, &both[..1])),
        ("one algorithm more", set(CORP, &issuer.jwks(), &both)),
    ] {
        assert!(!token.holds_under(&other), "{what}");
    }
}

#[test]
fn no_more_than_a_hundred_keys_of_a_set_are_looked_at() {
    let last = FakeIssuer::new(CORP, "last", Algorithm::Es256);
    let set_after = |others: usize| {
        let mut keys: Vec<_> = (0..others).map(|at| FakeIssuer::new(CORP, &format!("k{at}"), Algorithm::Es256).jwk()).collect();
        keys.push(last.jwk());
        KeySet::parse(CORP, json!({ "keys": keys }).to_string().as_bytes(), &[Algorithm::Es256]).unwrap()
    };
    let token = last.sign("at+jwt", &user_claims());
    assert_eq!(authentic(&token, &set_after(99)), Ok(()));
    assert_eq!(authentic(&token, &set_after(100)), Err(AuthenticateError::UnknownKey));
}

#[test]
fn one_key_has_one_algorithm() {
    let issuer = FakeIssuer::new(CORP, "k1", Algorithm::Rs256);
    let mut jwk = issuer.jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    let set = json!({ "keys": [jwk] }).to_string();
    assert!(
        KeySet::parse(CORP, set.as_bytes(), &[Algorithm::Rs256, Algorithm::Ps256]).is_err(),
        "JWS-044: two algorithms fit"
    );
    let keys = KeySet::parse(CORP, set.as_bytes(), &[Algorithm::Rs256]).unwrap();
    refused("JWS-044", &with_header(&issuer, |header| header["alg"] = json!("PS256")), &keys);
    refused("JWS-044", &with_header(&issuer, |header| header["alg"] = json!("RS384")), &keys);
}

#[test]
fn the_issuers_algorithms_bind() {
    let issuer = FakeIssuer::new(CORP, "k1", Algorithm::EdDsa);
    assert!(
        KeySet::parse(CORP, issuer.jwks().to_string().as_bytes(), &[Algorithm::Es256]).is_err(),
        "JWS-041"
    );
}

#[test]
fn encryption_and_json_serialization_are_other_things() {
    let issuer = FakeIssuer::es256(CORP);
    let keys = issuer.key_set();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let wrapped = URL_SAFE_NO_PAD.encode("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.");
    refused(
        "JWS-037",
        &format!("{}.AA.AA.AA.AA", part(json!({ "alg": "RSA-OAEP", "enc": "A256GCM" }))),
        &keys,
    );
    refused(
        "JWS-038",
        &format!(
            "{}.AA.AA.{wrapped}.AA",
            part(json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM", "cty": "JWT" }))
        ),
        &keys,
    );
    refused(
        "JWS-040",
        &format!(
            "{}.AA.AA.AA.AA",
            part(json!({ "alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": 2_147_483_647 }))
        ),
        &keys,
    );
    let good = issuer.sign("at+jwt", &user_claims());
    let segments: Vec<_> = good.split('.').collect();
    let flat = json!({ "protected": segments[0], "payload": segments[1], "signature": segments[2] });
    let several = json!({ "payload": segments[1], "signatures": [{ "protected": segments[0], "signature": segments[2] }] });
    for text in [flat.to_string(), several.to_string(), format!("{{\"x\":\"{good}\"}}")] {
        refused("JWS-041", &text, &keys);
    }
}
