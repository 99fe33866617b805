//! The delegation graph for Graphviz.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::super::visible;
use super::{at, list, number, refusals, text, whoever};

/// The statements of a graph; each node is declared once, before it is first used.
#[derive(Debug, Default)]
struct Drawing {
    lines: Vec<String>,
    declared: BTreeSet<String>,
}

impl Drawing {
    /// The name of a node: one and the same `name` may be that of an audience and a client.
    fn node(&mut self, kind: &str, name: &str, label: &str, look: &str) -> String {
        let node = quoted(&format!("{kind} {name}"));
        if self.declared.insert(node.clone()) {
            self.lines.push(format!("{node} [label={}, {look}];", quoted(label)));
        }
        node
    }

    fn client(&mut self, name: Option<&str>) -> String {
        match name {
            Some(name) => self.node("client", name, name, "shape=box"),
            None => self.node("nobody", "", "somebody unknown", "shape=box, style=dashed"),
        }
    }

    fn audience(&mut self, id: Option<&str>) -> String {
        match id {
            Some(id) => self.node("audience", id, id, "shape=ellipse"),
            None => self.node("nowhere", "", "no audience", "shape=ellipse, style=dashed"),
        }
    }

    fn arrow(&mut self, from: &str, to: &str, look: &str) {
        let look = if look.is_empty() { String::new() } else { format!(" [{look}]") };
        self.lines.push(format!("{from} -> {to}{look};"));
    }
}

/// The graph as a text of Graphviz.
pub(super) fn drawn(graph: &Value) -> String {
    let graph = &visible::all(graph);
    let mut drawing = Drawing::default();
    let nodes = |kind: &str| graph.pointer(&format!("/nodes/{kind}")).and_then(Value::as_array).into_iter().flatten();
    for issuer in nodes("issuers") {
        let name = issuer.get("name").and_then(Value::as_str).unwrap_or_else(|| text(issuer, "issuer"));
        let label = format!("{name}\n{}", text(issuer, "subjects"));
        drawing.node("issuer", text(issuer, "issuer"), &label, "shape=house");
    }
    for client in nodes("clients") {
        drawing.client(client.as_str());
    }
    for audience in nodes("audiences") {
        let id = drawing.audience(audience.get("id").and_then(Value::as_str));
        for receiver in list(audience, "receivers") {
            let receiver = drawing.client(receiver.as_str());
            drawing.arrow(&id, &receiver, "style=dotted, label=\"received by\"");
        }
    }
    let mut came = BTreeSet::new();
    for edge in list(graph, "edges") {
        let client = drawing.client(edge.get("client").and_then(Value::as_str));
        let before = match (edge.get("from").and_then(Value::as_str), edge.get("issuer").and_then(Value::as_str)) {
            (Some(from), _) => Some(drawing.client(Some(from))),
            (None, Some(issuer)) => Some(drawing.node("issuer", issuer, issuer, "shape=house")),
            (None, None) => None,
        };
        if let Some(before) = before.filter(|before| came.insert((before.clone(), client.clone()))) {
            drawing.arrow(&before, &client, "");
        }
        let audience = drawing.audience(edge.get("audience").and_then(Value::as_str));
        let label = format!("{}\n{} allowed\n{}", at(edge), number(edge, "allowed"), refusals(edge));
        let colour = if number(edge, "allowed") > 0 { "" } else { ", color=red" };
        drawing.arrow(&client, &audience, &format!("label={}{colour}", quoted(label.trim_end())));
    }
    for hop in list(graph, "forwarded") {
        forwarded(&mut drawing, hop);
    }
    let head = "digraph narrows {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n";
    let lines = drawing.lines.join("\n  ");
    format!("{head}  {lines}\n}}\n")
}

/// One hop that forwarded a token without exchanging it, from everybody that it could have been.
fn forwarded(drawing: &mut Drawing, hop: &Value) {
    let to = drawing.client(hop.get("client").and_then(Value::as_str));
    let mut from: Vec<_> = list(hop, "from").filter_map(Value::as_str).map(|from| drawing.client(Some(from))).collect();
    if from.is_empty() {
        let whoever = whoever(hop);
        from.push(drawing.node("whoever", &whoever, &whoever, "shape=box, style=dashed"));
    }
    let made = hop.get("made_at").and_then(Value::as_str).map_or_else(String::new, |made| format!("of {made}, "));
    let (how, at, count) = (text(hop, "how"), at(hop), number(hop, "count"));
    let label = quoted(&format!("unexchanged, {how}\n{made}shown at {at}\n{count} ×"));
    for from in from {
        drawing.arrow(&from, &to, &format!("label={label}, color=red, penwidth=2"));
    }
}

/// A quoted string of Graphviz; whatever else is in it, it ends where it should.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for each in text.chars() {
        match each {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            each if each.is_control() => quoted.push('\u{fffd}'),
            each => quoted.push(each),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::{drawn, quoted};

    #[test]
    fn whatever_a_name_holds_it_ends_where_it_should() {
        assert_eq!(quoted("a\" -> \"b\\"), r#""a\" -> \"b\\""#);
        assert_eq!(quoted("a\nb\u{7}"), "\"a\\nb\u{fffd}\"");
    }

    #[test]
    fn every_end_is_declared_once_and_every_hop_is_drawn_with_its_place() {
        let hop = |audience: Option<&str>, boundary: Option<&str>| {
            json!({
                "how": "refused", "token": "own", "issuer": null, "audience": audience, "from": [], "made_at": null,
                "client": "other", "boundary": boundary, "count": 1, "first": 0, "last": 0,
            })
        };
        let orders = Some("https://orders.internal");
        let graph = json!({
            "nodes": { "issuers": [], "clients": ["edge"], "audiences": [], "boundaries": [] },
            "edges": [
                { "issuer": "https://gone.example", "client": "edge", "audience": null, "boundary": "front", "allowed": 0, "refused": { "no_route": 1 } },
                { "issuer": null, "client": null, "audience": null, "boundary": null, "allowed": 0, "refused": { "no_route": 1 } },
            ],
            "forwarded": [hop(orders, Some("front")), hop(orders, None), hop(None, None)],
        });
        let drawn = drawn(&graph);
        for part in [
            "\"whoever whoever is https://orders.internal\" -> \"client other\" [label=\"unexchanged, refused\\nshown at front\\n1 ×\"",
            "\"whoever whoever is https://orders.internal\" -> \"client other\" [label=\"unexchanged, refused\\nshown at the token endpoint\\n1 ×\"",
            "\"whoever somebody unknown\" -> \"client other\"",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        let declared: Vec<_> = drawn
            .lines()
            .filter(|line| line.contains("shape="))
            .filter_map(|line| line.trim().split(" [").next())
            .collect();
        assert_eq!(declared.len(), declared.iter().collect::<BTreeSet<_>>().len(), "{drawn}");
        for line in drawn.lines().filter(|line| line.contains(" -> ")) {
            for end in line.trim().trim_end_matches(';').split(" [").next().unwrap_or_default().split(" -> ") {
                assert!(declared.contains(&end), "{end}: {drawn}");
            }
        }
    }
}
