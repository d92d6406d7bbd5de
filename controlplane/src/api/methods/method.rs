//! A method of the API: what each one declares and does, and what it works with.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::fault::Kind;
use crate::api::waiting::Waiting;
use crate::domain::{Caller, Domain, DomainError};

/// The services that methods use.
pub(in crate::api) struct Services {
    /// The rules.
    pub(in crate::api) domain: Domain,
    /// The callers that wait for a change.
    pub(in crate::api) waiting: Waiting,
    /// The OpenRPC document.
    pub(in crate::api) document: Value,
}

/// One method of the API.
pub(super) trait Method: 'static {
    /// The name.
    const NAME: &'static str;
    /// The summary, one line: what it does.
    const SUMMARY: &'static str;
    /// The description: everything else there is to know, such as who may call it.
    const DESCRIPTION: &'static str;
    /// The errors it returns, apart from those of any method: params that do not fit, and faults of ours.
    const ERRORS: &'static [Kind];
    /// True if it changes something; a nonce is needed then.
    const MUTATES: bool = false;
    /// The caller it takes: nobody in particular, or a [`Caller`].
    type Who: Admission;
    /// The params, by name.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send;
    /// The result.
    type Outcome: Serialize + JsonSchema;

    /// Returns calls and what they return, for the document: every param is in one of them.
    fn examples() -> Vec<Example<Self::Params, Self::Outcome>>;

    /// Runs one call.
    fn call(
        services: &Services,
        who: Self::Who,
        params: Self::Params,
    ) -> impl Future<Output = Result<Self::Outcome, DomainError>> + Send;
}

/// A call and what it returns.
pub(in crate::api) struct Example<P = Value, O = Value> {
    /// A title: the case that it shows.
    pub(in crate::api) name: &'static str,
    /// The params.
    pub(in crate::api) params: P,
    /// The result.
    pub(in crate::api) result: O,
}

impl<P: Serialize, O: Serialize> Example<P, O> {
    /// The same as JSON.
    pub(super) fn written(self) -> Example {
        // What cannot be written is null, which no params are: a test looks.
        let written = |value: serde_json::Result<Value>| value.unwrap_or_default();
        let (params, result) = (serde_json::to_value(self.params), serde_json::to_value(self.result));
        Example { name: self.name, params: written(params), result: written(result) }
    }
}

/// A caller that a method may take.
pub(super) trait Admission: Sized + Send {
    /// True if the request has to be signed.
    const SIGNED: bool;

    /// Returns the caller as the method takes it; `None` if it takes none who signed nothing.
    fn admit(caller: Option<&Caller>) -> Option<Self>;
}

impl Admission for () {
    const SIGNED: bool = false;

    fn admit(_: Option<&Caller>) -> Option<Self> {
        Some(())
    }
}

impl Admission for Caller {
    const SIGNED: bool = true;

    fn admit(caller: Option<&Caller>) -> Option<Self> {
        caller.cloned()
    }
}
