//! A repeated subject token is not verified twice, and never relied on under other keys.

use delegation::token::Algorithm;
use fetch::{IssuerEntry, KeySource};
use serde_json::json;
use testkit::{CORP, FakeIssuer};

use crate::installation::Installation;

/// Puts the keys of `issuer` in the place of corp's.
async fn follow(narrows: &Installation, issuer: &FakeIssuer, round: usize) {
    let path = narrows.folder.path().join(format!("corp-{round}.json"));
    std::fs::write(&path, issuer.jwks().to_string()).unwrap();
    let entry = IssuerEntry {
        name: "corp".to_owned(),
        issuer: CORP.to_owned(),
        source: KeySource::File(path),
        algorithms: vec![Algorithm::Es256],
    };
    narrows.swap(crate::installation::RULES, broker::Rates::default(), vec![entry]).await;
}

#[tokio::test]
async fn a_token_of_a_key_that_was_rotated_out_is_not_remembered() {
    // JWS-017: what is remembered is known by all bytes of the token, and good under the key set that verified it.
    let narrows = Installation::start().await;
    let token = narrows.user_token();
    for _ in 0..3 {
        assert_eq!(narrows.exchange(&[("subject_token", &token)]).await.status, 200);
    }
    let (head, signature) = token.rsplit_once('.').unwrap();
    let other = narrows.user_token();
    let twin = format!("{head}.{}", other.rsplit_once('.').unwrap().1);
    assert_ne!(twin, format!("{head}.{signature}"));
    let refused = narrows.exchange(&[("subject_token", &twin)]).await;
    assert_eq!((refused.status, refused.text("reason")), (400, "subject_token_invalid"));
    follow(&narrows, &FakeIssuer::es256(CORP), 1).await;
    assert_eq!(
        narrows.exchange(&[("subject_token", &token)]).await.text("reason"),
        "subject_token_invalid"
    );
    follow(&narrows, &narrows.issuer, 2).await;
    assert_eq!(
        narrows.exchange(&[("subject_token", &token)]).await.status,
        200,
        "the old key is back"
    );
    narrows.stop().await;
}

/// INT-008: what is remembered of a token is its signature; its times are read each time.
#[tokio::test]
async fn a_remembered_token_is_still_asked_about_standing_times_and_issuer() {
    let narrows = Installation::start().await;
    let token = narrows.user_token();
    assert_eq!(narrows.exchange(&[("subject_token", &token)]).await.status, 200);
    let store = broker::store::Store::open(&narrows.broker.settings().store).await.unwrap();
    let party = broker::store::Party::Subject {
        issuer_name: "corp".to_owned(),
        sub: "alice".to_owned(),
    };
    let record = |id: &str| {
        issuance::audit::Record::new(
            id.to_owned(),
            delegation::time::Timestamp::from_seconds(1),
            issuance::audit::Kind::Operator,
        )
    };
    store.set_standing(&party, broker::store::Standing::Disabled, record("off")).await.unwrap();
    narrows.broker.tend().await;
    assert_eq!(
        narrows.exchange(&[("subject_token", &token)]).await.text("reason"),
        "subject_disabled"
    );
    store.set_standing(&party, broker::store::Standing::Enabled, record("on")).await.unwrap();
    narrows.broker.tend().await;
    assert_eq!(narrows.exchange(&[("subject_token", &token)]).await.status, 200);
    narrows.stop().await;
}

#[tokio::test]
async fn a_token_of_ours_is_not_remembered_past_its_key() {
    let narrows = Installation::with(crate::installation::RULES, |snapshot| {
        let tickets = &mut snapshot.clients.get_mut(&delegation::oauth::ClientId::parse("edge").unwrap()).unwrap().receives;
        tickets.push(delegation::registry::Receives {
            issuer_name: None,
            audience: "https://tickets.internal".to_owned(),
        });
    })
    .await;
    let first = narrows.exchange(&[]).await;
    let ours = first.text("access_token").to_owned();
    for _ in 0..2 {
        let again = narrows.exchange(&[("subject_token", &ours)]).await;
        assert_eq!(again.status, 200, "{:?}", again.body);
    }
    let settings = narrows.broker.settings().clone();
    let store = broker::store::Store::open(&settings.store).await.unwrap();
    let now = delegation::time::Timestamp::from_seconds(crate::installation::seconds());
    let old = broker::signer::list(&store).await.unwrap()[0].kid.clone();
    narrows.rotate(now).await;
    narrows.broker.tend().await;
    assert_eq!(
        narrows.exchange(&[("subject_token", &ours)]).await.status,
        200,
        "the old key verifies on"
    );
    broker::signer::retire(&store, &old, now).await.unwrap();
    narrows.broker.tend().await;
    let refused = narrows.exchange(&[("subject_token", &ours)]).await;
    assert_eq!(refused.text("reason"), "subject_token_invalid");
    assert_eq!(refused.body["error"], json!("invalid_request"));
    narrows.stop().await;
}
