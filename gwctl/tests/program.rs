//! A sandbox that runs `gwctl` in a temporary directory with a private key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use webgateway_proto::httpsig::{PrivateKey, PublicKey};

/// The sandbox: a temporary directory that is also `HOME`.
pub(crate) struct Program {
    directory: TempDir,
}

/// The output and exit code of a run.
#[derive(Debug)]
pub(crate) struct RunOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// Creates a directory with the key `user1.priv`.
    pub(crate) fn new() -> Self {
        let program = Self { directory: TempDir::new().unwrap() };
        program.write("user1.priv", &private_key().to_pem(), 0o600);
        program
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.directory().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs `gwctl` with these arguments.
    pub(crate) fn run(&self, args: &[&str]) -> RunOutput {
        self.run_with(args, &[])
    }

    /// Runs `gwctl` as user1 against `url`.
    pub(crate) fn call(&self, url: &str, args: &[&str]) -> RunOutput {
        self.run(&[&["-u", url, "-k", "user1.priv"], args].concat())
    }

    /// Runs `gwctl` with these arguments and environment variables.
    pub(crate) fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> RunOutput {
        self.command(args, variables).output().unwrap().into()
    }

    /// Returns the command that runs `gwctl` with these arguments and environment variables.
    pub(crate) fn command(&self, args: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gwctl"));
        for name in [
            "WEBGATEWAY_URL",
            "WEBGATEWAY_ID",
            "WEBGATEWAY_KEY",
            "WEBGATEWAY_PROFILE",
            "NO_COLOR",
            "CLICOLOR",
            "CLICOLOR_FORCE",
            "CI",
            "TERM",
            "MYCELIUM_API",
            "XDG_CONFIG_HOME",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
            "NO_PROXY",
            "no_proxy",
        ] {
            command.env_remove(name);
        }
        // Without retries, tests of errors are fast; tests of retries set `--retry-for`.
        command.env("HOME", self.directory()).env("WEBGATEWAY_RETRY_FOR", "0s");
        command.args(args).envs(variables.iter().copied()).current_dir(self.directory()).stdin(Stdio::null());
        command
    }
}

impl RunOutput {
    /// Returns the error on stderr of a run with `-o json`.
    pub(crate) fn error(&self) -> Value {
        let last: Value = serde_json::from_str(self.stderr.lines().last().unwrap()).unwrap();
        last["error"].clone()
    }
}

impl From<Output> for RunOutput {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

fn private_key() -> PrivateKey {
    PrivateKey::from_seed(&[7; 32])
}

/// Returns the public key of user1.
pub(crate) fn public_key() -> PublicKey {
    private_key().public()
}
