//! Tables whose work is not built yet: read and checked whole. Inert ones warn; those that would protect refuse.

use delegation::details::DetailTypes;

use super::file::File;
use super::problem::{Problem, Problems};
use super::{data_plane, guards, services};

/// Refuses what would promise protection that is not there; gives warnings for the rest.
pub(super) fn check(file: &File, types: &DetailTypes, problems: &mut Problems) -> Vec<Problem> {
    // A setting that protects and is not served would be worse than none: people would rely on it.
    for (at, audience) in file.audiences.iter().enumerate() {
        let path = format!("audiences[{at}]");
        if audience.sender.as_deref().is_some_and(|value| value != "none") {
            problems.add(&format!("{path}.sender"), "only `none` is served yet".to_owned());
        }
    }
    data_plane::check(file, problems);
    services::check(file, types, problems);
    guards::check(file, types, problems);

    let inert = [
        ("mcp", !file.mcp.is_empty()),
        (
            "exceptions",
            file.exceptions
                .as_ref()
                .is_some_and(|table| table.max_days.is_some() || table.on_overdue.is_some() || table.break_glass.is_some()),
        ),
        (
            "notify",
            file.notify.as_ref().is_some_and(|notify| notify.webhook.is_some() || notify.smtp.is_some()),
        ),
        (
            "audit",
            file.audit.as_ref().is_some_and(|audit| audit.checkpoints.is_some() || audit.export.is_some()),
        ),
        ("operators", !file.operators.is_empty()),
        ("policy.shadow", file.policy.as_ref().is_some_and(|policy| policy.shadow.is_some())),
    ];
    let warn = |(key, _): (&str, bool)| problems.at(key, "is understood and checked, and does nothing yet".to_owned());
    inert.into_iter().filter(|(_, there)| *there).map(warn).collect()
}
