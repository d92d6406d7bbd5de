//! A client of webgateway's API: signed JSON-RPC calls with typed params and results, as `gwctl` itself makes them.
//!
//! A [`Client`] calls one gateway, whose URL is an [`Endpoint`]; a [`Signer`] signs what it sends (RFC 9421).
//! Method names, params and results stand in [`api`]; a key pair is read and made by [`keys`]. A call that
//! fails says why ([`CallError`]), and of which kind that is ([`ErrorKind`]). Calls need a tokio runtime.
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
//!     println!("{} leads to {}", route.host, route.backends.join(", "));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A refusal of the gateway has a kind, and a stable word that tells it apart:
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
//! Without the feature `cli`, which is on by default, only what this library needs is built.

mod client;
mod clock;
mod endpoint;
pub mod keys;

pub use webgateway_proto::{api, model};

pub use self::client::{CallError, Client, ErrorKind, NotRpcError, Observer, Signer, TransportError};
pub use self::endpoint::{Endpoint, InvalidUrl};
