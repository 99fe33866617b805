//! From the bytes of a request to the detail that it needs.

use delegation::identity::Attributes;
use http::HeaderMap;
use narrows_guard::{Body, Call, Intent};

use crate::service::table;

#[test]
fn a_request_says_what_it_needs() {
    let table = table(&[("GET /tickets/{id}", "ticket:read/{id}")]);
    let call = Call::parse(
        "GET",
        b"Tickets.Internal:8430",
        b"/tickets/a%2C7?x=1",
        &HeaderMap::new(),
        Body::Absent,
    )
    .unwrap();
    let Intent::Needs(needs) = table.find(&call).unwrap().intent(&call, &Attributes::default()).unwrap() else {
        panic!("a token is needed");
    };
    let [detail] = needs.details.as_slice() else {
        panic!("one detail is needed");
    };
    assert_eq!(detail.to_string(), "ticket:read/a%2C7");
    assert_eq!((needs.route.as_str(), needs.service.as_str()), ("GET /tickets/{id}", "tickets"));
    assert_eq!(call.target(), "/tickets/a%2C7?x=1");
}
