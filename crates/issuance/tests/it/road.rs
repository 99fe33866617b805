//! The whole road with ports in memory, and what the tests say along it.

use delegation::oauth::{AskedPart, ClientId, Form, Reason, TokenExchangeRequest, TokenType};
use delegation::registry::{AuthenticatedClient, Moment, TokenForm};
use delegation::time::Timestamp;
use delegation::token::{Authentic, OpaqueForm, OpaqueKind, SubjectToken, Unverified};
use issuance::audit::{self, CommitError, Decision, Kind, Record, Transaction};
use issuance::exchange::{Exchange, Fresh, Kept};
use issuance::mint::{self, MintError, Minted};
use issuance::policy;
use serde_json::{Value, json};
use testkit::{BROKER, CORP, Fails, FakeIssuer, FixedPolicy, MemoryJournal, MemorySigner, moment, now, snapshot, user_claims};

/// What a request asks for, from its form.
pub(crate) fn asked(form: &str) -> AskedPart {
    let body = format!("subject_token=t&subject_token_type=urn:ietf:params:oauth:token-type:jwt&{form}");
    TokenExchangeRequest::parse(&Form::parse(body.as_bytes()).unwrap()).unwrap().asked
}

pub(crate) fn corp_token(claims: &Value) -> Authentic<SubjectToken> {
    let issuer = FakeIssuer::es256(CORP);
    Unverified::parse(&issuer.sign("at+jwt", claims)).unwrap().authenticate(&issuer.key_set()).unwrap()
}

pub(crate) fn fresh(name: &str) -> Fresh {
    Fresh {
        jti: format!("jti-{name}"),
        txn: format!("txn-{name}"),
        secret: Some([7; 32]),
    }
}

pub(crate) fn client<'m>(moment: &'m Moment, id: &str) -> AuthenticatedClient<'m> {
    AuthenticatedClient::by_post(moment, &ClientId::parse(id).unwrap(), &format!("{id}-secret")).unwrap()
}

/// A proposal by `id`, and the record that it filled.
pub(crate) fn propose(
    moment: &Moment,
    id: &str,
    token: &Authentic<SubjectToken>,
    kept: Option<&Transaction>,
    form: &str,
) -> (Result<Exchange, Reason>, Record) {
    let mut record = Record::new("d-1".to_owned(), moment.now, Kind::Exchange);
    let subject = token.at(moment, TokenType::Jwt).unwrap();
    let proposed = Exchange::propose(
        moment,
        &client(moment, id),
        &subject,
        None,
        &Kept {
            transaction: kept.cloned(),
            task: None,
        },
        &asked(form),
        fresh(id),
        &mut record,
    );
    (proposed, record)
}

const READ: &str = r#"audience=https://tickets.internal&authorization_details=[{"type":"ticket","actions":["read"],"identifier":"1"}]"#;

struct Road {
    journal: MemoryJournal,
    policy: FixedPolicy,
    signer: MemorySigner,
}

impl Road {
    fn good() -> Self {
        Self {
            journal: MemoryJournal::new(Fails::Never),
            policy: FixedPolicy::allow(),
            signer: MemorySigner::new(BROKER),
        }
    }

    async fn go(&self, minted_at: Timestamp) -> Result<Minted, String> {
        self.go_with(&user_claims(), READ, minted_at).await
    }

    async fn go_with(&self, claims: &Value, form: &str, minted_at: Timestamp) -> Result<Minted, String> {
        let moment = moment(snapshot());
        let (proposed, mut record) = propose(&moment, "edge", &corp_token(claims), None, form);
        let permit = policy::decide(&self.policy, proposed.unwrap(), &mut record).map_err(|reason| reason.as_str().to_owned())?;
        let recorded = audit::commit(&self.journal, permit, record).await.map_err(|error| error.to_string())?;
        mint::mint(&self.signer, recorded, minted_at).await.map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn a_permitted_and_recorded_exchange_is_minted() {
    let road = Road::good();
    let minted = road.go(now()).await.unwrap();
    assert!(
        minted.token.starts_with("eyJ0eXAiOiJhdCtqd3QiLCJraWQiOiJucnct"),
        "36 characters that every token of ours begins with"
    );
    let claims: Value = serde_json::from_slice(&decode(minted.token.split('.').nth(1).unwrap())).unwrap();
    let expected = json!({
        "iss": BROKER, "sub": "alice", "aud": "https://tickets.internal", "iat": now().seconds(), "exp": now().seconds() + 120,
        "jti": "jti-edge", "client_id": "edge", "txn": "txn-edge", "act": { "iss": BROKER, "sub": "edge" },
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" }, "chain": claims["chain"],
        "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "1" }],
    });
    assert_eq!(claims, expected);
    assert_eq!(claims["chain"].as_array().unwrap().len(), 1);
    let records = road.journal.records();
    assert_eq!(
        (records.len(), records[0].decision, records[0].jti.as_deref()),
        (1, Decision::Allow, Some("jti-edge"))
    );
}

fn opaque() -> Moment {
    let mut snapshot = snapshot();
    for audience in snapshot.audiences.values_mut() {
        audience.form = TokenForm::Opaque;
    }
    moment(snapshot)
}

#[tokio::test]
async fn an_opaque_token_says_nothing_and_what_it_stands_for_is_in_its_entry() {
    let (road, moment) = (Road::good(), opaque());
    let (proposed, mut record) = propose(&moment, "edge", &corp_token(&user_claims()), None, READ);
    let permit = policy::decide(&road.policy, proposed.unwrap(), &mut record).unwrap();
    let recorded = audit::commit(&road.journal, permit, record).await.unwrap();
    let minted = mint::mint(&road.signer, recorded, now()).await.unwrap();
    let form = OpaqueForm::parse(&minted.token).unwrap();
    assert_eq!(form.kind(), OpaqueKind::Access);
    let kept = &road.journal.opaque_tokens()[0];
    assert_eq!(kept.digest, form.digest());
    let claims: Value = serde_json::from_str(&kept.claims).unwrap();
    assert_eq!(
        (&claims["jti"], &claims["iss"], &claims["sub"]),
        (&json!("jti-edge"), &json!(BROKER), &json!("alice"))
    );
    assert!(!kept.claims.contains(&minted.token));
}

#[test]
fn without_randomness_nothing_is_a_secret() {
    let moment = opaque();
    let token = corp_token(&user_claims());
    let subject = token.at(&moment, TokenType::Jwt).unwrap();
    let mut record = Record::new("d-1".to_owned(), moment.now, Kind::Exchange);
    let without = Fresh {
        secret: None,
        ..fresh("edge")
    };
    assert!(!format!("{:?}", fresh("edge")).contains('7'), "what will be a secret is not shown");
    let edge = client(&moment, "edge");
    let proposed = Exchange::propose(&moment, &edge, &subject, None, &Kept::default(), &asked(READ), without, &mut record);
    assert_eq!(proposed.map(drop), Err(Reason::StoreUnavailable));
}

#[tokio::test]
async fn a_refusal_of_policy_commits_no_allow_and_mints_nothing() {
    let road = Road {
        policy: FixedPolicy::deny(policy::Because::Hold),
        ..Road::good()
    };
    assert_eq!(road.go(now()).await.map(drop), Err("policy_denied".to_owned()));
    assert!(road.journal.records().is_empty());
}

#[tokio::test]
async fn a_journal_that_fails_mints_nothing() {
    for fails in [Fails::Before, Fails::After] {
        let road = Road {
            journal: MemoryJournal::new(fails),
            ..Road::good()
        };
        assert_eq!(
            road.go(now()).await.map(drop),
            Err(CommitError::Unavailable.to_string()),
            "{fails:?}"
        );
    }
}

#[tokio::test]
async fn a_signer_that_is_down_leaves_a_record_and_no_token() {
    let road = Road {
        signer: MemorySigner::down(BROKER),
        ..Road::good()
    };
    assert!(road.go(now()).await.is_err());
    assert_eq!(road.journal.records().len(), 1);
}

#[tokio::test]
async fn time_that_ran_out_before_signing_leaves_a_record_and_no_token() {
    let road = Road::good();
    let late = Timestamp::from_seconds(now().seconds() + 120);
    assert_eq!(
        road.go(late).await.map(drop),
        Err(MintError::Expired.to_string()),
        "TEX-013 TEX-014"
    );
    assert_eq!(road.journal.records().len(), 1);
}

#[tokio::test]
async fn a_life_of_one_second_is_granted_within_that_second_and_not_after() {
    let (claims, form) = (user_claims(), format!("{READ}&expires_in=1"));
    for (later, granted) in [(600, true), (1000, false)] {
        let (road, late) = (Road::good(), Timestamp::from_millis(now().millis() + later));
        let minted = road.go_with(&claims, &form, late).await;
        assert_eq!(minted.is_ok(), granted, "{later} ms");
    }
}

#[tokio::test]
async fn evidence_with_less_than_a_second_left_is_not_signed_for() {
    let mut claims = user_claims();
    claims["exp"] = json!(now().seconds() + 60);
    for (later, granted) in [(59_000, true), (59_001, false)] {
        let (road, late) = (Road::good(), Timestamp::from_millis(now().millis() + later));
        let minted = road.go_with(&claims, READ, late).await;
        assert_eq!(minted.is_ok(), granted, "{later} ms");
    }
}

#[tokio::test]
async fn a_mapped_claim_never_stands_for_a_claim_of_the_protocol() {
    let mut snapshot = snapshot();
    let issuer = snapshot.issuers.get_mut(CORP).unwrap();
    let reserved = ["exception", "req_wl", "tctx", "rctx"];
    for name in reserved.into_iter().chain(["groups"]) {
        issuer
            .attributes
            .insert(name.to_owned(), delegation::identity::AttributeRule::parse("set?").unwrap());
    }
    for audience in snapshot.audiences.values_mut() {
        audience.claims = reserved.into_iter().chain(["groups"]).map(str::to_owned).collect();
    }
    let moment = moment(snapshot);
    let mut record = Record::new("d".to_owned(), now(), Kind::Exchange);
    let mut outside = user_claims();
    for name in reserved {
        outside[name] = json!(["all"]);
    }
    let token = corp_token(&outside);
    let subject = token.at(&moment, TokenType::Jwt).unwrap();
    let proposed = Exchange::propose(
        &moment,
        &client(&moment, "edge"),
        &subject,
        None,
        &Kept::default(),
        &asked(READ),
        fresh("x"),
        &mut record,
    )
    .unwrap();
    let road = Road::good();
    let permit = policy::decide(&road.policy, proposed, &mut record).unwrap();
    let recorded = audit::commit(&road.journal, permit, record).await.unwrap();
    let minted = mint::mint(&road.signer, recorded, now()).await.unwrap();
    let claims: Value = serde_json::from_slice(&decode(minted.token.split('.').nth(1).unwrap())).unwrap();
    assert_eq!(claims["groups"], json!(["support"]));
    assert!(reserved.iter().all(|name| claims.get(*name).is_none()));
}

pub(crate) fn decode(segment: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(segment).unwrap()
}
