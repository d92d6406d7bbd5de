//! Key files of other tools, used by the real `gwctl` and a real controlplane's key directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::process::{self, Output};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

scenarios![key_files_of_common_tools_are_accepted, an_unsupported_key_is_named];

/// Returns the path of a sample key file; the samples are two keys, each written by several tools.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/src/httpsig/samples/tools").join(name)
}

/// Runs `gwctl` with a private key and a key id.
async fn list(sandbox: &Sandbox, controlplane: &Controlplane, private: &Path, id: &str) -> Result<Output> {
    let key = sandbox.path("key");
    if key.exists() {
        fs::remove_file(&key)?;
    }
    fs::copy(private, &key)?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let key = key.to_str().context("a path that is text")?;
    let args = ["-u", &controlplane.url(), "-i", id, "-k", key, "routes", "list"].map(str::to_owned);
    process::run("gwctl", &args, &[]).await
}

async fn key_files_of_common_tools_are_accepted(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start(sandbox).await?;
    let mounted = sandbox.path("mounted");
    fs::create_dir(&mounted)?;
    for (kind, private, public) in [
        (
            "ed25519",
            &[
                "ed25519.cryptography.priv",
                "ed25519.cryptography.der",
                "ed25519.cryptography.ssh.priv",
                "ed25519.putty.priv",
            ][..],
            &[
                "ed25519.rfc4716.pub",
                "ed25519.putty.rfc4716.pub",
                "ed25519.putty.ssh.pub",
                "ed25519.cryptography.pub",
                "ed25519.cryptography.spki.der",
                "ed25519.cryptography.ssh.pub",
            ][..],
        ),
        (
            "rsa",
            &["rsa.cryptography.der", "rsa.pkcs1.der", "rsa.putty.priv", "rsa.ssh-keygen-p.priv"],
            &["rsa.rfc4716.pub", "rsa.putty.ssh.pub", "rsa.spki.der", "rsa.pkcs1.pub.der"],
        ),
    ] {
        for (n, (private, public)) in private.iter().cycle().zip(public).enumerate() {
            let id = format!("{kind}{n}.pub");
            // Every second key is a symbolic link, as orchestrators mount secrets.
            if n.is_multiple_of(2) {
                fs::copy(sample(public), controlplane.keys().join(&id))?;
            } else {
                fs::copy(sample(public), mounted.join(&id))?;
                symlink(mounted.join(&id), controlplane.keys().join(&id))?;
            }
            let output = list(sandbox, &controlplane, &sample(private), &id).await?;
            ensure!(output.code == Some(0), "{private} and {public}: {output:?}");
        }
        for private in private {
            let output = list(sandbox, &controlplane, &sample(private), &format!("{kind}0.pub")).await?;
            ensure!(output.code == Some(0), "{private}: {output:?}");
        }
    }
    Ok(())
}

async fn an_unsupported_key_is_named(sandbox: &Sandbox) -> Result<()> {
    let mut controlplane = Controlplane::start(sandbox).await?;
    for (private, words) in [
        ("ed25519.putty3.ppk", "puttygen FILE -O private-openssh -o NEW"),
        ("rsa.sshcom.priv", "puttygen FILE -O private-openssh -o NEW"),
        ("rsa.cryptography.ssh.priv", "ssh-keygen -p -m PEM -f FILE"),
        ("rsa.encrypted.priv", "openssl pkey -in FILE -out NEW"),
        ("rsa.p12", "openssl pkey -in FILE -out NEW"),
    ] {
        let output = list(sandbox, &controlplane, &sample(private), "alice.pub").await?;
        ensure!(output.code != Some(0) && output.stderr.contains(words), "{private}: {output:?}");
    }
    for (n, (public, words)) in [
        ("ed25519.putty3.ppk", "-O public-openssh"),
        ("ed25519.ssh-cert.pub", "an OpenSSH certificate"),
        ("rsa.p12", "save it as UTF-8, or as PEM"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("user{n}.pub");
        fs::copy(sample(public), controlplane.keys().join(&id))?;
        let output = list(sandbox, &controlplane, &sample("ed25519.putty.priv"), &id).await?;
        ensure!(output.code != Some(0), "{public}: {output:?}");
        // The log is written concurrently with the response.
        eventually(public, Duration::from_secs(5), async || {
            let logged = controlplane.process().log()?;
            let is_told = logged.lines().any(|line| line.contains(&id) && line.contains(words));
            ensure!(is_told, "{output:?}; {logged}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
