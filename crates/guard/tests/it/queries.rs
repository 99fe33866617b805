//! A query that is read is read whole.

use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Demand, Rest, Route, Rule, Table};
use testkit::snapshot;

use crate::service::{asked, demand, needed, service, table};

const KEY: &str = "GET /tickets";
const DETAIL: &str = "ticket:search?limit={query.limit}";

fn with(change: impl FnOnce(&mut Demand)) -> Table {
    let mut demand = demand(KEY, DETAIL);
    change(&mut demand);
    let route = Route::new(KEY.to_owned(), Pattern::parse(KEY).unwrap(), Rule::Needs(Box::new(demand)));
    Table::build(vec![service("tickets", &["tickets.internal"], vec![route])], snapshot().types).unwrap()
}

fn answer(table: &Table, query: &str) -> Result<String, &'static str> {
    needed(table, &asked("GET", &format!("/tickets?{query}")))
}

#[test]
fn a_name_that_the_route_does_not_name_is_unread() {
    let table = table(&[(KEY, DETAIL)]);
    assert_eq!(answer(&table, "limit=5").as_deref(), Ok("ticket:search?limit=5"));
    assert_eq!(answer(&table, "l%69mit=%35").as_deref(), Ok("ticket:search?limit=5"));
    for query in ["limit=5&sort=x", "sort=x&limit=5", "limit=5&", "limit=5&limit[]=9", "limit=5&%00"] {
        assert!(answer(&table, query).is_err(), "{query}");
    }
    assert_eq!(answer(&table, "limit=5&sort=x"), Err("unread_input"));
}

#[test]
fn names_pass_where_the_route_lets_them() {
    for table in [
        with(|demand| demand.query_rest = Rest::Pass),
        with(|demand| demand.only = vec!["sort".to_owned()]),
    ] {
        assert_eq!(answer(&table, "limit=5&sort=a+b").as_deref(), Ok("ticket:search?limit=5"));
    }
    assert_eq!(
        answer(&with(|demand| demand.only = vec!["sort".to_owned()]), "limit=5&page=2"),
        Err("unread_input")
    );
}

#[test]
fn a_name_that_others_take_for_the_one_that_is_read_never_passes() {
    let table = with(|demand| demand.query_rest = Rest::Pass);
    for query in ["limit=5&LIMIT=9", "limit=5&limit[]=9", "limit=5&limit[0]=9", "limit=5&%20limit=9"] {
        assert_eq!(answer(&table, query), Err("unread_input"), "{query}");
    }
}

#[test]
fn a_name_that_is_read_comes_once() {
    let table = with(|demand| demand.query_rest = Rest::Pass);
    for query in ["limit=5&limit=5", "limit=5&l%69mit=9"] {
        assert_eq!(answer(&table, query), Err("malformed_request"), "{query}");
    }
    assert!(answer(&table, "limit=5&sort=a&sort=b").is_ok());
}

#[test]
fn what_two_readers_could_split_or_decode_in_two_ways_is_malformed() {
    let table = with(|demand| demand.query_rest = Rest::Pass);
    for query in [
        "limit=5;sort=x",
        "sort=x;limit=9&limit=5",
        "limit=%",
        "limit=5&sort=%zz",
        "limit=5&sort=%ff",
        "limit=5%00",
        "limit=+5",
        "limit=5&a+b=1",
    ] {
        assert_eq!(answer(&table, query), Err("malformed_request"), "{query}");
    }
}

#[test]
fn a_value_that_is_missing_empty_or_no_number_makes_no_detail() {
    let table = table(&[(KEY, DETAIL)]);
    for query in [
        "",
        "limit",
        "limit=",
        "limit=05",
        "limit=5.0",
        "limit=1e1",
        "limit=-1",
        "limit=0x5",
        "limit=9007199254740992",
    ] {
        assert_eq!(answer(&table, query), Err("malformed_details"), "{query}");
    }
    assert_eq!(needed(&table, &asked("GET", "/tickets")), Err("malformed_details"));
}

#[test]
fn a_value_that_is_read_neither_begins_nor_ends_with_what_readers_trim() {
    let table = table(&[(KEY, DETAIL), ("GET /find", "ticket:read/{query.id}")]);
    for blank in ["%20", "%C2%A0", "%E2%80%AF", "%E3%80%80", "%EF%BB%BF", "%E2%80%A8"] {
        for query in [format!("limit={blank}5"), format!("limit=5{blank}")] {
            assert_eq!(answer(&table, &query), Err("malformed_request"), "{query}");
        }
        for value in [format!("{blank}42"), format!("42{blank}"), blank.to_owned()] {
            let found = needed(&table, &asked("GET", &format!("/find?id={value}")));
            assert_eq!(found, Err("malformed_request"), "{value}");
        }
    }
    let inside = needed(&table, &asked("GET", "/find?id=4%202"));
    assert_eq!(inside.as_deref(), Ok("ticket:read/4%202"));
    let unread = with(|demand| demand.query_rest = Rest::Pass);
    assert!(answer(&unread, "limit=5&sort=%20a%20").is_ok(), "nothing is decided on it");
}

#[test]
fn a_query_that_is_not_read_goes_on_as_it_is() {
    let table = table(&[(KEY, "ticket:list")]);
    let call = asked("GET", "/tickets?a=1&a=2;b&%zz");
    assert_eq!(needed(&table, &call).as_deref(), Ok("ticket:list"));
    assert_eq!(call.target(), "/tickets?a=1&a=2;b&%zz");
}
