//! A refusal between its cause and its record.

use std::net::IpAddr;
use std::time::Instant;

use delegation::oauth::{Manner, Reason};
use issuance::audit::{Record, Use, UseKind};

use crate::broker::Broker;
use crate::ids;
use crate::limits::OverLimit;

/// A refusal on its way to the record.
pub(crate) struct Denied {
    pub(crate) reason: Reason,
    /// What the refusal uses up; `None` where refusals are counted together.
    pub(crate) uses: Option<Vec<Use>>,
    /// What of the request decides between two error codes.
    pub(crate) manner: Manner,
    /// Whether it counts for the network that it came from.
    pub(crate) is_stranger: bool,
}

/// What a request of a client that authenticated has shown, for the refusals that may follow.
pub(crate) struct Shown {
    pub(crate) manner: Manner,
    /// What the decision uses up, whichever way it goes, in the order in which it is asked about.
    pub(crate) uses: Vec<Use>,
    /// Whether what is committed for it uses a token of ours up beside those; a refusal leaves that.
    pub(crate) spends_a_token: bool,
}

impl Shown {
    /// The refusal of this request for `reason`; it uses up what was shown.
    pub(crate) fn denied(&self, reason: Reason) -> Denied {
        Denied {
            reason,
            uses: Some(self.uses.clone()),
            manner: self.manner,
            is_stranger: false,
        }
    }

    /// The refusal after something in it turned out to have been used before; nothing was used up by that.
    pub(crate) fn denied_as_used(mut self, record: &mut Record) -> Denied {
        record.id = ids::decision();
        let reason = if self.spends_a_token {
            // It stands last, and no refusal uses it up; one that finds another thing used says so when it is recorded.
            Reason::TokenUsed
        } else {
            give_up_last(&mut self.uses)
        };
        self.denied(reason)
    }
}

/// Takes the last use back, of several of which one had been used before, and gives the reason that holds if it was that one.
///
/// A refusal for that reason is then recorded with the uses that remain: if one of those was used before too, that comes to
/// light there, and is the reason that counts, since a client is asked about before its tokens.
pub(crate) fn give_up_last(uses: &mut Vec<Use>) -> Reason {
    match uses.pop().map(|last| last.kind) {
        Some(UseKind::IdJag) => Reason::SubjectTokenInvalid,
        // No refusal uses up a token of ours, or what a guard says.
        Some(UseKind::ClientAssertion | UseKind::SecurityEvent | UseKind::Token | UseKind::GuardRefusal | UseKind::Sighting) | None => {
            Reason::ClientAuthenticationFailed
        }
    }
}

impl Denied {
    /// The refusal of a request that did not authenticate.
    pub(crate) fn stranger(reason: Reason) -> Self {
        Self {
            is_stranger: true,
            ..Self::uncounted(reason)
        }
    }

    /// A refusal that says nothing about who asked: nothing was checked, or nothing could be.
    pub(crate) fn uncounted(reason: Reason) -> Self {
        Self {
            reason,
            uses: None,
            manner: Manner::default(),
            is_stranger: false,
        }
    }

    /// The refusal of a client's request that asks for no details; it uses up what was shown.
    pub(crate) fn of_client(reason: Reason, uses: Vec<Use>) -> Self {
        Self {
            uses: Some(uses),
            ..Self::uncounted(reason)
        }
    }

    /// A refusal after the commit: its record is a new one, and the credential is used up already.
    pub(crate) fn recorded_anew(reason: Reason, manner: Manner, record: &mut Record) -> Self {
        record.id = ids::decision();
        Self {
            reason,
            uses: Some(Vec::new()),
            manner,
            is_stranger: false,
        }
    }

    /// Whether there was no room to decide at all.
    pub(crate) fn is_for_want_of_room(&self) -> bool {
        self.reason == Reason::RateLimited
    }

    /// Counts a stranger; past the limit that is the reason.
    pub(crate) fn counted(mut self, broker: &Broker, from: IpAddr) -> Self {
        let rates = broker.in_force().rates;
        if self.is_stranger && broker.limits().stranger(from, &rates, Instant::now()) == Err(OverLimit) {
            self.reason = Reason::RateLimited;
        }
        self
    }
}
