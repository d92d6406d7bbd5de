//! Running `gwctl` in a folder of its own, with a key pair in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use webgateway_proto::httpsig::{PrivateKey, PublicKey};

pub(crate) struct Program {
    folder: TempDir,
}

/// The end of a run.
#[derive(Debug)]
pub(crate) struct RunOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// A folder with `user1.priv` (0600).
    pub(crate) fn new() -> Self {
        let program = Self { folder: TempDir::new().unwrap() };
        program.write("user1.priv", &private_key().to_pem(), 0o600);
        program
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.folder().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs `gwctl` with these words.
    pub(crate) fn run(&self, words: &[&str]) -> RunOutput {
        self.run_with(words, &[])
    }

    /// Runs `gwctl` as user1 against `url`.
    pub(crate) fn call(&self, url: &str, words: &[&str]) -> RunOutput {
        self.run(&[&["-u", url, "-k", "user1.priv"], words].concat())
    }

    /// Runs `gwctl` with these words and variables.
    pub(crate) fn run_with(&self, words: &[&str], variables: &[(&str, &str)]) -> RunOutput {
        self.command(words, variables).output().unwrap().into()
    }

    /// `gwctl` with these words and variables, to be run.
    pub(crate) fn command(&self, words: &[&str], variables: &[(&str, &str)]) -> Command {
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
        // What is refused is refused: who tests retries says so.
        command.env("HOME", self.folder()).env("WEBGATEWAY_RETRY_FOR", "0s");
        command.args(words).envs(variables.iter().copied()).current_dir(self.folder()).stdin(Stdio::null());
        command
    }
}

impl RunOutput {
    /// The error on stderr, of a run with `-o json`.
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

/// The public half of user1.
pub(crate) fn public_key() -> PublicKey {
    private_key().public()
}
