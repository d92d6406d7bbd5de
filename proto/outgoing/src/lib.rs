//! Outgoing HTTPS through the proxy of `HTTPS_PROXY` or `ALL_PROXY`, except to the hosts of `NO_PROXY`, as in curl.
//!
//! Only https uses the proxy, by CONNECT, so that the proxy sees no more than the destination.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use thiserror::Error;
use tower::{Service, ServiceExt as _};

type BoxError = Box<dyn Error + Send + Sync>;

/// The variables that name the proxy, in order of precedence. Empty ones are ignored.
const PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// The variables that list the hosts to be reached without the proxy.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A failed connection through the proxy.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The variable does not contain the URL of an HTTP proxy.
    #[error(
        "`{0}` does not name a proxy that can be used: it must be http://HOST:PORT, with USER:PASSWORD@ before HOST where the proxy wants that"
    )]
    Invalid(&'static str),
    /// The proxy cannot be reached, or refuses the tunnel to the server.
    #[error("the proxy {authority} of `{variable}` does not lead there")]
    Tunnel {
        /// The host and port of the proxy.
        authority: String,
        /// The variable that names it.
        variable: &'static str,
        /// The cause.
        source: BoxError,
    },
}

/// The proxy settings. Clones share them.
#[derive(Debug, Clone)]
struct Proxies(Option<Arc<ProxySettings>>);

/// The proxy of the environment, and the servers that are reached without it.
#[derive(Debug)]
struct ProxySettings {
    /// The variable that names the proxy.
    variable: &'static str,
    /// The proxy; `None` if the variable is invalid.
    proxy: Option<Intercept>,
    /// The matcher, which intercepts no server of `NO_PROXY`.
    matcher: Matcher,
}

/// A connector to http servers directly, and to https servers through the proxy of the environment, if there is one.
#[derive(Debug, Clone)]
pub struct ProxyConnector<C> {
    direct: C,
    proxies: Proxies,
}

impl Proxies {
    /// Reads the variables with `read`.
    fn new(read: impl Fn(&'static str) -> Option<String>) -> Self {
        let set = |name: &&'static str| {
            let value = read(name)?.trim().to_owned();
            (!value.is_empty()).then_some((*name, value))
        };
        let Some((variable, value)) = PROXY.iter().find_map(set) else { return Self(None) };
        let no = NO_PROXY.iter().find_map(set).map(|(_, value)| value).unwrap_or_default();
        let proxy =
            Matcher::builder().https(value).build().intercept(&Uri::from_static("https://any.invalid"));
        let proxy = proxy.filter(|proxy| proxy.uri().scheme() == Some(&Scheme::HTTP));
        let matcher = Matcher::builder().https("http://any.invalid").no(no).build();
        Self(Some(Arc::new(ProxySettings { variable, proxy, matcher })))
    }

    /// Returns the proxy for `server`, with the variable that names it.
    fn find(&self, server: &Uri) -> Result<Option<(&Intercept, &'static str)>, ProxyError> {
        let Some(named) = self.0.as_ref().filter(|named| named.matcher.intercept(server).is_some()) else {
            return Ok(None);
        };
        let proxy = named.proxy.as_ref().ok_or(ProxyError::Invalid(named.variable))?;
        Ok(Some((proxy, named.variable)))
    }
}

impl<C> ProxyConnector<C> {
    /// Makes a connector that uses `direct` for all TCP connections. Reads the environment once.
    #[must_use]
    pub fn from_env(direct: C) -> Self {
        Self { direct, proxies: Proxies::new(|name| std::env::var(name).ok()) }
    }
}

impl<C> Service<Uri> for ProxyConnector<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let (direct, proxies) = (self.direct.clone(), self.proxies.clone());
        Box::pin(async move {
            let Some((proxy, variable)) = proxies.find(&server)? else {
                return direct.oneshot(server).await.map_err(Into::into);
            };
            let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
            if let Some(auth) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(auth.clone());
            }
            tunnel.oneshot(server).await.map_err(|error| {
                let authority = proxy.uri().authority().map(ToString::to_string).unwrap_or_default();
                ProxyError::Tunnel { authority, variable, source: error.into() }.into()
            })
        })
    }
}

#[cfg(test)]
mod tests;
