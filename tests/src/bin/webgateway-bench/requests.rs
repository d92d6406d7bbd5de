//! The calls: a mix of reads and a mix of mutations by 1,000 users, all signed in advance.

use std::time::Duration;

use anyhow::{Context, Result};
use http::header::HOST;
use http::{HeaderValue, Request, Uri};
use http_body_util::Full;
use serde_json::{Value, json};
use uuid::Uuid;
use webgateway_tests::seed::{self, OWNERS};
use webgateway_tests::signer::{SignatureParams, Signer, call};

use crate::deployment::{ADMIN, Deployment};
use crate::drive::ScheduledRequest;

/// A kind of calls that is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of 10 calls: 7 `routes.get`, 2 lists of the caller's routes, 1 list of one owner's routes by the admin; 50
    /// routes each.
    Read,
    /// Of 4 calls: 1 `routes.create`, 2 `routes.update`, 1 `routes.delete`.
    Mutation,
}

/// The users, and the number of their calls so far.
pub(crate) struct Callers {
    owners: Vec<Signer>,
    admin: Signer,
    url: String,
    routes: u64,
    seed: u64,
    asked: u64,
}

impl Callers {
    /// Creates the users and publishes their keys to the controlplane.
    pub(crate) fn new(deployment: &Deployment, routes: u64, seed: u64) -> Result<Self> {
        let made = |number: u64, id: &str| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            let signer = Signer::from_seed(bytes, id)?;
            signer.publish(&deployment.keys())?;
            anyhow::Ok(signer)
        };
        let owners = (0..OWNERS).map(|n| made(n, &seed::owner(n))).collect::<Result<_>>()?;
        let admin = made(OWNERS, ADMIN)?;
        Ok(Self { owners, admin, url: deployment.url(), routes, seed, asked: 0 })
    }

    /// Returns signed requests at `rate` per second for `seconds` seconds.
    pub(crate) fn sign(&mut self, kind: Kind, rate: u64, seconds: u64) -> Result<Vec<ScheduledRequest>> {
        let due = |n: u64| Duration::from_secs_f64(n as f64 / rate as f64);
        (0..rate * seconds)
            .map(|n| Ok(ScheduledRequest { after: due(n), request: self.request(kind)? }))
            .collect()
    }

    fn request(&mut self, kind: Kind) -> Result<Request<Full<bytes::Bytes>>> {
        self.asked += 1;
        let (signer, method, params) = match kind {
            Kind::Read => self.read(),
            Kind::Mutation => self.mutation(),
        };
        let body = call(method, params).to_string();
        let (mut head, body) = signer.post(&self.url, &body, &SignatureParams::fresh())?.into_parts();
        let authority = head.uri.authority().context("an absolute URI")?.to_string();
        head.headers.insert(HOST, HeaderValue::from_str(&authority)?);
        head.uri = Uri::from_static("/rpc");
        Ok(Request::from_parts(head, Full::from(body)))
    }

    fn read(&self) -> (&Signer, &'static str, Value) {
        let route = self.somewhere();
        let owner = self.owner(route);
        match self.asked % 10 {
            0..7 => (owner, "routes.get", json!({"id": seed::id(route, self.seed)})),
            7 | 8 => (owner, "routes.list", json!({"limit": 50})),
            _ => (&self.admin, "routes.list", json!({"limit": 50, "owner": seed::owner(route)})),
        }
    }

    fn mutation(&self) -> (&Signer, &'static str, Value) {
        let n = self.asked;
        let backends = [format!("[54f::{:x}:{:x}]:8080", n >> 16, n & 0xffff)];
        match n % 4 {
            0 => {
                let params =
                    json!({"id": Uuid::now_v7(), "subdomain": format!("new-{n}"), "backends": backends});
                (self.owner(n), "routes.create", params)
            }
            1 => {
                // Deletions start at the end; reads and updates use the first three quarters.
                let route = self.routes - 1 - n / 4;
                (self.owner(route), "routes.delete", json!({"id": seed::id(route, self.seed)}))
            }
            _ => {
                let route = self.somewhere();
                let params = json!({"id": seed::id(route, self.seed), "backends": backends});
                (self.owner(route), "routes.update", params)
            }
        }
    }

    /// Returns a pseudo-random route of the first three quarters.
    fn somewhere(&self) -> u64 {
        self.asked.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (self.routes * 3 / 4)
    }

    fn owner(&self, route: u64) -> &Signer {
        // The index is below OWNERS.
        &self.owners[(route % OWNERS) as usize]
    }
}
