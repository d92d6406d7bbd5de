//! Private keys at rest, in the database: sealed under the operator's `secret_key_file`.

pub use webgateway_seal::{SealError, SecretKey, SecretKeyError, UnsealError};
