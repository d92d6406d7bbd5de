//! Enums whose variants are words of the API, and descriptions of option values.

use thiserror::Error;

/// A text that is not one of the words of an option.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not one of {words}")]
pub struct UnknownWordError {
    /// The text.
    pub text: String,
    /// The valid words, separated by commas.
    pub words: String,
}

/// A value of an option that can be described to people.
pub trait Describe {
    /// Returns a short description of the value.
    fn describe(&self) -> String;
}

impl<T: Describe> Describe for Option<T> {
    fn describe(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::describe)
    }
}

/// An enum whose variants have one spelling in the API, the store and on the command line.
pub trait Words: Copy + 'static {
    /// All variants.
    const ALL: &'static [Self];

    /// Returns the spelling of the variant.
    fn as_str(self) -> &'static str;

    /// Returns the meaning of the variant, in one line.
    fn meaning(self) -> &'static str;

    /// Returns the variant with this spelling.
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
