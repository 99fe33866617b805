//! What people and programs are shown. No text in it does anything to a terminal.

use std::io::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use owo_colors::OwoColorize as _;

use super::visible;

/// One line on standard output; a pipe that was closed is no failure.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = writeln!(anstream::stdout(), "{}", visible::escaped(&line.to_string()));
}

/// What goes beside an output that is meant for a file, on standard error.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(anstream::stderr(), "{}", visible::escaped(text));
}

/// What went wrong, on standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(anstream::stderr(), "{} {}", "narrows:".red().bold(), visible::escaped(text));
}

/// A table; in a pipe too, since it has no borders. Each row is one line, whatever stands in it.
pub(crate) fn table(headings: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings);
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| visible::line(&cell))));
    table
}

/// A duration as people say it.
pub(crate) fn seconds(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
