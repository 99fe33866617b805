//! The smallest mend of what policy refused.

use policy_cedar::{Explanation, QuestionExplanation, RuleRef};

use super::line;

/// The lines that tell what helps, by what is in force now.
///
/// A forbid comes before every permit: where one refuses, no permit helps.
pub(in super::super) fn mend(explanations: &[Explanation], client: &str) -> Vec<String> {
    let questions = || explanations.iter().flat_map(|explanation| &explanation.questions);
    if questions().all(|question| question.allowed) {
        return vec![line("mend", "none is needed any more: what is in force now allows it")];
    }
    let mut lines = Vec::new();
    let mut add = |told: String| {
        if !lines.contains(&told) {
            lines.push(told);
        }
    };
    let mut permitted_by_none = Vec::new();
    for question in questions().filter(|question| !question.allowed) {
        let forbids: Vec<_> = question.decided_by.iter().filter(|rule| rule.effect == "forbid").collect();
        match question.decided_by.first() {
            _ if !forbids.is_empty() => forbids.iter().for_each(|rule| add(line("mend", &narrowed(rule)))),
            Some(rule) => add(line("mend", &unanswered(rule))),
            None => permitted_by_none.push(question),
        }
    }
    if !permitted_by_none.is_empty() {
        add(line("mend", &permit(&permitted_by_none, client)));
    }
    lines
}

fn narrowed(forbid: &RuleRef) -> String {
    let RuleRef { id, file, line, .. } = forbid;
    format!("change or narrow forbid `{id}` at {file}:{line}: no permit helps against it")
}

/// A permit decides no refusal, unless something in the rules could not be evaluated.
fn unanswered(rule: &RuleRef) -> String {
    let RuleRef { id, file, line, .. } = rule;
    format!("a rule could not be evaluated, which refuses: see `{id}` at {file}:{line} and those beside it")
}

fn permit(refused: &[&QuestionExplanation], client: &str) -> String {
    match refused.iter().flat_map(|question| &question.near_misses).next() {
        Some(miss) => format!("meet `{}` (permit `{}`), or change that permit", miss.condition, miss.rule.id),
        None => format!("write a permit for principal Workload::\"{client}\" and what is refused above"),
    }
}

#[cfg(test)]
mod tests {
    use policy_cedar::{Explanation, NearMiss, QuestionExplanation, RuleRef};

    use super::mend;

    fn rule(effect: &str, id: &str) -> RuleRef {
        RuleRef {
            id: id.to_owned(),
            file: "first.cedar".to_owned(),
            line: 7,
            effect: effect.to_owned(),
        }
    }

    fn question(allowed: bool, decided_by: &[(&str, &str)], near: &[&str]) -> QuestionExplanation {
        QuestionExplanation {
            asked: "ticket:read/42".to_owned(),
            allowed,
            decided_by: decided_by.iter().map(|(effect, id)| rule(effect, id)).collect(),
            near_misses: near
                .iter()
                .map(|id| NearMiss {
                    rule: rule("permit", id),
                    condition: "context.subject in Group::\"corp|support\"".to_owned(),
                    values: Vec::new(),
                })
                .collect(),
        }
    }

    #[test]
    fn what_refused_is_what_is_to_be_changed() {
        let narrow = "mend         change or narrow forbid `shut` at first.cedar:7: no permit helps against it";
        let write = "mend         write a permit for principal Workload::\"edge\" and what is refused above";
        let meet = "mend         meet `context.subject in Group::\"corp|support\"` (permit `near`), or change that permit";
        let none = "mend         none is needed any more: what is in force now allows it";
        let allowed = question(true, &[("permit", "near")], &[]);
        let forbidden = question(false, &[("forbid", "shut")], &["near"]);
        let unmet = question(false, &[], &["near"]);
        let rows = [
            (vec![forbidden.clone()], vec![narrow]),
            (vec![forbidden.clone(), forbidden, unmet.clone()], vec![narrow, meet]),
            (vec![allowed.clone(), unmet], vec![meet]),
            (vec![question(false, &[], &[])], vec![write]),
            (vec![allowed], vec![none]),
        ];
        for (questions, expected) in rows {
            assert_eq!(mend(&[Explanation { questions }], "edge"), expected);
        }
        let broken = vec![question(false, &[("permit", "odd")], &[])];
        let told = mend(&[Explanation { questions: broken }], "edge");
        assert!(told.len() == 1 && told.concat().contains("could not be evaluated"), "{told:?}");
    }
}
