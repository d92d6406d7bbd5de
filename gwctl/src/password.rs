//! Passwords of basic authentication: read from a file, stdin or the terminal, and hashed on this machine.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write, stderr, stdin};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use thiserror::Error;
use webgateway_proto::model::options::{InvalidPasswordHashError, PasswordHash};
use zeroize::Zeroizing;

/// The maximum length of a password, in bytes. The gateway takes no longer ones.
const MAX_PASSWORD: usize = 512;

/// A password cannot be read or hashed.
#[derive(Debug, Error)]
pub(crate) enum PasswordError {
    /// The file cannot be read.
    #[error("cannot read the password from {path}: {source}")]
    Read {
        /// The file, or stdin.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// There is no terminal to ask at.
    #[error("there is no terminal to ask for the password of {0}")]
    NoTerminal(String),
    /// The file has fewer lines than there are users.
    #[error("{path} has no line with the password of {user}")]
    Missing {
        /// The file, or stdin.
        path: String,
        /// The user.
        user: String,
    },
    /// The password was not repeated correctly.
    #[error("the two passwords differ")]
    Mismatch,
    /// The password is empty, too long, or has control characters.
    #[error("a password must have 1 to {MAX_PASSWORD} bytes, without control characters")]
    Invalid,
    /// The system provides no random bytes.
    #[error("the system provides no random bytes")]
    NoRandomness,
    /// The password cannot be hashed.
    #[error("cannot hash the password: {0}")]
    Hash(String),
}

/// The source of passwords.
pub(crate) enum PasswordSource {
    /// The terminal, where each password is asked for twice.
    Terminal,
    /// The lines of a file.
    Lines { path: String, lines: Box<dyn BufRead> },
}

impl PasswordSource {
    /// Opens the source: a file, stdin if `path` is `-`, or the terminal without a path.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, PasswordError> {
        let Some(path) = path else { return Ok(Self::Terminal) };
        if path == Path::new("-") {
            return Ok(Self::Lines { path: "stdin".to_owned(), lines: Box::new(BufReader::new(stdin())) });
        }
        let name = PathBuf::from(path).display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self::Lines { path: name, lines: Box::new(BufReader::new(file)) }),
            Err(source) => Err(PasswordError::Read { path: name, source }),
        }
    }

    /// Reads the password of a user and returns its hash.
    pub(crate) fn hash_next(&mut self, user: &str) -> Result<PasswordHash, PasswordError> {
        hash(&self.next(user)?)
    }

    fn next(&mut self, user: &str) -> Result<Zeroizing<String>, PasswordError> {
        match self {
            Self::Terminal => ask(user),
            Self::Lines { path, lines } => {
                let mut line = Zeroizing::new(String::new());
                let read = io::Read::take(lines, 2 * MAX_PASSWORD as u64).read_line(&mut line);
                let read = read.map_err(|source| PasswordError::Read { path: path.clone(), source })?;
                if read == 0 {
                    return Err(PasswordError::Missing { path: path.clone(), user: user.to_owned() });
                }
                Ok(line)
            }
        }
    }
}

/// Hashes a password, without the end of its line, by argon2id with the cost that RFC 9106's successors recommend for
/// logins: 19 MiB and two passes.
fn hash(line: &str) -> Result<PasswordHash, PasswordError> {
    let password = line.strip_suffix('\n').unwrap_or(line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if !(1..=MAX_PASSWORD).contains(&password.len()) || password.chars().any(char::is_control) {
        return Err(PasswordError::Invalid);
    }
    let (mut salt, mut output) = ([0; 16], [0; 32]);
    rand::fill(&mut salt).map_err(|_| PasswordError::NoRandomness)?;
    let failed = |error: argon2::Error| PasswordError::Hash(error.to_string());
    let params = Params::new(19 * 1024, 2, 1, Some(output.len())).map_err(failed)?;
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(password.as_bytes(), &salt, &mut output).map_err(failed)?;
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    let text = format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}");
    PasswordHash::parse(&text)
        .map_err(|error: InvalidPasswordHashError| PasswordError::Hash(error.to_string()))
}

/// Asks for a password twice on the terminal, which does not show it.
fn ask(user: &str) -> Result<Zeroizing<String>, PasswordError> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(PasswordError::NoTerminal(user.to_owned()));
    }
    let password = ask_once(&format!("Password of {user}: "))?;
    let repeated = ask_once("The same again: ")?;
    if password == repeated { Ok(password) } else { Err(PasswordError::Mismatch) }
}

fn ask_once(prompt: &str) -> Result<Zeroizing<String>, PasswordError> {
    let failed = |source| PasswordError::Read { path: "the terminal".to_owned(), source };
    let _hidden = HiddenInput::start().map_err(failed)?;
    let mut line = Zeroizing::new(String::new());
    // If the prompt cannot be printed, the user can still type.
    let _ = write!(stderr(), "{prompt}").and_then(|()| stderr().flush());
    stdin().read_line(&mut line).map_err(failed)?;
    // The line break that the user typed was not shown either.
    let _ = writeln!(stderr());
    Ok(line)
}

/// The terminal while it does not show what is typed, until this is dropped.
struct HiddenInput(Termios);

impl HiddenInput {
    fn start() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO;
        tcsetattr(stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_gets_the_next_line() {
        let lines = Box::new(io::Cursor::new("s3cret\nzw\u{f6}lf B\u{e4}ren\r\n\nx\u{7}\nlast"));
        let mut source = PasswordSource::Lines { path: "file".to_owned(), lines };
        let first = source.hash_next("alice").unwrap();
        assert!(first.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", first.as_str());
        assert_ne!(source.hash_next("bob").unwrap(), first);
        for _ in 0..2 {
            assert!(matches!(source.hash_next("carol"), Err(PasswordError::Invalid)));
        }
        assert!(source.hash_next("dave").is_ok());
        assert!(
            matches!(source.hash_next("erin"), Err(PasswordError::Missing { user, .. }) if user == "erin")
        );
    }

    #[test]
    fn only_the_line_break_is_removed_from_a_password() {
        for (line, is_valid) in [
            ("a", true),
            (" a ", true),
            ("a\n", true),
            ("a\r\n", true),
            ("", false),
            ("\n", false),
            ("a\tb", false),
            (&"x".repeat(MAX_PASSWORD), true),
            (&"x".repeat(MAX_PASSWORD + 1), false),
        ] {
            assert_eq!(hash(line).is_ok(), is_valid, "{line:?}");
        }
    }
}
