//! What waits for its record: how much, whose first, and until when.

use std::net::Ipv4Addr;

use delegation::oauth::Reason;
use delegation::token::{AccessClaims, Unverified};
use narrows_guard::broker::Refused;
use narrows_guard::spool::{MOST_OF_KNOWN, MOST_OF_STRANGERS, Spool};
use testkit::now;

use crate::guarded::{ISSUER, claims, token};

const LONG: usize = 64 * 1024;

fn stranger() -> Refused {
    Refused {
        decision_id: String::new(),
        at: now(),
        reason: Reason::NoToken,
        request: None,
        from: Ipv4Addr::LOCALHOST.into(),
        claims: None,
        compared: None,
        cause: None,
        observed: false,
    }
}

/// A caller whose token is the broker's.
fn known() -> Refused {
    let token = Unverified::parse(&token(&claims())).unwrap().authenticate(&ISSUER.key_set()).unwrap();
    let said: AccessClaims = token.says(&testkit::snapshot().types, 8).unwrap();
    Refused {
        claims: Some(Box::new(said)),
        ..stranger()
    }
}

#[test]
fn a_flood_of_strangers_takes_no_room_of_callers_who_are_known_and_is_told_behind_them() {
    let (spool, known, stranger) = (Spool::default(), known(), stranger());
    for _ in 0..1000 {
        spool.put(&stranger, "stranger", LONG);
    }
    let strangers = MOST_OF_STRANGERS / LONG;
    assert_eq!(spool.count(), (strangers, 1000 - strangers as u64));
    for _ in 0..MOST_OF_KNOWN / LONG {
        spool.put(&known, "known", LONG);
    }
    assert_eq!(spool.count(), ((MOST_OF_KNOWN + MOST_OF_STRANGERS) / LONG, 1000 - strangers as u64));
    spool.put(&known, "too many", LONG);
    assert_eq!(spool.count().1, 1001 - strangers as u64);
    let all = spool.batch(usize::MAX, usize::MAX).unwrap().refusals;
    let (front, behind) = all.split_at(MOST_OF_KNOWN / LONG);
    assert!(front.iter().all(|refusal| *refusal == "known") && behind.iter().all(|refusal| *refusal == "stranger"));
}

#[test]
fn what_is_in_line_stays_until_it_is_on_record_or_given_up_whatever_comes_meanwhile() {
    let (spool, known, stranger) = (Spool::default(), known(), stranger());
    for (refused, name) in [(&known, "a"), (&stranger, "x"), (&stranger, "y")] {
        spool.put(refused, name, 10);
    }
    let batch = spool.batch(2, usize::MAX).unwrap();
    assert_eq!(batch.refusals, ["a", "x"]);
    // One that comes meanwhile goes before strangers that wait, and is not taken for one that was told.
    spool.put(&known, "b", 10);
    spool.delivered(&batch);
    let batch = spool.batch(1, usize::MAX).unwrap();
    assert_eq!(batch.refusals, ["b"]);
    spool.give_up(&batch);
    let batch = spool.batch(5, 1).unwrap();
    assert_eq!(
        (batch.refusals.as_slice(), batch.lost),
        (["y"].as_slice(), 1),
        "one goes, whatever its size"
    );
    spool.delivered(&batch);
    assert_eq!(spool.count(), (0, 0));
    assert!(spool.batch(5, usize::MAX).is_none());
}
