//! Random chains of exchanges: nothing ever widens (I1), nothing outlives its parent (I2).

use delegation::authority::Authority;
use delegation::oauth::TokenType;
use delegation::registry::{Moment, Receives};
use delegation::time::Timestamp;
use delegation::token::{Authentic, SubjectToken, Unverified};
use issuance::audit::{self, Transaction};
use issuance::{mint, policy};
use proptest::prelude::*;
use testkit::{Fails, FixedPolicy, MemoryJournal, MemorySigner, moment, now, snapshot, user_claims};

use crate::road::{corp_token, propose};

const CLIENTS: [&str; 3] = ["edge", "orders", "stranger"];
const AUDIENCES: [&str; 2] = ["https://orders.internal", "https://tickets.internal"];

/// One hop: who asks, where, for which details, passing which on, for how long, how much later.
type Hop = (usize, usize, Vec<(usize, usize)>, Vec<(usize, usize)>, u64, i64);

fn a_hop() -> impl Strategy<Value = Hop> {
    let pairs = || prop::collection::vec((0..3_usize, 0..3_usize), 0..3);
    (0..3_usize, 0..2_usize, pairs(), pairs(), 1..900_u64, 0..30_i64)
}

fn details(pairs: &[(usize, usize)]) -> String {
    let actions = ["read", "update", "search"];
    let listed: Vec<_> = pairs
        .iter()
        .map(|(action, id)| serde_json::json!({ "type": "ticket", "actions": [actions[*action]], "identifier": id.to_string() }))
        .collect();
    serde_json::Value::from(listed).to_string()
}

fn everybody_receives_everything() -> Moment {
    let mut snapshot = snapshot();
    for client in snapshot.clients.values_mut() {
        client.receives = AUDIENCES
            .iter()
            .map(|audience| Receives {
                issuer_name: None,
                audience: (*audience).to_owned(),
            })
            .collect();
    }
    moment(snapshot)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_widens_and_nothing_outlives_its_parent(hops in prop::collection::vec(a_hop(), 1..10)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut moment = everybody_receives_everything();
        let types = moment.snapshot.types.clone();
        let (journal, engine, signer) = (MemoryJournal::new(Fails::Never), FixedPolicy::allow(), MemorySigner::new(testkit::BROKER));
        let mut token: Authentic<SubjectToken> = corp_token(&user_claims());
        let mut kept: Option<Transaction> = None;
        for (client, audience, asked, onward, life, later) in hops {
            moment.now = Timestamp::from_seconds(moment.now.seconds() + later);
            let Ok(parent) = token.at(&moment, TokenType::Jwt) else { break };
            let ceiling = Authority { details: [parent.authority.details.clone(), parent.onward.clone()].concat(), scopes: parent.authority.scopes.clone() };
            let (exp, depth, parent_chain) = (parent.exp, parent.act.as_ref().map_or(0, |act| act.depth()), parent.chain.clone());
            let client = if kept.is_none() { "edge" } else { CLIENTS[client] };
            let form = format!("audience={}&authorization_details={}&onward={}&expires_in={life}", AUDIENCES[audience], details(&asked), details(&onward));
            let (proposed, mut record) = propose(&moment, client, &token, kept.as_ref(), &form);
            let Ok(exchange) = proposed else { continue };
            kept = kept.or_else(|| Some(Transaction {
                txn: record.txn.clone().unwrap(), subject: record.subject.clone().unwrap(), kind: delegation::identity::SubjectKind::User,
                attributes: Default::default(), requested_by: None, began: now(), forget_at: exp,
            }));
            let permit = policy::decide(&engine, exchange, &mut record).unwrap();
            let recorded = runtime.block_on(audit::commit(&journal, permit, record)).unwrap();
            let minted = runtime.block_on(mint::mint(&signer, recorded, moment.now)).unwrap();
            token = Unverified::parse(&minted.token).unwrap().authenticate(&signer.issuer.key_set()).unwrap();
            let child = token.at(&moment, TokenType::AccessToken).unwrap();
            prop_assert!(child.authority.is_within(&ceiling, &types).is_ok(), "I1: authority");
            let passed_on = Authority { details: child.onward.clone(), ..Authority::default() };
            prop_assert!(passed_on.is_within(&ceiling, &types).is_ok(), "I1: onward");
            prop_assert_eq!(child.audiences.len(), 1, "I1: one audience");
            let act = child.act.as_ref().unwrap();
            prop_assert_eq!(act.depth(), depth + 1, "I1: one more actor");
            prop_assert!(act.depth() <= moment.snapshot.max_chain);
            prop_assert_eq!(&act.iter().next().unwrap().sub, client);
            prop_assert!(child.exp <= exp, "I2");
            prop_assert_eq!(&child.chain[..parent_chain.len()], parent_chain.as_slice(), "the chain is whole");
            prop_assert_eq!(child.txn.as_ref(), kept.as_ref().map(|kept| &kept.txn), "one transaction");
        }
    }
}
