//! The macro that declares the options and their patches.

/// Declares `RouteOptions` and `RouteOptionsPatch` from lines `name: Type = sample;`. The sample is a value other than
/// the default, for examples in documents and for tests of every conversion.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $(#[serde($($serde:tt)*)])* $name:ident: $type:ty = $sample:expr;)+) => {
        /// The options of a route: all its properties except host, mode and backends.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub struct RouteOptions {
            $($(#[doc = $doc])+ $(#[serde($($serde)*)])* pub $name: $type,)+
        }

        /// Changes of route options. An absent option remains unchanged; `null` resets it to its default.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub struct RouteOptionsPatch {
            $(
                $(#[doc = $doc])+
                #[serde(default, skip_serializing_if = "Patch::is_keep")]
                pub $name: Patch<$type>,
            )+
        }

        impl RouteOptions {
            /// The names of the options.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// Returns options that all differ from their defaults.
            #[must_use]
            pub fn sample() -> Self {
                Self { $($name: $sample),+ }
            }

            /// Returns the names of the options that differ from their defaults.
            #[must_use]
            pub fn non_defaults(&self) -> Vec<&'static str> {
                let default = Self::default();
                let options = [$((stringify!($name), self.$name != default.$name)),+];
                options.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
            }

            /// Returns the name and a short description of each option.
            #[must_use]
            pub fn describe(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($name), self.$name.describe())),+]
            }

            /// Returns the patch that makes these options `target`.
            #[must_use]
            pub fn patch_to(&self, target: &Self) -> RouteOptionsPatch {
                let default = Self::default();
                RouteOptionsPatch { $($name: Patch::between(&self.$name, &target.$name, &default.$name)),+ }
            }

            /// Returns these options changed by `patch`.
            #[must_use]
            pub fn patched(&self, patch: RouteOptionsPatch) -> Self {
                let default = Self::default();
                Self { $($name: patch.$name.apply(&self.$name, default.$name)),+ }
            }
        }

        impl RouteOptionsPatch {
            /// Resets the option with this name to its default. Returns false if there is no such option.
            #[must_use]
            pub fn reset(&mut self, name: &str) -> bool {
                match name {
                    $(stringify!($name) => self.$name = Patch::Reset,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

pub(super) use options;
