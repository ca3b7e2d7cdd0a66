//! What an event says beyond its kind and its place: a short list of named texts.
//!
//! Invariant: a [`Details`] that exists is within the limits, and no name stands in it twice. What a kind's details must be is
//! [`taxonomy`](crate::event::taxonomy)'s to say; a node that carries an event takes all of them as they are.

use std::sync::Arc;

use crate::event::Text;
use crate::id::{Name, NameError};
use crate::limits;

/// Named texts of an event, in the order in which its raiser gave them. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Details(Arc<[(Name, Text)]>);

/// Why texts are no details.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetailsError {
    /// Leave some out.
    #[error("an event has at most {limit} details, this one has {0}", limit = limits::DETAILS)]
    TooMany(usize),
    /// Shorten one of them.
    #[error("the details of an event have at most {limit} bytes with their names, these have {0}", limit = limits::DETAILS_BYTES)]
    TooLong(usize),
    /// Name each once.
    #[error("detail {0} is there twice")]
    Twice(Name),
    /// A name is one of [`Name`].
    #[error("a detail's name: {0}")]
    Name(#[from] NameError),
    /// One line without control characters, and not an empty one.
    #[error("detail {0} is empty or holds control characters")]
    Text(Name),
}

impl Details {
    /// Checks and takes them.
    ///
    /// # Errors
    /// [`DetailsError`]
    pub fn new<'a>(details: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, DetailsError> {
        let (mut taken, mut bytes): (Vec<(Name, Text)>, usize) = (Vec::new(), 0);
        for (name, text) in details {
            let name = Name::new(name)?;
            bytes = bytes.saturating_add(name.as_str().len() + text.len());
            if bytes > limits::DETAILS_BYTES {
                return Err(DetailsError::TooLong(bytes));
            }
            if taken.len() >= limits::DETAILS {
                return Err(DetailsError::TooMany(taken.len() + 1));
            }
            if taken.iter().any(|(known, _)| *known == name) {
                return Err(DetailsError::Twice(name));
            }
            if text.is_empty() || text.chars().any(char::is_control) {
                return Err(DetailsError::Text(name));
            }
            let text = Text::new(text).map_err(|_| DetailsError::Text(name.clone()))?;
            taken.push((name, text));
        }
        Ok(Self(taken.into()))
    }

    /// The text of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    /// All of them, names first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_bounded_and_named_once() {
        let details = Details::new([("list", "wanted"), ("score", "0.9")]).unwrap();
        assert_eq!((details.get("score"), details.get("person"), details.len()), (Some("0.9"), None, 2));
        assert_eq!(Details::new([("a", "1"), ("a", "2")]), Err(DetailsError::Twice(Name::new("a").unwrap())));
        assert!(matches!(Details::new([("a", "")]), Err(DetailsError::Text(_))));
        assert!(matches!(Details::new([("a", "x\ny")]), Err(DetailsError::Text(_))));
        assert!(matches!(Details::new([("a b", "x")]), Err(DetailsError::Name(_))));
        let long = "x".repeat(limits::DETAILS_BYTES);
        assert!(matches!(Details::new([("a", long.as_str())]), Err(DetailsError::TooLong(_))));
        let names: Vec<String> = (0..=limits::DETAILS).map(|number| format!("n{number}")).collect();
        let many = Details::new(names.iter().map(|name| (name.as_str(), "x")));
        assert_eq!(many, Err(DetailsError::TooMany(limits::DETAILS + 1)));
    }
}
