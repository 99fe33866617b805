//! A backup is the same file whichever engine it comes from, and only a whole one is restored.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine as _;
use broker::signer::KeyRing;
use broker::store::{BackupError, Existing, Party, RestoreError, Standing, Store, verify};
use broker::{Operator, OperatorName, Role, StoreJournal};
use delegation::identity::{Attributes, Subject, SubjectKind};
use delegation::oauth::ClientId;
use delegation::revocation::{Key, Line, MarkKind, Revocation};
use delegation::time::Timestamp;
use delegation::token::Algorithm;
use delegation::token::KeptToken;
use issuance::audit::{CommitError, Entry, Journal, Kind, Record, Transaction, Use, UseKind};
use issuance::mint::Signer;
use issuance::task::{KeptTask, Status, TaskChange};
use tempfile::TempDir;

use crate::engine::{Engine, on_both_engines};

on_both_engines!(
    a_backup_restores_into_either_engine_and_is_the_same_there,
    each_kind_of_key_is_restored_and_signs_again,
    a_backup_made_while_others_write_is_one_state,
    a_store_that_is_not_empty_is_left_alone_unless_it_may_go,
    a_restore_that_is_killed_leaves_the_store_as_it_was,
    a_damaged_backup_changes_nothing,
    an_operator_is_added_anew_after_a_restore,
);

fn now() -> Timestamp {
    Timestamp::from_seconds(1_780_000_000)
}

fn entry(id: &str) -> Entry {
    let odd = format!("{id} \0 \" \\ \u{1f642}\n");
    let odd_claims = serde_json::json!({ "sub": odd }).to_string();
    Entry {
        task: Some(TaskChange::Opens {
            task: Box::new(KeptTask {
                id: id.to_owned(),
                creator: ClientId::parse("edge").unwrap(),
                actor: ClientId::parse("edge").unwrap(),
                status: Status::Open,
                tokens: 0,
                max_tokens: 3,
                created_at: now(),
                expires_at: Timestamp::from_seconds(1_790_000_000),
                terms: odd.replace('\0', ""),
            }),
            token: delegation::token::sha256(id.as_bytes()),
        }),
        record: Record::new(id.to_owned(), now(), Kind::Exchange),
        uses: vec![Use {
            kind: UseKind::ClientAssertion,
            issuer: "edge".to_owned(),
            id: id.to_owned(),
            forget_at: Timestamp::from_seconds(1_790_000_000),
        }],
        revokes: Some(Revocation {
            kind: MarkKind::Jti,
            key: Key::of(id),
            at: now(),
            forget_at: Timestamp::from_seconds(1_790_000_000),
        }),
        begins: Some(Transaction {
            txn: id.to_owned(),
            subject: Subject {
                issuer_name: "corp".to_owned(),
                iss: "https://login.corp.example".to_owned(),
                sub: "alice".to_owned(),
            },
            kind: SubjectKind::User,
            attributes: Attributes {
                groups: [odd.clone()].into(),
                ..Attributes::default()
            },
            requested_by: id.len().is_multiple_of(2).then_some(odd),
            began: now(),
            forget_at: Timestamp::from_seconds(1_790_000_000),
        }),
        beside: None,
        keeps: Some(KeptToken {
            digest: delegation::token::sha256(id.as_bytes()),
            claims: odd_claims,
            forget_at: Timestamp::from_seconds(1_790_000_000),
        }),
    }
}

/// The line of a token `jti` of bob's that was issued in the second `iat`.
fn line(jti: &'static str, iat: i64) -> Line<'static> {
    static BOB: LazyLock<Subject> = LazyLock::new(|| Subject {
        issuer_name: "corp".to_owned(),
        iss: "https://login.corp.example".to_owned(),
        sub: "bob".to_owned(),
    });
    Line {
        chain: Box::leak(Box::new([jti.to_owned()])),
        txn: None,
        task: None,
        subject: &BOB,
        client: None,
        act: None,
        iat: Timestamp::from_seconds(iat),
    }
}

/// A store in which something of everything lies, and the file that its keys are encrypted with.
async fn filled(engine: &Engine, folder: &TempDir, entries: usize) -> (Store, PathBuf) {
    let store = engine.open().await;
    let key_file = folder.path().join("n.key");
    std::fs::write(&key_file, base64::engine::general_purpose::STANDARD.encode([9; 32])).unwrap();
    KeyRing::open(&store, std::slice::from_ref(&key_file), Algorithm::Es256, now()).await.unwrap();
    let journal = std::sync::Arc::new(StoreJournal::start(&store));
    let commits = (0..entries).map(|at| {
        let journal = std::sync::Arc::clone(&journal);
        tokio::spawn(async move { journal.commit(entry(&format!("e{at}"))).await.unwrap() })
    });
    for commit in commits.collect::<Vec<_>>() {
        commit.await.unwrap();
    }
    journal.close().await;
    let record = || Record::new("off".to_owned(), now(), Kind::Operator);
    let edge = Party::Client(ClientId::parse("edge").unwrap());
    let alice = Party::Subject {
        issuer_name: "corp".to_owned(),
        sub: "alice".to_owned(),
    };
    store.set_standing(&edge, Standing::Disabled, record()).await.unwrap();
    store.set_standing(&alice, Standing::Disabled, record()).await.unwrap();
    (store, key_file)
}

async fn back_up(store: &Store, path: &Path) {
    let file = std::fs::File::create(path).unwrap();
    store.backup(std::io::BufWriter::new(file), now(), |_| ()).await.unwrap();
}

async fn a_backup_restores_into_either_engine_and_is_the_same_there(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, key_file) = filled(&engine, &folder, 1_100).await;
    let first = folder.path().join("first");
    back_up(&store, &first).await;
    assert_eq!(verify(&first, |_| ()).unwrap().head.log_size, 1_103);
    for target in [Engine::sqlite(), Engine::postgres()] {
        let restored = target.open().await;
        let (_, epoch) = restored.restore(&first, Existing::Keep, now(), |_| ()).await.unwrap();
        assert_eq!(epoch, 2, "it rises");
        // Row by row the same, but for the restoring itself.
        let second = folder.path().join("second");
        back_up(&restored, &second).await;
        let rows = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap();
            let rows = text
                .lines()
                .filter(|line| line.starts_with('[') && !["store_restored", "[\"revocations\",1103,"].iter().any(|own| line.contains(own)));
            rows.map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(rows(&first).symmetric_difference(&rows(&second)).next(), None);
        // What was issued before is dead, also on the broker of before: what ended meanwhile nobody knows any more.
        for iat in [now().seconds(), now().seconds() + 1] {
            let died = restored.standing().await.unwrap().kills(&line("later", iat));
            assert_eq!(died, (iat == now().seconds()).then_some(MarkKind::Restore));
            let died = restored.standing().await.unwrap().kills(&line("e7", iat + 1));
            assert_eq!(died, Some(MarkKind::Jti), "what was revoked before the backup is");
        }
        // And it works: keys open, what was used is used, who was disabled is, the log goes on.
        let ring = KeyRing::open(&restored, std::slice::from_ref(&key_file), Algorithm::Es256, now()).await.unwrap();
        assert!(ring.sign(&ring.current(), b"a.b").await.is_ok());
        let journal = StoreJournal::start(&restored);
        assert_eq!(journal.commit(entry("e7")).await, Err(CommitError::AlreadyUsed));
        assert_eq!(journal.commit(entry("new")).await, Ok(1_104));
        assert!(restored.standing().await.unwrap().is_client_disabled(&ClientId::parse("edge").unwrap()));
        assert_eq!(restored.transaction("e7").await.unwrap(), entry("e7").begins);
    }
}

/// STO-020: an operator who was removed after the backup must not come back with it.
async fn an_operator_is_added_anew_after_a_restore(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = filled(&engine, &folder, 1).await;
    let operator = Operator {
        name: OperatorName::parse("ann").unwrap(),
        roles: [Role::Admin].into(),
        subject: None,
        added_at: now(),
    };
    let record = Record::new("added".to_owned(), now(), Kind::Operator);
    assert!(store.add_operator(&operator, &[1; 32], &record).await.unwrap());
    assert!(
        !store.add_operator(&operator, &[2; 32], &record).await.unwrap(),
        "a name is one person's"
    );
    let path = folder.path().join("backup");
    back_up(&store, &path).await;
    assert!(store.remove_operator(&operator.name, &record).await.unwrap());
    assert!(!store.remove_operator(&operator.name, &record).await.unwrap());
    store.restore(&path, Existing::Replace, now(), |_| ()).await.unwrap();
    assert_eq!(store.operators().await.unwrap(), []);
    let records = store.records(0, 100).await.unwrap();
    assert!(records.last().unwrap().contains("\"operators_removed\":1"));
}

async fn each_kind_of_key_is_restored_and_signs_again(engine: Engine) {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256] {
        let (folder, source) = (tempfile::tempdir().unwrap(), Engine::sqlite());
        let (store, path) = (source.open().await, folder.path().join("b"));
        let files = [folder.path().join("n.key")];
        std::fs::write(&files[0], base64::engine::general_purpose::STANDARD.encode([9; 32])).unwrap();
        let before = KeyRing::open(&store, &files, algorithm, now()).await.unwrap();
        back_up(&store, &path).await;
        // The private half is in the file, and no word of it can be read there.
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&before.current().kid) && !text.contains("\"d\":"));
        let restored = engine.open().await;
        restored.restore(&path, Existing::Replace, now(), |_| ()).await.unwrap();
        let after = KeyRing::open(&restored, &files, Algorithm::Es256, now()).await.unwrap();
        assert_eq!((after.current(), after.jwks()), (before.current(), before.jwks()));
        let signature = after.sign(&after.current(), b"a.b").await.unwrap();
        assert!(is_signed_by(&before.jwks(), algorithm, &signature), "{algorithm:?}");
    }
}

/// Whether the one key of `jwks` made `signature` over `a.b`.
fn is_signed_by(jwks: &serde_json::Value, algorithm: Algorithm, signature: &[u8]) -> bool {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    };
    let part = |name: &str| {
        let text = jwks["keys"][0][name].as_str().unwrap();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    match algorithm {
        Algorithm::Es256 => {
            let point = [vec![4], part("x"), part("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(b"a.b", signature).is_ok()
        }
        Algorithm::EdDsa => UnparsedPublicKey::new(&ED25519, part("x")).verify(b"a.b", signature).is_ok(),
        _ => {
            let parameters = if algorithm == Algorithm::Ps256 {
                &RSA_PSS_2048_8192_SHA256
            } else {
                &RSA_PKCS1_2048_8192_SHA256
            };
            let key = RsaPublicKeyComponents {
                n: part("n"),
                e: part("e"),
            };
            key.verify(parameters, b"a.b", signature).is_ok()
        }
    }
}

async fn a_backup_made_while_others_write_is_one_state(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = filled(&engine, &folder, 20).await;
    let journal = std::sync::Arc::new(StoreJournal::start(&store));
    let writing = tokio::spawn({
        let journal = std::sync::Arc::clone(&journal);
        async move {
            for at in 0..400 {
                journal.commit(entry(&format!("w{at}"))).await.unwrap();
            }
        }
    });
    for round in 0..5 {
        let path = folder.path().join(format!("b{round}"));
        back_up(&store, &path).await;
        let text = std::fs::read_to_string(&path).unwrap();
        let of = |table: &str| text.lines().filter(|line| line.starts_with(&format!("[\"{table}\""))).count();
        assert!(verify(&path, |_| ()).is_ok());
        // Each entry wrote one of each, in one commit; keys and standing wrote three records more.
        assert_eq!((of("uses"), of("transactions")), (of("records") - 3, of("records") - 3));
    }
    writing.await.unwrap();
}

async fn a_store_that_is_not_empty_is_left_alone_unless_it_may_go(engine: Engine) {
    let (folder, other) = (tempfile::tempdir().unwrap(), Engine::sqlite());
    let (source, _) = filled(&other, &folder, 5).await;
    let path = folder.path().join("b");
    back_up(&source, &path).await;
    let (store, _) = filled(&engine, &folder, 9).await;
    let before = store.records(0, 100).await.unwrap();
    let refused = store.restore(&path, Existing::Keep, now(), |_| ()).await;
    assert!(matches!(refused, Err(RestoreError::NotEmpty(12))));
    assert_eq!(store.records(0, 100).await.unwrap(), before);
    let (_, epoch) = store.restore(&path, Existing::Replace, now(), |_| ()).await.unwrap();
    let after = store.records(0, 100).await.unwrap();
    assert_eq!((after.len(), epoch), (9, 2));
    assert!(after[8].contains("store_restored") && after[8].contains("\"index\":8"));
    let (_, epoch) = store.restore(&path, Existing::Replace, now(), |_| ()).await.unwrap();
    assert_eq!(epoch, 3, "it never falls");
}

async fn a_restore_that_is_killed_leaves_the_store_as_it_was(engine: Engine) {
    let (folder, other) = (tempfile::tempdir().unwrap(), Engine::sqlite());
    let (source, _) = filled(&other, &folder, 1_000).await;
    let path = folder.path().join("b");
    back_up(&source, &path).await;
    let store = engine.open().await;
    for last in [1, 700, 3_000] {
        let (store, path) = (store.clone(), path.clone());
        let cut_off = tokio::spawn(async move {
            let stop = |rows| assert!(rows < last, "killed here");
            store.restore(&path, Existing::Keep, now(), stop).await.map(drop)
        });
        assert!(cut_off.await.is_err());
    }
    assert_eq!(store.occupied().await.unwrap(), None);
    assert!(
        store.restore(&path, Existing::Keep, now(), |_| ()).await.is_ok(),
        "and another one works"
    );
}

async fn a_damaged_backup_changes_nothing(engine: Engine) {
    let (folder, other) = (tempfile::tempdir().unwrap(), Engine::sqlite());
    let (source, _) = filled(&other, &folder, 3).await;
    let path = folder.path().join("b");
    back_up(&source, &path).await;
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    let mut damaged = vec![
        whole.clone() + "x\n",
        whole.replacen("\"epoch\":1", "\"epoch\":7", 1),
        whole.replacen("edge", "edgy", 1),
    ];
    for at in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(at);
        damaged.push(without.join("\n") + "\n");
        damaged.push(lines[..at].join("\n") + "\n");
        let mut swapped = lines.clone();
        swapped.swap(at, (at + 1) % lines.len());
        damaged.push(swapped.join("\n") + "\n");
    }
    let store = engine.open().await;
    let bad = folder.path().join("bad");
    for text in damaged {
        std::fs::write(&bad, &text).unwrap();
        assert!(matches!(verify(&bad, |_| ()), Err(BackupError::Damaged { .. })), "{text}");
        assert!(store.restore(&bad, Existing::Keep, now(), |_| ()).await.is_err(), "{text}");
    }
    std::fs::write(&bad, whole.replacen("\"narrows_backup\":1", "\"narrows_backup\":2", 1)).unwrap();
    assert!(matches!(verify(&bad, |_| ()), Err(BackupError::Newer)));
    assert_eq!(store.occupied().await.unwrap(), None);
}
