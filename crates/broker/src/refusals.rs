//! Refusals of strangers, counted together: a flood of them must not be a flood of records.

mod flush;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use issuance::audit::{Entry, Kind, Record, RequestLine, Use};

use source::Source;

/// No more sources are told apart in one second than this; what comes from others is counted in one record for all.
const MOST_SOURCES: usize = 50;
/// No more counts than this wait for a store that cannot be written; what does not fit is added to one count for all.
const MOST_KEPT: usize = 1000;
/// So many that may be said again are counted at a time; whoever says more is to say them later.
const MOST_TOLD: usize = 64 * 1024;

/// The reason in a record that stands for refusals of several reasons.
const SEVERAL: &str = "several";

/// The refusals of the running second.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    running: Mutex<Second>,
}

#[derive(Debug, Default)]
struct Second {
    second: i64,
    /// Those that came after the first of their source; none yet where nothing stands.
    counted: BTreeMap<Source, Option<Entry>>,
    ended: Vec<Entry>,
    /// Issuer and id of what is used by those that are counted and not on record yet: said again, they are not counted again.
    told: BTreeSet<(String, String)>,
}

/// What becomes of a refusal that is counted.
#[derive(Debug)]
pub(crate) enum Counted {
    /// It is the first of its source in this second: this is to be written now.
    First(Box<Entry>),
    /// It is in the record of this id, with others, which is written when the second is over.
    Behind(String),
    /// It was counted before.
    Before,
}

impl Refusals {
    /// Counts a refusal, which is told apart from all others by what it uses, if anything.
    ///
    /// The first of its source in a second is to be written at once; those that follow in that second share a second
    /// record, under the id of the first of them, written when the second is over.
    pub(crate) fn count(&self, record: Record, told: Option<Use>) -> Counted {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref().is_some_and(|told| running.told.contains(&name(told))) {
            return Counted::Before;
        }
        let second = record.time.seconds();
        if running.second != second {
            running.end();
            running.second = second;
        }
        let source = Source::of(&record);
        let source = if running.counted.len() < MOST_SOURCES || running.counted.contains_key(&source) {
            source
        } else {
            Source::Others
        };
        let Some(behind) = running.counted.get_mut(&source) else {
            running.counted.insert(source, None);
            return Counted::First(Box::new(Entry {
                uses: told.into_iter().collect(),
                ..Entry::of(record)
            }));
        };
        let behind = match behind {
            Some(behind) => {
                behind.record.count = Some(behind.record.count.unwrap_or_default() + 1);
                add_request(&mut behind.record, record.request, &source);
                behind
            }
            none => {
                // It stands for many: of what differs between them nothing is said.
                let mut first = if source == Source::Others { for_all(&record) } else { record };
                first.count = Some(1);
                none.insert(Entry::of(first))
            }
        };
        let id = behind.record.id.clone();
        if let Some(told) = told {
            let name = name(&told);
            behind.uses.push(told);
            running.told.insert(name);
        }
        Counted::Behind(id)
    }

    /// Whether `told` is counted, and not on record yet.
    pub(crate) fn has(&self, issuer: &str, id: &str) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.told.contains(&(issuer.to_owned(), id.to_owned()))
    }

    /// Whether more may be counted by what they use.
    pub(crate) fn has_room(&self) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).told.len() < MOST_TOLD
    }

    /// Takes back the first of a source, which could not be written, for the next time.
    pub(crate) fn put_back_first(&self, first: Entry) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Said again meanwhile, it is counted.
        if first.uses.iter().all(|told| !running.told.contains(&name(told))) {
            running.told.extend(first.uses.iter().map(name));
            running.keep(first);
        }
    }

    /// What is to be written: all of it but what is counted in the second `now`, which goes on.
    fn take(&self, now: Option<i64>) -> Vec<Entry> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if now != Some(running.second) {
            running.end();
        }
        std::mem::take(&mut running.ended)
    }

    /// Takes back what could not be written, for the next time.
    ///
    /// However long that takes, it is bounded, and no count is lost: past the bound they are added up.
    fn put_back(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            running.keep(entry);
        }
    }

    /// Forgets what is on record: the store knows it now.
    fn forget(&self, written: &[Use]) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for told in written {
            running.told.remove(&name(told));
        }
    }
}

fn name(told: &Use) -> (String, String) {
    (told.issuer.clone(), told.id.clone())
}

/// A record names a request only if all that it stands for were that, or, of what was only observed, the shape that all of them have.
fn add_request(record: &mut Record, request: Option<RequestLine>, source: &Source) {
    if record.request != request {
        let shaped = request.filter(|_| source.is_of_one_shape());
        record.request = shaped.map(|request| RequestLine {
            path: narrows_guard::shape::shape(&request.path),
            ..request
        });
    }
}

/// The record of many refusals that differ: like the one of `record`, of which nothing is said in which it may differ.
fn for_all(record: &Record) -> Record {
    let mut all = Record::new(record.id.clone(), record.time, Kind::ClientAuth);
    all.reason = SEVERAL.to_owned();
    all.policy_version.clone_from(&record.policy_version);
    all.config_version.clone_from(&record.config_version);
    all.count = record.count;
    all.effect = record.effect;
    all
}

impl Second {
    fn end(&mut self) {
        let counted = std::mem::take(&mut self.counted);
        self.ended.extend(counted.into_values().flatten());
    }

    fn keep(&mut self, entry: Entry) {
        if self.ended.len() < MOST_KEPT {
            self.ended.push(entry);
        } else if let Some(others) = self.ended.last_mut() {
            if others.record.reason != SEVERAL {
                others.record = for_all(&others.record);
            }
            others.record.count = Some(others.record.count.unwrap_or(1) + entry.record.count.unwrap_or(1));
            others.uses.extend(entry.uses);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use delegation::time::Timestamp;
    use issuance::audit::{Effect, Kind, Record, RequestLine, Use, UseKind};

    use super::{Counted, MOST_KEPT, MOST_SOURCES, Refusals};

    impl Refusals {
        /// Whether it is the first of its source.
        fn is_first(&self, record: Record) -> bool {
            matches!(self.count(record, None), Counted::First(_))
        }

        fn taken(&self) -> Vec<Record> {
            self.take(None).into_iter().map(|entry| entry.record).collect()
        }
    }

    fn refusal(second: i64, address: &str) -> Record {
        let mut record = Record::new(crate::ids::decision(), Timestamp::from_seconds(second), Kind::ClientAuth);
        record.reason = "client_authentication_failed".to_owned();
        record.client_ip = address.parse().ok();
        record
    }

    #[test]
    fn sums_equal_the_refusals_seen_from_outside() {
        let refusals = Refusals::default();
        let mut written = 0;
        for second in 0..3 {
            for host in 0..200 {
                for _ in 0..4 {
                    written += u64::from(refusals.is_first(refusal(second, &format!("10.{host}.0.1"))));
                }
            }
        }
        let counted: u64 = refusals.taken().into_iter().map(|record| record.count.unwrap_or(1)).sum();
        assert_eq!(written + counted, 3 * 200 * 4);
        assert!(written <= 3 * 51, "{written} records for three seconds");
    }

    #[test]
    fn counts_that_are_put_back_are_bounded_and_none_is_lost() {
        let refusals = Refusals::default();
        let mut seen = 0;
        for second in 0..200 {
            for host in 0..60 {
                for _ in 0..3 {
                    seen += u64::from(!refusals.is_first(refusal(second, &format!("10.{host}.0.1"))));
                }
            }
            let taken = refusals.take(None);
            assert!(taken.len() <= MOST_KEPT + MOST_SOURCES + 1, "{} records", taken.len());
            refusals.put_back(taken);
        }
        let taken = refusals.taken();
        assert_eq!(taken.iter().filter_map(|record| record.count).sum::<u64>(), seen);
        assert!(taken.len() <= MOST_KEPT, "{} records", taken.len());
        assert!(refusals.take(None).is_empty());
    }

    #[test]
    fn a_record_names_a_request_only_if_all_that_it_stands_for_were_that() {
        let named = |paths: [&str; 3]| {
            let refusals = Refusals::default();
            for path in paths {
                let mut record = refusal(1, "192.0.2.1");
                let [method, host, path] = ["GET", "tickets.internal", path].map(str::to_owned);
                record.request = Some(RequestLine { method, host, path });
                refusals.is_first(record);
            }
            let record = refusals.taken().pop().unwrap();
            (record.count, record.request.map(|request| request.path))
        };
        assert_eq!(named(["/first", "/a", "/a"]), (Some(2), Some("/a".to_owned())));
        assert_eq!(named(["/first", "/a", "/b"]), (Some(2), None));
        assert_eq!(named(["/a", "/b", "/a"]), (Some(2), None));
    }

    #[test]
    fn each_door_counts_for_itself() {
        let refusals = Refusals::default();
        let at = |door: &str| {
            let mut record = refusal(1, "192.0.2.1");
            record.inputs = serde_json::json!({ "asked": door });
            refusals.is_first(record)
        };
        assert!(at("POST /oauth2/token"));
        assert!(at("POST /oauth2/revoke"));
        assert!(!at("POST /oauth2/token"));
        assert_eq!(refusals.taken().first().unwrap().inputs.get("asked").unwrap(), "POST /oauth2/token");
    }

    #[test]
    fn what_was_only_observed_is_told_apart_by_its_shape() {
        let refusals = Refusals::default();
        let count = |path: &str, effect: Option<Effect>| {
            let mut record = refusal(1, "192.0.2.1");
            record.effect = effect;
            record.request = Some(RequestLine {
                method: "GET".to_owned(),
                host: "shop.example".to_owned(),
                path: path.to_owned(),
            });
            refusals.is_first(record)
        };
        assert!(count("/orders/7", Some(Effect::Observed)));
        assert!(!count("/orders/8", Some(Effect::Observed)), "the same shape");
        assert!(!count("/orders/9", Some(Effect::Observed)));
        assert!(count("/invoices/8", Some(Effect::Observed)), "another");
        assert!(count("/orders/7", None));
        assert!(!count("/invoices/8", None), "of what is refused the line does not count");
        let of_orders = |record: &Record| record.request.as_ref().is_some_and(|request| request.path == "/orders/{id}");
        assert!(
            refusals.taken().iter().any(of_orders),
            "it names what all that it stands for have in common"
        );
    }

    #[test]
    fn neighbours_share_a_record_and_strangers_do_not() {
        let refusals = Refusals::default();
        assert!(refusals.is_first(refusal(1, "192.0.2.1")));
        assert!(!refusals.is_first(refusal(1, "192.0.2.77")));
        assert!(refusals.is_first(refusal(1, "198.51.100.1")));
        assert!(refusals.is_first(refusal(1, "2001:db8:0:1200::1")));
        assert!(!refusals.is_first(refusal(1, "2001:db8:0:12ff::1")));
        assert!(refusals.is_first(refusal(2, "192.0.2.1")), "a new second");
    }

    #[test]
    fn a_second_that_goes_on_is_not_written_and_one_that_is_over_is() {
        let refusals = Refusals::default();
        let counts = |now: i64| -> Vec<_> { refusals.take(Some(now)).into_iter().map(|entry| entry.record.count).collect() };
        assert!(refusals.is_first(refusal(7, "192.0.2.1")));
        for _ in 0..3 {
            assert!(!refusals.is_first(refusal(7, "192.0.2.1")));
            assert!(counts(7).is_empty());
        }
        assert_eq!(counts(8), [Some(3)]);
        assert!(counts(8).is_empty());
        // A clock that was set back.
        assert!(refusals.is_first(refusal(9, "192.0.2.1")));
        assert!(!refusals.is_first(refusal(9, "192.0.2.1")));
        assert_eq!(counts(4), [Some(1)]);
    }

    /// A guard says a refusal until it hears that it is taken.
    #[test]
    fn what_is_said_again_before_it_is_written_is_counted_once() {
        let refusals = Refusals::default();
        let told = |id: &str| {
            let told = Use {
                kind: UseKind::GuardRefusal,
                issuer: "guard".to_owned(),
                id: id.to_owned(),
                forget_at: Timestamp::from_seconds(100),
            };
            refusals.count(refusal(1, "192.0.2.1"), Some(told))
        };
        let first = match told("a") {
            Counted::First(first) => Some(first),
            Counted::Behind(_) | Counted::Before => None,
        };
        assert!(matches!(
            (told("b"), told("b"), told("c")),
            (Counted::Behind(_), Counted::Before, Counted::Behind(_))
        ));
        refusals.put_back_first(*first.unwrap());
        assert!(matches!(told("a"), Counted::Before), "it waits");
        let mut taken = refusals.take(None);
        assert!(matches!(told("c"), Counted::Before), "it is on its way");
        refusals.put_back(taken.clone());
        taken = refusals.take(None);
        let counts: Vec<_> = taken.iter().map(|entry| (entry.record.count, entry.uses.len())).collect();
        assert_eq!(counts, [(None, 1), (Some(2), 2)]);
        for entry in taken {
            refusals.forget(&entry.uses);
        }
        assert!(!refusals.has("guard", "b"), "the store knows it now");
    }
}
