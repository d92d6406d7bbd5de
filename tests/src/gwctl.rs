//! The real `gwctl` with a user's key.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::controlplane::Controlplane;
use crate::process::{self, Output};

/// A user with a key pair of `gwctl keys generate` that is known to a controlplane.
#[derive(Debug, Clone)]
pub struct User {
    url: String,
    id: String,
    key: PathBuf,
}

impl User {
    /// Generates a key pair in `dir` and publishes the public key to the controlplane.
    pub async fn create(controlplane: &Controlplane, dir: &Path, name: &str) -> Result<Self> {
        let stem = dir.join(name);
        let generated = process::run("gwctl", &words(["keys", "generate", &text(&stem)?]), &[]).await?;
        ensure!(generated.code == Some(0), "gwctl keys generate: {generated:?}");
        let id = format!("{name}.pub");
        std::fs::copy(stem.with_extension("pub"), controlplane.keys().join(&id))?;
        Ok(Self { url: controlplane.url(), id, key: stem.with_extension("priv") })
    }

    /// Returns the same user with another URL.
    #[must_use]
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// Returns a user with the same key and another key id.
    #[must_use]
    pub fn claiming(&self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self.clone() }
    }

    /// Returns the key id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the path of the private key.
    #[must_use]
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Returns the environment variables that configure `gwctl` for this user.
    pub fn env(&self) -> Result<[(&'static str, String); 3]> {
        let (url, id) = (self.url.clone(), self.id.clone());
        Ok([("WEBGATEWAY_URL", url), ("WEBGATEWAY_ID", id), ("WEBGATEWAY_KEY", text(&self.key)?)])
    }

    /// Runs `gwctl` as this user.
    pub async fn gwctl<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        let env = self.env()?;
        process::run("gwctl", &words(args), &env.each_ref().map(|(name, value)| (*name, value.as_str())))
            .await
    }

    /// Runs `gwctl` with `-o json`, fails unless it succeeds, and returns its output.
    pub async fn json<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Result<Value> {
        let mut args = words(args);
        args.extend(words(["-o", "json"]));
        let output = self.gwctl(&args).await?;
        ensure!(output.code == Some(0), "gwctl {}: {output:?}", args.join(" "));
        serde_json::from_str(&output.stdout).with_context(|| format!("not JSON: {}", output.stdout))
    }

    /// Creates a route and returns its id.
    pub async fn create_route(&self, flags: &str) -> Result<String> {
        let args = format!("routes create {flags}");
        let route = self.json(args.split_whitespace()).await?;
        Ok(route["id"].as_str().with_context(|| format!("no id in {route}"))?.to_owned())
    }
}

fn words<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Vec<String> {
    args.into_iter().map(|arg| arg.as_ref().to_owned()).collect()
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path that is text")?.to_owned())
}
