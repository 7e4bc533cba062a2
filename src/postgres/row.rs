//! A row of an SQL result, its values as text, and text as parameters of any type.

use std::{error::Error as StdError, fmt, str::FromStr};

use bytes::BytesMut;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::error::{Error, Result};

#[derive(Debug)]
pub struct Row(tokio_postgres::Row);

impl Row {
    pub(super) fn new(row: tokio_postgres::Row) -> Self {
        Self(row)
    }

    /// Column `index` as text, None for NULL. Types that have no plain text form here (times,
    /// arrays ...) are to be cast to text in the query.
    pub fn optional(&self, index: usize) -> Result<Option<String>> {
        let value: Result<Option<Text>, _> = self.0.try_get(index);
        value
            .map(|text| text.map(|text| text.0))
            .map_err(|error| self.wrong(index, error))
    }

    pub fn columns(&self) -> usize {
        self.0.columns().len()
    }

    /// Whether column `index` is there and is a `boolean`.
    pub fn is_bool(&self, index: usize) -> bool {
        let column = self.0.columns().get(index);
        column.is_some_and(|column| *column.type_() == Type::BOOL)
    }

    pub fn text(&self, index: usize) -> Result<String> {
        self.optional(index)?
            .ok_or_else(|| self.wrong(index, "unexpected NULL"))
    }

    /// Column `index` as a value that reads from text: numbers, `bool`, `Lsn` ...
    pub fn parse<T: FromStr>(&self, index: usize) -> Result<T>
    where
        T::Err: Into<Box<dyn StdError + Send + Sync>>,
    {
        let text = self.text(index)?;
        text.parse()
            .map_err(|error: T::Err| self.wrong(index, error))
    }

    /// A `bytea`, or the bytes of a text in whatever encoding; None for NULL.
    pub fn bytes(&self, index: usize) -> Result<Option<Vec<u8>>> {
        let value: Result<Option<Raw>, _> = self.0.try_get(index);
        value
            .map(|raw| raw.map(|raw| raw.0))
            .map_err(|error| self.wrong(index, error))
    }

    fn wrong(&self, index: usize, why: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        let name = self
            .0
            .columns()
            .get(index)
            .map_or("", |column| column.name());
        Error::failed(format!(
            "can't read column {index} ({name}) of a query's result"
        ))
        .because(why)
    }
}

type Decoded<T> = Result<T, Box<dyn StdError + Sync + Send>>;

/// A value turned from its binary form into text.
struct Text(String);

impl<'a> FromSql<'a> for Text {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Decoded<Self> {
        Ok(Text(match *ty {
            Type::BOOL => bool::from_sql(ty, raw)?.to_string(),
            Type::CHAR => char::from(i8::from_sql(ty, raw)?.cast_unsigned()).to_string(),
            Type::INT2 => i16::from_sql(ty, raw)?.to_string(),
            Type::INT4 => i32::from_sql(ty, raw)?.to_string(),
            Type::INT8 => i64::from_sql(ty, raw)?.to_string(),
            Type::FLOAT8 => f64::from_sql(ty, raw)?.to_string(),
            Type::OID | Type::XID => u32::from_be_bytes(raw.try_into()?).to_string(),
            Type::XID8 => u64::from_be_bytes(raw.try_into()?).to_string(),
            Type::PG_LSN => super::lsn::Lsn(u64::from_be_bytes(raw.try_into()?)).to_string(),
            _ => std::str::from_utf8(raw)?.to_owned(),
        }))
    }

    fn accepts(ty: &Type) -> bool {
        const OTHERS: [Type; 9] = [
            Type::BOOL,
            Type::CHAR,
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::FLOAT8,
            Type::OID,
            Type::XID,
            Type::XID8,
        ];
        *ty == Type::PG_LSN || OTHERS.contains(ty) || <&str as FromSql<'a>>::accepts(ty)
    }
}

struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Decoded<Self> {
        Ok(Raw(raw.to_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::BYTEA || <&str as FromSql<'a>>::accepts(ty)
    }
}

/// A parameter that the server reads from text, as it reads a quoted literal.
pub(super) struct Param<'a>(pub &'a str);

impl fmt::Debug for Param<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Param")
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Decoded<IsNull> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
