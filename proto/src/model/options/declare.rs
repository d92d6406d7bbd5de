//! The macro that declares the options and their patches.

/// Declares `RouteOptions` and `RouteOptionsPatch`: `name: Type = sample;`, where the sample is a value other than the
/// default, from which examples are made and with which every conversion is tested.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $(#[serde($($serde:tt)*)])* $name:ident: $type:ty = $sample:expr;)+) => {
        /// Everything that a route says beyond its host, its mode and its backends.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub struct RouteOptions {
            $($(#[doc = $doc])+ $(#[serde($($serde)*)])* pub $name: $type,)+
        }

        /// Changes of options: one that is left out stays as it is, `null` gives it its default again.
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

            /// Returns options of which none has its default.
            #[must_use]
            pub fn sample() -> Self {
                Self { $($name: $sample),+ }
            }

            /// Returns the names of the options that differ from their defaults.
            #[must_use]
            pub fn given(&self) -> Vec<&'static str> {
                let default = Self::default();
                let given = [$((stringify!($name), self.$name != default.$name)),+];
                given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
            }

            /// Returns each option by name, described in a few words.
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
            /// Gives the option of this name its default again; `false` if there is no such option.
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
