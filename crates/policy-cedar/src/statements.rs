//! Where each policy of a file begins. Cedar knows, and does not say.

/// The line on which each policy of `text` begins, from 1, in the order in which they stand.
///
/// Only for messages: should it disagree with the parser about a text, a line is wrong and nothing else.
pub(crate) fn lines(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    let mut line = 1;
    let mut place = Place::Between;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        place = match (place, letter) {
            (Place::Comment { inside }, '\n') => Place::inside(inside),
            (place @ Place::Comment { .. }, _) => place,
            (Place::String, '\\') => {
                // What is escaped ends nothing.
                line += usize::from(letters.next() == Some('\n'));
                Place::String
            }
            (Place::String, '"') => Place::Policy,
            (Place::String, _) => Place::String,
            (place, '/') if letters.peek() == Some(&'/') => Place::Comment {
                inside: matches!(place, Place::Policy),
            },
            (Place::Policy, '"') => Place::String,
            (Place::Policy, ';') => Place::Between,
            (Place::Policy, _) => Place::Policy,
            (Place::Between, space) if space.is_whitespace() => Place::Between,
            (Place::Between, _) => {
                lines.push(line);
                Place::Policy
            }
        };
        line += usize::from(letter == '\n');
    }
    lines
}

/// Where in a file a letter stands.
#[derive(Clone, Copy)]
enum Place {
    Between,
    Policy,
    String,
    Comment { inside: bool },
}

impl Place {
    fn inside(policy: bool) -> Self {
        if policy { Self::Policy } else { Self::Between }
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn comments_strings_and_semicolons_in_them_do_not_move_a_policy() {
        let text = "// one; \"two\n@id(\"a;\\\"\")\npermit (principal, // three;\naction, resource);\n\n  @id(\"b\") forbid (principal,action,resource); @id(\"c\") permit(principal,action,resource);";
        assert_eq!(lines(text), [2, 6, 6]);
        assert_eq!(lines("// nothing\n"), Vec::<usize>::new());
    }
}
