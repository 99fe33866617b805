//! Two trusted issuers whose keys have one name: each one's tokens verify by its own key and by no other.

use std::sync::Arc;

use delegation::token::Algorithm;
use serde_json::{Value, json};
use testkit::{CORP, FakeIssuer};

use crate::id_jag::{JWT_BEARER, taken};
use crate::installation::{Installation, Reply};

const PARTNER: &str = "https://partner.example";

fn key(issuer: &str, kid: &str) -> FakeIssuer {
    FakeIssuer::new(issuer, kid, Algorithm::Es256)
}

fn claims(narrows: &Installation, iss: &str) -> Value {
    let mut claims = narrows.user_claims();
    claims["iss"] = json!(iss);
    claims
}

async fn show(narrows: &Installation, token: &str) -> Reply {
    narrows.exchange(&[("subject_token", token)]).await
}

fn outcome(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.text("reason"))
}

/// What becomes of a token of `iss` by the key of `signer`: a token for that issuer's alice, if the two are one. Gives the
/// token that was shown.
async fn claim(narrows: &Installation, iss: &str, signer: &FakeIssuer) -> String {
    let token = signer.sign("at+jwt", &claims(narrows, iss));
    let reply = show(narrows, &token).await;
    if signer.issuer == iss {
        assert_eq!(reply.status, 200, "{iss}: {:?}", reply.body);
        assert_eq!(reply.claims()["sub_id"]["iss"], iss);
    } else {
        assert_eq!(
            outcome(&reply),
            (400, "subject_token_invalid"),
            "{iss} by a key of {}",
            signer.issuer
        );
    }
    token
}

#[tokio::test]
async fn a_token_is_verified_by_the_keys_of_the_issuer_that_it_names() {
    // JWS-016: both publish a key of one name, and whichever was looked at first is no key of the other's.
    let narrows = Installation::start().await;
    let partner = key(PARTNER, &narrows.issuer.kid);
    narrows.trust(&partner, "partner", |_| {}).await;
    for (iss, signer) in [
        (CORP, &narrows.issuer),
        (PARTNER, &narrows.issuer),
        (PARTNER, &partner),
        (CORP, &partner),
        (CORP, &narrows.issuer),
    ] {
        claim(&narrows, iss, signer).await;
    }
    narrows.stop().await;
}

#[tokio::test]
async fn what_is_remembered_of_one_issuer_is_nothing_about_the_other() {
    // JWS-016, JWS-017: the claims, the `kid` and the `jti` are alike, and both honest tokens are remembered.
    let narrows = Installation::start().await;
    let partner = key(PARTNER, &narrows.issuer.kid);
    narrows.trust(&partner, "partner", |_| {}).await;
    let (of_corp, of_partner) = (claims(&narrows, CORP), claims(&narrows, PARTNER));
    let honest = [narrows.issuer.sign("at+jwt", &of_corp), partner.sign("at+jwt", &of_partner)];
    for token in honest.iter().cycle().take(6) {
        assert_eq!(show(&narrows, token).await.status, 200);
    }
    for forged in [partner.sign("at+jwt", &of_corp), narrows.issuer.sign("at+jwt", &of_partner)] {
        for _ in 0..2 {
            assert_eq!(outcome(&show(&narrows, &forged).await), (400, "subject_token_invalid"));
        }
    }
    // The very bytes that were remembered, under the other's signature.
    let [(corp_head, corp_signature), (partner_head, partner_signature)] = honest.each_ref().map(|token| token.rsplit_once('.').unwrap());
    for forged in [
        format!("{corp_head}.{partner_signature}"),
        format!("{partner_head}.{corp_signature}"),
    ] {
        assert_eq!(outcome(&show(&narrows, &forged).await), (400, "subject_token_invalid"));
    }
    for token in &honest {
        assert_eq!(show(&narrows, token).await.status, 200, "and they are still good");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn an_id_jag_too_is_verified_by_the_keys_of_the_issuer_that_it_names() {
    let narrows = Installation::start().await;
    let partner = key(PARTNER, &narrows.issuer.kid);
    narrows
        .trust(&partner, "partner", |snapshot| {
            taken(snapshot);
            let corp = snapshot.issuers.get(CORP).unwrap().token_types.clone();
            snapshot.issuers.get_mut(PARTNER).unwrap().token_types = corp;
        })
        .await;
    for iss in [CORP, PARTNER] {
        for signer in [&narrows.issuer, &partner] {
            let mut claims = crate::id_jag::claims(&narrows);
            claims["iss"] = json!(iss);
            let assertion = signer.sign("oauth-id-jag+jwt", &claims);
            let changes = [
                ("grant_type", JWT_BEARER),
                ("assertion", assertion.as_str()),
                ("subject_token", ""),
                ("subject_token_type", ""),
            ];
            let reply = narrows.exchange(&changes).await;
            let expected = if signer.issuer == iss {
                (200, "")
            } else {
                (400, "subject_token_invalid")
            };
            assert_eq!(outcome(&reply), expected, "{iss} by {}", signer.issuer);
        }
    }
    narrows.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_both_rotate_no_key_of_one_signs_for_the_other() {
    // JWS-016: at each step both publish keys of the same two names, old and new, and honest traffic goes on.
    let narrows = Arc::new(Installation::start().await);
    let rounds = 4;
    let chain = |iss: &str| (0..=rounds).map(|round| key(iss, &format!("k{round}"))).collect::<Vec<_>>();
    let (corp, partner) = (Arc::new(chain(CORP)), Arc::new(chain(PARTNER)));
    for round in 0..rounds {
        // 1. Both publish the old and the new.
        let both = |keys: &[FakeIssuer]| json!({ "keys": keys[round..=round + 1].iter().map(FakeIssuer::jwk).collect::<Vec<_>>() });
        std::fs::write(narrows.folder.path().join("corp.json"), both(&corp).to_string()).unwrap();
        narrows.trust_keys(PARTNER, "partner", &both(&partner), |_| {}).await;
        let mut remembered = Vec::new();
        for at in [round, round + 1] {
            for iss in [CORP, PARTNER] {
                let shown = [claim(&narrows, iss, &corp[at]).await, claim(&narrows, iss, &partner[at]).await];
                remembered.extend(shown.into_iter().filter(|_| at == round));
            }
        }
        // 2. Tokens of the new keys and forgeries, while the old keys are taken away.
        let traffic = (0..2).map(|half| {
            let (narrows, corp, partner) = (Arc::clone(&narrows), Arc::clone(&corp), Arc::clone(&partner));
            tokio::spawn(async move {
                for at in 0..12 {
                    let signer = if at % 2 == half { &corp[round + 1] } else { &partner[round + 1] };
                    claim(&narrows, CORP, signer).await;
                    claim(&narrows, PARTNER, signer).await;
                }
            })
        });
        let traffic: Vec<_> = traffic.collect();
        let new = |keys: &[FakeIssuer]| keys[round + 1].jwks();
        std::fs::write(narrows.folder.path().join("corp.json"), new(&corp).to_string()).unwrap();
        narrows.trust_keys(PARTNER, "partner", &new(&partner), |_| {}).await;
        for each in traffic {
            each.await.unwrap();
        }
        // 3. The old ones are gone, for tokens that were remembered under them too, and their names are nobody else's.
        let fresh = [
            (CORP, &corp[round]),
            (PARTNER, &partner[round]),
            (CORP, &partner[round]),
            (PARTNER, &corp[round]),
        ];
        remembered.extend(fresh.map(|(iss, old)| old.sign("at+jwt", &claims(&narrows, iss))));
        for token in remembered {
            assert_eq!(outcome(&show(&narrows, &token).await), (400, "subject_token_invalid"));
        }
    }
    Arc::into_inner(narrows).unwrap().stop().await;
}
