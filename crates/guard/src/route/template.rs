//! A detail in short form with places for values of the request.

mod written;

use std::collections::BTreeSet;

use delegation::details::{ConstraintOrder, Detail, DetailTypes, DetailsError, ShortForm, ShortFormError, Standing};
use serde_json::Value;

use super::values::{FillError, Origin, Reads, Source, Values};

/// A detail in short form with `{…}` in its identifier and constraints.
///
/// Checked against its type when it is read, filled value by value: a value is a value, whatever is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The detail with a `1` in each place, from which type, actions and what is fixed are taken.
    sample: Detail,
    identifier: Option<Text>,
    members: Vec<(String, Member)>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {why}")]
pub struct TemplateError {
    text: String,
    why: String,
}

/// How the value of one constraint comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    /// The JSON value as it is.
    Json(Source),
    /// An integer, from JSON or from canonical decimal digits.
    Integer(Source),
    Text(Text),
    List(Vec<Item>),
}

/// One item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Text(Text),
    /// Member names, or an attribute of several values.
    Several(Source),
}

/// Literal text and values in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Value(Source),
}

impl Template {
    /// Reads `text`, a detail of one of `types`, whose values come from what `reads` says.
    pub fn parse(text: &str, types: &DetailTypes, reads: &Reads) -> Result<Self, TemplateError> {
        Self::read(text, types, reads).map_err(|why| TemplateError {
            text: text.to_owned(),
            why,
        })
    }

    fn read(text: &str, types: &DetailTypes, reads: &Reads) -> Result<Self, String> {
        // A digit is a value of every order, so what remains is checked like any other detail.
        let mut sample = String::new();
        for piece in pieces(text, reads)? {
            sample.push_str(match &piece {
                Piece::Literal(literal) => literal,
                Piece::Value(_) => "1",
            });
        }
        let sample = Detail::parse_short(&sample, types, Standing::Asked).map_err(|error| mended(&error, &sample, types))?;
        let parts = ShortForm::split(text).map_err(|error| error.to_string())?;
        let mut names = parts.members.iter().map(|(name, _)| *name);
        if [parts.kind, parts.actions].into_iter().any(has_value) || names.any(has_value) {
            return Err("a value stands in the identifier or behind the `=` of a constraint".to_owned());
        }
        let identifier = parts.identifier.filter(|part| has_value(part)).map(|part| Text::parse(part, reads)).transpose()?;
        let declared = types.get(sample.kind());
        let mut members = Vec::new();
        for (name, value) in parts.members.into_iter().filter(|(_, value)| has_value(value)) {
            let name = ShortForm::decode(name).map_err(|error| error.to_string())?;
            let order = declared.and_then(|declared| declared.constraints.get(&name));
            let order = order.ok_or_else(|| format!("`{name}` takes no value of a request"))?;
            members.push((name, Member::parse(*order, value, reads)?));
        }
        Ok(Self {
            sample,
            identifier,
            members,
        })
    }

    /// The type of the detail.
    pub fn kind(&self) -> &str {
        self.sample.kind()
    }

    /// The detail that a request with `values` needs.
    ///
    /// Its type, actions and fixed members are the template's, whatever the values are.
    pub fn fill(&self, values: &Values<'_>, types: &DetailTypes) -> Result<Detail, FillError> {
        let identifier = self.identifier.as_ref().map(|identifier| identifier.fill(values)).transpose()?;
        let members = self.members.iter().map(|(name, member)| Ok((name.clone(), member.fill(values)?)));
        let members = members.collect::<Result<Vec<_>, FillError>>()?;
        Ok(self.sample.filled(identifier, members, types)?)
    }

    /// Every value that it reads.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        let members = self.members.iter().flat_map(|(_, member)| member.sources());
        self.identifier.iter().flat_map(Text::sources).chain(members)
    }
}

impl Member {
    fn parse(order: ConstraintOrder, text: &str, reads: &Reads) -> Result<Self, String> {
        let (text, typed) = match text.strip_prefix(':') {
            Some(text) if order == ConstraintOrder::Equal => (text, true),
            _ => (text, false),
        };
        let whole = match pieces(text, reads)?.as_slice() {
            [Piece::Value(source)] => Some(source.clone()),
            _ => None,
        };
        let list = matches!(order, ConstraintOrder::Subset | ConstraintOrder::OneOf);
        match (whole, order) {
            (Some(source), _) if typed && !matches!(source.from, Origin::Keys(_)) => Ok(Self::Integer(source)),
            (None, _) if typed => Err(format!("`{text}` is no single value, so it makes no integer")),
            (Some(source), _) if matches!(source.from, Origin::Member(_)) => Ok(Self::Json(source)),
            (Some(source), ConstraintOrder::Equal) if matches!(source.from, Origin::Subject(_)) => Ok(Self::Json(source)),
            (Some(source), ConstraintOrder::AtMost) if !matches!(source.from, Origin::Keys(_)) => Ok(Self::Integer(source)),
            (_, ConstraintOrder::AtMost) => Err(format!("`{text}` is no single value, so it makes no limit")),
            _ if list => Ok(Self::List(
                text.split(',').map(|item| Item::parse(item, reads)).collect::<Result<_, _>>()?,
            )),
            _ => Ok(Self::Text(Text::parse(text, reads)?)),
        }
    }

    fn fill(&self, values: &Values<'_>) -> Result<Value, FillError> {
        match self {
            Self::Json(source) => match values.json(source)? {
                Value::Array(_) if matches!(source.from, Origin::Subject(_)) => Err(source.wrong()),
                value => Ok(value),
            },
            Self::Integer(source) => integer(source, &values.json(source)?),
            Self::Text(text) => text.fill(values).map(Value::from),
            Self::List(items) => {
                let mut all = Vec::new();
                for item in items {
                    all.extend(item.fill(values)?);
                }
                // A client says how many there are, so each is looked up and not searched for.
                let mut seen = BTreeSet::new();
                all.retain(|text| seen.insert(text.clone()));
                Ok(Value::from(all))
            }
        }
    }

    fn sources(&self) -> Vec<&Source> {
        match self {
            Self::Json(source) | Self::Integer(source) => vec![source],
            Self::Text(text) => text.sources().collect(),
            Self::List(items) => items.iter().flat_map(Item::sources).collect(),
        }
    }
}

impl Item {
    fn parse(text: &str, reads: &Reads) -> Result<Self, String> {
        match pieces(text, reads)?.as_slice() {
            [Piece::Value(source)] if matches!(source.from, Origin::Keys(_) | Origin::Subject(_)) => Ok(Self::Several(source.clone())),
            _ => Text::parse(text, reads).map(Self::Text),
        }
    }

    fn fill(&self, values: &Values<'_>) -> Result<Vec<String>, FillError> {
        match self {
            Self::Text(text) => text.fill(values).map(|text| vec![text]),
            Self::Several(source) => values.several(source),
        }
    }

    fn sources(&self) -> Vec<&Source> {
        match self {
            Self::Text(text) => text.sources().collect(),
            Self::Several(source) => vec![source],
        }
    }
}

impl Text {
    fn parse(text: &str, reads: &Reads) -> Result<Self, String> {
        let mut all = pieces(text, reads)?;
        let mut after_value = false;
        for piece in &mut all {
            match piece {
                Piece::Literal(literal) => *literal = ShortForm::decode(literal).map_err(|error| error.to_string())?,
                Piece::Value(source) if matches!(source.from, Origin::Keys(_)) => {
                    return Err(format!(
                        "`{source}` is a list of names; a list stands alone in a subset or one_of constraint"
                    ));
                }
                Piece::Value(source) if after_value => {
                    return Err(format!(
                        "nothing stands between `{source}` and the value before it, so they would blur"
                    ));
                }
                Piece::Value(_) => {}
            }
            after_value = matches!(piece, Piece::Value(_));
        }
        Ok(Self(all))
    }

    fn fill(&self, values: &Values<'_>) -> Result<String, FillError> {
        let mut filled = String::new();
        for (at, piece) in self.0.iter().enumerate() {
            match piece {
                Piece::Literal(literal) => filled.push_str(literal),
                Piece::Value(source) => {
                    let value = values.text(source)?;
                    // Of two values in one text, the first must end where the text between them begins, and nowhere before:
                    // else two requests that differ would be the same resource.
                    if let (Some(Piece::Literal(between)), true) = (self.0.get(at + 1), self.0.len() > at + 2)
                        && format!("{value}{between}").find(between.as_str()) != Some(value.len())
                    {
                        return Err(source.otherwise(FillError::Blurred(source.text().to_owned())));
                    }
                    filled.push_str(&value);
                }
            }
        }
        Ok(filled)
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Value(source) => Some(source),
        })
    }
}

/// What stands between braces, and what stands between those; literal text as it is written.
fn pieces(text: &str, reads: &Reads) -> Result<Vec<Piece>, String> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, after) = after.split_once('}').ok_or("a `{` without its `}`")?;
        if !before.is_empty() {
            all.push(Piece::Literal(before.to_owned()));
        }
        all.push(Piece::Value(Source::parse(inside, reads)?));
        rest = after;
    }
    if !rest.is_empty() {
        all.push(Piece::Literal(rest.to_owned()));
    }
    Ok(all)
}

/// What is wrong with the detail `sample`, and what would make it right.
fn mended(error: &ShortFormError, sample: &str, types: &DetailTypes) -> String {
    let ShortFormError::Details { error: kind, .. } = error else {
        return error.to_string();
    };
    let mend = match kind {
        DetailsError::UnknownType => "declare it in [[detail_types]]".to_owned(),
        DetailsError::UnknownAction => "declare it in `actions` of the type in [[detail_types]]".to_owned(),
        DetailsError::UnknownMember => "declare it in `constraints` of the type and of the action in [[detail_types]]".to_owned(),
        DetailsError::Malformed => {
            let (named, members) = sample.split_once('?').map_or((sample, String::new()), |(named, rest)| (named, format!("?{rest}")));
            let (actions, identifier) = named.split_once('/').map_or((named, None), |(actions, rest)| (actions, Some(rest)));
            let is_right = |text: &str| Detail::parse_short(text, types, Standing::Asked).is_ok();
            match identifier {
                None if is_right(&format!("{actions}/1{members}")) => format!("it needs an identifier, as `{actions}/{{id}}`"),
                Some(_) if is_right(&format!("{actions}{members}")) => format!("it takes no identifier, as `{actions}`"),
                _ => "expected TYPE:ACTION,…/IDENTIFIER?CONSTRAINT=VALUE&…, with values as their constraints take them".to_owned(),
            }
        }
    };
    format!("{error}: {mend}")
}

fn has_value(part: &str) -> bool {
    part.contains('{')
}

/// An integer as it is, or the digits that everybody would write for it.
fn integer(source: &Source, value: &Value) -> Result<Value, FillError> {
    let digits = !matches!(source.from, Origin::Member(_));
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) if digits => text.parse::<i64>().ok().filter(|number| number.to_string() == *text),
        _ => None,
    };
    number.map(Value::from).ok_or_else(|| source.wrong())
}
