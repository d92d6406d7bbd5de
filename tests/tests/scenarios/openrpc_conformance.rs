//! Conformance of a real controlplane to its OpenRPC document: every method, parameter and example.

use std::cell::RefCell;

use anyhow::{Context, Result, ensure};
use boon::{Compiler, Draft, Schemas};
use serde_json::{Map, Value, json};
use webgateway_proto::model::JoinToken;
use webgateway_tests::client::Connection;
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::gateway::Gateway;
use webgateway_tests::process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::Signer;

scenarios![
    every_example_response_matches_its_schema,
    every_invalid_param_is_refused_by_name,
    every_missing_required_param_is_refused,
    undocumented_methods_and_params_are_refused,
];

const REMOTE: &str = "127.0.0.1:7443";
/// A JSON array of one value of each type, and some almost valid ones.
const ANYTHING: &str =
    r#"[null, true, -1, 1.5, 1e300, "", "x", [], [1], ["x", null], {}, {"no": 1}, {"path": 1}]"#;

type Params = Map<String, Value>;

/// A gateway, the document that it serves, and the users of its examples.
struct ApiSetup<'a> {
    sandbox: &'a Sandbox,
    controlplane: Controlplane,
    document: Value,
    compiler: RefCell<Compiler>,
    user: Signer,
    admin: Signer,
    _gateway: Gateway,
}

impl<'a> ApiSetup<'a> {
    async fn start(sandbox: &'a Sandbox) -> Result<Self> {
        let controlplane_config =
            ControlplaneConfig { remote: REMOTE.to_owned(), ..ControlplaneConfig::default() };
        let controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
        let (user, admin) =
            (Signer::from_seed([1; 32], "user1.pub")?, Signer::from_seed([2; 32], "admin.pub")?);
        user.publish(&controlplane.keys())?;
        admin.publish(&controlplane.keys())?;
        let mut api = Connection::plain(controlplane.rpc()?).await?;
        let document = api.get("127.0.0.1:8080", "/openrpc.json").await?.expect(200)?.json()?;
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V7);
        compiler
            .add_resource("urn:openrpc", document.clone())
            .map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let _gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?.number(1)).await?;
        Ok(Self { sandbox, controlplane, document, compiler: RefCell::new(compiler), user, admin, _gateway })
    }

    fn methods(&self) -> impl Iterator<Item = (usize, &Value, &str)> {
        let methods = self.document["methods"].as_array().into_iter().flatten().enumerate();
        methods.map(|(at, method)| (at, method, method["name"].as_str().unwrap_or_default()))
    }

    /// Validates `value` against the schema at `pointer` of the document; returns the error, if any.
    fn validate(&self, pointer: &str, value: &Value) -> Result<Option<String>> {
        let mut schemas = Schemas::new();
        let schema = self.compiler.borrow_mut().compile(&format!("urn:openrpc#{pointer}"), &mut schemas);
        let schema = schema.map_err(|error| anyhow::anyhow!("{pointer}: {error:#}"))?;
        Ok(schemas.validate(value, schema).err().map(|error| error.to_string()))
    }

    /// Calls a method as a user who may; returns its result or its error, which must be one that the document lists.
    async fn call(&self, method: &str, params: Params) -> Result<Result<Value, Value>> {
        let is_users = method.starts_with("routes.") || method.starts_with("certificates.");
        let signer = if is_users { &self.user } else { &self.admin };
        let mut api = Connection::plain(self.controlplane.rpc()?).await?;
        let reply =
            signer.call(&mut api, &self.controlplane.url(), method, params.into()).await?.expect(200)?;
        let mut response = reply.json()?;
        if response["error"].is_null() {
            return Ok(Ok(response["result"].take()));
        }
        let error = response["error"].take();
        let kind = error["data"]["kind"].as_str().context("an error without a kind")?;
        let described = &self.document["components"]["errors"][kind];
        ensure!(described["code"] == error["code"], "{method}: {error} is not as it is described");
        let reference = json!({ "$ref": format!("#/components/errors/{kind}") });
        let of = self
            .methods()
            .find(|(_, _, name)| *name == method)
            .map_or(&self.document, |(_, method, _)| method);
        let declared = of["x-errors"].as_array().is_some_and(|errors| errors.contains(&reference));
        ensure!(declared, "{method} does not declare {error}");
        Ok(Err(error))
    }

    /// Replaces values of an example's params that depend on the current state.
    async fn with_current_values(&self, method: &str, mut params: Params) -> Result<Params> {
        if params.contains_key("expected_version") {
            let this = Params::from_iter([("id".to_owned(), params["id"].clone())]);
            let route = self.call("routes.get", this).await?.map_err(|error| anyhow::anyhow!("{error}"))?;
            params["expected_version"] = route["version"].clone();
        }
        if params.contains_key("until") {
            params["until"] = json!("2999-01-01T00:00:00Z");
        }
        if method == "nodes.wait" {
            params["version"] = json!(1);
        }
        Ok(params)
    }

    /// Joins the node of the examples with its invitation token.
    async fn join(&self, token: &str) -> Result<()> {
        let mut token = JoinToken::parse(token)?;
        token.address = REMOTE.parse()?;
        let folder = self.sandbox.path("joined").display().to_string();
        let args = ["--state-dir", &folder, "join", &token.to_text()].map(str::to_owned);
        let joined = process::run("webgateway-dataplane", &args, &[]).await?;
        ensure!(joined.code == Some(0), "{joined:?}");
        Ok(())
    }

    /// Fails unless the call is refused as invalid params and names `field`.
    async fn expect_refused(&self, method: &str, params: Params, field: &str) -> Result<()> {
        let shown = Value::from(params.clone());
        let Err(error) = self.call(method, params).await? else {
            anyhow::bail!("{method} takes {shown}");
        };
        let data = &error["data"];
        let is_told = error["code"] == -32602 && data["kind"] == "invalid_params" && data["field"] == field;
        ensure!(is_told, "{method} {shown}: {error}");
        Ok(())
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[name].as_array().into_iter().flatten()
}

/// Returns the params of an example by name.
fn params_by_name(example: &Value) -> Params {
    let param = |param: &Value| Some((param["name"].as_str()?.to_owned(), param["value"].clone()));
    list(example, "params").filter_map(param).collect()
}

/// Returns the params of a valid call, including the param `name` if an example has it.
fn valid_params(method: &Value, name: &str) -> Params {
    let has = |example: &&Value| params_by_name(example).contains_key(name);
    let example = list(method, "examples").find(has).or_else(|| list(method, "examples").next());
    example.map(params_by_name).unwrap_or_default()
}

async fn every_example_response_matches_its_schema(sandbox: &Sandbox) -> Result<()> {
    let setup = ApiSetup::start(sandbox).await?;
    let mut methods: Vec<_> = setup.methods().collect();
    // The examples share one route, which is deleted last.
    methods.sort_by_key(|(_, _, name)| *name == "routes.delete");
    let mut examples = 0;
    for (at, method, name) in methods {
        ensure!(list(method, "examples").next().is_some(), "{name} has no example");
        for (number, example) in list(method, "examples").enumerate() {
            let shown = &example["result"]["value"];
            let misfit = setup.validate(&format!("/methods/{at}/result/schema"), shown)?;
            ensure!(misfit.is_none(), "{name}, example {number}: {misfit:?}");
            for (place, param) in list(method, "params").enumerate() {
                let value = params_by_name(example).remove(param["name"].as_str().unwrap_or_default());
                let pointer = format!("/methods/{at}/params/{place}/schema");
                let misfit = value.map(|value| setup.validate(&pointer, &value)).transpose()?.flatten();
                ensure!(misfit.is_none(), "{name}, example {number}: {misfit:?}");
            }
            let params = setup.with_current_values(name, params_by_name(example)).await?;
            let response = setup.call(name, params).await?;
            let result = response.map_err(|error| anyhow::anyhow!("{name}, example {number}: {error}"))?;
            let misfit = setup.validate(&format!("/methods/{at}/result/schema"), &result)?;
            ensure!(misfit.is_none(), "{name}, example {number}: {result} {misfit:?}");
            if let Some(token) = result["token"].as_str() {
                setup.join(token).await?;
            }
            examples += 1;
        }
    }
    ensure!(examples >= setup.methods().count());
    println!("{examples} examples were answered");
    Ok(())
}

async fn every_invalid_param_is_refused_by_name(sandbox: &Sandbox) -> Result<()> {
    let setup = ApiSetup::start(sandbox).await?;
    let anything: Vec<Value> = serde_json::from_str(ANYTHING)?;
    let mut refused = 0;
    for (at, method, name) in setup.methods() {
        for (place, param) in list(method, "params").enumerate() {
            let field = param["name"].as_str().context("a param without a name")?;
            let before = refused;
            for wrong in &anything {
                if setup.validate(&format!("/methods/{at}/params/{place}/schema"), wrong)?.is_some() {
                    let mut params = valid_params(method, field);
                    params.insert(field.to_owned(), wrong.clone());
                    setup.expect_refused(name, params, field).await?;
                    refused += 1;
                }
            }
            ensure!(refused > before, "{name}: `{field}` takes anything");
        }
    }
    println!("{refused} wrong values were refused");
    Ok(())
}

async fn every_missing_required_param_is_refused(sandbox: &Sandbox) -> Result<()> {
    let setup = ApiSetup::start(sandbox).await?;
    let mut asked = 0;
    for (_, method, name) in setup.methods() {
        for param in list(method, "params").filter(|param| param["required"] == true) {
            let field = param["name"].as_str().context("a param without a name")?;
            let mut params = valid_params(method, field);
            ensure!(params.remove(field).is_some(), "{name}: no example has `{field}`");
            setup.expect_refused(name, params, field).await?;
            asked += 1;
        }
    }
    ensure!(asked > 10, "{asked}");
    Ok(())
}

async fn undocumented_methods_and_params_are_refused(sandbox: &Sandbox) -> Result<()> {
    let setup = ApiSetup::start(sandbox).await?;
    for (_, method, name) in setup.methods() {
        for field in ["hots", "__proto__", "jsonrpc"] {
            let mut params = valid_params(method, "");
            params.insert(field.to_owned(), json!(1));
            setup.expect_refused(name, params, field).await?;
        }
    }
    for unknown in
        ["", "routes", "routes.", "routes.destroy", "Routes.List", "rpc.discover ", "rpc.call", "é\u{0}"]
    {
        let Err(error) = setup.call(unknown, Params::new()).await? else {
            anyhow::bail!("{unknown:?} is a method")
        };
        ensure!(
            error["code"] == -32601 && error["data"]["kind"] == "method_not_found",
            "{unknown:?}: {error}"
        );
    }
    Ok(())
}
