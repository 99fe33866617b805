//! One batch of sums, checked whole before any of it is kept.

use std::collections::BTreeMap;

use delegation::oauth::{AudienceId, ClientId};
use delegation::token::sha256;
use serde_json::{Map, Value};

/// The most sums of a batch.
const MOST_SUMS: usize = 2_000;
/// The most rows of one kind in a sum.
const MOST_ROWS: usize = 64;
/// No number is larger: ninety days of them can be added up.
const LARGEST: i64 = 1_000_000_000;
/// The latest time that is taken, in milliseconds since 1970.
const LATEST: i64 = 253_402_300_799_999;
/// No name is longer.
const LONGEST: usize = 4_096;
/// So many bytes of the name of a batch or service are kept, and so many of a route's and of a row's: with the longest client and
/// audience they make a key that an index of PostgreSQL takes, which is one of at most 2,704 bytes.
const KEPT_OF_SERVICE: usize = 256;
const KEPT: usize = 512;

/// What a fact is about. The words are in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// `TYPE:ACTION`: requests whose token granted it, and those that used it.
    Action,
    /// Requests by age of the token, in seconds at most; without a name, older ones. They are in `used`.
    Age,
    /// The longest life granted, and the greatest age at use, in seconds.
    Life,
    /// What found no room in another fact.
    Others,
    /// Requests that were refused for surplus, in `used`.
    Refused,
    /// When reports of a guard begin and end, in milliseconds since 1970; the name is the guard's client.
    Reported,
    /// Tokens shown for the first time, and requests.
    Request,
    /// A scope, as an action.
    Scope,
    /// Refused requests whose token differed so.
    Surplus,
    /// Requests of which nobody knows whether their token was new, in `used`.
    Untold,
    /// `TYPE NAME`: requests whose token bounded that less than they needed.
    Wider,
}

impl What {
    const ALL: [(&'static str, Self); 11] = [
        ("action", Self::Action),
        ("age", Self::Age),
        ("life", Self::Life),
        ("others", Self::Others),
        ("refused", Self::Refused),
        ("reported", Self::Reported),
        ("request", Self::Request),
        ("scope", Self::Scope),
        ("surplus", Self::Surplus),
        ("untold", Self::Untold),
        ("wider", Self::Wider),
    ];

    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, what)| *what == self).map_or("", |(word, _)| word)
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, what)| *what)
    }
}

/// Whose fact it is, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fact {
    pub(crate) audience: String,
    pub(crate) client: String,
    pub(crate) route: String,
    pub(crate) what: What,
    pub(crate) name: String,
}

/// Sums of one service, in facts, each once.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: String,
    pub(crate) service: String,
    /// In milliseconds since 1970.
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// Granted, used.
    pub(crate) facts: BTreeMap<Fact, (i64, i64)>,
}

type Read<T> = Result<T, &'static str>;

impl Batch {
    /// Reads all of `batch`. What is not known is refused: a member that is misspelt would be taken for absent.
    pub(crate) fn read(batch: Map<String, Value>) -> Read<Self> {
        let mut batch = Members(batch);
        let mut read = Self {
            id: cut(batch.text("batch")?, KEPT_OF_SERVICE),
            service: cut(batch.text("service")?, KEPT_OF_SERVICE),
            from: batch.required("from", LATEST)?,
            until: batch.required("until", LATEST)?,
            facts: BTreeMap::new(),
        };
        let others = batch.number("others")?;
        let sums = batch.list("sums", MOST_SUMS)?;
        batch.ends()?;
        if sums.is_empty() {
            return Err("`sums` must not be empty");
        }
        if read.until < read.from {
            return Err("`until` must not be before `from`");
        }
        for sum in sums {
            read.sum(Members::of(sum)?)?;
        }
        read.adds_up()?;
        let audiences: Vec<_> = read.facts.keys().map(|fact| fact.audience.clone()).collect();
        if let Some(audience) = audiences.first() {
            read.put(&Of::all(audience), What::Others, "", (0, others));
        }
        Ok(read)
    }

    /// The audiences that it is about.
    pub(crate) fn audiences(&self) -> impl Iterator<Item = &str> {
        self.facts.keys().map(|fact| fact.audience.as_str())
    }

    /// What was refused or used is so many of the requests; whoever says more counted something else.
    fn adds_up(&self) -> Read<()> {
        let counted = |what| matches!(what, What::Refused | What::Action | What::Scope);
        for (fact, (_, used)) in self.facts.iter().filter(|(fact, _)| counted(fact.what)) {
            let all = Fact {
                what: What::Request,
                name: String::new(),
                ..fact.clone()
            };
            if self.facts.get(&all).is_none_or(|(_, requests)| used > requests) && *used > 0 {
                return Err("`refused` and each `used` must be at most `requests`, of which they are part");
            }
        }
        Ok(())
    }

    fn sum(&mut self, mut sum: Members) -> Read<()> {
        let client = ClientId::parse(&sum.text("client")?).map_err(|_| "`client` must be the identifier of a client")?;
        let audience = AudienceId::parse(&sum.text("audience")?).map_err(|_| "`audience` must be one")?;
        let of = Of {
            audience: audience.as_str(),
            client: client.as_str(),
            route: &cut(sum.text("route")?, KEPT),
        };
        let requests = (sum.number("tokens")?, sum.number("requests")?);
        self.put(&of, What::Request, "", requests);
        for (name, what) in [("refused", What::Refused), ("untold", What::Untold), ("others", What::Others)] {
            let count = sum.number(name)?;
            self.put(&of, what, "", (0, count));
        }
        let lived = (sum.number("life")?, sum.number("age")?);
        self.put(&of, What::Life, "", lived);
        for (name, what) in [("actions", What::Action), ("scopes", What::Scope)] {
            for row in sum.list(name, MOST_ROWS)? {
                let mut row = Members::of(row)?;
                let (name, granted, used) = (row.name()?, row.number("granted")?, row.number("used")?);
                row.ends()?;
                self.put(&of, what, &name, (granted, used));
            }
        }
        for (name, what) in [("wider", What::Wider), ("surplus", What::Surplus)] {
            for row in sum.list(name, MOST_ROWS)? {
                let mut row = Members::of(row)?;
                let (name, count) = (row.name()?, row.number("count")?);
                row.ends()?;
                self.put(&of, what, &name, (count, 0));
            }
        }
        for row in sum.list("ages", MOST_ROWS)? {
            let mut row = Members::of(row)?;
            let name = match row.0.remove("most") {
                Some(Value::Null) => String::new(),
                most => number(most)?.to_string(),
            };
            let count = row.number("count")?;
            row.ends()?;
            self.put(&of, What::Age, &name, (0, count));
        }
        sum.ends()
    }

    /// Adds a fact, unless it says nothing.
    fn put(&mut self, of: &Of<'_>, what: What, name: &str, numbers: (i64, i64)) {
        if numbers == (0, 0) {
            return;
        }
        let fact = Fact {
            audience: of.audience.to_owned(),
            client: of.client.to_owned(),
            route: of.route.to_owned(),
            what,
            name: name.to_owned(),
        };
        let (granted, used) = self.facts.entry(fact).or_default();
        (*granted, *used) = match what {
            What::Life => ((*granted).max(numbers.0), (*used).max(numbers.1)),
            _ => (*granted + numbers.0, *used + numbers.1),
        };
    }
}

/// Whose facts follow.
struct Of<'a> {
    audience: &'a str,
    client: &'a str,
    route: &'a str,
}

impl<'a> Of<'a> {
    /// Of all tokens for an audience.
    fn all(audience: &'a str) -> Self {
        Self {
            audience,
            client: "",
            route: "",
        }
    }
}

/// Members of an object, each of which is taken out as it is read.
struct Members(Map<String, Value>);

impl Members {
    fn of(value: Value) -> Read<Self> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err("each sum and each row must be an object"),
        }
    }

    /// A text that a person can read in one line.
    fn text(&mut self, name: &str) -> Read<String> {
        match self.0.remove(name) {
            Some(Value::String(text)) if !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control) => Ok(text),
            _ => Err("a name is missing, is no text, has a control character or is too long"),
        }
    }

    /// What a row is about.
    fn name(&mut self) -> Read<String> {
        Ok(cut(self.text("name")?, KEPT))
    }

    /// A count; absent is none.
    fn number(&mut self, name: &str) -> Read<i64> {
        match self.0.remove(name) {
            None => Ok(0),
            some => number(some),
        }
    }

    fn required(&mut self, name: &str, most: i64) -> Read<i64> {
        let time = self.0.remove(name).and_then(|value| value.as_i64());
        time.filter(|time| (0..=most).contains(time))
            .ok_or("`from` and `until` must be milliseconds since 1970")
    }

    fn list(&mut self, name: &str, most: usize) -> Read<Vec<Value>> {
        match self.0.remove(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) if list.len() <= most => Ok(list),
            Some(_) => Err("a list is none, or too long"),
        }
    }

    fn ends(&self) -> Read<()> {
        if self.0.is_empty() { Ok(()) } else { Err("a member is not known") }
    }
}

/// `text` in at most `most` bytes: of a longer one the beginning, and what tells it from others that begin so.
fn cut(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let digest: String = sha256(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let end = text.floor_char_boundary(most - digest.len() - '…'.len_utf8());
    format!("{}…{digest}", text.get(..end).unwrap_or_default())
}

fn number(value: Option<Value>) -> Read<i64> {
    let number = value.and_then(|value| value.as_i64());
    number
        .filter(|number| (0..=LARGEST).contains(number))
        .ok_or("a number is none, or not between 0 and a thousand million")
}
