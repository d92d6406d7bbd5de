//! Creates a route, lists it, and deletes it. Run this while `make dev` is running:
//!
//! ```sh
//! cargo run -p gwctl --example create_route -- http://127.0.0.1:8080/rpc target/dev/alice.priv 127.0.0.1:8082
//! ```

use std::error::Error;
use std::path::Path;

use gwctl::api::{RouteCreate, RouteDelete, RouteList, RouteListParams, RouteView, method};
use gwctl::{Client, Endpoint, Signer, keys};
use serde_json::Value;
use uuid::Uuid;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, key_file, backend] = args.as_slice() else {
        return Err("usage: create_route URL PRIVATE_KEY_FILE BACKEND".into());
    };
    let name =
        Path::new(key_file).file_stem().and_then(|name| name.to_str()).ok_or("the key file has no name")?;
    let signer = Signer::new(format!("{name}.pub").parse()?, keys::load(key_file.as_ref())?.key);
    let client = Client::new(Endpoint::parse(url)?).signed_by(signer);

    // With an id that the client chooses, a repeated call returns the same route instead of creating another one.
    let id = Uuid::now_v7();
    let params = RouteCreate {
        id: Some(id),
        subdomain: Some(format!("example-{}", id.simple())),
        backends: vec![backend.clone()],
        ..RouteCreate::default()
    };
    let route: RouteView = client.call(method::ROUTES_CREATE, &params).await?;
    println!("created: https://{}/", route.host);

    let filter = RouteListParams { host: Some(route.host.clone()), ..RouteListParams::default() };
    let list: RouteList = client.call(method::ROUTES_LIST, &filter).await?;
    for route in &list.routes {
        println!("listed:  {} -> {}, {}", route.host, route.backends.join(", "), route.state.as_str());
    }

    let _: Value =
        client.call(method::ROUTES_DELETE, &RouteDelete { id: route.id, expected_version: None }).await?;
    println!("deleted: {}", route.host);
    Ok(())
}
