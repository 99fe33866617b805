//! What people and programs are shown.

use std::io::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use owo_colors::OwoColorize as _;

/// One line on standard output; a pipe that was closed is no failure.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = writeln!(anstream::stdout(), "{line}");
}

/// What goes beside an output that is meant for a file, on standard error.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// What went wrong, on standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(anstream::stderr(), "{} {text}", "narrows:".red().bold());
}

/// A table; in a pipe too, since it has no borders.
pub(crate) fn table(headings: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings);
    table.add_rows(rows);
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
