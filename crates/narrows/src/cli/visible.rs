//! Text that others had a say in, as it may be shown, and pasted.

use serde_json::Value;

/// `text` in one line: without control characters, and without those that are not seen or turn the order of what stands beside them.
pub(crate) fn line(text: &str) -> String {
    text.chars().filter(|each| !each.is_control() && !is_format(*each)).collect()
}

/// The same in at most `most` characters: of a longer text the beginning.
pub(crate) fn short(text: &str, most: usize) -> String {
    let line = line(text);
    match line.char_indices().nth(most) {
        None => line,
        Some(_) => line.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The same of some lines, each of which remains one.
pub(crate) fn lines(text: &str) -> String {
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The same of every text in `value`.
pub(crate) fn all(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(line(text)),
        Value::Array(items) => items.iter().map(all).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (line(name), all(value))).collect(),
        other => other.clone(),
    }
}

/// `text` with an escape, as JSON has it, for each such character but the end of a line and a tabulator: a terminal does nothing but show
/// it, and JSON remains what it was.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for each in text.chars() {
        if matches!(each, '\n' | '\t') || !(each.is_control() || is_format(each)) {
            shown.push(each);
        } else {
            shown.extend(each.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    shown
}

/// The general category Cf of Unicode 17, and the separators of lines and paragraphs.
fn is_format(each: char) -> bool {
    matches!(
        each,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0001}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{all, escaped, line, lines, short};

    #[test]
    fn what_is_too_long_ends_where_it_is_cut() {
        assert_eq!(short("\u{202e}äbcd", 4), "äbcd");
        assert_eq!(short("äbcde", 4), "äbc…");
    }

    #[test]
    fn nothing_is_left_that_ends_a_line_or_turns_its_order() {
        assert_eq!(
            line("a\nb\r\u{1b}[2Jc\u{202e}d\u{200b}e\u{2028}f\u{feff}\u{7f}\u{85}\u{e0041}"),
            "ab[2Jcdef"
        );
        assert_eq!(line("Ä…{id} \"x\""), "Ä…{id} \"x\"");
        assert_eq!(lines("a\r\nb\u{2066}\n"), "a\nb\n");
        let hidden = "a\tb\n\u{1b}[8m\u{202e}\u{85}\u{e0041}";
        assert_eq!(escaped(hidden), "a\tb\n\\u001b[8m\\u202e\\u0085\\udb40\\udc41");
        let told = json!({ "a": hidden }).to_string();
        let read: Option<serde_json::Value> = serde_json::from_str(&escaped(&told)).ok();
        assert_eq!(read, Some(json!({ "a": hidden })));
        assert_eq!(
            all(&json!({ "a\n": ["b\n", { "c": "\u{202e}d" }, 1] })),
            json!({ "a": ["b", { "c": "d" }, 1] })
        );
    }
}
