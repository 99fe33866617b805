//! Proposals as TOML: a table of routes, and the types that they need where those are not declared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use delegation::details::{DetailTypes, IdentifierRule};
use narrows_guard::learn::{Identifier, Proposal};

/// The text; `declared` are the types of the configuration, if there is one.
///
/// Nothing in it comes from a request but letters, digits and `-._~`: a proposal has no others.
pub(super) fn of(routes: &[Proposal], declared: Option<&DetailTypes>) -> String {
    let (mut lines, mut needed) = (String::from("[services.routes]\n"), BTreeMap::<_, BTreeMap<_, Vec<_>>>::new());
    for route in routes {
        let line = format!("\"{}\" = \"{}\" # {} times", route.key, route.detail(), route.count);
        let known = declared.and_then(|types| types.get(&route.kind));
        if route.key.starts_with("OPTIONS ") {
            // A browser asks so before a request, and shows nothing.
            let _ = writeln!(lines, "# \"{}\" = \"public\" # {} times", route.key, route.count);
        } else if let Some(known) = known {
            let fits = known.actions.get(&route.action).is_some_and(|action| match action.identifier {
                IdentifierRule::Required => route.says_which() == Identifier::Required,
                IdentifierRule::Optional => true,
                IdentifierRule::None => route.says_which() == Identifier::None,
            });
            let why = format!("# first see to `{}` of detail type `{}`:\n# ", route.action, route.kind);
            let _ = writeln!(lines, "{}{line}", if fits { "" } else { &why });
        } else {
            let actions = needed.entry(&route.kind).or_default();
            let says: &mut Vec<_> = actions.entry(&route.action).or_default();
            says.push(route.says_which());
            let _ = writeln!(lines, "{line}");
        }
    }
    for (kind, actions) in &needed {
        let _ = write!(
            lines,
            "\n# Name it in `details` of the service's audience.\n[[detail_types]]\ntype = \"{kind}\"\n"
        );
        for (action, says) in actions {
            let identifier = match (says.contains(&Identifier::Required), says.contains(&Identifier::None)) {
                (true, true) => "optional",
                (true, false) => "required",
                _ => "none",
            };
            let _ = writeln!(lines, "actions.{action} = {{ identifier = \"{identifier}\" }}");
        }
    }
    lines.trim_end().to_owned()
}
