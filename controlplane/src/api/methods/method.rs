//! The trait of API methods: their declaration, their handler and the services that they use.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::errors::ErrorKind;
use crate::api::long_poll::LongPolls;
use crate::domain::{Caller, Domain, DomainError};

/// The services that the handlers of methods use.
pub(in crate::api) struct Services {
    /// The rules of routes, users and nodes.
    pub(in crate::api) domain: Domain,
    /// The slots of calls that wait for a change.
    pub(in crate::api) long_polls: LongPolls,
    /// The OpenRPC document.
    pub(in crate::api) document: Value,
}

/// A method of the API.
pub(super) trait Method: 'static {
    /// The name, such as `routes.create`.
    const NAME: &'static str;
    /// The summary: one line on what the method does.
    const SUMMARY: &'static str;
    /// The description: further details, such as who may call the method.
    const DESCRIPTION: &'static str;
    /// The errors of the method, without those of every method (invalid params and internal errors).
    const ERRORS: &'static [ErrorKind];
    /// True if the method changes something. Its calls need a nonce.
    const MUTATES: bool = false;
    /// The caller that the handler gets: [`Caller`], or `()` if the method needs no signature.
    type Caller: FromCaller;
    /// The type of the params, an object.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send;
    /// The type of the result.
    type Output: Serialize + JsonSchema;

    /// Returns example calls with their results for the document. Every param occurs in one of them.
    fn examples() -> Vec<Example<Self::Params, Self::Output>>;

    /// Handles one call.
    fn call(
        services: &Services,
        caller: Self::Caller,
        params: Self::Params,
    ) -> impl Future<Output = Result<Self::Output, DomainError>> + Send;
}

/// An example of a call and its result.
pub(in crate::api) struct Example<P = Value, O = Value> {
    /// The title.
    pub(in crate::api) name: &'static str,
    /// The params.
    pub(in crate::api) params: P,
    /// The result.
    pub(in crate::api) result: O,
}

impl<P: Serialize, O: Serialize> Example<P, O> {
    /// Converts params and result to JSON.
    pub(super) fn into_json(self) -> Example {
        // A test fails if a value cannot be serialized: it would be null, which is not valid.
        let or_null = |value: serde_json::Result<Value>| value.unwrap_or_default();
        let (params, result) = (serde_json::to_value(self.params), serde_json::to_value(self.result));
        Example { name: self.name, params: or_null(params), result: or_null(result) }
    }
}

/// A type that a method receives as its caller.
pub(super) trait FromCaller: Sized + Send {
    /// True if requests that call the method must be signed.
    const SIGNED: bool;

    /// Converts the authenticated caller, if there is one. Returns `None` if the method needs one and there is none.
    fn from_caller(caller: Option<&Caller>) -> Option<Self>;
}

impl FromCaller for () {
    const SIGNED: bool = false;

    fn from_caller(_: Option<&Caller>) -> Option<Self> {
        Some(())
    }
}

impl FromCaller for Caller {
    const SIGNED: bool = true;

    fn from_caller(caller: Option<&Caller>) -> Option<Self> {
        caller.cloned()
    }
}
