//! Private keys at rest, in the database: sealed under the operator's `secret_key_file`.

pub use webgateway_process::seal::{SealError, SecretKey, SecretKeyError, UnsealError};
