//! The view of what is dead, and its rule.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use delegation::chain::{Actor, ActorChain};
use delegation::identity::Subject;
use delegation::oauth::ClientId;
use delegation::revocation::{Disabled, Key, Line, MarkKind, PartyKind, Revocation, Revoked, View};
use delegation::time::Timestamp;
use delegation::token::chain_entry;
use testkit::{CORP, now};

/// A revocation of now that is kept for a day.
fn revocation(kind: MarkKind, key: Key) -> Revocation {
    Revocation {
        kind,
        key,
        at: now(),
        forget_at: now().plus(Duration::from_secs(86_400)),
    }
}

fn alice() -> Subject {
    Subject {
        issuer_name: "corp".to_owned(),
        iss: CORP.to_owned(),
        sub: "alice".to_owned(),
    }
}

/// The line of a token that says no more than this.
fn line<'t>(chain: &'t [String], subject: &'t Subject, iat: Timestamp) -> Line<'t> {
    Line {
        chain,
        txn: None,
        task: None,
        subject,
        client: None,
        act: None,
        iat,
    }
}

/// In every part.
fn forget(revoked: &Revoked, now: Timestamp) {
    (0..Revoked::PARTS).for_each(|_| revoked.forget(now));
}

fn view(revocations: &[Revocation]) -> View {
    let revoked = Arc::new(Revoked::default());
    revocations.iter().for_each(|each| revoked.add(each));
    View::new([], []).beside(revoked)
}

#[test]
fn a_token_dies_of_whatever_its_line_names_and_of_nothing_else() {
    let root = chain_entry(CORP, Some("j-1"), "");
    let chain = [root, "first".to_owned(), "second".to_owned()];
    let actor = |sub: &str| Actor {
        iss: "https://narrows.example".to_owned(),
        sub: sub.to_owned(),
    };
    let act = ActorChain::extend(Some(&ActorChain::extend(None, actor("edge"))), actor("orders"));
    let subject = alice();
    let line = Line {
        chain: &chain,
        txn: Some("t-1"),
        task: Some("task-1"),
        subject: &subject,
        client: Some("orders"),
        act: Some(&act),
        iat: now(),
    };
    let dies = [
        (MarkKind::Outside, Key::of_pair(CORP, "j-1")),
        (MarkKind::Jti, Key::of("first")),
        (MarkKind::Jti, Key::of("second")),
        (MarkKind::Txn, Key::of("t-1")),
        (MarkKind::Task, Key::of("task-1")),
        (MarkKind::Subject, Key::of_pair(CORP, "alice")),
        (MarkKind::Client, Key::of("orders")),
        (MarkKind::Client, Key::of("edge")),
        (MarkKind::Issuer, Key::of(CORP)),
        (MarkKind::Restore, Key::of("")),
    ];
    for (kind, key) in dies {
        assert_eq!(view(&[revocation(kind, key)]).kills(&line), Some(kind), "{kind:?}");
    }
    // The same names under other kinds, and other names.
    let lives = [
        (MarkKind::Txn, Key::of("first")),
        (MarkKind::Jti, Key::of("t-1")),
        (MarkKind::Jti, Key::of("task-1")),
        (MarkKind::Task, Key::of("t-1")),
        (MarkKind::Jti, Key::of_pair(CORP, "j-1")),
        (MarkKind::Outside, Key::of_pair(CORP, "j-2")),
        (MarkKind::Outside, Key::of_pair("https://other.example", "j-1")),
        (MarkKind::Subject, Key::of_pair(CORP, "bob")),
        (MarkKind::Subject, Key::of_pair("https://other.example", "alice")),
        (MarkKind::Client, Key::of("alice")),
        (MarkKind::Client, Key::of("tickets")),
        (MarkKind::Issuer, Key::of("https://other.example")),
        (MarkKind::Exception, Key::of("t-1")),
        (MarkKind::Approval, Key::of("t-1")),
    ];
    let all: Vec<_> = lives.into_iter().map(|(kind, key)| revocation(kind, key)).collect();
    assert_eq!(view(&all).kills(&line), None);
}

#[test]
fn an_epoch_ends_what_was_issued_in_its_second_and_nothing_later() {
    let subject = alice();
    let line = |iat| line(&[], &subject, iat);
    let at = now();
    for kind in [MarkKind::Subject, MarkKind::Restore] {
        let key = if kind == MarkKind::Subject {
            Key::of_pair(CORP, "alice")
        } else {
            Key::of("")
        };
        let mut epoch = revocation(kind, key);
        // In the middle of a second: dates of tokens are whole ones.
        epoch.at = at.plus(Duration::from_millis(400));
        let alone = view(&[epoch]);
        assert_eq!(alone.kills(&line(Timestamp::from_seconds(at.seconds() - 1))), Some(kind));
        assert_eq!(alone.kills(&line(at)), Some(kind));
        assert_eq!(alone.kills(&line(Timestamp::from_seconds(at.seconds() + 1))), None);
        // An earlier one that comes later takes nothing back.
        let later = revocation(kind, key);
        let earlier = Revocation {
            at: Timestamp::from_seconds(at.seconds() - 100),
            ..later.clone()
        };
        assert_eq!(view(&[later, earlier]).kills(&line(at)), Some(kind));
    }
}

#[test]
fn a_revocation_is_kept_for_as_long_as_anything_it_touches_could_live() {
    let day = Duration::from_secs(24 * 3600);
    let kept = |kind, longest_life| Revocation::new(kind, Key::of("x"), now(), longest_life).forget_at;
    for kind in [MarkKind::Jti, MarkKind::Txn, MarkKind::Task] {
        assert_eq!(kept(kind, Duration::from_secs(600)), now().plus(14 * day), "{kind:?}");
        assert_eq!(kept(kind, 30 * day), now().plus(37 * day), "{kind:?}");
    }
    // Whatever another issuer gave out may live for ever, and so may what came of it.
    for kind in [
        MarkKind::Outside,
        MarkKind::Subject,
        MarkKind::Client,
        MarkKind::Issuer,
        MarkKind::Restore,
    ] {
        assert!(kept(kind, Duration::from_secs(600)) > now().plus(36_500 * day), "{kind:?}");
    }
}

#[test]
fn of_two_times_to_forget_the_later_counts_whichever_came_first() {
    let subject = alice();
    let times = [3_600, 36_000];
    for [first, second] in [[0, 1], [1, 0]] {
        let revoked = Arc::new(Revoked::default());
        for at in [first, second] {
            let mut each = revocation(MarkKind::Jti, Key::of("j"));
            each.forget_at = now().plus(Duration::from_secs(times[at]));
            revoked.add(&each);
        }
        forget(&revoked, now().plus(Duration::from_secs(18_000)));
        let chain = ["j".to_owned()];
        let view = View::new([], []).beside(revoked);
        assert_eq!(view.kills(&line(&chain, &subject, now())), Some(MarkKind::Jti));
    }
}

#[test]
fn what_is_added_is_seen_by_a_view_that_was_there_before() {
    let revoked = Arc::new(Revoked::default());
    let view = View::new([], []).beside(Arc::clone(&revoked));
    let (subject, chain) = (alice(), ["j".to_owned()]);
    let line = line(&chain, &subject, now());
    assert_eq!(view.kills(&line), None);
    revoked.add(&revocation(MarkKind::Jti, Key::of("j")));
    assert_eq!(view.kills(&line), Some(MarkKind::Jti));
}

#[test]
fn what_is_kept_for_good_is_never_forgotten() {
    let subject = alice();
    let revoked = Arc::new(Revoked::default());
    // So many that every part has sorted some of its own.
    let names: Vec<_> = (0..40_000).map(|number| format!("j-{number}")).collect();
    for name in &names {
        let key = Key::of_pair(CORP, name);
        revoked.add(&Revocation::new(MarkKind::Outside, key, now(), Duration::from_secs(600)));
    }
    forget(&revoked, now().plus(Duration::from_secs(100 * 366 * 86_400)));
    let view = View::new([], []).beside(revoked);
    for name in &names {
        let chain = [chain_entry(CORP, Some(name), "")];
        assert_eq!(view.kills(&line(&chain, &subject, now())), Some(MarkKind::Outside));
    }
}

/// INT-019: nothing is left out, however much is added.
#[test]
fn the_set_holds_what_a_plain_set_would_and_forgets_only_what_is_past() {
    let subject = alice();
    let revoked = Arc::new(Revoked::default());
    let view = View::new([], []).beside(Arc::clone(&revoked));
    let is_dead = |id: &str| {
        let chain = [id.to_owned()];
        view.kills(&line(&chain, &subject, now())).is_some()
    };
    let half_hours = |count: u64| Duration::from_secs(1800 * count);
    let mut model = BTreeSet::new();
    let count = 81_000;
    for number in 0..count {
        let id = format!("id-{}", number % 71_000);
        let mut each = revocation(MarkKind::Jti, Key::of(&id));
        each.forget_at = now().plus(half_hours(number % 7 + 1));
        revoked.add(&each);
        model.insert(id);
    }
    assert_eq!(revoked.len(), model.len());
    assert!(model.iter().all(|id| is_dead(id)));
    assert!((0..10_000).all(|number| !is_dead(&format!("other-{number}"))));
    // Of an id that came twice the later time counts.
    forget(&revoked, now().plus(half_hours(4)));
    assert!(revoked.len() < model.len());
    for number in 0..71_000u64 {
        let last = if number < 10_000 {
            (number % 7).max((number + 71_000) % 7)
        } else {
            number % 7
        };
        let kept = last + 1 >= 4;
        assert!(is_dead(&format!("id-{number}")) || !kept, "id-{number} is forgotten too early");
        assert!(!is_dead(&format!("id-{number}")) || last + 2 > 4, "id-{number} is kept too long");
    }
}

#[test]
fn whoever_is_disabled_ends_what_names_them_until_enabled() {
    let subject = alice();
    let actor = |sub: &str| Actor {
        iss: "https://narrows.example".to_owned(),
        sub: sub.to_owned(),
    };
    let act = ActorChain::extend(Some(&ActorChain::extend(None, actor("edge"))), actor("orders"));
    let line = Line {
        client: Some("billing"),
        act: Some(&act),
        ..line(&[], &subject, now())
    };
    let (by_subject, by_client) = (PartyKind::Subject, PartyKind::Client);
    let rows = [
        (by_subject, Key::of_pair(CORP, "alice"), Some(by_subject)),
        (by_client, Key::of("billing"), Some(by_client)),
        (by_client, Key::of("orders"), Some(by_client)),
        (by_client, Key::of("edge"), Some(by_client)),
        (by_client, Key::of_pair(CORP, "alice"), None),
        (by_subject, Key::of("edge"), None),
        (by_subject, Key::of_pair("https://narrows.example", "alice"), None),
        (by_client, Key::of("alice"), None),
    ];
    let mut all = Disabled::nobody();
    for (kind, key, expected) in rows {
        let mut disabled = Disabled::nobody();
        disabled.set((kind, key), true);
        all.set((kind, key), true);
        let view = |disabled: &Disabled| View::default().with_disabled(Arc::new(disabled.clone()));
        assert_eq!(view(&disabled).disables(&line), expected, "{kind:?}");
        assert_eq!(view(&disabled).kills(&line), None, "nothing is revoked by it");
        disabled.set((kind, key), false);
        assert!(disabled.is_empty() && view(&disabled).disables(&line).is_none());
    }
    let all = View::default().with_disabled(Arc::new(all));
    assert_eq!(all.disables(&line), Some(by_subject), "whom nobody may act for is the reason");
}

/// A subject is disabled by the name that the configuration has for its issuer, and tokens name the issuer itself.
#[test]
fn who_is_disabled_has_the_key_of_the_issuer_that_is_meant_today() {
    let named = |issuer: &str, sub: &str| (issuer.to_owned(), sub.to_owned());
    let subjects = [named("corp", "alice"), named("gone", "alice"), named("narrows", "edge")];
    let view = View::new([ClientId::parse("edge").unwrap()], subjects);
    let snapshot = testkit::snapshot();
    let keys = view.keys_of_disabled(|name| snapshot.issuer_of_subjects(name));
    let expected = [
        (PartyKind::Subject, Key::of_pair(CORP, "alice")),
        (PartyKind::Subject, Key::of_pair(&snapshot.issuer, "edge")),
        (PartyKind::Client, Key::of("edge")),
    ];
    assert_eq!(keys, expected.into_iter().collect());
    assert_eq!(**view.disabled(), expected.into_iter().skip(2).collect(), "clients need no issuer");
}

#[test]
fn what_changed_of_who_is_disabled_leads_from_one_to_the_other() {
    let some = |names: &[&str]| -> Disabled { names.iter().map(|name| (PartyKind::Client, Key::of(name))).collect() };
    for (before, after, changes) in [
        (&[][..], &["a", "b"][..], 2),
        (&["a", "b"], &["b", "c"], 2),
        (&["a", "b"], &[], 2),
        (&["a"], &["a"], 0),
    ] {
        let (mut reached, after) = (some(before), some(after));
        let before = reached.clone();
        assert_eq!(after.since(&before).count(), changes);
        after.since(&before).for_each(|(party, is_disabled)| reached.set(party, is_disabled));
        assert_eq!(reached, after);
    }
}
