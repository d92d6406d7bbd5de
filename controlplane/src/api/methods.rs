//! The methods: one table that dispatches calls and is what the OpenRPC document is made from.

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

type Run = for<'a> fn(
    &'a Services,
    Option<&'a Caller>,
    Option<&'a RawValue>,
) -> BoxFuture<'a, Result<Box<RawValue>, ErrorObject>>;

/// A method in the table.
pub(super) struct MethodEntry {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) examples: fn() -> Vec<Example>,
    /// Checks that these are params of it.
    #[cfg(test)]
    fits: fn(&Value) -> Result<(), String>,
    errors: &'static [ErrorKind],
    /// True if only a signed request may call it.
    pub(super) signed: bool,
    pub(super) mutates: bool,
    pub(super) params: fn(&mut SchemaGenerator) -> Schema,
    pub(super) result: fn(&mut SchemaGenerator) -> Schema,
    pub(super) run: Run,
}

/// Every method there is.
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
    /// Every kind of error that a call of it may come to once it is let in.
    pub(super) fn errors(&self) -> impl Iterator<Item = ErrorKind> {
        let store = self.signed.then_some(ErrorKind::Unavailable);
        let quotas = if self.mutates { &[ErrorKind::QuotaExceeded, ErrorKind::RateLimited][..] } else { &[] };
        let own = self.errors.iter().chain(quotas).copied();
        [ErrorKind::InvalidParams].into_iter().chain(own).chain([ErrorKind::Internal]).chain(store)
    }
}

/// The method of this name.
pub(super) fn find(name: &str) -> Option<&'static MethodEntry> {
    TABLE.iter().find(|entry| entry.name == name)
}

const fn entry<M: Method>() -> MethodEntry {
    MethodEntry {
        name: M::NAME,
        summary: M::SUMMARY,
        description: M::DESCRIPTION,
        examples: || M::examples().into_iter().map(Example::written).collect(),
        errors: M::ERRORS,
        #[cfg(test)]
        fits: |params| read::<M::Params>(&params.to_string()).map(drop).map_err(|error| error.message),
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
    let Some(who) = M::Caller::from_caller(caller) else {
        return Err(errors::internal("an unsigned call came through", &M::NAME));
    };
    let params = read::<M::Params>(params.map_or("{}", RawValue::get)).map_err(errors::invalid_params)?;
    let outcome = M::call(services, who, params).await.map_err(|refusal| errors::refused(&refusal))?;
    to_raw_value(&outcome).map_err(|error| errors::internal("a result cannot be written", &error))
}

/// Reads params; what does not fit is said with the field that is at fault.
fn read<P: DeserializeOwned + JsonSchema>(text: &str) -> Result<P, ParamsError> {
    let as_text = match serde_json::from_str(text) {
        Ok(params) => return Ok(params),
        Err(error) => error,
    };
    let complaint = |map: &Map<String, Value>| match P::deserialize(Value::Object(map.clone())) {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    let map: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    // Read from values, the complaint has no line numbers; what only the text has is a field given twice.
    let Some(message) = complaint(&map) else {
        let message = as_text.to_string();
        return Err(ParamsError::new(quoted(&message), message, &map));
    };
    // What is missing is at fault itself; else it is the field without which that is no longer the complaint.
    let missing = quoted(&message).filter(|_| message.starts_with("missing field "));
    let complaint_without = |key: &String| {
        let mut without = map.clone();
        without.remove(key);
        complaint(&without)
    };
    let changes_it = |key: &&String| complaint_without(key).as_ref() != Some(&message);
    // Without a param that is required, the complaint is that it is missing, whatever was at fault before.
    let is_required = |key: &&String| {
        complaint_without(key)
            .is_some_and(|complaint| complaint.starts_with(&format!("missing field `{key}`")))
    };
    let guilty = map.keys().find(|key| changes_it(key) && !is_required(key));
    let guilty = guilty.or_else(|| map.keys().find(changes_it));
    let field = missing.or_else(|| guilty.cloned()).or_else(|| quoted(&message));
    let message = match &field {
        Some(field) if !message.contains(&format!("`{field}`")) => format!("`{field}`: {message}"),
        Some(_) | None => message,
    };
    let message = if message.ends_with(&unknown(field.as_deref())) {
        format!("{message}, expected one of {}", names::<P>())
    } else {
        message
    };
    Err(ParamsError::new(field, message, &map))
}

/// Returns the complaint about a param that does not exist, where the params have options flattened in: it has no names.
fn unknown(field: Option<&str>) -> String {
    format!("unknown field `{}`", field.unwrap_or_default())
}

/// Returns the names of a method's params, as serde lists them.
fn names<P: JsonSchema>() -> String {
    let schema = SchemaGenerator::default().into_root_schema_for::<P>();
    let properties = schema.get("properties").and_then(Value::as_object);
    let names: Vec<String> =
        properties.into_iter().flat_map(Map::keys).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The field in "missing field `x`".
fn quoted(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" field `")?;
    rest.split_once('`').map(|(field, _)| field.to_owned())
}

#[cfg(test)]
mod tests {
    use webgateway_proto::api::{NodeDrain, RouteCreate};

    use super::*;

    #[test]
    fn params_that_do_not_fit_name_their_field() {
        for (text, field, word) in [
            ("{}", "backends", "missing"),
            (r#"{"backends":1}"#, "backends", "invalid type"),
            (r#"{"backends":["[400::1]:80", 2]}"#, "backends", "invalid type"),
            (r#"{"backends":[],"mode":"tunnel"}"#, "mode", "unknown variant"),
            (r#"{"backends":[],"id":"42"}"#, "id", "UUID"),
            (r#"{"backends":[],"health":[]}"#, "health", "invalid type"),
            (r#"{"backends":[],"health":{"intervall":1}}"#, "health", "unknown field `intervall`"),
            (r#"{"backends":[],"hots":"x"}"#, "hots", "unknown field"),
            (
                r#"{"backends":[],"hots":"x"}"#,
                "hots",
                "expected one of `backends`, `balance`, `dry_run`, `fqdn`",
            ),
            (r#"{"backends":[],"backends":[]}"#, "backends", "duplicate"),
        ] {
            let error = read::<RouteCreate>(text).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{text}: {}", error.message);
            assert!(error.message.contains(word), "{text}: {}", error.message);
        }
        assert!(read::<RouteCreate>(r#"{"backends":[]}"#).is_ok());
        let second = read::<NodeDrain>(r#"{"node":"edge2"}"#).unwrap_err();
        assert_eq!(second.field.as_deref(), Some("drain"), "of two that are required");
    }

    #[test]
    fn examples_are_calls_that_would_be_taken() {
        for entry in &TABLE {
            for example in (entry.examples)() {
                assert_eq!((entry.fits)(&example.params), Ok(()), "{}: {}", entry.name, example.params);
            }
        }
    }

    #[test]
    fn every_kind_of_error_belongs_to_a_request_or_a_method() {
        let given: Vec<ErrorKind> = TABLE.iter().flat_map(MethodEntry::errors).collect();
        for kind in ErrorKind::ALL {
            let is_requests =
                ErrorKind::ANY_REQUEST.contains(kind) || ErrorKind::SIGNED_REQUEST.contains(kind);
            assert!(
                is_requests != given.contains(kind),
                "{kind:?} is of a request, or in the ERRORS of a method"
            );
        }
    }

    #[test]
    fn three_methods_need_no_signature() {
        let open: Vec<_> = TABLE.iter().filter(|entry| !entry.signed).map(|entry| entry.name).collect();
        assert_eq!(open, ["health", "version", "rpc.discover"]);
        assert!(TABLE.iter().all(|entry| entry.signed || !entry.mutates));
    }
}
