//! What guards ask and say, in this process or another: the one use of a token, policy again, and what goes on record.
//!
//! A guard is believed in what it saw, and in nothing that the broker can look at itself: a token is verified here again.

mod places;
mod recheck;
mod refusals;
mod sightings;
mod strangers;
mod token;
mod uses;

use delegation::oauth::{ClientId, Reason};
use delegation::revocation::{Key, MarkKind};
use issuance::audit::{Kind, Record};
use issuance::policy::Policy;
use serde_json::json;

pub use places::{Place, first_seen};
pub use recheck::{Asked, recheck};
pub use refusals::{Claims, Compared, MOST, RefusedCall, Told, refused};
pub use sightings::{Seen, SeenTwice, seen_twice};
pub use uses::{Shown, consume};

use crate::broker::{Broker, InForce};
use crate::front_door::Refused;
use crate::ids;

/// Which guard it is.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a> {
    /// The service that it stands before, by its name in the configuration.
    pub service: &'a str,
    /// The client that it is: that of the configuration for a guard of this process, that which has just shown its own token for
    /// one of another.
    pub client: &'a ClientId,
}

impl Guard<'_> {
    /// A record that says of which guard it is.
    fn record(&self, broker: &Broker, in_force: &InForce) -> Record {
        let mut record = Record::new(ids::decision(), broker.now(), Kind::Guard);
        record.config_version.clone_from(&in_force.snapshot.config_version);
        record.policy_version = in_force.policy.version().to_owned();
        record.inputs = json!({ "service": self.service, "guard": self.client.as_str() });
        record
    }
}

/// Notes what a token came from: its `ancestors`, root first, and its parent, if that is one of ours.
fn came_from(record: &mut Record, ancestors: &[String]) {
    record.chain = ancestors.to_vec();
    let parent = ancestors.last().filter(|entry| Key::of_entry(entry).0 == MarkKind::Jti);
    record.parent_jti = parent.cloned();
}

/// Puts a refusal on record. Of a token that is not ours nobody is known: a flood of those is not one of records.
async fn refuse(broker: &Broker, reason: Reason, mut record: Record, door: &str) -> Refused {
    let is_strangers = reason == Reason::SubjectTokenInvalid;
    if is_strangers {
        record.inputs = json!({ "asked": door });
    }
    let (reason, decision_id) = broker.record_denial(reason, record, (!is_strangers).then(Vec::new)).await;
    Refused { reason, decision_id }
}
