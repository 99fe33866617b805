//! What a batch of entries uses up.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use delegation::token::sha256;
use issuance::audit::{CommitError, Entry, UseKind};

use crate::store::{Statement, Store, StoreTransaction, StoreUnavailable, sql};

/// A longer id is kept as its digest: it may come from anybody, and an index of PostgreSQL takes 2,704 bytes.
const LONGEST: usize = 256;

/// (kind, issuer, id), in whose order keys are taken by every node.
type Key<'e> = (&'static str, Cow<'e, str>, Cow<'e, str>);

/// Takes the uses of `entries`, and says of each entry whether and why it lost: something in it had been used before, here or
/// by an entry before it. Of an entry that lost nothing is taken.
///
/// Found by what an insert did, never by an error, so that one loser leaves the others alone.
pub(crate) async fn take(transaction: &mut StoreTransaction<'_>, entries: &[Entry]) -> Result<Vec<Option<CommitError>>, sqlx::Error> {
    // 1. Every key once, in one global order, to be forgotten when the last that asks for it may.
    let mut asked = BTreeMap::<Key<'_>, i64>::new();
    for key in entries.iter().flat_map(|entry| &entry.uses) {
        let forget_at = asked.entry(name(key)).or_insert(i64::MIN);
        *forget_at = (*forget_at).max(key.forget_at.millis());
    }

    // 2. Which were unused. A node that is taking one of them now is waited for.
    let mut unused = BTreeSet::<(String, String, String)>::new();
    let asked: Vec<_> = asked.into_iter().collect();
    for chunk in asked.chunks(64) {
        let mut statement = sql("INSERT INTO uses (kind, issuer, id, forget_at)");
        for ((kind, issuer, id), forget_at) in chunk {
            statement = statement.row([(*kind).into(), (&**issuer).into(), (&**id).into(), (*forget_at).into()]);
        }
        let statement = statement.then(" ON CONFLICT DO NOTHING RETURNING kind, issuer, id");
        for row in transaction.fetch(statement).await? {
            unused.insert((row.get("kind")?, row.get("issuer")?, row.get("id")?));
        }
    }

    // 3. First come, first served.
    let owned = |key| {
        let (kind, issuer, id): Key<'_> = name(key);
        (kind.to_owned(), issuer.into_owned(), id.into_owned())
    };
    let mut lost = Vec::with_capacity(entries.len());
    for entry in entries {
        let keys: BTreeSet<_> = entry.uses.iter().map(owned).collect();
        let wins = keys.is_subset(&unused) && keys.len() == entry.uses.len();
        if wins {
            for key in &keys {
                unused.remove(key);
            }
        }
        lost.push((!wins).then_some(CommitError::AlreadyUsed));
    }

    // 4. What was taken for an entry that lost is given back: nothing of it happened.
    for (kind, issuer, id) in &unused {
        transaction.execute(back().bind(kind).bind(issuer).bind(id)).await?;
    }
    Ok(lost)
}

/// Which of `ids` are used.
pub(crate) async fn used(store: &Store, kind: UseKind, issuer: &str, ids: &[&str]) -> Result<BTreeSet<String>, StoreUnavailable> {
    let mut found = BTreeSet::new();
    for chunk in ids.chunks(64) {
        let by_key: BTreeMap<_, _> = chunk.iter().map(|id| (kept(id), *id)).collect();
        let statement = sql("SELECT id FROM uses WHERE kind = $1 AND issuer = $2 AND id IN")
            .bind(kind.as_str())
            .bind(kept(issuer));
        for row in store.fetch(statement.list(by_key.keys().map(|key| (&**key).into()).collect())).await? {
            let key: String = row.get("id")?;
            found.extend(by_key.get(&*key).map(|id| (*id).to_owned()));
        }
    }
    Ok(found)
}

/// Gives back what was taken for `entry`, which lost after all.
pub(super) async fn give_back(transaction: &mut StoreTransaction<'_>, entry: &Entry) -> Result<(), sqlx::Error> {
    for (kind, issuer, id) in entry.uses.iter().map(name) {
        transaction.execute(back().bind(kind).bind(&*issuer).bind(&*id)).await?;
    }
    Ok(())
}

fn back<'v>() -> Statement<'v> {
    sql("DELETE FROM uses WHERE kind = $1 AND issuer = $2 AND id = $3")
}

fn name(key: &issuance::audit::Use) -> Key<'_> {
    (key.kind.as_str(), kept(&key.issuer), kept(&key.id))
}

/// `text` as both engines can keep it in an index: itself, or its digest where it is long, holds U+0000, which PostgreSQL
/// cannot keep, or looks like a digest itself. Two texts never become one.
fn kept(text: &str) -> Cow<'_, str> {
    const MARK: &str = "sha256:";
    if text.len() <= LONGEST && !text.contains('\0') && !text.starts_with(MARK) {
        return Cow::Borrowed(text);
    }
    let digest: String = sha256(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("{MARK}{digest}"))
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn what_an_index_cannot_keep_is_kept_as_its_digest_and_no_two_texts_meet() {
        assert_eq!(kept("0190-a"), "0190-a");
        let (long, longer) = ("x".repeat(300), "x".repeat(301));
        let texts = [long.as_str(), &longer, "a\0b", "a", "sha256:00", &kept("a\0b")];
        let all: std::collections::BTreeSet<_> = texts.iter().map(|text| kept(text).into_owned()).collect();
        assert_eq!(all.len(), texts.len());
        assert!(all.iter().all(|text| text.len() <= 300 && !text.contains('\0')));
    }
}
