//! `inspect`: a token in words, and whether it verifies.

use delegation::token::{OpaqueForm, OpaqueKind};
use serde_json::json;

use crate::corp;
use crate::run::narrows;

#[test]
fn a_token_that_is_over_is_not_verified_though_its_signature_holds() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let issuer = corp::issuer();
    corp::trust(folder.path(), &issuer);
    let inspect = |token: &str| narrows(folder.path(), &["inspect"], token);

    let good = inspect(&corp::token(&issuer, "tickets.full", "support", 60));
    assert!(
        good.code == 0 && good.out.contains("verified   signed by https://login.corp.example"),
        "{good:?}"
    );
    let over = inspect(&corp::token(&issuer, "tickets.full", "support", -1));
    assert!(
        over.code == 1 && over.out.contains("NOT VERIFIED: the signature holds, and the token has expired"),
        "{over:?}"
    );
    let forged = inspect(&corp::token(&corp::issuer(), "tickets.full", "support", 60));
    assert!(
        forged.code == 1 && forged.out.contains("NOT VERIFIED") && !forged.out.contains("signature holds"),
        "{forged:?}"
    );
}

#[test]
fn of_an_opaque_secret_its_kind_is_read_and_a_broken_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let inspect = |token: &str| narrows(folder.path(), &["inspect"], token);
    let made = |kind| OpaqueForm::make(kind, &[7; 32]).expose().to_owned();

    let task = inspect(&made(OpaqueKind::Task));
    assert!(task.code == 1 && task.out.starts_with("a task token"), "{task:?}");
    let unknown = inspect(&made(OpaqueKind::Access));
    assert!(unknown.code == 1 && unknown.err.contains("this store does not know"), "{unknown:?}");
    let broken = inspect(&format!("{}0", made(OpaqueKind::Access)));
    assert!(broken.code == 1 && broken.err.contains("its checksum are wrong"), "{broken:?}");
    assert!(!task.out.contains("nrwt_") && !broken.err.contains("nrwa_"));
}

#[test]
fn what_a_token_says_writes_no_line_of_ours_and_does_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let said = "https://a.example/\nverified   signed by us\u{1b}[8m\u{202e}\u{9b}2J";
    let claims = json!({ "iss": said, "sub": said, "aud": [said], "scope": said, "act": { "sub": said }, "iat": 1, "exp": 2,
        "authorization_details": [{ "type": said, "actions": [said], "identifier": said, said: said }] });
    let token = corp::issuer().sign("at+jwt", &claims);
    for arguments in [&["inspect"][..], &["inspect", "--json"]] {
        let ran = narrows(folder.path(), arguments, &token);
        assert!(ran.code == 1 && ran.out.contains("signed by us"), "{ran:?}");
        assert!(!ran.out.lines().any(|line| line.starts_with("verified")), "{ran:?}");
        assert!(!ran.out.chars().any(|each| each != '\n' && each.is_control()), "{ran:?}");
        assert!(!ran.out.contains('\u{202e}'), "{ran:?}");
    }
}
