//! Signing keys: made once, rotated without a gap, encrypted where they lie.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::signer::{self, KeyRing, KeyRingError, KeyState};
use delegation::time::Timestamp;
use delegation::token::{Algorithm, KeySet, SubjectToken, Unverified};
use issuance::mint::Signer;

use crate::engine::{Engine, on_both_engines};

on_both_engines!(
    the_first_key_is_made_once,
    a_rotated_key_verifies_on_until_it_is_retired,
    the_next_key_is_published_before_it_signs,
    keys_lie_encrypted_and_only_the_right_file_opens_them,
);

fn now() -> Timestamp {
    Timestamp::from_seconds(1_780_000_000)
}

fn key_file(folder: &tempfile::TempDir, fill: u8) -> PathBuf {
    let path = folder.path().join(format!("{fill}.key"));
    std::fs::write(&path, STANDARD.encode([fill; 32])).unwrap();
    path
}

async fn token(ring: &KeyRing) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as URL;
    let key = ring.current();
    let header = format!(r#"{{"typ":"at+jwt","kid":"{}","alg":"{}"}}"#, key.kid, key.algorithm.as_str());
    let input = format!(
        "{}.{}",
        URL.encode(header),
        URL.encode(r#"{"iss":"n","sub":"s","aud":"a","exp":2,"iat":1}"#)
    );
    let signature = ring.sign(&key, input.as_bytes()).await.unwrap();
    format!("{input}.{}", URL.encode(signature))
}

fn verifies(ring: &KeyRing, token: &str) -> bool {
    let all = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];
    let keys = KeySet::parse("n", ring.jwks().to_string().as_bytes(), &all).unwrap();
    Unverified::<SubjectToken>::parse(token).unwrap().authenticate(&keys).is_ok()
}

#[tokio::test]
async fn every_algorithm_signs_what_its_published_key_verifies() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256] {
        let (engine, folder) = (Engine::sqlite(), tempfile::tempdir().unwrap());
        let ring = KeyRing::open(&engine.open().await, &[key_file(&folder, 1)], algorithm, now()).await.unwrap();
        assert_eq!(ring.current().algorithm, algorithm);
        assert_eq!(ring.current().kid.len(), 20);
        assert!(verifies(&ring, &token(&ring).await), "{algorithm:?}");
    }
}

async fn the_first_key_is_made_once(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = (engine.open().await, [key_file(&folder, 1)]);
    let first = KeyRing::open(&store, &files, Algorithm::Es256, now()).await.unwrap().current();
    let again = KeyRing::open(&store, &files, Algorithm::Es256, now()).await.unwrap().current();
    assert_eq!(first, again);
}

async fn a_rotated_key_verifies_on_until_it_is_retired(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = (engine.open().await, [key_file(&folder, 1)]);
    let ring = KeyRing::open(&store, &files, Algorithm::Es256, now()).await.unwrap();
    let (old, old_token) = (ring.current().kid, token(&ring).await);
    let new = signer::rotate(&store, &files, Algorithm::EdDsa, now()).await.unwrap();
    ring.tend(now()).await.unwrap();
    assert_eq!(ring.current().kid, new);
    assert!(verifies(&ring, &old_token) && verifies(&ring, &token(&ring).await));
    assert!(matches!(
        signer::retire(&store, &new, now()).await,
        Err(KeyRingError::StillActive(_))
    ));
    assert!(
        matches!(signer::retire(&store, "nrw-", now()).await, Err(KeyRingError::NoSuchKey(_))),
        "not unique"
    );
    assert_eq!(signer::retire(&store, &old, now()).await.unwrap(), old);
    ring.tend(now()).await.unwrap();
    assert!(!verifies(&ring, &old_token) && verifies(&ring, &token(&ring).await));
    let states: Vec<_> = signer::list(&store).await.unwrap().into_iter().map(|key| key.state).collect();
    assert!(states.contains(&KeyState::Retired) && states.contains(&KeyState::Active));
    assert!(store.records(0, 100).await.unwrap().len() >= 3, "each change has its record");
}

async fn the_next_key_is_published_before_it_signs(engine: Engine) {
    use std::time::Duration;
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = (engine.open().await, [key_file(&folder, 1)]);
    let ring = KeyRing::open(&store, &files, Algorithm::Es256, now()).await.unwrap();
    let first = ring.current().kid;
    let (every, before) = (Duration::from_secs(1000), Duration::from_secs(100));
    let at = |seconds: i64| Timestamp::from_seconds(now().seconds() + seconds);
    ring.rotate_when_due(every, before, at(899)).await.unwrap();
    assert_eq!(ring.jwks()["keys"].as_array().unwrap().len(), 1);
    ring.rotate_when_due(every, before, at(900)).await.unwrap();
    assert_eq!(
        (ring.jwks()["keys"].as_array().unwrap().len(), ring.current().kid),
        (2, first.clone())
    );
    ring.rotate_when_due(every, before, at(999)).await.unwrap();
    assert_eq!(ring.current().kid, first);
    ring.rotate_when_due(every, before, at(1000)).await.unwrap();
    assert_ne!(ring.current().kid, first);
}

async fn keys_lie_encrypted_and_only_the_right_file_opens_them(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = engine.open().await;
    KeyRing::open(&store, &[key_file(&folder, 1)], Algorithm::Es256, now()).await.unwrap();
    let wrong = KeyRing::open(&store, &[key_file(&folder, 2)], Algorithm::Es256, now()).await;
    assert!(matches!(wrong, Err(KeyRingError::WrongKeyFile(_))));
    assert!(
        KeyRing::open(&store, &[key_file(&folder, 2), key_file(&folder, 1)], Algorithm::Es256, now())
            .await
            .is_ok(),
        "all decrypt"
    );
    let short = folder.path().join("short.key");
    std::fs::write(&short, STANDARD.encode([1; 16])).unwrap();
    assert!(KeyRing::open(&store, &[short], Algorithm::Es256, now()).await.is_err());
    let bytes = engine.bytes_of_keys();
    // The object identifier of elliptic curve keys stands in every PKCS#8 of one.
    let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    assert!(!bytes.windows(oid.len()).any(|window| window == oid));
}
