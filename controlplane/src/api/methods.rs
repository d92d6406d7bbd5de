//! The method table, which dispatches calls and describes the methods for the OpenRPC document.

mod admin;
mod audit;
mod certificates;
mod explain;
mod method;
mod nodes;
mod routes;
mod samples;
mod system;

use futures_util::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use webgateway_proto::api::jsonrpc::ErrorObject;

pub(super) use self::method::{Example, Services};
use self::method::{FromCaller, Method};
use super::errors::{self, ErrorKind, ParamsError};
use crate::domain::Caller;

/// Runs a call of a method with its caller and its params, and returns the serialized result.
type RunFn = for<'a> fn(
    &'a Services,
    Option<&'a Caller>,
    Option<&'a RawValue>,
) -> BoxFuture<'a, Result<Box<RawValue>, ErrorObject>>;

/// The entry of a method in [`TABLE`].
pub(super) struct MethodEntry {
    /// The name of the method.
    pub(super) name: &'static str,
    /// The summary in one line.
    pub(super) summary: &'static str,
    /// The description.
    pub(super) description: &'static str,
    /// Returns the examples.
    pub(super) examples: fn() -> Vec<Example>,
    /// Checks that a value is valid params of the method.
    #[cfg(test)]
    check_params: fn(&Value) -> Result<(), String>,
    /// The errors that the method declares.
    errors: &'static [ErrorKind],
    /// True if the method may be called only in a signed request.
    pub(super) signed: bool,
    /// True if the method changes something.
    pub(super) mutates: bool,
    /// Returns the schema of the params.
    pub(super) params: fn(&mut SchemaGenerator) -> Schema,
    /// Returns the schema of the result.
    pub(super) result: fn(&mut SchemaGenerator) -> Schema,
    /// Runs a call.
    pub(super) run: RunFn,
}

/// All methods.
pub(super) static TABLE: [MethodEntry; 24] = [
    entry::<routes::Create>(),
    entry::<routes::List>(),
    entry::<routes::Get>(),
    entry::<routes::Update>(),
    entry::<routes::Delete>(),
    entry::<explain::Explain>(),
    entry::<certificates::List>(),
    entry::<certificates::Get>(),
    entry::<certificates::Renew>(),
    entry::<certificates::Root>(),
    entry::<admin::Suspend>(),
    entry::<admin::Unsuspend>(),
    entry::<admin::Users>(),
    entry::<admin::Quota>(),
    entry::<nodes::List>(),
    entry::<nodes::Invite>(),
    entry::<nodes::Drain>(),
    entry::<nodes::Remove>(),
    entry::<explain::Wait>(),
    entry::<audit::List>(),
    entry::<audit::Export>(),
    entry::<system::HealthStatus>(),
    entry::<system::Version>(),
    entry::<system::Discover>(),
];

impl MethodEntry {
    /// Returns the kinds of error that an authenticated call of the method may have.
    pub(super) fn errors(&self) -> impl Iterator<Item = ErrorKind> {
        let store = self.signed.then_some(ErrorKind::Unavailable);
        let quotas = if self.mutates { &[ErrorKind::QuotaExceeded, ErrorKind::RateLimited][..] } else { &[] };
        let own = self.errors.iter().chain(quotas).copied();
        [ErrorKind::InvalidParams].into_iter().chain(own).chain([ErrorKind::Internal]).chain(store)
    }
}

/// Returns the method with this name.
pub(super) fn find(name: &str) -> Option<&'static MethodEntry> {
    TABLE.iter().find(|entry| entry.name == name)
}

const fn entry<M: Method>() -> MethodEntry {
    MethodEntry {
        name: M::NAME,
        summary: M::SUMMARY,
        description: M::DESCRIPTION,
        examples: || M::examples().into_iter().map(Example::into_json).collect(),
        errors: M::ERRORS,
        #[cfg(test)]
        check_params: |params| {
            parse_params::<M::Params>(&params.to_string()).map(drop).map_err(|error| error.message)
        },
        signed: <M::Caller as FromCaller>::SIGNED,
        mutates: M::MUTATES,
        params: |generator| generator.root_schema_for::<M::Params>(),
        result: |generator| generator.subschema_for::<M::Output>(),
        run: |services, caller, params| Box::pin(run::<M>(services, caller, params)),
    }
}

async fn run<M: Method>(
    services: &Services,
    caller: Option<&Caller>,
    params: Option<&RawValue>,
) -> Result<Box<RawValue>, ErrorObject> {
    let Some(caller) = M::Caller::from_caller(caller) else {
        return Err(errors::log_internal_error("unsigned call of a signed method", &M::NAME));
    };
    let params =
        parse_params::<M::Params>(params.map_or("{}", RawValue::get)).map_err(errors::invalid_params)?;
    let outcome =
        M::call(services, caller, params).await.map_err(|refusal| errors::domain_error(&refusal))?;
    to_raw_value(&outcome)
        .map_err(|error| errors::log_internal_error("a result cannot be serialized", &error))
}

/// Deserializes params. The error names the invalid field. Serde does not report it, so it is found by leaving out one
/// field after the other.
fn parse_params<P: DeserializeOwned + JsonSchema>(text: &str) -> Result<P, ParamsError> {
    let text_error = match serde_json::from_str(text) {
        Ok(params) => return Ok(params),
        Err(error) => error,
    };
    let deserialize_error = |map: &Map<String, Value>| match P::deserialize(Value::Object(map.clone())) {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    let map: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    // The error of a `Value` has no line numbers. Only the text can have a duplicate field.
    let Some(message) = deserialize_error(&map) else {
        let message = text_error.to_string();
        return Err(ParamsError::new(quoted_field(&message), message, &map));
    };
    // If a field is missing, it is the one to report. Otherwise it is the field without which the error changes.
    let missing = quoted_field(&message).filter(|_| message.starts_with("missing field "));
    let error_without = |key: &String| {
        let mut without = map.clone();
        without.remove(key);
        deserialize_error(&without)
    };
    let changes_error = |key: &&String| error_without(key).as_ref() != Some(&message);
    // Removing a required field always changes the error, to "missing field", so optional fields are preferred.
    let is_required = |key: &&String| {
        error_without(key).is_some_and(|error| error.starts_with(&format!("missing field `{key}`")))
    };
    let invalid = map.keys().find(|key| changes_error(key) && !is_required(key));
    let invalid = invalid.or_else(|| map.keys().find(changes_error));
    let field = missing.or_else(|| invalid.cloned()).or_else(|| quoted_field(&message));
    let message = match &field {
        Some(field) if !message.contains(&format!("`{field}`")) => format!("`{field}`: {message}"),
        Some(_) | None => message,
    };
    let message = if message.ends_with(&unknown_field_message(field.as_deref())) {
        format!("{message}, expected one of {}", param_names::<P>())
    } else {
        message
    };
    Err(ParamsError::new(field, message, &map))
}

/// Returns the message of serde for an unknown param of a type with flattened options. It does not list the names.
fn unknown_field_message(field: Option<&str>) -> String {
    format!("unknown field `{}`", field.unwrap_or_default())
}

/// Returns the names of the params of type `P` in backticks, separated by commas.
fn param_names<P: JsonSchema>() -> String {
    let schema = SchemaGenerator::default().into_root_schema_for::<P>();
    let properties = schema.get("properties").and_then(Value::as_object);
    let names: Vec<String> =
        properties.into_iter().flat_map(Map::keys).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Returns the field name `x` in a message such as "missing field `x`".
fn quoted_field(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" field `")?;
    rest.split_once('`').map(|(field, _)| field.to_owned())
}

#[cfg(test)]
mod tests {
    use webgateway_proto::api::{NodeDrain, RouteCreate};

    use super::*;

    #[test]
    fn the_error_for_invalid_params_names_the_field() {
        for (text, field, word) in [
            ("{}", "backends", "missing"),
            (r#"{"backends":1}"#, "backends", "invalid type"),
            (r#"{"backends":["[400::1]:80", 2]}"#, "backends", "invalid type"),
            (r#"{"backends":[],"mode":"tunnel"}"#, "mode", "unknown variant"),
            (r#"{"backends":[],"id":"42"}"#, "id", "UUID"),
            (r#"{"backends":[],"health":[]}"#, "health", "invalid type"),
            (r#"{"backends":[],"health":{"intervall":1}}"#, "health", "unknown field `intervall`"),
            (r#"{"backends":[],"hots":"x"}"#, "hots", "unknown field"),
            (r#"{"backends":[],"hots":"x"}"#, "hots", "expected one of `allow`,"),
            (r#"{"backends":[],"backends":[]}"#, "backends", "duplicate"),
        ] {
            let error = parse_params::<RouteCreate>(text).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{text}: {}", error.message);
            assert!(error.message.contains(word), "{text}: {}", error.message);
        }
        assert!(parse_params::<RouteCreate>(r#"{"backends":[]}"#).is_ok());
        let second = parse_params::<NodeDrain>(r#"{"node":"edge2"}"#).unwrap_err();
        assert_eq!(second.field.as_deref(), Some("drain"), "the second of two required params is missing");
    }

    #[test]
    fn examples_have_valid_params() {
        for entry in &TABLE {
            for example in (entry.examples)() {
                assert_eq!(
                    (entry.check_params)(&example.params),
                    Ok(()),
                    "{}: {}",
                    entry.name,
                    example.params
                );
            }
        }
    }

    #[test]
    fn every_kind_of_error_belongs_to_a_request_or_a_method() {
        let declared: Vec<ErrorKind> = TABLE.iter().flat_map(MethodEntry::errors).collect();
        for kind in ErrorKind::ALL {
            let is_of_requests =
                ErrorKind::ANY_REQUEST.contains(kind) || ErrorKind::SIGNED_REQUEST.contains(kind);
            assert!(
                is_of_requests != declared.contains(kind),
                "{kind:?} must be either an error of any request or in the ERRORS of a method"
            );
        }
    }

    #[test]
    fn three_methods_need_no_signature() {
        let unsigned: Vec<_> = TABLE.iter().filter(|entry| !entry.signed).map(|entry| entry.name).collect();
        assert_eq!(unsigned, ["health", "version", "rpc.discover"]);
        assert!(TABLE.iter().all(|entry| entry.signed || !entry.mutates));
    }
}
