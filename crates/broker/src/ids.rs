//! Fresh identifiers: unpredictable, and those of decisions in the order of time.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delegation::token::{OpaqueForm, OpaqueKind};
use issuance::exchange::Fresh;
use issuance::task::FreshTask;

/// The id of a decision.
pub(crate) fn decision() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// What is new for an exchange.
pub(crate) fn fresh() -> Fresh {
    let mut secret = [0; 32];
    Fresh {
        jti: random(),
        txn: txn(),
        secret: rand::fill(&mut secret).is_ok().then_some(secret),
    }
}

/// The id of a transaction. In the order of time, so that those which begin together lie together in the store.
fn txn() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A task and its token, in the transaction `txn`; `None` if there is no randomness, without which nothing is a secret.
pub(crate) fn task(txn: String) -> Option<FreshTask> {
    let mut randomness = [0; 32];
    rand::fill(&mut randomness).ok()?;
    Some(FreshTask {
        id: uuid::Uuid::now_v7().to_string(),
        token: OpaqueForm::make(OpaqueKind::Task, &randomness),
        txn,
    })
}

/// 128 random bits.
fn random() -> String {
    let mut bytes = [0; 16];
    // The generator of the process cannot fail once it is seeded; if it ever did, an id that repeats would be
    // refused by the journal rather than used twice.
    if rand::fill(&mut bytes).is_err() {
        return uuid::Uuid::now_v7().simple().to_string();
    }
    URL_SAFE_NO_PAD.encode(bytes)
}
