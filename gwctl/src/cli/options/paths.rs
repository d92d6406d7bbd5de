//! The flag of path rules.

use clap::Args;
use webgateway_proto::model::options::{InvalidPathRuleError, InvalidPathRulesError, PathRule, PathRules};
use webgateway_proto::model::{InvalidBackendError, InvalidBackendsError, Patch, RouteOptionsPatch};

use super::error::OptionError;

const FLAG: &str = "--paths";

/// The flag of `paths`.
#[derive(Debug, Args)]
pub(super) struct PathFlags {
    /// A rule for a path and everything below it, or for one path if written exact:PATH; repeatable. The target is a list
    /// of backends, `strip` or `replace:PATH`, separated by commas, or a redirect with its status:
    /// '/api=[54f:1::2]:8080,strip', '/app=replace:/v2', '/old=301:https://example.org/new{path}',
    /// 'exact:/robots.txt=self:8081'. Without a target, the backends are those of the route. The given rules replace all
    /// current ones
    #[arg(long, value_name = "RULE")]
    paths: Vec<String>,
}

impl PathFlags {
    /// Adds the flag to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        if self.paths.is_empty() {
            return Ok(());
        }
        let parse = |text: &String| text.parse::<PathRule>().map_err(|error| rule_error(text, error));
        let rules = self.paths.iter().map(parse).collect::<Result<_, _>>()?;
        let rules = PathRules::new(rules).map_err(|error| OptionError::new(FLAG, &error))?;
        patch.paths = Patch::Set(rules);
        Ok(())
    }

    /// Iterates over the words of the rules that may be backends.
    pub(super) fn backends(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().flat_map(|rule| words(rule).1)
    }

    /// Replaces the backends for which `replacement` returns another spelling.
    pub(super) fn replace_backends(&mut self, replacement: impl Fn(&str) -> Option<String>) {
        for rule in &mut self.paths {
            let (start, words) = words(rule);
            let words: Vec<String> =
                words.map(|word| replacement(word).unwrap_or_else(|| word.to_owned())).collect();
            *rule = format!("{start}{}", words.join(","));
        }
    }
}

/// Splits a rule into its beginning with `=`, and the words of its target.
fn words(rule: &str) -> (&str, impl Iterator<Item = &str>) {
    let (start, target) = rule.split_at(rule.find('=').map_or(rule.len(), |at| at + 1));
    (start, target.split(','))
}

fn rule_error(rule: &str, error: InvalidPathRuleError) -> OptionError {
    let hint = match &error {
        InvalidPathRuleError::Backends(InvalidBackendsError::Backend(
            InvalidBackendError::NoPort(..)
            | InvalidBackendError::NoBrackets(..)
            | InvalidBackendError::Malformed(_),
        )) => Some(
            "write an IP address, such as --paths '/api=[54f:1::2]:8080'; host names are not resolved, but self:8080 \
             means this machine",
        ),
        _ => None,
    };
    OptionError::new(FLAG, &InvalidPathRulesError::Rule(format!("`{rule}`"), error)).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn self_is_replaced_in_targets_only() {
        let rules =
            ["/self:1=self:8080,[400::1]:80,strip", "/a", "/b=301:/self:1,self:2", "exact:/c=self:81"];
        let mut flags = PathFlags { paths: rules.map(str::to_owned).to_vec() };
        assert_eq!(flags.backends().filter(|word| word.starts_with("self:")).count(), 3);
        let port = |word: &str| Some(format!("[400::9]:{}", word.strip_prefix("self:")?));
        flags.replace_backends(port);
        let expected = [
            "/self:1=[400::9]:8080,[400::1]:80,strip",
            "/a",
            "/b=301:/self:1,[400::9]:2",
            "exact:/c=[400::9]:81",
        ];
        assert_eq!(flags.paths, expected);
    }

    #[test]
    fn an_error_names_the_rule() {
        for (rule, message, has_hint) in [
            (
                "/api=[400::2]",
                "path rule `/api=[400::2]`: `[400::2]` has no port: write, for example, [400::2]:8080",
                true,
            ),
            ("/api=400::2:80", "needs brackets around the IPv6 address: write [400::2]:80", true),
            ("/api=example.org:80", "`example.org:80` is not an address and a port", true),
            ("/api=http://[400::2]:80", "or a redirect with its status", false),
            ("api=[400::2]:80", "path rule `api=[400::2]:80`: `api` is not a path", false),
        ] {
            let flags = PathFlags { paths: vec![rule.to_owned()] };
            let error = flags.add_to(&mut RouteOptionsPatch::default()).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert_eq!((error.flag, error.hint.is_some()), ("--paths", has_hint), "{rule}");
        }
    }
}
