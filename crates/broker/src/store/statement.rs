//! Statements whose text is the same on both engines.

use std::borrow::Cow;
use std::fmt::Write as _;

use sqlx::{Arguments, AssertSqlSafe, Database, Encode, IntoArguments, Type};

/// A statement and the values that are bound to it, in order.
///
/// Its text is made of the program's own words and of numbers of parameters, never of a value.
#[derive(Debug)]
pub(crate) struct Statement<'v> {
    text: Cow<'static, str>,
    values: Vec<Value<'v>>,
}

/// A value of one of the four types that both engines keep alike.
#[derive(Debug)]
pub(crate) enum Value<'v> {
    Integer(i64),
    Text(Cow<'v, str>),
    Absent,
    Bytes(Vec<u8>),
}

/// A statement with this text.
pub(crate) fn sql<'v>(text: &'static str) -> Statement<'v> {
    Statement {
        text: Cow::Borrowed(text),
        values: Vec::new(),
    }
}

impl<'v> Statement<'v> {
    /// A statement whose text is put together from names of tables and columns that stand in this program.
    pub(super) fn of_own_words(text: String) -> Self {
        Self {
            text: Cow::Owned(text),
            values: Vec::new(),
        }
    }

    /// Binds the next value.
    pub(crate) fn bind(mut self, value: impl Into<Value<'v>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Puts one more row of values after `INSERT INTO table (columns)`.
    pub(crate) fn row<const N: usize>(self, row: [Value<'v>; N]) -> Self {
        self.row_of(row.into())
    }

    /// As [`Statement::row`], for a row whose length is known at run time only.
    pub(crate) fn row_of(mut self, row: Vec<Value<'v>>) -> Self {
        let text = self.text.to_mut();
        text.push_str(if self.values.is_empty() { " VALUES (" } else { ", (" });
        for at in 0..row.len() {
            // Writing into a string cannot fail.
            let _ = write!(text, "{}${}", if at == 0 { "" } else { ", " }, self.values.len() + at + 1);
        }
        text.push(')');
        self.values.extend(row);
        self
    }

    /// Puts `($N, …)` with these values behind the words.
    pub(crate) fn list(mut self, values: Vec<Value<'v>>) -> Self {
        let text = self.text.to_mut();
        for at in 0..values.len() {
            // Writing into a string cannot fail.
            let _ = write!(text, "{}${}", if at == 0 { " (" } else { ", " }, self.values.len() + at + 1);
        }
        text.push(')');
        self.values.extend(values);
        self
    }

    /// Puts more words after the rows.
    pub(crate) fn then(mut self, words: &'static str) -> Self {
        self.text.to_mut().push_str(words);
        self
    }

    /// The query that an engine runs.
    pub(super) fn query<'q, DB>(self) -> Result<sqlx::query::Query<'q, DB, DB::Arguments>, sqlx::Error>
    where
        DB: Database,
        DB::Arguments: IntoArguments<DB>,
        i64: Encode<'q, DB> + Type<DB>,
        String: Encode<'q, DB> + Type<DB>,
        Option<String>: Encode<'q, DB> + Type<DB>,
        Vec<u8>: Encode<'q, DB> + Type<DB>,
        DB::Arguments: Arguments<Database = DB>,
    {
        let mut arguments = DB::Arguments::default();
        for value in self.values {
            match value {
                Value::Integer(value) => arguments.add(value),
                Value::Text(value) => arguments.add(value.into_owned()),
                Value::Absent => arguments.add(None::<String>),
                Value::Bytes(value) => arguments.add(value),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(match self.text {
            Cow::Borrowed(text) => sqlx::query_with(text, arguments),
            Cow::Owned(text) => sqlx::query_with(AssertSqlSafe(text), arguments),
        })
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(value: &'v str) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(value: &'v String) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Cow::Owned(value))
    }
}

impl<'v> From<Cow<'v, str>> for Value<'v> {
    fn from(value: Cow<'v, str>) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl<'v, T: Into<Self>> From<Option<T>> for Value<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::sql;

    #[test]
    fn rows_are_numbered_through() {
        let statement = sql("INSERT INTO t (a, b)")
            .row([1.into(), "x".into()])
            .row([2.into(), "y".into()])
            .then(" ON CONFLICT DO NOTHING");
        assert_eq!(
            statement.text,
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING"
        );
        assert_eq!(statement.values.len(), 4);
    }
}
