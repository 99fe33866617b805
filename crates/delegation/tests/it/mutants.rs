//! Mutants of right tokens, judged twice: by this crate and by a verifier written here another way.
//!
//! `NARROWS_MUTANTS` says how many (100,000 by default; `scripts/test --long` asks for ten million), `NARROWS_SEED` from
//! where. The verifier here shares no line with the product: segments are compared after encoding them again, JSON is
//! walked by its own scanner, keys are raw points. It is laxer in nothing that the product promises.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delegation::token::{SubjectToken, Unverified};
use serde_json::{Value, json};
use testkit::{CORP, FakeIssuer, user_claims};

/// The oracle: whether `token` is CORP's by the one key `k1`.
mod oracle {
    use super::*;

    pub(super) fn accepts(token: &str, point: &[u8]) -> bool {
        let parts: Vec<&str> = token.split('.').collect();
        if token.len() > 16 * 1024 || parts.len() != 3 {
            return false;
        }
        let Some(bytes) = parts.iter().map(|part| decode(part)).collect::<Option<Vec<_>>>() else {
            return false;
        };
        let (Some(header), Some(claims)) = (members(&bytes[0]), members(&bytes[1])) else {
            return false;
        };
        let of = |members: &[(String, Value)], name: &str| members.iter().find(|(each, _)| each == name).map(|(_, value)| value.clone());
        let forbidden = ["crit", "jku", "x5u", "jwk", "zip", "b64"].iter().any(|name| of(&header, name).is_some());
        let typ_fits = match of(&header, "typ") {
            None => true,
            Some(Value::String(typ)) => {
                let typ = typ.to_lowercase();
                ["at+jwt", "jwt", "application/at+jwt", "application/jwt"].contains(&typ.as_str())
            }
            Some(_) => false,
        };
        let kid_fits = of(&header, "kid").is_none_or(|kid| kid == "k1");
        let complete = ["sub", "aud", "exp", "iat"].iter().all(|name| of(&claims, name).is_some());
        !forbidden
            && typ_fits
            && kid_fits
            && complete
            && of(&header, "alg") == Some(json!("ES256"))
            && of(&claims, "iss") == Some(json!(CORP))
            && UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &bytes[2])
                .is_ok()
    }

    /// Base64url by arithmetic, and only what encodes to the same text again.
    fn decode(text: &str) -> Option<Vec<u8>> {
        let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
        for each in text.bytes() {
            let value = match each {
                b'A'..=b'Z' => each - b'A',
                b'a'..=b'z' => each - b'a' + 26,
                b'0'..=b'9' => each - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            held = (held << 6 | u32::from(value)) & 0xffff;
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
            }
        }
        (URL_SAFE_NO_PAD.encode(&bytes) == text).then_some(bytes)
    }

    /// The members of an object in their order, if no object in it names one twice and nothing is nested past 64.
    fn members(bytes: &[u8]) -> Option<Vec<(String, Value)>> {
        let text = std::str::from_utf8(bytes).ok()?;
        // serde_json says whether it is JSON at all; what it would forgive, the scan below does not.
        let value: Value = serde_json::from_str(text).ok()?;
        let object = value.as_object()?;
        (scan(text) == Some(count(&value)) && depth(&value) <= 64)
            .then(|| object.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// How many members are written in `text`: the colons outside strings.
    fn scan(text: &str) -> Option<usize> {
        let (mut colons, mut inside, mut escaped) = (0, false, false);
        for each in text.bytes() {
            match (inside, escaped, each) {
                (true, true, _) => escaped = false,
                (true, false, b'\\') => escaped = true,
                (_, false, b'"') => inside = !inside,
                (false, _, b':') => colons += 1,
                _ => {}
            }
        }
        (!inside).then_some(colons)
    }

    /// How many members survived reading: fewer than were written if one was named twice.
    fn count(value: &Value) -> usize {
        match value {
            Value::Object(members) => members.len() + members.values().map(count).sum::<usize>(),
            Value::Array(items) => items.iter().map(count).sum(),
            _ => 0,
        }
    }

    fn depth(value: &Value) -> usize {
        match value {
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// A stream of numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) >> 1).unwrap() % sides
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.roll(from.len());
        &from[at]
    }
}

/// A header or claims set, changed in one place that means something.
fn changed(dice: &mut Dice, value: &Value) -> Vec<u8> {
    let mut value = value.clone();
    let names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    let name = dice.pick(&names).clone();
    let strange = [
        json!(null),
        json!(""),
        json!([]),
        json!({}),
        json!(0),
        json!(-1),
        json!(1.5),
        json!("x"),
        json!(["k1"]),
        json!("\u{0}"),
    ];
    match dice.roll(9) {
        0 => drop(value.as_object_mut().unwrap().remove(&name)),
        1 => value[&name] = dice.pick(&strange).clone(),
        2 => value[*dice.pick(&["crit", "jku", "x5u", "jwk", "zip", "b64", "x5c", "cty", "act", "x"])] = dice.pick(&strange).clone(),
        3 => value["typ"] = json!(dice.pick(&["JWT", "AT+JWT", "application/at+jwt", "logout+jwt", "", "application/", "jwt "])),
        4 => value["alg"] = json!(dice.pick(&["none", "HS256", "ES384", "es256", "RS256", "Ed25519"])),
        5 => {
            let twin = dice.pick(&[
                r#""sub":"admin","#,
                r#""alg":"none","#,
                r#""s\u0075b":"admin","#,
                r#""y":{"a":1,"a":2},"#,
            ]);
            return value.to_string().replacen('{', &format!("{{{twin}"), 1).into_bytes();
        }
        6 => {
            let depth = 55 + dice.roll(20);
            let deep = format!(r#"{{"deep":{}{},"#, "[".repeat(depth), "]".repeat(depth));
            return value.to_string().replacen('{', &deep, 1).into_bytes();
        }
        7 => {
            let mut bytes = value.to_string().into_bytes();
            let at = dice.roll(bytes.len());
            bytes[at] = u8::try_from(dice.roll(256)).unwrap();
            return bytes;
        }
        _ => return format!("{}{}", dice.pick(&["", " ", "\n", "\u{feff}"]), value).into_bytes(),
    }
    value.to_string().into_bytes()
}

/// A text with one small change anywhere.
fn scratched(dice: &mut Dice, good: &str) -> String {
    let mut bytes = good.as_bytes().to_vec();
    let at = dice.roll(bytes.len());
    let other = *dice.pick(b"ABCDwxyz0189-_.=+/ \n?~");
    match dice.roll(6) {
        0 => bytes[at] = other,
        1 => bytes.insert(at, other),
        2 => drop(bytes.remove(at)),
        3 => bytes.truncate(at),
        4 => bytes.push(other),
        _ => {
            let to = dice.roll(bytes.len());
            bytes.swap(at, to);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn no_mutant_is_accepted_that_the_oracle_refuses() {
    #[expect(clippy::disallowed_methods, reason = "a long run is asked for from outside")]
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (total, seed) = (number("NARROWS_MUTANTS", 100_000), number("NARROWS_SEED", 20_250_801));
    let issuer = FakeIssuer::es256(CORP);
    let attacker = FakeIssuer::es256(CORP);
    let keys = issuer.key_set();
    let jwk = issuer.jwk();
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = [&[4], part("x").as_slice(), &part("y")].concat();
    let (header, claims) = (issuer.header("at+jwt"), user_claims());
    let good = issuer.sign("at+jwt", &claims);
    let mut dice = Dice(seed);
    let (mut both_accept, mut both_refuse, mut stricter) = (0_u64, 0_u64, 0_u64);
    for _ in 0..total {
        // A tenth is signed again, for what a signature covers is where a reader goes wrong; the rest is cheap.
        let mutant = match dice.roll(20) {
            0 => issuer.sign_raw(&changed(&mut dice, &header), claims.to_string().as_bytes()),
            1 => issuer.sign_raw(header.to_string().as_bytes(), &changed(&mut dice, &claims)),
            2 => {
                let parts: Vec<&str> = good.split('.').collect();
                let payload = URL_SAFE_NO_PAD.encode(changed(&mut dice, &claims));
                format!("{}.{payload}.{}", parts[0], parts[2])
            }
            3 if dice.roll(10) == 0 => attacker.sign("at+jwt", &claims),
            4 if dice.roll(10) == 0 => good.clone(),
            _ => scratched(&mut dice, &good),
        };
        let ours = Unverified::<SubjectToken>::parse(&mutant).and_then(|token| token.authenticate(&keys)).is_ok();
        match (ours, oracle::accepts(&mutant, &point)) {
            (true, true) => both_accept += 1,
            (false, false) => both_refuse += 1,
            (false, true) => stricter += 1,
            (true, false) => panic!("accepted, and the oracle refuses it (seed {seed}): {mutant}"),
        }
    }
    println!("mutants: {total} from seed {seed}: {both_accept} accepted by both, {both_refuse} refused by both, {stricter} by us alone");
    // The stream holds right tokens and wrong ones, and we are no stricter than is promised.
    assert!(both_accept > total / 100 && both_refuse > total / 2, "{both_accept} {both_refuse}");
    assert_eq!(stricter, 0, "what is refused and right belongs in the oracle's rules");
}
