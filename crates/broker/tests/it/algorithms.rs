//! `tokens.algorithm`, end to end: what each of the four signs verifies by our own verifier, and by the key set alone.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::{Clock, Settings};
use delegation::time::Timestamp;
use delegation::token::{Algorithm, KeySet, SubjectToken, Unverified};
use serde_json::Value;

use crate::installation::{Installation, Plan, RULES, seconds};

const SIGNING: [Algorithm; 4] = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::EdDsa, Algorithm::Es256];

async fn signing_with(algorithm: Algorithm) -> Installation {
    Installation::of(Plan {
        algorithm,
        ..Plan::default()
    })
    .await
}

/// The key set as anybody gets it.
async fn published(narrows: &Installation) -> Value {
    let (status, media, body) = narrows.get("/oauth2/jwks").await;
    assert_eq!((status, media.as_str()), (200, "application/jwk-set+json"));
    serde_json::from_str(&body).unwrap()
}

/// Whether `token` verifies with these keys and no other knowledge.
fn verifies(narrows: &Installation, jwks: &Value, token: &str) -> bool {
    let keys = KeySet::parse(&narrows.url, jwks.to_string().as_bytes(), &SIGNING).unwrap();
    Unverified::<SubjectToken>::parse(token).unwrap().authenticate(&keys).is_ok()
}

/// A token for the order service.
async fn first_hop(narrows: &Installation) -> String {
    let issued = narrows.exchange(&[("audience", "https://orders.internal")]).await;
    assert_eq!(issued.status, 200, "{:?}", issued.body);
    issued.text("access_token").to_owned()
}

/// What the order service gets for its token.
async fn second_hop(narrows: &Installation, token: &str) -> u16 {
    let orders = [
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", token),
    ];
    narrows.exchange(&orders).await.status
}

fn header(token: &str) -> String {
    let first = token.split('.').next().unwrap_or_default();
    String::from_utf8(URL_SAFE_NO_PAD.decode(first).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_of_each_algorithm_verifies_here_and_by_the_key_set_alone() {
    for algorithm in SIGNING {
        let narrows = signing_with(algorithm).await;
        let (token, jwks) = (first_hop(&narrows).await, published(&narrows).await);
        let kid = jwks["keys"][0]["kid"].as_str().unwrap();
        // As the contract spells it, so that scanners know our tokens by their first 36 characters.
        let spelled = format!(r#"{{"typ":"at+jwt","kid":"{kid}","alg":"{}"}}"#, algorithm.as_str());
        assert_eq!(header(&token), spelled);
        assert!(token.starts_with(&URL_SAFE_NO_PAD.encode(r#"{"typ":"at+jwt","kid":"nrw-"#)));
        assert!(verifies(&narrows, &jwks, &token), "{algorithm:?}");
        assert_eq!(second_hop(&narrows, &token).await, 200, "{algorithm:?}");

        // One flipped bit of the signature, and neither takes it.
        let (input, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[7] ^= 1;
        let forged = format!("{input}.{}", URL_SAFE_NO_PAD.encode(&bytes));
        assert!(!verifies(&narrows, &jwks, &forged), "{algorithm:?}");
        assert_eq!(second_hop(&narrows, &forged).await, 400, "{algorithm:?}");
        narrows.stop().await;
    }
}

#[tokio::test]
async fn the_key_set_shows_public_members_alone_and_binds_each_key_to_its_algorithm() {
    for algorithm in SIGNING {
        let narrows = signing_with(algorithm).await;
        let jwks = published(&narrows).await;
        let [key] = jwks["keys"].as_array().unwrap().as_slice() else {
            panic!("one key: {jwks}")
        };
        let mut members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        let expected: &[&str] = match algorithm {
            Algorithm::EdDsa => &["alg", "crv", "kid", "kty", "use", "x"],
            Algorithm::Es256 => &["alg", "crv", "kid", "kty", "use", "x", "y"],
            _ => &["alg", "e", "kid", "kty", "n", "use"],
        };
        assert_eq!(members, expected);
        assert_eq!((key["alg"].as_str(), key["use"].as_str()), (Some(algorithm.as_str()), Some("sig")));
        if let Some(modulus) = key["n"].as_str() {
            let modulus = URL_SAFE_NO_PAD.decode(modulus).unwrap();
            assert_eq!((modulus.len(), modulus[0] >> 7), (256, 1), "RFC 7518, section 3.3: 2048 bits");
            assert_eq!(key["e"], "AQAB");
        }
        // What says another algorithm than its key does is refused, though the key could make it: RS256 and PS256 share keys.
        let token = first_hop(&narrows).await;
        let (_, rest) = token.split_once('.').unwrap();
        for other in SIGNING.into_iter().filter(|other| *other != algorithm) {
            let renamed = header(&token).replace(algorithm.as_str(), other.as_str());
            let renamed = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(renamed));
            assert!(!verifies(&narrows, &jwks, &renamed), "{algorithm:?} as {other:?}");
            assert_eq!(second_hop(&narrows, &renamed).await, 400, "{algorithm:?} as {other:?}");
        }
        narrows.stop().await;
    }
}

#[tokio::test]
async fn the_algorithm_changes_with_the_next_key_which_is_published_before_it_signs() {
    let clock = Clock::standing(Timestamp::from_seconds(seconds()));
    let narrows = Installation::of(Plan {
        clock: clock.clone(),
        rotate_every: Duration::from_secs(1000),
        publish_before: Duration::from_secs(100),
        ..Plan::default()
    })
    .await;
    let begin = seconds();
    let mut signs = Algorithm::Es256;
    for (round, next) in SIGNING.into_iter().enumerate() {
        let settings = Settings {
            algorithm: next,
            ..Settings::clone(&narrows.broker.settings())
        };
        let in_force = narrows.in_force(RULES, broker::Rates::default());
        narrows.broker.swap(settings, in_force, narrows.entries()).await.unwrap();
        let at = |seconds| clock.set(Timestamp::from_seconds(begin + i64::try_from(round).unwrap() * 1000 + seconds));
        let ends_with = |token: &str, algorithm: Algorithm| header(token).ends_with(&format!(r#""alg":"{}"}}"#, algorithm.as_str()));

        assert!(
            ends_with(&first_hop(&narrows).await, signs),
            "a change of the configuration changes no key"
        );
        at(900);
        narrows.broker.tend().await;
        let jwks = published(&narrows).await;
        let algorithms: Vec<_> = jwks["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap()).collect();
        assert_eq!(algorithms.last(), Some(&next.as_str()), "published");
        let waiting = first_hop(&narrows).await;
        assert!(ends_with(&waiting, signs), "and not signing yet");
        at(1000);
        narrows.broker.tend().await;
        let issued = first_hop(&narrows).await;
        assert!(ends_with(&issued, next));
        assert!(
            verifies(&narrows, &jwks, &issued),
            "whoever fetched the keys when this one was published knows it"
        );
        let jwks = published(&narrows).await;
        assert!(verifies(&narrows, &jwks, &waiting) && verifies(&narrows, &jwks, &issued));
        assert_eq!(second_hop(&narrows, &waiting).await, 200, "of the key before");
        assert_eq!(second_hop(&narrows, &issued).await, 200);
        signs = next;
    }
    narrows.stop().await;
}

#[tokio::test]
async fn metadata_tells_where_the_keys_are_and_names_no_algorithm_that_is_not_taken() {
    let narrows = signing_with(Algorithm::Ps256).await;
    let (_, _, body) = narrows.get("/.well-known/oauth-authorization-server").await;
    let metadata: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(metadata["jwks_uri"], format!("{}/oauth2/jwks", narrows.url));
    for name in metadata["token_endpoint_auth_signing_alg_values_supported"].as_array().unwrap() {
        assert!(Algorithm::parse(name.as_str().unwrap()).is_some(), "{name}");
    }
    assert!(!body.contains("HS256") && !body.contains("none"), "{body}");
    narrows.stop().await;
}
