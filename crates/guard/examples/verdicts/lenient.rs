//! Requests that a less strict reader takes for others: by their path, or for one with another method.

use serde_json::json;

use crate::service::details;
use crate::{Broker, Row};

const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) fn rows(broker: &Broker) -> Vec<Row> {
    [paths(broker), methods(broker)].concat()
}

fn paths(broker: &Broker) -> Vec<Row> {
    let token = broker.token(&json!({ "authorization_details": details(&["ticket:read/7"]) }));
    let targets = [
        "/open/x",
        "/open/x/",
        "/open/admin",
        "/open/admin/",
        "/open/admin/7",
        "/open/ADMIN/7",
        "/open/%41dmin/7",
        "/open/admin/7/",
        "/open/admin/7/8",
        "/open/Admin/7/8",
        "/open/admin/7.json",
        "/open/ADMIN/7.json",
        "/open/adm%c4%b1n/7",
        "/open/admins/7",
        "/open/admin.json/7",
        "/open/list",
        "/open/list/",
        "/open/LIST",
        "/open/list.json",
        "/open/List.tar.gz/",
        "/open/list.",
        "/open/.list",
        "/open/listing",
        "/open/li%c5%bft",
        "/open/l%c4%b0st",
        "/open/l%c3%adst",
        "/open/seen/7",
        "/open/SEEN/7",
        "/OPEN/x",
        "/tickets/NEW",
        "/tickets/new.json",
        "/tickets/new/",
        "/tickets/New.",
        "/Healthz",
        "/healthz.json",
    ];
    let asked = |method: &'static str, target: &str| Row::new(&format!("{method} {target}, leniently"), method, target);
    let mut rows = Vec::new();
    for target in targets {
        rows.push(asked("GET", target));
        rows.push(asked("GET", target).bearer(&token));
        rows.push(asked("HEAD", target));
    }
    rows
}

fn methods(broker: &Broker) -> Vec<Row> {
    let token = broker.token(&json!({ "authorization_details": details(&["ticket:read/7"]) }));
    let search = broker.token(&json!({ "authorization_details": details(&["ticket:search?limit=5"]) }));
    let queries = [
        "_method=DELETE",
        "a=b&_METHOD=PUT",
        "a=b;_method=PUT",
        "%5Fmeth%6fd=PUT",
        "_method",
        ".method=PUT",
        "+_method=PUT",
        "_method[]=PUT",
        "[_method]=PUT",
        "_method%00x=PUT",
        "%c2%a0_method=PUT",
        "X-HTTP-Method-Override=PUT",
        "x_http%2dmethod.override[]=PUT",
        "X-HTTP-Metho%44-OVERRIDE=PUT",
        "x-http-method-overr%c4%b1de=PUT",
        "xx-http-method-override=PUT",
        "x%c3%a9http-method-override=PUT",
        "method=PUT",
        "a=_method",
        "payment_method=card",
        "__method=PUT",
        "%c3%a9method=PUT",
    ];
    let mut rows = Vec::new();
    for query in queries {
        let read = |place: &str, target: &str| Row::new(&format!("{query} in {place}"), "GET", target);
        rows.push(read("a query", &format!("/tickets/7?{query}")).bearer(&token));
        rows.push(read("a query, without a token", &format!("/tickets/7?{query}")));
        rows.push(read("the query of a public route", &format!("/healthz?{query}")));
        rows.push(read("a form", "/tickets/7").sending(FORM, query).bearer(&token));
        rows.push(read("the form of a public route", "/healthz").sending(FORM, query));
    }
    for kind in ["utf-8", "UTF-16", "iso-8859-1", "ibm037"] {
        let kind = format!("{FORM}; charset={kind}");
        rows.push(Row::new(&kind, "GET", "/tickets/7").sending(&kind, "a=b").bearer(&token));
        rows.push(Row::new(&format!("{kind}, and empty"), "GET", "/healthz").sending(&kind, ""));
    }
    for query in ["_method=5", "_method=6", "_method=5&_Method=6", "_method=5&.method=6", "max=5"] {
        rows.push(Row::new(&format!("{query} where that is read"), "GET", &format!("/method?{query}")).bearer(&search));
    }
    rows
}
