//! Handing out a token again: to the same request, for as long as a new token would say the same.
//!
//! Nothing is remembered about the decision. Evidence, standing and policy are asked anew, and only the signature is
//! saved: [`Reusable::again`] takes the new permit and gives the old token if the two are equal in all but time.

use delegation::registry::Moment;
use delegation::token::refuse_ended;

use crate::audit::{Decision, Entry, Record, Recorded};
use crate::exchange::Exchange;
use crate::mint::{KeyName, MintError, Minted, Signer, write};
use crate::policy::Permit;

/// A token is handed out again until so much of its life is over, in hundredths.
const SHARE_OF_LIFE: i64 = 80;

/// A token that was minted, with the permit that it was minted for.
///
/// A token that is good for one request alone never becomes one. Those with an approval or an exception must not either; there are
/// none yet, and the comparison takes exchanges apart by name so that whoever adds one comes by here. A token that took a place in a task's
/// count, or is for later work, never is one again: the second would have to be decided and counted too.
pub struct Reusable {
    token: String,
    key: KeyName,
    permit: Permit<Exchange>,
}

/// A token that may be handed out again once `entry` is in the journal's line.
pub struct Again {
    /// The token and what is left of its life.
    pub minted: Minted,
    /// The record of this reuse, under the `jti` of the first, and what this request uses up.
    pub entry: Entry,
}

/// Makes a token like [`mint`](crate::mint::mint), and keeps what is needed to hand the token out again, if it ever may be.
pub async fn mint_reusable<S: Signer>(
    signer: &S,
    recorded: Recorded<Permit<Exchange>>,
    now: delegation::time::Timestamp,
) -> Result<(Minted, Option<Reusable>), MintError> {
    let permit = recorded.value;
    let (token, key) = write(signer, &permit.permitted, now).await?;
    let minted = Minted {
        token: token.clone(),
        expires_in: permit.permitted.inquiry.expires_in,
        kind: permit.permitted.kind(),
        authority: permit.permitted.authority.clone(),
    };
    let is_for_one_request = permit.permitted.single_use;
    Ok((minted, (!is_for_one_request).then_some(Reusable { token, key, permit })))
}

impl Reusable {
    /// The token again, if `permit` is the first one in all but time; else the permit, to be minted from.
    ///
    /// Never past four fifths of its life, never later than a new token would live, never under a key that signs no
    /// more (`signing` is the one that does), never while anybody in it is disabled, and never if it was revoked, or
    /// something that it came from.
    /// `record` is what is known of this request.
    #[expect(
        clippy::result_large_err,
        reason = "the permit goes back whole: it is what a new token is minted from"
    )]
    pub fn again(&self, permit: Permit<Exchange>, moment: &Moment, signing: &KeyName, record: &Record) -> Result<Again, Permit<Exchange>> {
        let (first, asked) = (&self.permit.permitted, &permit.permitted);
        let (life, age) = (
            first.expires_at.millis() - first.issued_at.millis(),
            moment.now.millis() - first.issued_at.millis(),
        );
        let in_time = age >= 0 && age * 100 <= life * SHARE_OF_LIFE && first.expires_at <= asked.expires_at;
        let chain = [first.chain.as_slice(), std::slice::from_ref(&first.jti)].concat();
        let dead = refuse_ended(&first.line(&chain), &moment.revocations).is_err();
        if !in_time || dead || self.key != *signing || self.permit.rules() != permit.rules() || !equal_but_for_time(first, asked) {
            return Err(permit);
        }
        let mut record = record.clone();
        record.decision = Decision::Allow;
        record.reason = "reused".to_owned();
        record.jti = Some(first.jti.clone());
        record.txn = Some(first.txn.clone());
        let expires_in = first.expires_at.seconds() - moment.now.seconds();
        record.expires_in = Some(expires_in);
        Ok(Again {
            minted: Minted {
                token: self.token.clone(),
                expires_in,
                kind: first.kind(),
                authority: first.authority.clone(),
            },
            entry: Entry {
                uses: permit.permitted.uses,
                // No transaction begins: it is the first one's, and goes on.
                ..Entry::of(record)
            },
        })
    }

    /// How much memory it takes, more or less, in bytes.
    pub fn size(&self) -> usize {
        4 * self.token.len()
    }
}

impl std::fmt::Debug for Reusable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Reusable").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Again {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Again").field("minted", &self.minted).finish_non_exhaustive()
    }
}

fn equal_but_for_time(first: &Exchange, asked: &Exchange) -> bool {
    // Taken apart by name, so that a member that is added must be thought about here.
    let Exchange {
        issuer,
        client,
        audience,
        subject,
        issued_sub,
        authority,
        onward,
        issued_at: _,
        expires_at: _,
        not_after,
        act,
        chain,
        jti: _,
        txn,
        task,
        slot,
        auth_time,
        acr,
        amr,
        claims,
        inquiry,
        uses: _,
        single_use,
        begins,
        form,
        opaque: _,
    } = first;
    // An outside token begins a transaction each time, and the first goes on; one of ours names its own.
    let same_transaction = match (begins, &asked.begins) {
        (Some(_), Some(_)) => true,
        (None, None) => *txn == asked.txn,
        _ => false,
    };
    let counted = slot.is_some() || asked.slot.is_some() || inquiry.task.as_ref().is_some_and(|task| task.deferred);
    same_transaction
        && !counted
        && *single_use == asked.single_use
        && *form == asked.form
        && *task == asked.task
        && *issuer == asked.issuer
        && *client == asked.client
        && *audience == asked.audience
        && *subject == asked.subject
        && *issued_sub == asked.issued_sub
        && *authority == asked.authority
        && *onward == asked.onward
        && *not_after == asked.not_after
        && *act == asked.act
        && *chain == asked.chain
        && *auth_time == asked.auth_time
        && *acr == asked.acr
        && *amr == asked.amr
        && *claims == asked.claims
        && inquiry.equals_but_for_time(&asked.inquiry)
}
