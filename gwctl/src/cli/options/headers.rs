//! The flags of changes of header fields.

use clap::Args;
use webgateway_proto::model::options::{HeaderChanges, HeaderRules};
use webgateway_proto::model::{Patch, RouteOptionsPatch};

use super::error::OptionError;

/// The flags of `headers`. Together they are one option: in an update, they replace all current changes.
#[derive(Debug, Args)]
pub(super) struct HeaderFlags {
    /// Remove a field from requests to backends, such as Accept-Encoding; repeatable. The --headers flags of an update
    /// replace all current changes
    #[arg(long, value_name = "NAME")]
    headers_request_remove: Vec<String>,
    /// Set a field in requests to backends, such as 'X-Tier: gold', in place of all fields of this name; repeatable
    #[arg(long, value_name = "FIELD")]
    headers_request_set: Vec<String>,
    /// Add a field to requests to backends; repeatable
    #[arg(long, value_name = "FIELD")]
    headers_request_add: Vec<String>,
    /// Remove a field from responses to clients, such as Server; repeatable
    #[arg(long, value_name = "NAME")]
    headers_response_remove: Vec<String>,
    /// Set a field in responses to clients, such as 'X-Frame-Options: DENY', in place of all fields of this name;
    /// repeatable
    #[arg(long, value_name = "FIELD")]
    headers_response_set: Vec<String>,
    /// Add a field to responses to clients, such as 'Link: </a.css>; rel=preload'; repeatable
    #[arg(long, value_name = "FIELD")]
    headers_response_add: Vec<String>,
}

/// The flags of one direction.
struct DirectionFlags<'a> {
    remove: (&'static str, &'a [String]),
    set: (&'static str, &'a [String]),
    add: (&'static str, &'a [String]),
}

impl HeaderFlags {
    /// Adds the flags to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        let request = DirectionFlags {
            remove: ("--headers-request-remove", &self.headers_request_remove),
            set: ("--headers-request-set", &self.headers_request_set),
            add: ("--headers-request-add", &self.headers_request_add),
        };
        let response = DirectionFlags {
            remove: ("--headers-response-remove", &self.headers_response_remove),
            set: ("--headers-response-set", &self.headers_response_set),
            add: ("--headers-response-add", &self.headers_response_add),
        };
        let rules = HeaderRules::new(request.changes()?, response.changes()?);
        if !rules.is_empty() {
            patch.headers = Patch::Set(rules);
        }
        Ok(())
    }
}

impl DirectionFlags<'_> {
    fn changes(&self) -> Result<HeaderChanges, OptionError> {
        let remove: Vec<&str> = self.remove.1.iter().map(String::as_str).collect();
        let (set, add) = (fields(self.set)?, fields(self.add)?);
        let of = |flag: &'static str| move |error| OptionError::new(flag, &error);
        // Each flag alone, to name the one at fault, and then all together.
        HeaderChanges::parse(&remove, &[], &[]).map_err(of(self.remove.0))?;
        HeaderChanges::parse(&[], &set, &[]).map_err(of(self.set.0))?;
        HeaderChanges::parse(&[], &[], &add).map_err(of(self.add.0))?;
        HeaderChanges::parse(&remove, &set, &add).map_err(of(self.set.0))
    }
}

/// Splits fields such as `X-A: b` into names and values.
fn fields<'a>((flag, texts): (&'static str, &'a [String])) -> Result<Vec<(&'a str, &'a str)>, OptionError> {
    let split = |text: &'a String| {
        let field = text.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        field.ok_or_else(|| OptionError::no_field(flag, text))
    };
    texts.iter().map(split).collect()
}
