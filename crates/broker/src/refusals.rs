//! Refusals of strangers, counted together: a flood of them must not be a flood of records.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use issuance::audit::{Kind, Record, RequestLine};
use serde_json::Value;

use crate::ids;

/// No more sources are told apart in one second than this; what comes from others is counted in one record for all.
const MOST_SOURCES: usize = 50;
/// No more counts than this wait for a store that cannot be written; what does not fit is added to one count for all.
const MOST_KEPT: usize = 1000;

/// The reason in a record that stands for refusals of several reasons.
const SEVERAL: &str = "several";

/// What makes two refusals the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    One {
        kind: &'static str,
        reason: String,
        /// The method and path that was asked, or the boundary.
        door: Option<String>,
        network: Option<String>,
        /// The client, if it authenticated and asked too often.
        client: Option<String>,
        /// Of a request that was only observed, what is like it: whoever mends the configuration needs to see each.
        like: Option<(String, String, String)>,
    },
    /// All that came when enough were told apart.
    Others,
}

/// The refusals of the running second.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    running: Mutex<Second>,
}

#[derive(Debug, Default)]
struct Second {
    second: i64,
    counted: BTreeMap<Source, Counted>,
    ended: Vec<Record>,
}

#[derive(Debug)]
struct Counted {
    /// The record of those that came after the first; none yet if its count is 0.
    record: Record,
    count: u64,
}

impl Refusals {
    /// Counts a refusal. Gives the id of the record that it is in, and that record if it must be written now.
    ///
    /// The first of its source in a second is written at once; those that follow in that second share a second
    /// record, written when the second is over.
    pub(crate) fn count(&self, record: Record) -> (String, Option<Record>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let second = record.time.seconds();
        if running.second != second {
            running.end();
            running.second = second;
        }
        let source = Source::One {
            kind: record.kind.as_str(),
            reason: record.reason.clone(),
            door: record.inputs.get("asked").and_then(Value::as_str).map(str::to_owned),
            network: record.client_ip.map(network),
            client: record.client.as_ref().map(ToString::to_string),
            like: record.request.as_ref().filter(|_| record.effect.is_some()).map(|request| {
                let path = narrows_guard::shape::shape(&request.path);
                (request.method.clone(), request.host.clone(), path)
            }),
        };
        let source = if running.counted.len() < MOST_SOURCES || running.counted.contains_key(&source) {
            source
        } else {
            Source::Others
        };
        if let Some(counted) = running.counted.get_mut(&source) {
            // The first of its source has a record of its own; this one is of those behind it.
            if counted.count == 0 {
                counted.record.request = record.request;
            } else if counted.record.request != record.request {
                // Of what was only observed all have one shape, and the record names that.
                let shaped = record.request.filter(|_| matches!(source, Source::One { like: Some(_), .. }));
                counted.record.request = shaped.map(|request| RequestLine {
                    path: narrows_guard::shape::shape(&request.path),
                    ..request
                });
            }
            counted.count += 1;
            return (counted.record.id.clone(), None);
        }
        let mut following = record.clone();
        following.id = ids::decision();
        if source == Source::Others {
            // It stands for many: of what differs between them nothing is said.
            following = for_all(&following);
        }
        running.counted.insert(
            source,
            Counted {
                record: following,
                count: 0,
            },
        );
        (record.id.clone(), Some(record))
    }

    /// The records of every second that is over or ends now.
    pub(crate) fn take(&self) -> Vec<Record> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.end();
        std::mem::take(&mut running.ended)
    }

    /// Takes back what could not be written, for the next time.
    ///
    /// However long that takes, it is bounded, and no count is lost: past the bound they are added up.
    pub(crate) fn put_back(&self, records: impl IntoIterator<Item = Record>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            if running.ended.len() < MOST_KEPT {
                running.ended.push(record);
            } else if let Some(others) = running.ended.last_mut() {
                if others.reason != SEVERAL {
                    *others = for_all(others);
                }
                others.count = Some(others.count.unwrap_or(1) + record.count.unwrap_or(1));
            }
        }
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
        let records = counted.into_values().filter(|counted| counted.count > 0).map(|counted| {
            let mut record = counted.record;
            record.count = Some(counted.count);
            record
        });
        self.ended.extend(records);
    }
}

/// The network that an address belongs to: /24, or /56 of IPv6.
pub(crate) fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{:x}::/56", d & 0xff00)
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use delegation::time::Timestamp;
    use issuance::audit::{Effect, Kind, Record, RequestLine};

    use super::{MOST_KEPT, MOST_SOURCES, Refusals};

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
                    let (_, first) = refusals.count(refusal(second, &format!("10.{host}.0.1")));
                    written += u64::from(first.is_some());
                }
            }
        }
        let counted: u64 = refusals.take().into_iter().map(|record| record.count.unwrap_or(1)).sum();
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
                    seen += u64::from(refusals.count(refusal(second, &format!("10.{host}.0.1"))).1.is_none());
                }
            }
            let taken = refusals.take();
            assert!(taken.len() <= MOST_KEPT + MOST_SOURCES + 1, "{} records", taken.len());
            refusals.put_back(taken);
        }
        let taken = refusals.take();
        assert_eq!(taken.iter().filter_map(|record| record.count).sum::<u64>(), seen);
        assert!(taken.len() <= MOST_KEPT, "{} records", taken.len());
        assert!(refusals.take().is_empty());
    }

    #[test]
    fn a_record_names_a_request_only_if_all_that_it_stands_for_were_that() {
        let named = |paths: [&str; 3]| {
            let refusals = Refusals::default();
            for path in paths {
                let mut record = refusal(1, "192.0.2.1");
                let [method, host, path] = ["GET", "tickets.internal", path].map(str::to_owned);
                record.request = Some(RequestLine { method, host, path });
                refusals.count(record);
            }
            let record = refusals.take().pop().unwrap();
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
            refusals.count(record).1
        };
        assert!(at("POST /oauth2/token").is_some());
        assert!(at("POST /oauth2/revoke").is_some());
        assert!(at("POST /oauth2/token").is_none());
        assert_eq!(refusals.take().first().unwrap().inputs.get("asked").unwrap(), "POST /oauth2/token");
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
            refusals.count(record).1
        };
        assert!(count("/orders/7", Some(Effect::Observed)).is_some());
        assert!(count("/orders/8", Some(Effect::Observed)).is_none(), "the same shape");
        assert!(count("/orders/9", Some(Effect::Observed)).is_none());
        assert!(count("/invoices/8", Some(Effect::Observed)).is_some(), "another");
        assert!(count("/orders/7", None).is_some());
        assert!(count("/invoices/8", None).is_none(), "of what is refused the line does not count");
        let of_orders = |record: &Record| record.request.as_ref().is_some_and(|request| request.path == "/orders/{id}");
        assert!(
            refusals.take().iter().any(of_orders),
            "it names what all that it stands for have in common"
        );
    }

    #[test]
    fn neighbours_share_a_record_and_strangers_do_not() {
        let refusals = Refusals::default();
        assert!(refusals.count(refusal(1, "192.0.2.1")).1.is_some());
        assert!(refusals.count(refusal(1, "192.0.2.77")).1.is_none());
        assert!(refusals.count(refusal(1, "198.51.100.1")).1.is_some());
        assert!(refusals.count(refusal(1, "2001:db8:0:1200::1")).1.is_some());
        assert!(refusals.count(refusal(1, "2001:db8:0:12ff::1")).1.is_none());
        assert!(refusals.count(refusal(2, "192.0.2.1")).1.is_some(), "a new second");
    }
}
