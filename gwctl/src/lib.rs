//! A client library for webgateway's API: signed JSON-RPC calls with typed params and results. `gwctl` uses it too.
//!
//! A [`Client`] calls one gateway at an [`Endpoint`]; a [`Signer`] signs its requests (RFC 9421). [`api`] defines the
//! method names, params and results; [`keys`] generates and loads key pairs. A failed call returns a [`CallError`],
//! whose [`ErrorKind`] tells programs what went wrong. Calls need a tokio runtime.
//!
//! ```no_run
//! use gwctl::api::{RouteList, RouteListParams, method};
//! use gwctl::{Client, Endpoint, Signer, keys};
//!
//! # async fn list() -> Result<(), Box<dyn std::error::Error>> {
//! let key = keys::load("user1.priv".as_ref())?.key;
//! let client = Client::new(Endpoint::parse("https://gateway.example.com/rpc")?)
//!     .signed_by(Signer::new("user1.pub".parse()?, key));
//! let list: RouteList = client.call(method::ROUTES_LIST, &RouteListParams::default()).await?;
//! for route in list.routes {
//!     println!("{} -> {}", route.host, route.backends.join(", "));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The kind of an error decides what a program does next:
//!
//! ```no_run
//! # use gwctl::api::{RouteRef, RouteView, method};
//! # use gwctl::{CallError, Client, ErrorKind};
//! # async fn find(client: &Client, id: String) -> Result<Option<RouteView>, CallError> {
//! match client.call(method::ROUTES_GET, &RouteRef { id }).await {
//!     Ok(route) => Ok(Some(route)),
//!     Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
//!     Err(error) => Err(error),
//! }
//! # }
//! ```
//!
//! The feature `cli`, on by default, adds the dependencies of the command line; a library user can disable it.

mod client;
mod clock;
mod endpoint;
pub mod keys;

pub use webgateway_proto::{api, model};

pub use self::client::{
    CallError, Client, ErrorKind, Observer, Signer, TransportError, UnexpectedResponseError,
};
pub use self::endpoint::{Endpoint, UrlError};
