//! Enums of words, and what a person reads of a value.

use thiserror::Error;

/// A text that is none of the words of an option.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is none of {words}")]
pub struct UnknownWordError {
    /// The text.
    pub text: String,
    /// The words, separated by commas.
    pub words: String,
}

/// A value of an option as a person reads it.
pub trait Describe {
    /// Returns the value in a few words.
    fn describe(&self) -> String;
}

impl<T: Describe> Describe for Option<T> {
    fn describe(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::describe)
    }
}

/// An enum of words, each with its spelling in the API, the store and on the command line.
pub trait Words: Copy + 'static {
    /// Every word.
    const ALL: &'static [Self];

    /// Returns the spelling.
    fn as_str(self) -> &'static str;

    /// Returns what the word means, in one line.
    fn meaning(self) -> &'static str;

    /// Returns the word that is spelled so.
    fn parse(text: &str) -> Result<Self, UnknownWordError> {
        let known = Self::ALL.iter().copied().find(|word| word.as_str() == text);
        known.ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|word| word.as_str()).collect();
            UnknownWordError { text: text.to_owned(), words: words.join(", ") }
        })
    }
}

/// Declares an enum that is spelled the same everywhere: `Variant = "word"`.
macro_rules! words {
    ($(#[$attr:meta])* pub enum $name:ident {
        $(#[doc = $meaning:literal] $(#[$more:meta])* $word:ident = $text:literal,)+
    }) => {
        $(#[$attr])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name {
            $(#[doc = $meaning] $(#[$more])* #[serde(rename = $text)] $word,)+
        }

        impl $crate::model::Words for $name {
            const ALL: &'static [Self] = &[$(Self::$word),+];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)+
                }
            }

            fn meaning(self) -> &'static str {
                match self {
                    $(Self::$word => $meaning.trim_ascii(),)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::model::Words::as_str(*self))
            }
        }

        impl $crate::model::Describe for $name {
            fn describe(&self) -> String {
                self.to_string()
            }
        }
    };
}

pub(super) use words;
