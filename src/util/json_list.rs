//! Long lists in JSON, read one by one: none is ever held whole.

use std::{fmt, marker::PhantomData};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use crate::error::{Error, Result};

/// Gives each element of a list to `take`; its value is how many there were.
pub struct Each<'a, T, F> {
    /// What the list is of, for errors.
    of: &'static str,
    take: F,
    /// Why `take` refused one: serde's own error can't carry it.
    failed: &'a mut Option<Error>,
    element: PhantomData<T>,
}

impl<'a, T, F: FnMut(T) -> Result<()>> Each<'a, T, F> {
    pub fn new(of: &'static str, take: F, failed: &'a mut Option<Error>) -> Self {
        Self {
            of,
            take,
            failed,
            element: PhantomData,
        }
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<()>> DeserializeSeed<'de> for Each<'_, T, F> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<()>> Visitor<'de> for Each<'_, T, F> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {}", self.of)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while let Some(element) = elements.next_element()? {
            if let Err(error) = (self.take)(element) {
                *self.failed = Some(error);
                return Err(A::Error::custom("stopped"));
            }
            count += 1;
        }
        Ok(count)
    }
}
