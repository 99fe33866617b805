//! A task as the store keeps it, and what a decision changes about one.

use delegation::authority::Authority;
use delegation::chain::ActorChain;
use delegation::details::{Detail, DetailTypes};
use delegation::identity::Subject;
use delegation::oauth::{AudienceId, ClientId, Reason, Scope};
use delegation::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::Record;
use crate::policy::TaskFacts;

/// A task as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTask {
    /// Its id, which its tokens name.
    pub id: String,
    /// The client that opened it.
    pub creator: ClientId,
    /// The client that may redeem it.
    pub actor: ClientId,
    /// Whether it is over.
    pub status: Status,
    /// How often it was redeemed.
    pub tokens: u32,
    /// How often it may be.
    pub max_tokens: u32,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// What may be redeemed, for whom: the JSON of `Terms`, which is understood under the configuration of the day.
    pub terms: String,
}

/// Whether a task is over. That it expired is read off the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It is not.
    Open,
    /// Its work is done.
    Completed,
    /// It was ended before that.
    Cancelled,
}

impl Status {
    /// The word in the store and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status by its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Open, Self::Completed, Self::Cancelled].into_iter().find(|status| status.as_str() == word)
    }
}

/// Why a task gives no more tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its work is done.
    Completed,
    /// It was ended before that.
    Cancelled,
    /// Its time is up.
    Expired,
    /// It gave as many as it may.
    Exhausted,
}

impl Over {
    /// The reason for the client.
    pub fn reason(self) -> Reason {
        match self {
            Self::Completed => Reason::TaskCompleted,
            Self::Cancelled => Reason::TaskCancelled,
            Self::Expired => Reason::TaskExpired,
            Self::Exhausted => Reason::TaskExhausted,
        }
    }
}

/// What a decision changes about a task, in the commit of its record.
#[derive(Clone, Debug)]
pub enum TaskChange {
    /// It is opened; its token is known by its digest alone.
    Opens {
        /// The task.
        task: Box<KeptTask>,
        /// The SHA-256 of its token.
        token: [u8; 32],
    },
    /// One of its tokens is issued.
    Takes(Slot),
    /// It ends, if it is open.
    Ends {
        /// Its id.
        id: String,
        /// How.
        status: Status,
    },
}

/// A place in a task's count of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The task's id.
    pub task: String,
    /// The attempt: it has one place for as long as its first token lives, however often it asks.
    pub attempt: Option<String>,
    /// When the attempt asks.
    pub now: Timestamp,
    /// When the token that is issued expires.
    pub until: Timestamp,
}

/// What may be redeemed from a task, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) subject: Subject,
    pub(super) issued_sub: String,
    pub(super) txn: String,
    pub(super) audiences: Vec<AudienceId>,
    pub(super) authority: Authority,
    pub(super) onward: Vec<Detail>,
    pub(super) purpose: Option<String>,
    pub(super) deferred: bool,
    pub(super) payload_sha256: Option<String>,
    pub(super) chain: Vec<String>,
    /// Who acted before: the creator, if another than the actor redeems, and those in the subject token.
    pub(super) act: Option<ActorChain>,
    pub(super) auth_time: Option<Timestamp>,
    pub(super) acr: Option<String>,
    pub(super) amr: Option<Vec<String>>,
}

/// The members that policy reads and people are shown, whatever the configuration of the day declares.
#[derive(Serialize, Deserialize)]
struct Written {
    issuer_name: String,
    iss: String,
    sub: String,
    issued_sub: String,
    txn: String,
    audiences: Vec<String>,
    authorization_details: Vec<Value>,
    scope: Vec<String>,
    onward: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    deferred: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_sha256: Option<String>,
    chain: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amr: Option<Vec<String>>,
}

impl Terms {
    pub(super) fn to_json(&self) -> String {
        let written = Written {
            issuer_name: self.subject.issuer_name.clone(),
            iss: self.subject.iss.clone(),
            sub: self.subject.sub.clone(),
            issued_sub: self.issued_sub.clone(),
            txn: self.txn.clone(),
            audiences: self.audiences.iter().map(ToString::to_string).collect(),
            authorization_details: self.authority.details.iter().map(Detail::to_json).collect(),
            scope: self.authority.scopes.iter().map(ToString::to_string).collect(),
            onward: self.onward.iter().map(Detail::to_json).collect(),
            purpose: self.purpose.clone(),
            deferred: self.deferred,
            payload_sha256: self.payload_sha256.clone(),
            chain: self.chain.clone(),
            act: self.act.as_ref().map(ActorChain::to_claim),
            auth_time: self.auth_time.map(Timestamp::seconds),
            acr: self.acr.clone(),
            amr: self.amr.clone(),
        };
        // Strings, numbers and lists of them: nothing in it can fail to be written.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// The terms under the types that are declared now; `None` if they name one that no longer is.
    pub(super) fn read(text: &str, types: &DetailTypes, max_chain: usize) -> Option<Self> {
        let written: Written = serde_json::from_str(text).ok()?;
        let details = |list: Vec<Value>| Detail::from_array(&Value::from(list), types).ok();
        Some(Self {
            subject: Subject {
                issuer_name: written.issuer_name,
                iss: written.iss,
                sub: written.sub,
            },
            issued_sub: written.issued_sub,
            txn: written.txn,
            audiences: written.audiences.iter().map(|id| AudienceId::parse(id).ok()).collect::<Option<_>>()?,
            authority: Authority {
                details: details(written.authorization_details)?,
                scopes: written.scope.iter().map(|scope| Scope::parse(scope).ok()).collect::<Option<_>>()?,
            },
            onward: details(written.onward)?,
            purpose: written.purpose,
            deferred: written.deferred,
            payload_sha256: written.payload_sha256,
            chain: written.chain,
            act: match written.act {
                None => None,
                Some(claim) => Some(ActorChain::from_claim(&claim, max_chain).ok()?),
            },
            auth_time: written.auth_time.map(Timestamp::from_seconds),
            acr: written.acr,
            amr: written.amr,
        })
    }
}

impl KeptTask {
    /// Puts on record what the task says, so that a refusal to redeem it says it too.
    pub fn note(&self, record: &mut Record) {
        record.task = Some(self.id.clone());
        let Some(written) = self.written() else { return };
        record.txn = Some(written.txn);
        record.chain = written.chain;
        record.subject = Some(Subject {
            issuer_name: written.issuer_name,
            iss: written.iss,
            sub: written.sub,
        });
    }

    /// The transaction that it belongs to.
    pub fn txn(&self) -> Option<String> {
        self.written().map(|written| written.txn)
    }

    /// What policy may read about it at `now`.
    pub fn facts(&self, now: Timestamp) -> Option<TaskFacts> {
        let written = self.written()?;
        Some(TaskFacts {
            id: self.id.clone(),
            purpose: written.purpose,
            age_seconds: now.seconds() - self.created_at.seconds(),
            tokens: i64::from(self.tokens),
            deferred: written.deferred,
            actor: self.actor.to_string(),
            expires_in: self.expires_at.seconds() - now.seconds(),
        })
    }

    /// Why it gives no more tokens at `now`, if it is over; that it gave as many as it may is the journal's to say.
    pub fn over(&self, now: Timestamp) -> Option<Over> {
        match self.status {
            Status::Completed => Some(Over::Completed),
            Status::Cancelled => Some(Over::Cancelled),
            Status::Open if self.expires_at.millis() - now.millis() < 1000 => Some(Over::Expired),
            Status::Open => None,
        }
    }

    fn written(&self) -> Option<Written> {
        serde_json::from_str(&self.terms).ok()
    }
}
