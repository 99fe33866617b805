//! `inspect`: a token in words, and whether it verifies.

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
