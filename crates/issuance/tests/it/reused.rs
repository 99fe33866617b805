//! A token that is handed out again: never past four fifths of its life, never where anything but time differs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use delegation::oauth::ClientId;
use delegation::registry::{LabelValue, Moment, Snapshot, TokenForm};
use delegation::revocation::{Key, MarkKind, Revocation, Revoked, View};
use delegation::time::Timestamp;
use issuance::audit::{self, Kind, Record};
use issuance::exchange::{Exchange, Kept};
use issuance::mint::{KeyName, Signer};
use issuance::policy::{self, Permit};
use issuance::reuse::{Again, Reusable, mint_reusable};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, Fails, FixedPolicy, MemoryJournal, MemorySigner, moment, now, snapshot, user_claims};

use crate::road::{asked, client, corp_token, fresh};

const READ: &str =
    r#"audience=https://tickets.internal&expires_in=100&authorization_details=[{"type":"ticket","actions":["read"],"identifier":"1"}]"#;

/// One request of the edge, which a test then changes.
struct Asked {
    moment: Moment,
    claims: Value,
    form: String,
    policy: FixedPolicy,
    ip: [u8; 4],
}

impl Asked {
    fn first() -> Self {
        Self {
            moment: moment(snapshot()),
            claims: user_claims(),
            form: READ.to_owned(),
            policy: FixedPolicy::allow(),
            ip: [192, 0, 2, 1],
        }
    }

    fn at(millis: i64) -> Self {
        let mut asked = Self::first();
        asked.moment.now = Timestamp::from_millis(now().millis() + millis);
        asked
    }

    fn under(change: impl FnOnce(&mut Snapshot)) -> Self {
        let mut snapshot = snapshot();
        change(&mut snapshot);
        Self {
            moment: moment(snapshot),
            ..Self::first()
        }
    }

    fn saying(name: &str, value: Value) -> Self {
        let mut asked = Self::first();
        asked.claims[name] = value;
        asked
    }

    fn permit(&self) -> (Permit<Exchange>, Record) {
        let mut record = Record::new("d-1".to_owned(), self.moment.now, Kind::Exchange);
        record.client_ip = Some(self.ip.into());
        let token = corp_token(&self.claims);
        let subject = token.at(&self.moment, delegation::oauth::TokenType::Jwt).unwrap();
        let proposed = Exchange::propose(
            &self.moment,
            &client(&self.moment, "edge"),
            &subject,
            None,
            &Kept::default(),
            &asked(&self.form),
            fresh("edge"),
            &mut record,
        );
        (policy::decide(&self.policy, proposed.unwrap(), &mut record).unwrap(), record)
    }

    fn again(&self, first: &Reusable, signing: &KeyName) -> Option<Again> {
        let (permit, record) = self.permit();
        first.again(permit, &self.moment, signing, &record).ok()
    }
}

async fn minted(asked: &Asked) -> (Reusable, KeyName) {
    let (permit, record) = asked.permit();
    let signer = MemorySigner::new(BROKER);
    let recorded = audit::commit(&MemoryJournal::new(Fails::Never), permit, record).await.unwrap();
    let (_, reusable) = mint_reusable(&signer, recorded, asked.moment.now).await.unwrap();
    (reusable.unwrap(), signer.current())
}

#[tokio::test]
async fn four_fifths_of_its_life_are_the_end_and_a_clock_that_went_back_gives_nothing() {
    let (first, key) = minted(&Asked::first()).await;
    for (millis, handed_out) in [
        (0, true),
        (79_000, true),
        (80_000, true),
        (80_001, false),
        (99_000, false),
        (-1, false),
        (-5_000, false),
    ] {
        let again = Asked::at(millis).again(&first, &key);
        assert_eq!(again.is_some(), handed_out, "{millis} ms after it was minted");
    }
    // Bound by its evidence a new token would end when the first does, so only the clock itself tells.
    let bound = |millis| {
        let mut asked = Asked::at(millis);
        asked.claims["exp"] = json!(now().seconds() + 60);
        asked
    };
    let (ends_with_it, its_key) = minted(&bound(0)).await;
    for (millis, handed_out) in [(0, true), (48_000, true), (48_001, false), (-1, false)] {
        let again = bound(millis).again(&ends_with_it, &its_key);
        assert_eq!(again.is_some(), handed_out, "{millis} ms, of a life of a minute");
    }
    let again = Asked::at(79_999).again(&first, &key).unwrap();
    assert_eq!(again.minted.expires_in, 21, "what is left of its life, not its whole");
    assert!(again.entry.begins.is_none(), "its transaction goes on");
}

#[tokio::test]
async fn nothing_that_outlives_a_new_token_is_handed_out_again() {
    let (first, key) = minted(&Asked::first()).await;
    let shorter = Asked::under(|snapshot| snapshot.lifetimes.max = Duration::from_secs(99));
    assert!(shorter.again(&first, &key).is_none());
}

#[tokio::test]
async fn a_change_of_the_configuration_gets_a_token_of_its_own() {
    let (first, key) = minted(&Asked::first()).await;
    let edge = ClientId::parse("edge").unwrap();
    let changed = [
        (
            "issuer",
            Asked::under(|snapshot| snapshot.issuer = "https://other.example".to_owned()),
        ),
        (
            "prefix of subjects",
            Asked::under(|snapshot| snapshot.issuers.get_mut(CORP).unwrap().sub_prefix = "corp-".to_owned()),
        ),
        (
            "name of the issuer",
            Asked::under(|snapshot| snapshot.issuers.get_mut(CORP).unwrap().name = "corporate".to_owned()),
        ),
        (
            "claims of the audience",
            Asked::under(|snapshot| {
                for audience in snapshot.audiences.values_mut() {
                    audience.claims = BTreeSet::from(["groups".to_owned()]);
                }
            }),
        ),
        (
            "form of the tokens",
            Asked::under(|snapshot| {
                for audience in snapshot.audiences.values_mut() {
                    audience.form = TokenForm::Opaque;
                }
            }),
        ),
        (
            "kind of the tokens",
            Asked::under(|snapshot| {
                for audience in snapshot.audiences.values_mut() {
                    audience.form = TokenForm::Txn;
                }
            }),
        ),
        (
            "attributes",
            Asked::under(|snapshot| snapshot.issuers.get_mut(CORP).unwrap().attributes.clear()),
        ),
        (
            "labels of the client",
            Asked::under(|snapshot| {
                let labels = &mut snapshot.clients.get_mut(&edge).unwrap().labels;
                labels.insert("tier".to_owned(), LabelValue::Integer(1));
            }),
        ),
        (
            "owner of the client",
            Asked::under(|snapshot| snapshot.clients.get_mut(&edge).unwrap().owner = Some("payments".to_owned())),
        ),
    ];
    assert!(Asked::first().again(&first, &key).is_some());
    for (what, asked) in changed {
        assert!(asked.again(&first, &key).is_none(), "{what}");
    }
}

#[tokio::test]
async fn whatever_the_evidence_says_otherwise_gets_a_token_of_its_own() {
    let (first, key) = minted(&Asked::first()).await;
    let now = now().seconds();
    let mut otherwise = vec![
        ("sub", Asked::saying("sub", json!("bob"))),
        ("jti", Asked::saying("jti", json!("j-2"))),
        ("exp", Asked::saying("exp", json!(now + 3599))),
        ("acr", Asked::saying("acr", json!("urn:mfa"))),
        ("amr", Asked::saying("amr", json!(["pwd"]))),
        ("auth_time", Asked::saying("auth_time", json!(now - 20))),
        ("client_id", Asked::saying("client_id", json!("mobile"))),
        ("groups", Asked::saying("groups", json!(["support", "admins"]))),
    ];
    let ask = |form: &str| Asked {
        form: format!("audience=https://orders.internal&expires_in=100&{form}"),
        ..Asked::first()
    };
    let ticket = |action: &str, id: &str| format!(r#"[{{"type":"ticket","actions":["{action}"],"identifier":"{id}"}}]"#);
    otherwise.push(("audience", ask(&format!("authorization_details={}", ticket("read", "1")))));
    let here = |form: String| Asked { form, ..Asked::first() };
    otherwise.push(("identifier", here(READ.replace(r#""1""#, r#""2""#))));
    otherwise.push(("action", here(READ.replace("read", "update"))));
    otherwise.push(("onward", here(format!("{READ}&onward={}", ticket("read", "1")))));
    otherwise.push((
        "address",
        Asked {
            ip: [192, 0, 2, 2],
            ..Asked::first()
        },
    ));
    for (what, asked) in otherwise {
        assert!(asked.again(&first, &key).is_none(), "{what}");
    }
}

#[tokio::test]
async fn other_rules_another_key_and_the_dead_get_nothing() {
    let (first, key) = minted(&Asked::first()).await;
    let other_key = KeyName {
        kid: "nrw-next".to_owned(),
        algorithm: key.algorithm,
    };
    assert!(Asked::first().again(&first, &other_key).is_none(), "a key that signs no more");
    let other_rules = Asked {
        policy: FixedPolicy::allow_by("another-rule"),
        ..Asked::first()
    };
    assert!(other_rules.again(&first, &key).is_none(), "allowed by other rules");
    let edge = ClientId::parse("edge").unwrap();
    let alice = ("corp".to_owned(), "alice".to_owned());
    let revoked = |kind, key| {
        let revoked = Arc::new(Revoked::default());
        revoked.add(&Revocation::new(kind, key, now(), Duration::from_secs(600)));
        View::new([], []).beside(revoked)
    };
    // The view of now, against permits that were given before it changed.
    for view in [
        View::new([edge], []),
        View::new([], [alice]),
        revoked(MarkKind::Outside, Key::of_pair(CORP, "j-1")),
        revoked(MarkKind::Client, Key::of("edge")),
    ] {
        let (permit, record) = Asked::first().permit();
        let later = Moment {
            revocations: Arc::new(view),
            ..moment(snapshot())
        };
        assert!(first.again(permit, &later, &key, &record).is_err());
    }
}
