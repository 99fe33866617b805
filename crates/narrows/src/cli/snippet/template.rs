//! Templates of lines: `<<name>>` is a value, and `<<each name>>` to `<<end>>` comes once for each of several.

use std::collections::BTreeMap;
use std::fmt::Display;

/// What the names in a template stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    lines: BTreeMap<&'static str, Vec<String>>,
    parts: BTreeMap<&'static str, Vec<Self>>,
}

impl Values {
    /// One value.
    pub(super) fn set(&mut self, name: &'static str, value: impl Display) {
        self.set_each(name, [value]);
    }

    /// Several values, each of which makes a line of its own; no value, no line.
    pub(super) fn set_each(&mut self, name: &'static str, values: impl IntoIterator<Item = impl Display>) {
        self.lines.insert(name, values.into_iter().map(|value| value.to_string()).collect());
    }

    /// What a part stands for, each time that it comes.
    pub(super) fn repeat(&mut self, name: &'static str, parts: Vec<Self>) {
        self.parts.insert(name, parts);
    }

    /// These, and of `outer` what is not among them.
    fn within(&self, outer: &Self) -> Self {
        let mut all = outer.clone();
        all.lines.extend(self.lines.clone());
        all.parts.extend(self.parts.clone());
        all
    }
}

/// `template` with `values` in it.
pub(super) fn fill(template: &str, values: &Values) -> String {
    let mut filled = String::new();
    let mut lines = template.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.trim().strip_prefix("<<each ").and_then(|rest| rest.strip_suffix(">>")) else {
            put(&mut filled, line, values);
            continue;
        };
        let mut part = String::new();
        let mut open = 1;
        for line in lines.by_ref() {
            match line.trim() {
                "<<end>>" => open -= 1,
                other if other.starts_with("<<each ") => open += 1,
                _ => {}
            }
            if open == 0 {
                break;
            }
            part = part + line + "\n";
        }
        for each in values.parts.get(name).into_iter().flatten() {
            filled += &fill(&part, &each.within(values));
        }
    }
    filled
}

/// One line, as often as its first list of values says.
fn put(filled: &mut String, line: &str, values: &Values) {
    let name = line.split_once("<<").and_then(|(_, rest)| rest.split_once(">>")).map(|(name, _)| name);
    match name.and_then(|name| Some((name, values.lines.get(name)?))) {
        None => *filled += &format!("{line}\n"),
        Some((name, each)) => {
            for value in each {
                put(filled, &line.replace(&format!("<<{name}>>"), value), values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Values, fill};

    #[test]
    fn lines_come_as_often_as_their_values() {
        let mut inner = Values::default();
        inner.set("name", "b");
        let mut values = Values::default();
        values.set("name", "a");
        values.set_each("list", ["1", "2"]);
        values.set_each("none", [""; 0]);
        values.repeat("part", vec![inner, Values::default()]);
        let template = "<<name>>\n- <<list>> <<name>>\nno <<none>>\n<<each part>>\n  <<name>>\n<<end>>\nlast\n";
        assert_eq!(fill(template, &values), "a\n- 1 a\n- 2 a\n  b\n  a\nlast\n");
    }
}
