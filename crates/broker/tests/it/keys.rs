//! Signing keys: made once, rotated without a gap, encrypted where they lie.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

use broker::signer::{self, KeyRing, KeyRingError, KeyState, Schedule};
use delegation::time::Timestamp;
use delegation::token::{Algorithm, KeySet, SubjectToken, Unverified};
use issuance::mint::Signer;

use crate::engine::{Engine, on_both_engines};

on_both_engines!(
    the_first_key_is_made_once,
    a_rotated_key_verifies_on_until_it_is_retired,
    the_next_key_is_published_before_it_signs,
    a_key_leaves_by_itself_when_its_last_token_is_gone,
    a_rotation_that_is_killed_between_any_two_steps_goes_on,
    a_step_that_fails_leaves_everything_as_it_was,
    two_nodes_rotate_once,
    a_token_that_was_being_minted_while_the_key_changed_is_signed,
    secrets_move_to_the_first_key_file_whenever_it_is_killed,
    a_retired_key_leaves_no_private_half_behind,
    keys_lie_encrypted_and_only_the_right_file_opens_them,
    each_kind_of_key_lies_encrypted_and_opens_again,
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

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(now().seconds() + seconds)
}

/// Tokens live 600 seconds; keys sign for 1000 and are published 100 before.
fn schedule() -> Schedule {
    Schedule {
        algorithm: Algorithm::Es256,
        rotate_every: Duration::from_secs(1000),
        publish_before: Duration::from_secs(100),
        longest_life: Duration::from_secs(600),
    }
}

/// How many keys are published.
fn published(ring: &KeyRing) -> usize {
    ring.jwks()["keys"].as_array().unwrap().len()
}

async fn a_rotated_key_verifies_on_until_it_is_retired(engine: Engine) {
    // CON-013
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = (engine.open().await, [key_file(&folder, 1)]);
    let ring = KeyRing::open(&store, &files, Algorithm::Es256, now()).await.unwrap();
    let (old, old_token) = (ring.current().kid, token(&ring).await);
    let new = signer::rotate(&store, &files, Algorithm::EdDsa, now()).await.unwrap();
    ring.tend(&schedule(), now()).await.unwrap();
    assert_eq!(
        (ring.current().kid, published(&ring)),
        (old.clone(), 2),
        "published, and not signing yet"
    );
    let again = signer::rotate(&store, &files, Algorithm::Es256, now()).await.unwrap();
    assert_eq!(again, new, "one is on its way already");
    ring.tend(&schedule(), at(100)).await.unwrap();
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
    ring.tend(&schedule(), at(100)).await.unwrap();
    assert!(!verifies(&ring, &old_token) && verifies(&ring, &token(&ring).await));
    let states: Vec<_> = signer::list(&store).await.unwrap().into_iter().map(|key| key.state).collect();
    assert!(states.contains(&KeyState::Retired) && states.contains(&KeyState::Active));
    assert!(store.records(0, 100).await.unwrap().len() >= 3, "each change has its record");
}

async fn the_next_key_is_published_before_it_signs(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = (engine.open().await, [key_file(&folder, 1)]);
    let ring = KeyRing::open(&store, &files, Algorithm::Es256, now()).await.unwrap();
    let first = ring.current().kid;
    let changed = Schedule {
        algorithm: Algorithm::EdDsa,
        ..schedule()
    };
    for (seconds, keys, signs) in [(899, 1, true), (900, 2, true), (999, 2, true), (1000, 2, false)] {
        ring.tend(&changed, at(seconds)).await.unwrap();
        assert_eq!((published(&ring), ring.current().kid == first), (keys, signs), "after {seconds} s");
    }
    assert_eq!(
        ring.current().algorithm,
        Algorithm::EdDsa,
        "the algorithm of the configuration by then"
    );
}

async fn a_key_leaves_by_itself_when_its_last_token_is_gone(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = (engine.open().await, [key_file(&folder, 1)]);
    let ring = KeyRing::open(&store, &files, Algorithm::Es256, now()).await.unwrap();
    // While this key signs, tokens may live an hour; then the configuration changes to ten minutes.
    let longer = Schedule {
        longest_life: Duration::from_secs(3600),
        ..schedule()
    };
    ring.promise(&longer, now()).await.unwrap();
    let (old, old_token) = (ring.current().kid, token(&ring).await);
    for seconds in [900, 1000] {
        ring.tend(&schedule(), at(seconds)).await.unwrap();
    }
    assert_ne!(ring.current().kid, old);
    // Rotation stands still, so that only this key is looked at.
    let still = Schedule {
        rotate_every: Duration::from_secs(1_000_000),
        ..schedule()
    };
    ring.tend(&still, at(1000 + 3600 + 29)).await.unwrap();
    assert!(verifies(&ring, &old_token), "a token of the last second may live that long");
    ring.tend(&still, at(1000 + 3600 + 30)).await.unwrap();
    assert!(!verifies(&ring, &old_token) && verifies(&ring, &token(&ring).await));
    let gone = signer::list(&store).await.unwrap().into_iter().find(|key| key.kid == old).unwrap();
    assert_eq!(gone.state, KeyState::Retired);
}

async fn a_rotation_that_is_killed_between_any_two_steps_goes_on(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let files = [key_file(&folder, 1)];
    let mut tokens = Vec::new();
    // Each process lives for one look at the clock, and is gone.
    for seconds in [0, 900, 950, 1000, 1000, 1500, 1630] {
        let ring = KeyRing::open(&engine.open().await, &files, Algorithm::Es256, at(seconds)).await.unwrap();
        tokens.push((seconds, token(&ring).await));
        ring.tend(&schedule(), at(seconds)).await.unwrap();
        tokens.push((seconds, token(&ring).await));
        for (signed, token) in &tokens {
            assert!(verifies(&ring, token) || seconds > signed + 600, "of {signed} at {seconds}");
        }
        let keys = signer::list(&engine.open().await).await.unwrap();
        assert_eq!(keys.iter().filter(|key| key.state == KeyState::Active).count(), 1, "at {seconds}");
    }
    let states: Vec<_> = signer::list(&engine.open().await).await.unwrap().iter().map(|key| key.state).collect();
    assert_eq!(states, [KeyState::Retired, KeyState::Active]);
}

async fn a_step_that_fails_leaves_everything_as_it_was(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = (engine.open().await, [key_file(&folder, 1), key_file(&folder, 2)]);
    let ring = KeyRing::open(&store, &files[..1], Algorithm::Es256, now()).await.unwrap();
    ring.tend(&schedule(), now()).await.unwrap();
    // The record is the last statement of a step: without its table the step is cut off right before its commit.
    for seconds in [900, 1000, 1630] {
        let before = signer::list(&store).await.unwrap();
        engine.run("ALTER TABLE records RENAME TO away").await;
        assert!(ring.tend(&schedule(), at(seconds)).await.is_err(), "at {seconds}");
        assert_eq!(signer::list(&store).await.unwrap(), before, "at {seconds}");
        assert!(verifies(&ring, &token(&ring).await), "it signs on");
        engine.run("ALTER TABLE away RENAME TO records").await;
        ring.tend(&schedule(), at(seconds)).await.unwrap();
        assert_ne!(signer::list(&store).await.unwrap(), before, "at {seconds}");
    }
    let both = [files[1].clone(), files[0].clone()];
    let moving = KeyRing::open(&store, &both, Algorithm::Es256, at(1630)).await.unwrap();
    engine.run("ALTER TABLE records RENAME TO away").await;
    assert!(moving.tend(&schedule(), at(1630)).await.is_err());
    engine.run("ALTER TABLE away RENAME TO records").await;
    assert!(
        KeyRing::open(&store, &files[..1], Algorithm::Es256, at(1630)).await.is_ok(),
        "the old file opens on"
    );
}

async fn two_nodes_rotate_once(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let files = [key_file(&folder, 1)];
    let open = async || KeyRing::open(&engine.open().await, &files, Algorithm::Es256, now()).await.unwrap();
    let (one, other) = tokio::join!(open(), open());
    assert_eq!(one.current(), other.current(), "the first key is made once");
    for seconds in [900, 1000, 1630] {
        let (first, second) = (schedule(), schedule());
        let (first, second) = tokio::join!(one.tend(&first, at(seconds)), other.tend(&second, at(seconds)));
        first.unwrap();
        second.unwrap();
    }
    one.tend(&schedule(), at(1630)).await.unwrap();
    assert_eq!(one.current(), other.current());
    assert_eq!(signer::list(&engine.open().await).await.unwrap().len(), 2);
    assert!(verifies(&other, &token(&one).await));
}

async fn a_token_that_was_being_minted_while_the_key_changed_is_signed(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = (engine.open().await, [key_file(&folder, 1)]);
    let ring = KeyRing::open(&store, &files, Algorithm::Es256, now()).await.unwrap();
    ring.tend(&schedule(), at(900)).await.unwrap();
    let named = ring.current();
    ring.tend(&schedule(), at(1000)).await.unwrap();
    assert_ne!(ring.current(), named);
    assert!(ring.sign(&named, b"header.payload").await.is_ok());
}

async fn secrets_move_to_the_first_key_file_whenever_it_is_killed(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, old, new) = (engine.open().await, key_file(&folder, 1), key_file(&folder, 2));
    let both = [new.clone(), old.clone()];
    let first = KeyRing::open(&store, std::slice::from_ref(&old), Algorithm::Es256, now()).await.unwrap();
    let signed = token(&first).await;
    first.tend(&schedule(), at(900)).await.unwrap();
    // Killed before anything moved: opened, and gone.
    KeyRing::open(&store, &both, Algorithm::Es256, at(900)).await.unwrap();
    assert!(KeyRing::open(&store, std::slice::from_ref(&old), Algorithm::Es256, at(900)).await.is_ok());
    // Killed in the middle: one of two keys has moved. Neither file alone will do, both together do.
    let moving = KeyRing::open(&store, &both, Algorithm::Es256, at(900)).await.unwrap();
    let half = engine.sealed().await;
    moving.tend(&schedule(), at(900)).await.unwrap();
    engine.restore_sealed(&half[..1]).await;
    for alone in [&old, &new] {
        let error = KeyRing::open(&store, std::slice::from_ref(alone), Algorithm::Es256, at(900)).await.unwrap_err();
        assert!(
            error.to_string().contains("none of the files decrypts signing key `nrw-"),
            "{error}"
        );
    }
    // The next start goes on, and then the old file is needed no more; a second look changes nothing.
    let ring = KeyRing::open(&store, &both, Algorithm::Es256, at(900)).await.unwrap();
    ring.tend(&schedule(), at(900)).await.unwrap();
    let moved = engine.sealed().await;
    ring.tend(&schedule(), at(900)).await.unwrap();
    assert_eq!(engine.sealed().await, moved);
    let ring = KeyRing::open(&store, std::slice::from_ref(&new), Algorithm::Es256, at(900)).await.unwrap();
    assert!(verifies(&ring, &signed) && verifies(&ring, &token(&ring).await));
    let log = store.records(0, 100).await.unwrap().join("\n");
    assert!(log.contains("key_resealed"), "each has its record");
}

async fn a_retired_key_leaves_no_private_half_behind(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = (engine.open().await, [key_file(&folder, 1)]);
    let ring = KeyRing::open(&store, &files, Algorithm::Es256, now()).await.unwrap();
    let old = ring.current().kid;
    for seconds in [900, 1000] {
        ring.tend(&schedule(), at(seconds)).await.unwrap();
    }
    signer::retire(&store, &old, at(1000)).await.unwrap();
    let sealed = engine.sealed().await;
    let of = |kid: &str| sealed.iter().find(|(each, _)| each == kid).unwrap().1.len();
    assert_eq!(of(&old), 0);
    assert!(of(&ring.current().kid) > 0);
}

async fn keys_lie_encrypted_and_only_the_right_file_opens_them(engine: Engine) {
    // STO-022: a key that does not open is an error, and never a reason to make another.
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
}

async fn each_kind_of_key_lies_encrypted_and_opens_again(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = (engine.open().await, [key_file(&folder, 1)]);
    // What stands in every PKCS#8 of each kind: the object identifier of its algorithm.
    let elliptic: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let edwards: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
    let rsa: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let mut tokens = Vec::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256] {
        let ring = KeyRing::open(&store, &files, algorithm, now()).await.unwrap();
        let kid = signer::rotate(&store, &files, algorithm, now()).await.unwrap();
        signer::activate(&store, &kid, &schedule(), now()).await.unwrap();
        ring.tend(&schedule(), now()).await.unwrap();
        assert_eq!(ring.current().algorithm, algorithm);
        tokens.push(token(&ring).await);
        // Another process opens what lies there, signs with it, and publishes all that came before.
        let again = KeyRing::open(&store, &files, algorithm, now()).await.unwrap();
        tokens.push(token(&again).await);
        assert!(tokens.iter().all(|token| verifies(&again, token)), "{algorithm:?}");
        let wrong = KeyRing::open(&store, &[key_file(&folder, 2)], algorithm, now()).await;
        assert!(matches!(wrong, Err(KeyRingError::WrongKeyFile(_))), "{algorithm:?}");
        let bytes = engine.bytes_of_keys();
        for marker in [elliptic, edwards, rsa] {
            assert!(!bytes.windows(marker.len()).any(|window| window == marker), "{algorithm:?}");
        }
    }
}
